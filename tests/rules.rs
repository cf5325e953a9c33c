//! Traps that other implementations fell into, each by its number, through the C functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use support::world::Answering;
use support::{Answer, Client, Kind, Setup, World, abi, edit, seeds, settle, status_name};

const ROMEO: &str = "romeo@montague.lit";
const JULIET: &str = "juliet@capulet.lit";
const TYBALT: &str = "tybalt@capulet.lit";

const STORAGE: i32 = -100;
const NO_ELIGIBLE_DEVICES: i32 = -300;
const IDENTITY_CHANGED: i32 = -304;
const BUNDLE_NOT_FOUND: i32 = -306;
const BUNDLE_BAD: i32 = -307;

const NOTICE_IDENTITY_CHANGED: i32 = 2;

in_both_namespaces! {
    no_session_with_a_key_that_was_not_judged,
    no_key_is_taken_from_a_bundle_whose_signature_is_wrong,
    both_begin_at_once_and_go_on,
    one_call_makes_one_commit,
    a_commit_that_fails_changes_nothing_and_can_be_made_again,
    the_first_run_goes_on_after_any_failure_of_the_store,
    the_first_run_goes_on_after_any_failure_of_the_network,
    encryptions_at_the_same_time_use_different_keys,
    a_plaintext_is_not_lost_when_what_follows_fails,
    a_broken_bundle_costs_its_device_and_nobody_else,
    one_heartbeat_for_one_ratchet_key,
    no_message_without_a_key,
    what_nobody_knows_and_what_concerns_others_does_no_harm,
    what_is_sent_was_stored_before,
}

fn pair(world: &World) -> (Client, Client) {
    (Client::online(world, ROMEO), Client::online(world, JULIET))
}

#[track_caller]
fn reads(client: &Client, from: &str, stanza: &str, text: &str) {
    let read = client.decrypt(from, stanza).unwrap();
    assert_eq!(read.body.as_deref(), Some(text), "{} {}", status_name(read.status), read.text);
}

/// Both have a session and have heard of each other.
fn acquainted(world: &World) -> (Client, Client) {
    let (romeo, juliet) = pair(world);
    romeo.say(&[JULIET], "hello");
    assert_eq!(juliet.read(), ["hello"]);
    settle(&[&romeo, &juliet]);
    romeo.receive();
    settle(&[&romeo, &juliet]);
    (romeo, juliet)
}

fn no_session_with_a_key_that_was_not_judged(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = pair(&world);
    let tybalt = Client::online(&world, TYBALT);
    romeo.refresh(JULIET).ok();
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "trusted"), abi::OK);
    let forged = world.bundle(ns, TYBALT, tybalt.id()).unwrap();
    let genuine = world.bundle(ns, JULIET, juliet.id()).unwrap();
    world.publish_bundle(ns, JULIET, juliet.id(), &forged);
    romeo.restart();
    romeo.connect().ok();
    let refused = romeo.encrypt(&[JULIET], "secret");
    assert_eq!(refused.status, NO_ELIGIBLE_DEVICES);
    assert_eq!(refused.row(JULIET, juliet.id()), Some(IDENTITY_CHANGED));
    assert!(refused.messages.is_empty());
    assert!(
        romeo.notices().iter().any(|notice| (notice.0, notice.3) == (NOTICE_IDENTITY_CHANGED, juliet.id()))
    );
    let device = romeo.devices(JULIET).remove(0);
    assert!(device.identity_changed);
    assert_eq!((device.identity, device.conflicting_key), (Some(juliet.identity()), Some(tybalt.identity())));
    // Another key than the one that was shown cannot be accepted; that one can, and starts undecided.
    assert_eq!(romeo.accept_identity(JULIET, juliet.id(), &romeo.identity()), IDENTITY_CHANGED);
    assert_eq!(romeo.accept_identity(JULIET, juliet.id(), &tybalt.identity()), abi::OK);
    let device = romeo.devices(JULIET).remove(0);
    assert_eq!((device.identity, device.identity_changed), (Some(tybalt.identity()), false));
    assert_eq!(device.trust, abi::UNDECIDED);
    // And back again, when the server shows the genuine one.
    world.publish_bundle(ns, JULIET, juliet.id(), &genuine);
    romeo.restart();
    romeo.connect().ok();
    assert_eq!(romeo.encrypt(&[JULIET], "secret").row(JULIET, juliet.id()), Some(IDENTITY_CHANGED));
    assert_eq!(romeo.accept_identity(JULIET, juliet.id(), &juliet.identity()), abi::OK);
    reads(&juliet, ROMEO, &romeo.seal(&[JULIET], "secret"), "secret");
}

fn no_key_is_taken_from_a_bundle_whose_signature_is_wrong(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = pair(&world);
    let genuine = world.bundle(ns, JULIET, juliet.id()).unwrap();
    // The key of somebody else under Juliet's signature, and Juliet's key under a broken one.
    let tybalt = Client::online(&world, TYBALT);
    let other = edit::text(&world.bundle(ns, TYBALT, tybalt.id()).unwrap(), edit::names(ns).identity_key);
    for wrong in [
        edit::with_text(&genuine, edit::names(ns).identity_key, &other),
        edit::flip(&genuine, edit::names(ns).signature, 30),
    ] {
        world.publish_bundle(ns, JULIET, juliet.id(), &wrong);
        romeo.restart();
        romeo.connect().ok();
        romeo.refresh(JULIET);
        assert_eq!(romeo.devices(JULIET)[0].identity, None, "nothing is known of her key");
        let refused = romeo.encrypt(&[JULIET], "secret");
        assert_eq!(refused.row(JULIET, juliet.id()), Some(BUNDLE_BAD), "{refused:?}");
        assert!(refused.messages.is_empty());
        assert_eq!(romeo.devices(JULIET)[0].identity, None);
    }
    world.publish_bundle(ns, JULIET, juliet.id(), &genuine);
    romeo.restart();
    romeo.connect().ok();
    reads(&juliet, ROMEO, &romeo.seal(&[JULIET], "secret"), "secret");
    assert_eq!(romeo.devices(JULIET)[0].identity, Some(juliet.identity()));
}

fn both_begin_at_once_and_go_on(ns: &'static str) {
    seeds::each("both begin at once", |seed| {
        let world = World::speaking(ns, seed);
        let (romeo, juliet) = pair(&world);
        let clients = [&romeo, &juliet];
        // Several key exchanges cross, and what answers them crosses as well.
        for round in 0..5 {
            let ours = romeo.seal(&[JULIET], &format!("ours {round}"));
            let theirs = juliet.seal(&[ROMEO], &format!("theirs {round}"));
            if world.dice(2) == 0 {
                reads(&romeo, JULIET, &theirs, &format!("theirs {round}"));
                settle(&clients);
                reads(&juliet, ROMEO, &ours, &format!("ours {round}"));
            } else {
                reads(&juliet, ROMEO, &ours, &format!("ours {round}"));
                reads(&romeo, JULIET, &theirs, &format!("theirs {round}"));
            }
            for _ in 0..world.dice(3) {
                settle(&clients);
                assert!(romeo.receive().iter().chain(&juliet.receive()).all(|read| read.status == abi::OK));
            }
        }
        for round in 0..3 {
            romeo.say(&[JULIET], &format!("after {round}"));
            juliet.say(&[ROMEO], &format!("after {round}"));
            settle(&clients);
            assert_eq!(juliet.read(), [format!("after {round}")]);
            assert_eq!(romeo.read(), [format!("after {round}")]);
        }
    });
}

fn one_call_makes_one_commit(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    let exchange = romeo.seal(&[JULIET], "first");
    let commits = juliet.store.commits();
    reads(&juliet, ROMEO, &exchange, "first");
    assert_eq!(juliet.store.commits(), commits + 1, "session, pre key and follow-ups together");
    settle(&[&romeo, &juliet]);
    romeo.receive();
    settle(&[&romeo, &juliet]);
    let commits = romeo.store.commits();
    let stanza = romeo.seal(&[JULIET], "second");
    assert_eq!(romeo.store.commits(), commits + 1, "all devices together");
    let commits = juliet.store.commits();
    reads(&juliet, ROMEO, &stanza, "second");
    assert_eq!(juliet.store.commits(), commits + 1);
    let commits = romeo.store.commits();
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "distrusted"), abi::OK);
    assert_eq!(romeo.store.commits(), commits + 1);
}

fn a_commit_that_fails_changes_nothing_and_can_be_made_again(ns: &'static str) {
    for written in [false, true] {
        let world = World::speaking(ns, 1);
        let (romeo, juliet) = acquainted(&world);
        // Decrypting: the call says so, and the same stanza is read when the store is well again, unless the store
        // had written it after all.
        let stanza = romeo.seal(&[JULIET], "second");
        juliet.store.fail_commit(1, written);
        assert_eq!(juliet.decrypt(ROMEO, &stanza).unwrap_err(), STORAGE);
        let again = juliet.decrypt(ROMEO, &stanza).unwrap();
        match written {
            false => assert_eq!(again.body.as_deref(), Some("second")),
            true => assert_eq!((again.status, again.action), (-501, abi::ACTION_HIDE), "{}", again.text),
        }
        // Encrypting: no message comes out, and the key of the next one is fresh.
        romeo.store.fail_commit(1, written);
        let refused = romeo.encrypt(&[JULIET], "never");
        assert_eq!((refused.status, refused.messages.len()), (STORAGE, 0));
        let third = romeo.seal(&[JULIET], "third");
        reads(&juliet, ROMEO, &third, "third");
        // A key exchange.
        let (tybalt, fresh) = (Client::online(&world, TYBALT), romeo.seal(&[JULIET], "fourth"));
        reads(&juliet, ROMEO, &fresh, "fourth");
        let exchange = tybalt.seal(&[JULIET], "peace? I hate the word");
        if !written {
            let before = juliet.store.snapshot();
            juliet.store.fail_commit(1, false);
            assert_eq!(juliet.decrypt(TYBALT, &exchange).unwrap_err(), STORAGE);
            assert_eq!(juliet.store.snapshot(), before);
        }
        reads(&juliet, TYBALT, &exchange, "peace? I hate the word");
    }
}

/// What a device must have published, whatever happened on the way.
#[track_caller]
fn announced(world: &World, romeo: &Client) {
    let (id, ns) = (romeo.id(), world.namespace());
    let list = world.list(ns, ROMEO).expect("a list");
    assert_eq!(list.matches("<device ").count(), 1, "one device, once: {list}");
    assert!(list.contains(&format!("id='{id}'")));
    let bundle = world.bundle(ns, ROMEO, id).expect("its bundle");
    assert_eq!(edit::count(&bundle, edit::names(ns).pre_key), 100);
    let juliet = Client::online(world, JULIET);
    reads(romeo, JULIET, &juliet.seal(&[ROMEO], "are you there?"), "are you there?");
}

fn the_first_run_goes_on_after_any_failure_of_the_store(ns: &'static str) {
    for written in [false, true] {
        let mut failures = 0;
        for nth in 1..20 {
            let world = World::speaking(ns, nth);
            let setup = Setup::default();
            let store = setup.store.clone();
            store.fail_commit(nth as usize, written);
            store.keep_failing(true);
            let mut romeo = match Client::try_with(&world, ROMEO, setup) {
                Ok(romeo) => romeo,
                Err((status, _)) => {
                    assert_eq!(status, STORAGE);
                    failures += 1;
                    store.heal();
                    Client::with(&world, ROMEO, Setup { store: store.clone(), ..Setup::default() })
                }
            };
            let op = romeo.start_connect();
            settle(&[&romeo]);
            failures += u64::from(romeo.outcome(op).is_none_or(|outcome| outcome.status != abi::OK));
            store.heal();
            romeo.restart();
            romeo.connect().ok();
            settle(&[&romeo]);
            announced(&world, &romeo);
        }
        assert!(failures >= 2, "only {failures} runs failed at all");
    }
}

fn the_first_run_goes_on_after_any_failure_of_the_network(ns: &'static str) {
    for nth in 1..6 {
        for answer in
            [Answer::Reject(abi::REASON_FAILED), Answer::Reject(abi::REASON_OFFLINE), Answer::Silence]
        {
            let world = World::speaking(ns, nth);
            let mut count = 0;
            let fault = answer.clone();
            world.set_fault(move |_| {
                count += 1;
                (count >= nth).then(|| fault.clone())
            });
            let mut romeo = Client::new(&world, ROMEO);
            romeo.start_connect();
            settle(&[&romeo]);
            world.clear_fault();
            // The process may end here, or live on and see the stream come back.
            if nth.is_multiple_of(2) {
                romeo.restart();
            } else {
                romeo.disconnect();
            }
            romeo.connect().ok();
            settle(&[&romeo]);
            announced(&world, &romeo);
        }
    }
}

fn encryptions_at_the_same_time_use_different_keys(ns: &'static str) {
    seeds::each("encryptions at the same time", |seed| {
        let world = World::speaking(ns, seed);
        let (romeo, juliet) = pair(&world);
        world.set_answering(Answering::Later { least_ms: 1, most_ms: 200 });
        // All are started before any can end, and a message is decrypted between.
        let texts: Vec<String> = (0..6).map(|number| format!("text {number}")).collect();
        let ops: Vec<u64> = texts
            .iter()
            .map(|text| romeo.start_encrypt(&[JULIET], text, abi::POLICY_WAIT).unwrap())
            .collect();
        reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "between"), "between");
        let mut sealed: Vec<(String, &String)> = ops
            .iter()
            .zip(&texts)
            .map(|(op, text)| (romeo.finish(*op).ok().messages.remove(0), text))
            .collect();
        world.shuffle(&mut sealed);
        for (stanza, text) in sealed {
            reads(&juliet, ROMEO, &stanza, text);
        }
    });
}

fn a_plaintext_is_not_lost_when_what_follows_fails(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair(&world);
    let used = |world: &World, juliet: &Client| world.bundle(ns, JULIET, juliet.id()).unwrap();
    let before = used(&world, &juliet);
    world.set_fault(|question| {
        matches!(question.kind, Kind::PublishBundle | Kind::SendMessage)
            .then_some(Answer::Reject(abi::REASON_FAILED))
    });
    let first = romeo.seal(&[JULIET], "first");
    reads(&juliet, ROMEO, &first, "first");
    settle(&[&juliet]);
    assert!(world.count(Kind::PublishBundle) > 2 && world.count(Kind::SendMessage) > 0, "both were tried");
    assert_eq!(used(&world, &juliet), before);
    // It stays to be done, even by the next process, and is tried again after a while.
    juliet.restart();
    world.clear_fault();
    juliet.connect().ok();
    for _ in 0..20 {
        world.advance(60_000);
        settle(&[&juliet]);
    }
    assert_ne!(used(&world, &juliet), before, "the used pre key is off the bundle");
    assert_eq!(edit::count(&used(&world, &juliet), edit::names(ns).pre_key), 100);
    assert_eq!(romeo.receive().iter().filter(|read| read.status == abi::OK).count(), 1, "the answer came");
    assert!(!romeo.seal(&[JULIET], "confirmed").contains(edit::names(ns).exchange));
}

fn a_broken_bundle_costs_its_device_and_nobody_else(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let juliets: Vec<Client> = (0..6).map(|_| Client::online(&world, JULIET)).collect();
    let zeros = edit::names(ns).zero_key;
    let breaks: [&dyn Fn(&str) -> String; 5] = [
        &|xml| edit::with_text(xml, edit::names(ns).identity_key, zeros),
        &|xml| edit::with_text(xml, edit::names(ns).signed_pre_key, zeros),
        &|xml| edit::with_text(xml, edit::names(ns).signature, "AAAA"),
        &|xml| edit::with_text(xml, edit::names(ns).pre_key, "not base64"),
        &|xml| xml[..xml.len() / 2].to_owned(),
    ];
    for (juliet, broken) in juliets.iter().zip(breaks) {
        let xml = world.bundle(ns, JULIET, juliet.id()).unwrap();
        world.publish_bundle(ns, JULIET, juliet.id(), &broken(&xml));
    }
    let romeo = Client::online(&world, ROMEO);
    let outcome = romeo.encrypt(&[JULIET], "for one").ok();
    reads(&juliets[5], ROMEO, &outcome.messages[0], "for one");
    for juliet in &juliets[..2] {
        assert_eq!(outcome.row(JULIET, juliet.id()), Some(BUNDLE_BAD), "{outcome:?}");
    }
    // What cannot even be read is bad as well.
    for index in [2, 4] {
        assert_eq!(outcome.row(JULIET, juliets[index].id()), Some(BUNDLE_BAD), "{outcome:?}");
    }
    for juliet in &juliets[..5] {
        // One broken pre key among a hundred may be passed over; what cannot be used must be a row.
        let status = outcome.row(JULIET, juliet.id()).expect("a row for each device");
        let served = juliet.decrypt(ROMEO, &outcome.messages[0]).unwrap().body.is_some();
        assert_eq!(status == abi::OK, served);
    }
    assert_eq!(outcome.row(JULIET, juliets[5].id()), Some(abi::OK));
}

fn one_heartbeat_for_one_ratchet_key(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = acquainted(&world);
    // Juliet speaks on and on and hears nothing: her ratchet key stays the same.
    world.clear_journal();
    for number in 0..300 {
        let text = number.to_string();
        reads(&romeo, JULIET, &juliet.seal(&[ROMEO], &text), &text);
        settle(&[&romeo]);
        let sent = world.count(Kind::SendMessage);
        // Her answer to the key exchange was the first of this chain.
        assert_eq!(sent, usize::from(number + 1 >= 53), "after message {number}");
    }
    // She hears it; her next messages come with a new key, and the count begins again.
    assert!(juliet.receive().iter().any(|read| read.status == abi::OK && read.body.is_none()));
    for number in 0..53 {
        let text = number.to_string();
        reads(&romeo, JULIET, &juliet.seal(&[ROMEO], &text), &text);
        settle(&[&romeo]);
        assert_eq!(world.count(Kind::SendMessage), 1);
    }
    reads(&romeo, JULIET, &juliet.seal(&[ROMEO], "one too many"), "one too many");
    settle(&[&romeo]);
    assert_eq!(world.count(Kind::SendMessage), 2);
}

fn no_message_without_a_key(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    let alone = romeo.encrypt(&[ROMEO], "to myself");
    assert!(alone.messages.is_empty(), "there is no other device");
    world.delete_bundle(ns, JULIET, juliet.id());
    let refused = romeo.encrypt(&[JULIET], "to nobody");
    assert_eq!((refused.status, refused.messages.len()), (NO_ELIGIBLE_DEVICES, 0));
    assert_eq!(refused.row(JULIET, juliet.id()), Some(BUNDLE_NOT_FOUND));
    assert_eq!(refused.row(JULIET, 0), Some(NO_ELIGIBLE_DEVICES), "the row that names whom");
}

fn what_nobody_knows_and_what_concerns_others_does_no_harm(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair(&world);
    // Device list and bundle with more in them than the specification says.
    let list = world.list(ns, JULIET).unwrap().replace("<device ", "<other xmlns='urn:x'/><device new='1' ");
    world.publish_list(ns, JULIET, &list);
    let bundle = world.bundle(ns, JULIET, juliet.id()).unwrap();
    let names = edit::names(ns);
    let bundle = bundle.replace("<prekeys>", "<pq xmlns='urn:x'>AAAA</pq><prekeys new='1'>");
    world.publish_bundle(ns, JULIET, juliet.id(), &bundle);
    romeo.receive();
    let stanza = romeo.seal(&[JULIET], "as ever");
    // Keys of others that make no sense, before and after ours; attributes and children that nobody knows.
    let stanza = stanza
        .replacen("<header ", "<header new='1' ", 1)
        .replacen(names.keys, &names.strange_keys, 1)
        .replacen("</header>", &format!("{}<new/></header><new/>", names.odd_key), 1);
    assert!(stanza.contains("rid='-1'") && stanza.contains("maybe"));
    reads(&juliet, ROMEO, &stanza, "as ever");
    // What concerns us is read strictly.
    let stanza = romeo.seal(&[JULIET], "broken");
    for broken in [edit::with_text(&stanza, "key", "!"), edit::with_text(&stanza, "key", "")] {
        let before = juliet.store.snapshot();
        let read = juliet.decrypt(ROMEO, &broken).unwrap();
        assert_ne!(read.status, abi::OK);
        assert_eq!((read.body, juliet.store.snapshot()), (None, before));
    }
    reads(&juliet, ROMEO, &stanza, "broken");
}

fn what_is_sent_was_stored_before(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair(&world);
    let first = romeo.seal(&[JULIET], "first");
    // The answer leaves, and at that moment the process dies.
    let at_sending = Rc::new(RefCell::new(Vec::new()));
    let (seen, store) = (Rc::clone(&at_sending), juliet.store.clone());
    world.set_fault(move |question| {
        (question.kind == Kind::SendMessage).then(|| {
            seen.borrow_mut().push((question.xml.clone().unwrap(), store.snapshot()));
            Answer::Reject(abi::REASON_FAILED)
        })
    });
    reads(&juliet, ROMEO, &first, "first");
    settle(&[&juliet]);
    let (answer, records) = at_sending.borrow().first().cloned().expect("an answer");
    juliet.close();
    juliet.store.put_back(records);
    juliet.restart();
    juliet.connect().ok();
    for _ in 0..20 {
        world.advance(60_000);
        settle(&[&juliet]);
    }
    let sent: Vec<String> = at_sending.borrow().iter().map(|(stanza, _)| stanza.clone()).collect();
    assert!(sent.len() >= 2, "it is tried again");
    assert!(sent.iter().all(|stanza| *stanza == answer), "always the same bytes");
    // The next message has another key: both are read.
    let next = juliet.seal(&[ROMEO], "next");
    assert_eq!(romeo.decrypt(JULIET, &answer).unwrap().status, abi::OK);
    reads(&romeo, JULIET, &next, "next");
}
