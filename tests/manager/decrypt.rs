//! Each row of the table of decryption.

use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::x3dh::ResponderKeys;
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    table_no_key_for_us,
    table_own_echo,
    table_distrusted_sender,
    table_distrusted_key_in_a_key_exchange,
    table_a_confirmed_key_differs,
    table_a_key_exchange_relayed_in_somebodys_name,
    a_provisional_key_is_confirmed_by_the_bundle_and_its_session_goes_on,
    no_content_goes_to_a_provisional_key_without_its_bundle,
    table_a_key_exchange_that_is_known_is_its_session,
    r53_a_key_exchange_processed_before_is_a_duplicate,
    table_a_new_key_exchange_replaces_the_session,
    table_no_session_and_its_repair,
    f25_what_no_session_decrypts_changes_nothing,
    table_too_many_skipped,
    table_a_pre_key_that_is_gone,
    table_undecided_and_unknown_levels_are_shown,
    table_who_wrote_in_a_room,
    a_key_transport_has_no_content,
}

fn table_no_key_for_us(ns: Namespace) {
    let (_, romeo, juliet) = friends(ns);
    let mut stranger = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    let mut session = stranger.initiate(&RawDevice::of(ns, ROMEO, 3).bundle());
    // Legacy does not say whose device it means.
    let device = if ns == Legacy { juliet.id() ^ 1 } else { juliet.id() };
    let mut message = stranger.write(&mut session, (&romeo.jid, device), "x");
    let refused = juliet.refuse(&stranger.jid, &message, Status::NotForUs);
    assert_eq!(refused.action, Action::Warn);
    message.payload = None;
    let refused = juliet.refuse(&stranger.jid, &message, Status::NotForUs);
    assert_eq!(refused.action, Action::Hide);
}

fn table_own_echo(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = romeo.say(&juliet.jid, "x", &mut server);
    let echo = romeo.refuse(&romeo.jid, &message, Status::OwnEcho);
    assert_eq!(echo.action, Action::Hide);
}

fn table_distrusted_sender(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "distrusted").unwrap();
    let message = romeo.say(&juliet.jid, "trust me", &mut server);
    juliet.refuse(&romeo.jid, &message, Status::SenderDistrusted);
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "trusted").unwrap();
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "trust me");
}

fn table_distrusted_key_in_a_key_exchange(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    juliet.manager().set_trust(&tybalt.jid, &tybalt.key(), "distrusted").unwrap();
    let (_, greeting) = tybalt.greet(&juliet, &server, "en garde");
    juliet.refuse(&tybalt.jid, &greeting, Status::SenderDistrusted);
    juliet.manager().set_trust(&tybalt.jid, &tybalt.key(), "trusted").unwrap();
    assert_eq!(text(&juliet.read(&tybalt.jid, &greeting)), "en garde");
}

fn table_a_confirmed_key_differs(ns: Namespace) {
    let (server, juliet, romeo) = with_known_raw(ns, JULIET, (ROMEO, 9));
    let mut mallory = RawDevice::of(ns, ROMEO, 9);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "in his name");
    juliet.refuse(&romeo.jid, &relayed, Status::PublicDataInconsistency);
    let again = mallory.write(&mut session, (&juliet.jid, juliet.id()), "in his name");
    juliet.refuse(&romeo.jid, &again, Status::PublicDataInconsistency);
    juliet.step();
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 1, "told once in a run");
    assert_eq!(juliet.device(&romeo.jid, 9).unwrap().identity_key, Some(romeo.key()));
}

fn table_a_key_exchange_relayed_in_somebodys_name(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, MALLORY));
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    let read = juliet.read(&romeo.jid, &relayed);
    assert_eq!((text(&read), read.identity_key), ("I am Romeo".to_owned(), Some(as_told(ns, mallory.key()))));
    let device = juliet.device(&romeo.jid, MALLORY).unwrap();
    assert!(device.active.is_empty(), "a message makes no device active");
    // Whatever was thought of the relayed key, nothing but the key of his own node gets content.
    juliet.manager().set_trust(&romeo.jid, &mallory.key(), "trusted").unwrap();
    let message = juliet.say(&romeo.jid, "are you?", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "are you?");
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 1);
    assert_eq!(juliet.device(&romeo.jid, MALLORY).unwrap().identity_key, Some(romeo.key()));
    // The session in his name is given up: it never becomes the current one again.
    let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "I am Romeo!");
    let read = juliet.read(&romeo.jid, &more);
    assert!(matches!(read.error.status(), Status::Ok | Status::PublicDataInconsistency));
    let message = juliet.say(&romeo.jid, "who was that?", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "who was that?");
}

fn a_provisional_key_is_confirmed_by_the_bundle_and_its_session_goes_on(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, 9));
    let (mut session, greeting) = romeo.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "hello");
    let before = juliet.count_asked(is_bundle);
    let reply = juliet.say(&romeo.jid, "welcome", &mut server);
    assert_eq!(juliet.count_asked(is_bundle) - before, 1, "content went to a key that nobody vouched for");
    assert!(!romeo.bytes(&reply).key_exchange, "the session that was there is used");
    romeo.open(&mut session, &reply);
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 0);
    juliet.say(&romeo.jid, "again", &mut server);
    assert_eq!(juliet.count_asked(is_bundle) - before, 1, "the bundle is fetched once");
}

fn no_content_goes_to_a_provisional_key_without_its_bundle(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, 9));
    let (_, greeting) = romeo.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "hello");
    juliet.run(&mut server);
    server.bundles.remove(&(ns, romeo.jid.clone(), 9));
    let outcome = juliet.encrypt(&[&romeo.jid], "x", EncryptPolicy::Wait, &mut server);
    if juliet.count_asked(is_bundle) == 0 || row(&outcome, &romeo.jid, 9) == Some(Status::BundleNotFound) {
        assert_eq!(outcome.status(), Status::NoEligibleDevices);
        assert!(outcome.messages.is_empty());
    } else {
        panic!("{:?}", outcome.error);
    }
}

fn table_a_key_exchange_that_is_known_is_its_session(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let (mut first, greeting) = romeo.greet(&juliet, &server, "1");
    assert!(juliet.read(&romeo.jid, &greeting).new_session);
    let to = (juliet.jid.clone(), juliet.id());
    let again = romeo.write(&mut first, (&to.0, to.1), "2");
    let read = juliet.read(&romeo.jid, &again);
    assert_eq!((text(&read), read.new_session), ("2".to_owned(), false));
    juliet.refuse(&romeo.jid, &again, Status::Duplicate);
    // The same holds when another session has taken its place.
    juliet.run(&mut server);
    let (_, other) = romeo.greet(&juliet, &server, "3");
    assert!(juliet.read(&romeo.jid, &other).new_session);
    let late = romeo.write(&mut first, (&to.0, to.1), "4");
    let read = juliet.read(&romeo.jid, &late);
    assert_eq!((text(&read), read.new_session), ("4".to_owned(), false));
}

fn r53_a_key_exchange_processed_before_is_a_duplicate(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let bundle = server.bundle(&juliet);
    let to = (juliet.jid.clone(), juliet.id());
    let mut greetings = Vec::new();
    // More than the archive holds: the first session is gone, but not forgotten.
    for n in 0..45 {
        let mut one = bundle.clone();
        one.pre_keys = vec![bundle.pre_keys[n].clone()];
        let mut session = romeo.initiate(&one);
        let greeting = romeo.write(&mut session, (&to.0, to.1), &format!("{n}"));
        assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), n.to_string());
        greetings.push(greeting);
    }
    for greeting in &greetings {
        juliet.refuse(&romeo.jid, greeting, Status::Duplicate);
    }
}

fn table_a_new_key_exchange_replaces_the_session(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // Romeo's device lost its sessions and begins anew under the same key: as a copy of its store without them would.
    let on_its_way = romeo.say(&juliet.jid, "on its way", &mut server);
    let storage = romeo.storage.copy();
    storage.records.lock().unwrap().retain(|key, _| !key.starts_with("v1/session/"));
    let restored = RustDevice::closed(config(ns, ROMEO, "trusted"), storage);
    restored.open().unwrap();
    restored.connect(&mut server);
    let fresh = restored.say(&juliet.jid, "fresh", &mut server);
    assert!(fresh.keys[0].key_exchange);
    let read = juliet.read(&romeo.jid, &fresh);
    assert_eq!((text(&read), read.new_session), ("fresh".to_owned(), true));
    assert_eq!(text(&juliet.read(&romeo.jid, &on_its_way)), "on its way");
}

fn table_no_session_and_its_repair(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    romeo.refresh(&juliet.jid, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    // A message of a session that juliet does not have.
    let forged = |device: u32, name: &str| {
        let mut stranger = RawDevice::of(ns, name, device);
        let mut peer = RawDevice::of(ns, JULIET, juliet.id());
        let mut session = stranger.initiate(&peer.bundle());
        let first = stranger.write(&mut session, (&juliet.jid, juliet.id()), "x");
        let bytes = peer.bytes(&first).bytes.unwrap();
        let exchange = KeyExchange::parse(ns, &bytes).unwrap();
        let pair = &peer.pre_keys.iter().find(|(id, _)| *id == exchange.id().pre_key_id).unwrap().1;
        let mut budget = ChainBudget::new(SkipLimits::default());
        let own = &peer.identity;
        let step = Session::accept(
            &ResponderKeys::new(own, &peer.signed.pair, pair),
            &exchange,
            &mut budget,
            &mut peer.rng,
        )
        .unwrap();
        let mut theirs = step.session;
        let answer = theirs.encrypt(&[0; 32]).unwrap();
        let ratchet = RatchetMessage::parse(ns, &answer.bytes).unwrap();
        let step =
            session.decrypt(&ratchet, None, &mut |_| Ok(None), &mut budget, &mut stranger.rng).unwrap();
        session = step.session;
        stranger.write(&mut session, (&juliet.jid, juliet.id()), "x")
    };
    let before = juliet.sent.borrow().len();
    // Of a device that no list names: no session is begun for it.
    let tybalt = forged(5, "tybalt@capulet.lit");
    juliet.refuse(&jid("tybalt@capulet.lit"), &tybalt, Status::NoSession);
    juliet.run(&mut server);
    assert_eq!(juliet.sent.borrow().len(), before);
    // Of a listed one: one session, and an empty message to say so, once an hour.
    let listed = forged(romeo.id(), ROMEO);
    assert_eq!(juliet.refuse(&romeo.jid, &listed, Status::NoSession).action, Action::Warn);
    juliet.run(&mut server);
    for _ in 0..3 {
        // There is a session now; it is not this one.
        juliet.refuse(&romeo.jid, &listed, Status::DecryptionFailed);
        juliet.run(&mut server);
    }
    assert_eq!(juliet.sent.borrow().len(), before + 1);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

fn f25_what_no_session_decrypts_changes_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = romeo.say(&juliet.jid, "x", &mut server);
    for position in [0, 10, 40, 60] {
        let mut forged = message.clone();
        let bytes = forged.keys[0].bytes.as_mut().unwrap();
        let at = bytes.len() - 1 - position;
        bytes[at] ^= 1;
        let (before, commits) = (juliet.storage.all(), juliet.storage.commits());
        let read = juliet.read(&romeo.jid, &forged);
        assert!(
            matches!(
                read.error.status(),
                Status::DecryptionFailed | Status::Malformed | Status::TooManySkipped | Status::NoSession
            ),
            "{:?}",
            read.error
        );
        assert!(juliet.storage.all() == before && juliet.storage.commits() == commits);
    }
    // The payload is authenticated, too: nothing moves when that fails.
    let mut forged = message.clone();
    *forged.payload.as_mut().unwrap().last_mut().unwrap() ^= 1;
    juliet.refuse(&romeo.jid, &forged, Status::DecryptionFailed);
    let mut broken = message.clone();
    broken.keys[0].bytes = None;
    juliet.refuse(&romeo.jid, &broken, Status::Malformed);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x");
    assert_eq!(juliet.refuse(&romeo.jid, &message, Status::Duplicate).action, Action::Hide);
}

fn table_too_many_skipped(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    let to = (juliet.jid.clone(), juliet.id());
    let messages: Vec<_> =
        (1..=1_002).map(|n| romeo.write(&mut session, (&to.0, to.1), &format!("{n}"))).collect();
    juliet.refuse(&romeo.jid, &messages[1_001], Status::TooManySkipped);
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[1_000])), "1001");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[1_001])), "1002");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[500])), "501");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[0])), "1");
    juliet.refuse(&romeo.jid, &messages[500], Status::Duplicate);
}

fn table_a_pre_key_that_is_gone(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut bundle = server.bundle(&juliet);
    bundle.pre_keys.truncate(1);
    let to = (juliet.jid.clone(), juliet.id());
    let greet = |name: &str| {
        let mut stranger = RawDevice::of(ns, name, 9);
        let mut session = stranger.initiate(&bundle);
        (stranger.jid.clone(), stranger.write(&mut session, (&to.0, to.1), "hello"))
    };
    let (romeo, first) = greet(ROMEO);
    let (tybalt, second) = greet("tybalt@capulet.lit");
    let (nurse, third) = greet("nurse@capulet.lit");
    assert_eq!(text(&juliet.read(&romeo, &first)), "hello");
    // Until a bundle without it is published the same pre key opens others' key exchanges.
    assert_eq!(text(&juliet.read(&tybalt, &second)), "hello");
    juliet.run(&mut server);
    juliet.refuse(&nurse, &third, Status::PreKeyUnknown);
    assert!(server.bundle(&juliet).pre_keys.iter().all(|pre_key| pre_key.id != bundle.pre_keys[0].id));
}

#[test]
fn table_several_legacy_keys_with_our_id() {
    let mut server = Server::of(Legacy);
    let juliet = RustDevice::with(
        Config { namespaces: vec![Legacy, Omemo2], ..config(Legacy, JULIET, "trusted") },
        &mut server,
    );
    let mut romeo = RawDevice::of(Legacy, ROMEO, 9);
    let bundle = server.bundles[&(Legacy, juliet.jid.clone(), juliet.id())].clone();
    let mut stray = romeo.initiate(&RawDevice::of(Legacy, "nurse@capulet.lit", juliet.id()).bundle());
    let to = (juliet.jid.clone(), juliet.id());
    for first in [true, false] {
        let mut session = romeo.initiate(&bundle);
        let mut message = romeo.write(&mut session, (&to.0, to.1), "for one of you");
        let other = romeo.write(&mut stray, (&to.0, to.1), "for somebody else").keys.remove(0);
        message.keys.insert(usize::from(first), other);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "for one of you", "first: {first}");
    }
}

fn table_undecided_and_unknown_levels_are_shown(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::with(config(ns, JULIET, "undecided"), &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    romeo.publish(&mut server);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "hello");
    let read = juliet.read(&romeo.jid, &greeting);
    assert_eq!(
        (text(&read), read.core_trust, read.trust_level_name.as_str()),
        ("hello".into(), CoreTrust::Undecided, "undecided")
    );
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "custom").unwrap();
    // A key that nobody vouches for is at most undecided, whatever its level.
    assert_eq!(juliet.device(&romeo.jid, 9).unwrap().core_trust, CoreTrust::Undecided);
    juliet.refresh(&romeo.jid, &mut server);
    let to = (juliet.jid.clone(), juliet.id());
    let message = romeo.write(&mut session, (&to.0, to.1), "known");
    assert_eq!(juliet.read(&romeo.jid, &message).core_trust, CoreTrust::Trusted);
    juliet.services.forgets_custom.store(true, SeqCst);
    let message = romeo.write(&mut session, (&to.0, to.1), "unknown");
    let read = juliet.read(&romeo.jid, &message);
    assert_eq!((text(&read), read.core_trust), ("unknown".into(), CoreTrust::Undecided));
    let outcome = juliet.encrypt(&[&romeo.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &romeo.jid, 9), Some(Status::UnknownTrustLevel));
}

fn table_who_wrote_in_a_room(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let room = jid("balcony@rooms.capulet.lit");
    // Two members have the same device id.
    let mut sessions = Vec::new();
    for name in [ROMEO, "tybalt@capulet.lit"] {
        let mut member = RawDevice::of(ns, name, 9);
        member.publish(&mut server);
        let mut bundle = server.bundle(&juliet);
        bundle.pre_keys.drain(..sessions.len());
        bundle.pre_keys.truncate(1);
        let mut session = member.initiate(&bundle);
        let greeting = member.write(&mut session, (&juliet.jid, juliet.id()), "hello");
        assert_eq!(text(&juliet.read(&member.jid, &greeting)), "hello");
        sessions.push((member, session));
    }
    let to = (juliet.jid.clone(), juliet.id());
    for (member, session) in &mut sessions {
        let message = member.write(session, (&to.0, to.1), "in the room");
        let (before, commits) = (juliet.storage.all(), juliet.storage.commits());
        let wrong = juliet.manager().decrypt(Some(&room), Some(&room), &message).unwrap();
        assert_eq!(wrong.error.status(), Status::SenderNotFound);
        assert!(juliet.storage.all() == before && juliet.storage.commits() == commits);
        let read = juliet.manager().decrypt(None, Some(&room), &message).unwrap();
        assert_eq!((text(&read), read.from.as_ref()), ("in the room".to_owned(), Some(&member.jid)));
        assert_eq!(read.identity_key, Some(as_told(ns, member.key())));
    }
}

fn a_key_transport_has_no_content(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let mut session = romeo.initiate(&server.bundle(&juliet));
    let mut message = romeo.write(&mut session, (&juliet.jid, juliet.id()), "x");
    message.payload = None;
    let read = juliet.read(&romeo.jid, &message);
    assert_eq!((read.error.status(), read.action), (Status::Ok, Action::Hide));
    assert!(read.plaintext.is_none() && read.new_session);
}
