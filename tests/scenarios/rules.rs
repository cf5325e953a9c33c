//! Traps that other implementations fell into, on both faces of the library.

use crate::support::world::device::{Device, Known, News, Options, run_all, settle};
use crate::support::world::{Answering, Report};
use crate::support::{Answer, JULIET, Kind, ROMEO, TYBALT, World, abi, edit, seeds};
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use std::cell::RefCell;
use std::rc::Rc;

in_both_namespaces_and_faces! {
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

fn pair<D: Device>(world: &World) -> (D, D) {
    (D::online(world, ROMEO), D::online(world, JULIET))
}

fn encrypt<D: Device>(device: &D, to: &str, text: &str) -> Report {
    device.encrypt(&[to], text, EncryptPolicy::Wait)
}

#[track_caller]
fn reads<D: Device>(device: &D, from: &str, stanza: &str, text: &str) {
    let read = device.read(from, stanza);
    assert_eq!(read.text.as_deref(), Some(text), "{:?}", read.status);
}

/// The first device that is known of Juliet.
fn first_of_juliet<D: Device>(device: &D) -> Known {
    device.known(Some(JULIET)).remove(0)
}

/// Both have a session and have heard of each other.
fn acquainted<D: Device>(world: &World) -> (D, D) {
    let (romeo, juliet) = pair::<D>(world);
    romeo.say(JULIET, "hello");
    assert_eq!(juliet.texts(), ["hello"]);
    settle(&[&romeo, &juliet]);
    (romeo, juliet)
}

fn no_session_with_a_key_that_was_not_judged<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let juliet = D::online(&world, JULIET);
    let mut romeo = D::open(&world, ROMEO, Options { default_level: "undecided", ..Options::of(&world) });
    romeo.connect().ok();
    let tybalt = D::online(&world, TYBALT);
    romeo.refresh(JULIET).ok();
    assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), "trusted"), Status::Ok);
    let forged = world.bundle(ns, TYBALT, tybalt.own_id()).unwrap();
    let genuine = world.bundle(ns, JULIET, juliet.own_id()).unwrap();
    world.publish_bundle(ns, JULIET, juliet.own_id(), &forged);
    romeo.restart();
    romeo.connect().ok();
    let refused = encrypt(&romeo, JULIET, "secret");
    assert_eq!(refused.status, Status::NoEligibleDevices);
    assert_eq!(refused.row(JULIET, juliet.own_id()), Some(Status::IdentityChanged));
    assert!(refused.messages.is_empty());
    let news = romeo.news();
    let changed = |news: &News| (news.kind, news.device) == (NoticeKind::IdentityChanged, juliet.own_id());
    assert!(news.iter().any(changed), "{news:?}");
    let device = first_of_juliet(&romeo);
    assert_eq!((device.key, device.conflicting_key), (Some(juliet.own_key()), Some(tybalt.own_key())));
    // Another key than the one that was shown cannot be accepted; that one can, and starts undecided.
    assert_eq!(romeo.accept_identity(JULIET, juliet.own_id(), &romeo.own_key()), Status::IdentityChanged);
    assert_eq!(romeo.accept_identity(JULIET, juliet.own_id(), &tybalt.own_key()), Status::Ok);
    let device = first_of_juliet(&romeo);
    assert_eq!((device.key, device.conflicting_key), (Some(tybalt.own_key()), None));
    assert_eq!(device.core_trust, CoreTrust::Undecided);
    assert_eq!(romeo.set_trust(JULIET, &tybalt.own_key(), "trusted"), Status::Ok);
    // And back again, when the server shows the genuine one.
    world.publish_bundle(ns, JULIET, juliet.own_id(), &genuine);
    romeo.restart();
    romeo.connect().ok();
    assert_eq!(encrypt(&romeo, JULIET, "secret").row(JULIET, juliet.own_id()), Some(Status::IdentityChanged));
    assert_eq!(romeo.accept_identity(JULIET, juliet.own_id(), &juliet.own_key()), Status::Ok);
    assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), "trusted"), Status::Ok);
    reads(&juliet, ROMEO, &romeo.seal(JULIET, "secret"), "secret");
}

fn no_key_is_taken_from_a_bundle_whose_signature_is_wrong<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = pair::<D>(&world);
    let genuine = world.bundle(ns, JULIET, juliet.own_id()).unwrap();
    // The key of somebody else under Juliet's signature, and Juliet's key under a broken one.
    let tybalt = D::online(&world, TYBALT);
    let other = edit::text(&world.bundle(ns, TYBALT, tybalt.own_id()).unwrap(), edit::names(ns).identity_key);
    for wrong in [
        edit::with_text(&genuine, edit::names(ns).identity_key, &other),
        edit::flip(&genuine, edit::names(ns).signature, 30),
    ] {
        world.publish_bundle(ns, JULIET, juliet.own_id(), &wrong);
        romeo.restart();
        romeo.connect().ok();
        romeo.refresh(JULIET);
        assert_eq!(first_of_juliet(&romeo).key, None, "nothing is known of her key");
        let refused = encrypt(&romeo, JULIET, "secret");
        assert_eq!(refused.row(JULIET, juliet.own_id()), Some(Status::BundleBad), "{refused:?}");
        assert!(refused.messages.is_empty());
        assert_eq!(first_of_juliet(&romeo).key, None);
    }
    world.publish_bundle(ns, JULIET, juliet.own_id(), &genuine);
    romeo.restart();
    romeo.connect().ok();
    reads(&juliet, ROMEO, &romeo.seal(JULIET, "secret"), "secret");
    assert_eq!(first_of_juliet(&romeo).key, Some(juliet.own_key()));
}

fn both_begin_at_once_and_go_on<D: Device>(ns: &'static str) {
    seeds::each("both begin at once", |seed| {
        let world = World::speaking(ns, seed);
        let (romeo, juliet) = pair::<D>(&world);
        let clients = [&romeo, &juliet];
        // Several key exchanges cross, and what answers them crosses as well.
        for round in 0..5 {
            let ours = romeo.seal(JULIET, &format!("ours {round}"));
            let theirs = juliet.seal(ROMEO, &format!("theirs {round}"));
            if world.dice(2) == 0 {
                reads(&romeo, JULIET, &theirs, &format!("theirs {round}"));
                run_all(&clients);
                reads(&juliet, ROMEO, &ours, &format!("ours {round}"));
            } else {
                reads(&juliet, ROMEO, &ours, &format!("ours {round}"));
                reads(&romeo, JULIET, &theirs, &format!("theirs {round}"));
            }
            for _ in 0..world.dice(3) {
                run_all(&clients);
                assert!(
                    romeo.receive().iter().chain(&juliet.receive()).all(|read| read.status == Status::Ok)
                );
            }
        }
        for round in 0..3 {
            romeo.say(JULIET, &format!("after {round}"));
            juliet.say(ROMEO, &format!("after {round}"));
            run_all(&clients);
            assert_eq!(juliet.texts(), [format!("after {round}")]);
            assert_eq!(romeo.texts(), [format!("after {round}")]);
        }
    });
}

fn one_call_makes_one_commit<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair::<D>(&world);
    let exchange = romeo.seal(JULIET, "first");
    let commits = juliet.storage().commits();
    reads(&juliet, ROMEO, &exchange, "first");
    assert_eq!(juliet.storage().commits(), commits + 1, "session, pre key and follow-ups together");
    settle(&[&romeo, &juliet]);
    romeo.receive();
    settle(&[&romeo, &juliet]);
    let commits = romeo.storage().commits();
    let stanza = romeo.seal(JULIET, "second");
    assert_eq!(romeo.storage().commits(), commits + 1, "all devices together");
    let commits = juliet.storage().commits();
    reads(&juliet, ROMEO, &stanza, "second");
    assert_eq!(juliet.storage().commits(), commits + 1);
    let commits = romeo.storage().commits();
    assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), "distrusted"), Status::Ok);
    assert_eq!(romeo.storage().commits(), commits + 1);
}

fn a_commit_that_fails_changes_nothing_and_can_be_made_again<D: Device>(ns: &'static str) {
    for written in [false, true] {
        let world = World::speaking(ns, 1);
        let (romeo, juliet) = acquainted::<D>(&world);
        // Decrypting: the call says so, and the same stanza is read when the store is well again, unless the store
        // had written it after all.
        let stanza = romeo.seal(JULIET, "second");
        juliet.storage().fail_commit(1, written);
        assert_eq!(juliet.decrypt(Some(ROMEO), None, &stanza).unwrap_err(), Status::Storage);
        let again = juliet.decrypt(Some(ROMEO), None, &stanza).unwrap();
        match written {
            false => assert_eq!(again.text.as_deref(), Some("second")),
            true => assert_eq!((again.status, again.action), (Status::Duplicate, Action::Hide)),
        }
        // Encrypting: no message comes out, and the key of the next one is fresh.
        romeo.storage().fail_commit(1, written);
        let refused = encrypt(&romeo, JULIET, "never");
        assert_eq!((refused.status, refused.messages.len()), (Status::Storage, 0));
        let third = romeo.seal(JULIET, "third");
        reads(&juliet, ROMEO, &third, "third");
        // A key exchange.
        let (tybalt, fresh) = (D::online(&world, TYBALT), romeo.seal(JULIET, "fourth"));
        reads(&juliet, ROMEO, &fresh, "fourth");
        let exchange = tybalt.seal(JULIET, "peace? I hate the word");
        if !written {
            let before = juliet.storage().all();
            juliet.storage().fail_commit(1, false);
            assert_eq!(juliet.decrypt(Some(TYBALT), None, &exchange).unwrap_err(), Status::Storage);
            assert_eq!(juliet.storage().all(), before);
        }
        reads(&juliet, TYBALT, &exchange, "peace? I hate the word");
    }
}

/// What a device must have published, whatever happened on the way.
#[track_caller]
fn announced<D: Device>(world: &World, romeo: &D) {
    let (id, ns) = (romeo.own_id(), world.namespace());
    let list = world.list(ns, ROMEO).expect("a list");
    assert_eq!(list.matches("<device ").count(), 1, "one device, once: {list}");
    assert!(list.contains(&format!("id='{id}'")));
    let bundle = world.bundle(ns, ROMEO, id).expect("its bundle");
    assert_eq!(edit::count(&bundle, edit::names(ns).pre_key), 100);
    let juliet = D::online(world, JULIET);
    reads(romeo, JULIET, &juliet.seal(ROMEO, "are you there?"), "are you there?");
}

fn the_first_run_goes_on_after_any_failure_of_the_store<D: Device>(ns: &'static str) {
    for written in [false, true] {
        let mut failures = 0;
        for nth in 1..20 {
            let world = World::speaking(ns, nth);
            let options = Options::of(&world);
            let store = options.storage.clone();
            store.fail_commit(nth as usize, written);
            store.keep_failing(true);
            let mut romeo = match D::try_open(&world, ROMEO, options.clone()) {
                Ok(romeo) => romeo,
                Err(status) => {
                    assert_eq!(status, Status::Storage);
                    failures += 1;
                    store.heal();
                    D::open(&world, ROMEO, options)
                }
            };
            let op = romeo.begin_connect();
            run_all(&[&romeo]);
            failures += u64::from(romeo.report(op).is_none_or(|outcome| outcome.status != Status::Ok));
            store.heal();
            romeo.restart();
            romeo.connect().ok();
            run_all(&[&romeo]);
            announced(&world, &romeo);
        }
        assert!(failures >= 2, "only {failures} runs failed at all");
    }
}

fn the_first_run_goes_on_after_any_failure_of_the_network<D: Device>(ns: &'static str) {
    for nth in 1..6 {
        for answer in
            [Answer::Reject(abi::REJECT_FAILED), Answer::Reject(abi::REJECT_OFFLINE), Answer::Silence]
        {
            let world = World::speaking(ns, nth);
            let mut count = 0;
            let fault = answer.clone();
            world.set_fault(move |_| {
                count += 1;
                (count >= nth).then(|| fault.clone())
            });
            let mut romeo = D::open(&world, ROMEO, Options::of(&world));
            romeo.begin_connect();
            run_all(&[&romeo]);
            world.clear_fault();
            // The process may end here, or live on and see the stream come back.
            if nth.is_multiple_of(2) {
                romeo.restart();
            } else {
                romeo.disconnect();
            }
            romeo.connect().ok();
            run_all(&[&romeo]);
            announced(&world, &romeo);
        }
    }
}

fn encryptions_at_the_same_time_use_different_keys<D: Device>(ns: &'static str) {
    seeds::each("encryptions at the same time", |seed| {
        let world = World::speaking(ns, seed);
        let (romeo, juliet) = pair::<D>(&world);
        world.set_answering(Answering::Later { least_ms: 1, most_ms: 200 });
        // All are started before any can end, and a message is decrypted between.
        let texts: Vec<String> = (0..6).map(|number| format!("text {number}")).collect();
        let ops: Vec<u64> = texts
            .iter()
            .map(|text| romeo.begin_encrypt(&[JULIET], text, EncryptPolicy::Wait).unwrap())
            .collect();
        reads(&romeo, JULIET, &juliet.seal(ROMEO, "between"), "between");
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

fn a_plaintext_is_not_lost_when_what_follows_fails<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair::<D>(&world);
    let used = |world: &World, juliet: &D| world.bundle(ns, JULIET, juliet.own_id()).unwrap();
    let before = used(&world, &juliet);
    world.set_fault(|request| {
        matches!(request.kind, Kind::PublishBundle | Kind::SendMessage)
            .then_some(Answer::Reject(abi::REJECT_FAILED))
    });
    let first = romeo.seal(JULIET, "first");
    reads(&juliet, ROMEO, &first, "first");
    run_all(&[&juliet]);
    assert!(world.count(Kind::PublishBundle) > 2 && world.count(Kind::SendMessage) > 0, "both were tried");
    assert_eq!(used(&world, &juliet), before);
    // It stays to be done, even by the next process, and is tried again after a while.
    juliet.restart();
    world.clear_fault();
    juliet.connect().ok();
    for _ in 0..20 {
        world.advance(60_000);
        run_all(&[&juliet]);
    }
    assert_ne!(used(&world, &juliet), before, "the used pre key is off the bundle");
    assert_eq!(edit::count(&used(&world, &juliet), edit::names(ns).pre_key), 100);
    assert_eq!(romeo.receive().iter().filter(|read| read.status == Status::Ok).count(), 1, "the answer came");
    assert!(!romeo.seal(JULIET, "confirmed").contains(edit::names(ns).exchange));
}

fn a_broken_bundle_costs_its_device_and_nobody_else<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let juliets: Vec<D> = (0..6).map(|_| D::online(&world, JULIET)).collect();
    let zeros = edit::names(ns).zero_key;
    let breaks: [&dyn Fn(&str) -> String; 5] = [
        &|xml| edit::with_text(xml, edit::names(ns).identity_key, zeros),
        &|xml| edit::with_text(xml, edit::names(ns).signed_pre_key, zeros),
        &|xml| edit::with_text(xml, edit::names(ns).signature, "AAAA"),
        &|xml| edit::with_text(xml, edit::names(ns).pre_key, "not base64"),
        &|xml| xml[..xml.len() / 2].to_owned(),
    ];
    for (juliet, broken) in juliets.iter().zip(breaks) {
        let xml = world.bundle(ns, JULIET, juliet.own_id()).unwrap();
        world.publish_bundle(ns, JULIET, juliet.own_id(), &broken(&xml));
    }
    let romeo = D::online(&world, ROMEO);
    let outcome = encrypt(&romeo, JULIET, "for one").ok();
    reads(&juliets[5], ROMEO, &outcome.messages[0], "for one");
    for juliet in &juliets[..2] {
        assert_eq!(outcome.row(JULIET, juliet.own_id()), Some(Status::BundleBad), "{outcome:?}");
    }
    // What cannot even be read is bad as well.
    for index in [2, 4] {
        assert_eq!(outcome.row(JULIET, juliets[index].own_id()), Some(Status::BundleBad), "{outcome:?}");
    }
    for juliet in &juliets[..5] {
        // One broken pre key among a hundred may be passed over; what cannot be used must be a row.
        let status = outcome.row(JULIET, juliet.own_id()).expect("a row for each device");
        let served = juliet.read(ROMEO, &outcome.messages[0]).text.is_some();
        assert_eq!(status == Status::Ok, served);
    }
    assert_eq!(outcome.row(JULIET, juliets[5].own_id()), Some(Status::Ok));
}

fn one_heartbeat_for_one_ratchet_key<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = acquainted::<D>(&world);
    // Juliet speaks on and on and hears nothing: her ratchet key stays the same.
    world.clear_journal();
    for number in 0..300 {
        let text = number.to_string();
        reads(&romeo, JULIET, &juliet.seal(ROMEO, &text), &text);
        run_all(&[&romeo]);
        let sent = world.count(Kind::SendMessage);
        // Her answer to the key exchange was the first of this chain.
        assert_eq!(sent, usize::from(number + 1 >= 53), "after message {number}");
    }
    // She hears it; her next messages come with a new key, and the count begins again.
    assert!(juliet.receive().iter().any(|read| read.status == Status::Ok && read.text.is_none()));
    for number in 0..53 {
        let text = number.to_string();
        reads(&romeo, JULIET, &juliet.seal(ROMEO, &text), &text);
        run_all(&[&romeo]);
        assert_eq!(world.count(Kind::SendMessage), 1);
    }
    reads(&romeo, JULIET, &juliet.seal(ROMEO, "one too many"), "one too many");
    run_all(&[&romeo]);
    assert_eq!(world.count(Kind::SendMessage), 2);
}

fn no_message_without_a_key<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair::<D>(&world);
    let alone = encrypt(&romeo, ROMEO, "to myself");
    assert!(alone.messages.is_empty(), "there is no other device");
    world.delete_bundle(ns, JULIET, juliet.own_id());
    let refused = encrypt(&romeo, JULIET, "to nobody");
    assert_eq!((refused.status, refused.messages.len()), (Status::NoEligibleDevices, 0));
    assert_eq!(refused.row(JULIET, juliet.own_id()), Some(Status::BundleNotFound));
    assert_eq!(refused.row(JULIET, 0), Some(Status::NoEligibleDevices), "the row that names whom");
}

fn what_nobody_knows_and_what_concerns_others_does_no_harm<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = pair::<D>(&world);
    // Device list and bundle with more in them than the specification says.
    let list = world.list(ns, JULIET).unwrap().replace("<device ", "<other xmlns='urn:x'/><device new='1' ");
    world.publish_list(ns, JULIET, &list);
    let bundle = world.bundle(ns, JULIET, juliet.own_id()).unwrap();
    let names = edit::names(ns);
    let bundle = bundle.replace("<prekeys>", "<pq xmlns='urn:x'>AAAA</pq><prekeys new='1'>");
    world.publish_bundle(ns, JULIET, juliet.own_id(), &bundle);
    romeo.receive();
    let stanza = romeo.seal(JULIET, "as ever");
    // Keys of others that make no sense, before and after ours; attributes and children that nobody knows.
    let stanza = stanza
        .replacen("<header ", "<header new='1' ", 1)
        .replacen(names.keys, &names.strange_keys, 1)
        .replacen("</header>", &format!("{}<new/></header><new/>", names.odd_key), 1);
    assert!(stanza.contains("rid='-1'") && stanza.contains("maybe"));
    reads(&juliet, ROMEO, &stanza, "as ever");
    // What concerns us is read strictly.
    let stanza = romeo.seal(JULIET, "broken");
    for broken in [edit::with_text(&stanza, "key", "!"), edit::with_text(&stanza, "key", "")] {
        let before = juliet.storage().all();
        let read = juliet.decrypt(Some(ROMEO), None, &broken).unwrap();
        assert_ne!(read.status, Status::Ok);
        assert_eq!((read.text, juliet.storage().all()), (None, before));
    }
    reads(&juliet, ROMEO, &stanza, "broken");
}

fn what_is_sent_was_stored_before<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, mut juliet) = pair::<D>(&world);
    let first = romeo.seal(JULIET, "first");
    // The answer leaves, and at that moment the process dies.
    let at_sending = Rc::new(RefCell::new(Vec::new()));
    let (seen, store) = (Rc::clone(&at_sending), juliet.storage().clone());
    world.set_fault(move |request| {
        (request.kind == Kind::SendMessage).then(|| {
            seen.borrow_mut().push((request.xml.clone().unwrap(), store.all()));
            Answer::Reject(abi::REJECT_FAILED)
        })
    });
    reads(&juliet, ROMEO, &first, "first");
    run_all(&[&juliet]);
    let (answer, records) = at_sending.borrow().first().cloned().expect("an answer");
    juliet.storage().put_back(records);
    juliet.restart();
    juliet.connect().ok();
    for _ in 0..20 {
        world.advance(60_000);
        run_all(&[&juliet]);
    }
    let sent: Vec<String> = at_sending.borrow().iter().map(|(stanza, _)| stanza.clone()).collect();
    assert!(sent.len() >= 2, "it is tried again");
    assert!(sent.iter().all(|stanza| *stanza == answer), "always the same bytes");
    // The next message has another key: both are read.
    let next = juliet.seal(ROMEO, "next");
    assert_eq!(romeo.decrypt(Some(JULIET), None, &answer).unwrap().status, Status::Ok);
    reads(&romeo, JULIET, &next, "next");
}
