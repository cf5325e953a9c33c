//! What decryption says and changes, case by case, through the C functions.
//!
//! Where a row says that nothing changes, the store is compared byte by byte.

use crate::support;
use crate::support::{Client, JULIET, ROMEO, Setup, TYBALT, World, abi, edit, settle, status_name};

use std::collections::BTreeMap;

use crate::support::client::Decrypted;

const ROOM: &str = "ball@capulet.lit";
const OPTION_ACKNOWLEDGE: i32 = 11;

in_both_namespaces! {
    no_key_with_our_id,
    the_identity_is_distrusted,
    a_key_exchange_against_a_confirmed_key,
    a_key_exchange_of_a_current_or_archived_session,
    a_key_exchange_that_was_processed_and_forgotten,
    a_key_exchange_of_a_stranger_is_provisional,
    a_key_exchange_relayed_in_somebodys_name_gets_no_content,
    content_in_another_name_is_not_kept,
    a_message_that_no_session_decrypts,
    too_many_skipped,
    trust_undecided_or_unknown,
    the_sender_in_a_room,
}

fn pair(world: &World) -> (Client, Client) {
    (Client::online(world, ROMEO), Client::online(world, JULIET))
}

/// Decrypt what must leave the store as it is.
#[track_caller]
fn unchanged(client: &Client, from: &str, stanza: &str) -> Decrypted {
    let before = client.store.all();
    let decrypted = client.decrypt(from, stanza).unwrap();
    assert_eq!(client.store.all(), before, "{} changed the store", status_name(decrypted.status));
    assert_eq!((&decrypted.body, &decrypted.plaintext), (&None, &None));
    decrypted
}

#[track_caller]
fn refused(decrypted: &Decrypted, status: i32, action: i32) {
    assert_eq!(
        (status_name(decrypted.status), decrypted.action),
        (status_name(status), action),
        "{}",
        decrypted.text
    );
}

#[track_caller]
fn reads(client: &Client, from: &str, stanza: &str, text: &str) -> Decrypted {
    let decrypted = client.decrypt(from, stanza).unwrap();
    assert_eq!(decrypted.body.as_deref(), Some(text), "{} {}", status_name(decrypted.status), decrypted.text);
    decrypted
}

/// Juliet as she was: what was sent since is forgotten, and the next message begins a new session.
fn put_back(juliet: &mut Client, records: &BTreeMap<String, Vec<u8>>) {
    juliet.close();
    juliet.store.put_back(records.clone());
    juliet.restart();
    juliet.connect().ok();
}

fn no_key_with_our_id(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, _juliet) = pair(&world);
    let stanza = romeo.seal(&[JULIET], "not for all");
    refused(&unchanged(&romeo, ROMEO, &stanza), abi::ERR_OWN_ECHO, abi::ACTION_HIDE);
    let late = Client::online(&world, JULIET);
    refused(&unchanged(&late, ROMEO, &stanza), abi::ERR_NOT_FOR_US, abi::ACTION_WARN);
    refused(&unchanged(&late, ROMEO, &edit::without_payload(&stanza)), abi::ERR_NOT_FOR_US, abi::ACTION_HIDE);
}

fn the_identity_is_distrusted(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    romeo.refresh(JULIET).ok();
    let exchange = juliet.seal(&[ROMEO], "first");
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "distrusted"), abi::OK);
    let decrypted = unchanged(&romeo, JULIET, &exchange);
    assert_eq!(decrypted.status, abi::ERR_SENDER_DISTRUSTED);
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "trusted"), abi::OK);
    assert_eq!(reads(&romeo, JULIET, &exchange, "first").trust, abi::CORE_TRUSTED);
    // The same on a session that exists.
    let second = juliet.seal(&[ROMEO], "second");
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "distrusted"), abi::OK);
    assert_eq!(unchanged(&romeo, JULIET, &second).status, abi::ERR_SENDER_DISTRUSTED);
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "trusted"), abi::OK);
    reads(&romeo, JULIET, &second, "second");
}

fn a_key_exchange_against_a_confirmed_key(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    let tybalt = Client::online(&world, TYBALT);
    romeo.refresh(JULIET).ok();
    romeo.notices();
    for text in ["I am Juliet", "indeed I am"] {
        let forged = edit::with_sid(&tybalt.seal(&[ROMEO], text), juliet.id());
        assert_eq!(unchanged(&romeo, JULIET, &forged).status, abi::ERR_PUBLIC_DATA_INCONSISTENCY);
        settle(&[&romeo]);
    }
    let about_her = romeo
        .notices()
        .into_iter()
        .filter(|(_, _, jid, device, _)| (jid.as_deref(), *device) == (Some(JULIET), juliet.id()));
    assert_eq!(
        about_her.filter(|notice| notice.0 == abi::NOTICE_IDENTITY_CHANGED).count(),
        1,
        "one notice a run"
    );
    reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "this is me"), "this is me");
}

fn a_key_exchange_of_a_current_or_archived_session(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair(&world);
    let before = juliet.store.all();
    let first: Vec<String> = (0..3).map(|n| juliet.seal(&[ROMEO], &format!("first {n}"))).collect();
    let new_session = |decrypted: Decrypted| decrypted.flags & abi::DECRYPTED_NEW_SESSION != 0;
    assert!(new_session(reads(&romeo, JULIET, &first[0], "first 0")));
    // The pre key that it used is off the bundle before she begins once more.
    settle(&[&romeo]);
    put_back(&mut juliet, &before);
    let second: Vec<String> = (0..2).map(|n| juliet.seal(&[ROMEO], &format!("second {n}"))).collect();
    assert!(!new_session(reads(&romeo, JULIET, &first[1], "first 1")), "the current session");
    assert!(new_session(reads(&romeo, JULIET, &second[0], "second 0")));
    assert!(!new_session(reads(&romeo, JULIET, &first[2], "first 2")), "the archived session");
    assert!(
        !new_session(reads(&romeo, JULIET, &second[1], "second 1")),
        "archived by that, and current again"
    );
    for stanza in first.iter().chain(&second) {
        refused(&unchanged(&romeo, JULIET, stanza), abi::ERR_DUPLICATE, abi::ACTION_HIDE);
    }
}

fn a_key_exchange_that_was_processed_and_forgotten(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair(&world);
    let before = juliet.store.all();
    let first = juliet.seal(&[ROMEO], "first");
    let unread = juliet.seal(&[ROMEO], "unread");
    reads(&romeo, JULIET, &first, "first");
    // Forty are archived at most; these push the first one out.
    for number in 0..41 {
        // Bundles are not published more often than so many times a minute; what was used must be off it.
        world.advance(60_000);
        settle(&[&romeo]);
        put_back(&mut juliet, &before);
        let text = format!("again {number}");
        reads(&romeo, JULIET, &juliet.seal(&[ROMEO], &text), &text);
    }
    refused(&unchanged(&romeo, JULIET, &first), abi::ERR_DUPLICATE, abi::ACTION_HIDE);
    // It was never decrypted and never will be: that is no duplicate.
    refused(&unchanged(&romeo, JULIET, &unread), abi::ERR_DECRYPTION_FAILED, abi::ACTION_WARN);
}

fn a_key_exchange_of_a_stranger_is_provisional(ns: &'static str) {
    let world = World::speaking(ns, 1);
    world.set_push(false);
    let (romeo, juliet) = pair(&world);
    let read = reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "you do not know me"), "you do not know me");
    assert_ne!(read.flags & abi::DECRYPTED_NEW_SESSION, 0);
    assert_eq!((read.trust, read.device), (abi::CORE_UNDECIDED, juliet.id()));
    assert_eq!(read.identity, Some(edit::as_told(ns, juliet.identity())));
    let known = romeo.devices(JULIET);
    assert_eq!(known.len(), 1);
    assert!(!known[0].active, "only a list of her own makes a device active");
}

fn content_in_another_name_is_not_kept(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let setup = Setup { options: vec![(OPTION_ACKNOWLEDGE, 1)], ..Setup::default() };
    let (romeo, juliet) = (Client::with(&world, ROMEO, setup), Client::online(&world, JULIET));
    romeo.connect().ok();
    let tybalt = Client::online(&world, TYBALT);
    let forged = edit::with_sid(&tybalt.seal(&[ROMEO], "I am Juliet"), juliet.id());
    let read = romeo.decrypt_in(Some(JULIET), Some(ROOM), &forged).unwrap();
    let kept = romeo.unacknowledged(0);
    if ns == support::NS_2 {
        assert_eq!((read.status, read.key, read.receipt), (abi::ERR_AFFIX, None, 0));
        assert_eq!(kept, Err(abi::ERR_NOT_FOUND));
        assert_eq!(romeo.decrypt_in(Some(JULIET), Some(ROOM), &forged).unwrap().status, abi::ERR_DUPLICATE);
    } else {
        assert_eq!(kept, Ok(Decrypted { flags: read.flags | 8, ..read }));
    }
}

fn a_key_exchange_relayed_in_somebodys_name_gets_no_content(ns: &'static str) {
    let world = World::speaking(ns, 1);
    world.set_push(false);
    let (romeo, juliet) = pair(&world);
    let tybalt = Client::online(&world, TYBALT);
    let forged = edit::with_sid(&tybalt.seal(&[ROMEO], "I am Juliet"), juliet.id());
    let read = romeo.decrypt_in(Some(JULIET), Some(ROOM), &forged).unwrap();
    match ns == support::NS_2 {
        // What Tybalt wrote says so.
        true => assert_eq!((read.status, read.action, read.body), (abi::ERR_AFFIX, abi::ACTION_WARN, None)),
        false => assert_eq!(read.body.as_deref(), Some("I am Juliet"), "nobody vouched for another key"),
    }
    assert_eq!(read.trust, abi::CORE_UNDECIDED);
    // Before content goes out her own bundle is asked, and that settles it.
    let outcome = romeo.encrypt(&[JULIET], "for your eyes only").ok();
    assert_eq!(reads(&juliet, ROMEO, &outcome.messages[0], "for your eyes only").trust, abi::CORE_UNDECIDED);
    let stolen = outcome.messages[0]
        .replace(&format!("jid='{JULIET}'"), &format!("jid='{TYBALT}'"))
        .replace(&format!("rid='{}'", juliet.id()), &format!("rid='{}'", tybalt.id()));
    assert_ne!(tybalt.decrypt(ROMEO, &stolen).unwrap().status, abi::OK);
    let changed = romeo.notices().into_iter().any(|(notice, _, jid, device, _)| {
        (notice, jid.as_deref(), device) == (abi::NOTICE_IDENTITY_CHANGED, Some(JULIET), juliet.id())
    });
    assert!(changed, "the user is told");
    let devices = romeo.devices(JULIET);
    assert_eq!(devices[0].identity, Some(juliet.identity()));
}

fn a_message_that_no_session_decrypts(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = pair(&world);
    let before = romeo.store.all();
    romeo.say(&[JULIET], "hello");
    juliet.receive();
    settle(&[&romeo, &juliet]);
    romeo.receive();
    let stanza = juliet.seal(&[ROMEO], "hello yourself");
    assert!(!stanza.contains(edit::names(ns).exchange));
    for broken in [
        edit::flip(&stanza, "key", 60),
        edit::flip(&stanza, "key", 10),
        edit::flip(&stanza, "payload", 50),
        edit::flip(&stanza, "payload", 0),
    ] {
        refused(&unchanged(&romeo, JULIET, &broken), abi::ERR_DECRYPTION_FAILED, abi::ACTION_WARN);
    }
    reads(&romeo, JULIET, &stanza, "hello yourself");
    refused(&unchanged(&romeo, JULIET, &stanza), abi::ERR_DUPLICATE, abi::ACTION_HIDE);
    // A store from before the session knows none.
    romeo.close();
    romeo.store.put_back(before);
    romeo.restart();
    refused(&unchanged(&romeo, JULIET, &stanza), abi::ERR_NO_SESSION, abi::ACTION_WARN);
}

fn too_many_skipped(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let romeo = Client::with(&world, ROMEO, Setup { options: vec![(3, 10), (4, 5)], ..Setup::default() });
    romeo.connect().ok();
    let juliet = Client::online(&world, JULIET);
    let stanzas: Vec<String> = (0..20).map(|n| juliet.seal(&[ROMEO], &n.to_string())).collect();
    reads(&romeo, JULIET, &stanzas[0], "0");
    refused(&unchanged(&romeo, JULIET, &stanzas[7]), abi::ERR_TOO_MANY_SKIPPED, abi::ACTION_WARN);
    reads(&romeo, JULIET, &stanzas[6], "6");
    reads(&romeo, JULIET, &stanzas[12], "12");
    reads(&romeo, JULIET, &stanzas[1], "1");
    // Nine keys are kept; six more make more than ten, and the oldest go.
    reads(&romeo, JULIET, &stanzas[18], "18");
    assert_ne!(unchanged(&romeo, JULIET, &stanzas[2]).status, abi::OK);
    reads(&romeo, JULIET, &stanzas[17], "17");
}

fn trust_undecided_or_unknown(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let levels = |names: &[(&str, i32)]| {
        names.iter().map(|(name, v)| ((*name).to_owned(), *v)).collect::<BTreeMap<_, _>>()
    };
    let all = levels(&[("undecided", 0), ("trusted", 1), ("friend", 1), ("foe", 2)]);
    let romeo = Client::with(&world, ROMEO, Setup { levels: all, ..Setup::default() });
    romeo.connect().ok();
    let juliet = Client::online(&world, JULIET);
    let read = reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "who am I?"), "who am I?");
    assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_UNDECIDED, Some("undecided")));
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "stranger"), abi::ERR_UNKNOWN_TRUST_LEVEL);
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "friend"), abi::OK);
    // Nobody vouches for the key yet: it is at most undecided, whatever its level.
    let read = reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "as yet"), "as yet");
    assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_UNDECIDED, Some("friend")));
    romeo.refresh(JULIET).ok();
    let read = reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "a friend?"), "a friend?");
    assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_TRUSTED, Some("friend")));
    romeo.set_levels(levels(&[("undecided", 0), ("trusted", 1)]));
    let read = reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "and now?"), "and now?");
    assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_UNDECIDED, Some("friend")));
    let refused = romeo.encrypt(&[JULIET], "nothing");
    assert_eq!(refused.row(JULIET, juliet.id()), Some(abi::ERR_UNKNOWN_TRUST_LEVEL));
    assert!(refused.messages.is_empty());
}

fn the_sender_in_a_room(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    let stanza = juliet.seal(&[ROMEO], "in the room");
    let before = romeo.store.all();
    let decrypted = romeo.decrypt_in(Some(ROOM), Some(ROOM), &stanza).unwrap();
    assert_eq!((decrypted.status, decrypted.body), (abi::ERR_SENDER_NOT_FOUND, None));
    assert_eq!(romeo.store.all(), before);
    let read = romeo.decrypt_in(Some(JULIET), Some(ROOM), &stanza).unwrap();
    assert_eq!((read.body.as_deref(), read.from.as_deref()), (Some("in the room"), Some(JULIET)));
    // The room does not say who it was: who has that device id and a session that fits.
    romeo.receive();
    settle(&[&romeo, &juliet]);
    let stanza = juliet.seal(&[ROMEO], "masked");
    let read = romeo.decrypt_in(None, Some(ROOM), &stanza).unwrap();
    assert_eq!((read.body.as_deref(), read.from.as_deref()), (Some("masked"), Some(JULIET)));
    let nobody = edit::with_sid(&juliet.seal(&[ROMEO], "nobody"), juliet.id() ^ 1);
    assert_eq!(romeo.decrypt_in(None, Some(ROOM), &nobody).unwrap().status, abi::ERR_SENDER_NOT_FOUND);
    assert!(world.bundle(ns, JULIET, juliet.id()).is_some());
}
