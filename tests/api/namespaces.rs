//! Both namespaces in one account, through the C functions.

use crate::support;
use crate::support::{Client, JULIET, Kind, NS_2, NS_LEGACY, ROMEO, RawDevice, Setup, Store, World, abi};

use omemo::crypto::rng::SystemRng;
use omemo::protocol::namespace::Namespace::Legacy;
use omemo::protocol::payload;
use omemo::stanza::message;

fn online(world: &World, jid: &str, namespaces: &[&'static str]) -> Client {
    let client =
        Client::with(world, jid, Setup { namespaces: Some(namespaces.to_vec()), ..Setup::default() });
    client.connect().ok();
    client
}

/// The namespace in which a device was served.
fn delivery_namespace(outcome: &support::Outcome, device: u32) -> Option<&str> {
    let row = outcome.rows.iter().find(|row| row.device == device && row.status == abi::OK);
    row.and_then(|row| row.ns.as_deref())
}

fn namespaces_of(outcome: &support::Outcome) -> Vec<&str> {
    let ns = |xml: &String| if xml.contains(NS_2) { NS_2 } else { NS_LEGACY };
    outcome.messages.iter().map(ns).collect()
}

/// A body in some namespaces only.
fn seal_in(client: &Client, namespaces: &[&str], text: &str) -> support::Outcome {
    let names: Vec<_> = namespaces.iter().map(|ns| std::ffi::CString::new(*ns).unwrap()).collect();
    let names: Vec<_> = names.iter().map(|ns| ns.as_ptr()).collect();
    let text = std::ffi::CString::new(text).unwrap();
    let op = client
        .start_draft(&[JULIET], |draft| {
            // SAFETY: the draft is open, the strings live.
            unsafe {
                assert_eq!(abi::omemo_draft_set_body(draft, text.as_ptr()), abi::OK);
                assert_eq!(abi::omemo_draft_set_namespaces(draft, names.as_ptr(), names.len()), abi::OK);
            }
        })
        .expect("it starts");
    client.finish(op)
}

#[test]
fn one_call_reaches_devices_of_either_namespace_and_each_reads_it_once() {
    let world = World::new(1);
    let romeo = online(&world, ROMEO, &[]);
    let modern = online(&world, JULIET, &[NS_2]);
    let old = online(&world, JULIET, &[NS_LEGACY]);
    let both = online(&world, JULIET, &[NS_2, NS_LEGACY]);
    let outcome = romeo.encrypt(&[JULIET], "But, soft!").ok();
    assert_eq!(namespaces_of(&outcome), [NS_LEGACY, NS_2]);
    assert_eq!(delivery_namespace(&outcome, modern.id()), Some(NS_2));
    assert_eq!(delivery_namespace(&outcome, old.id()), Some(NS_LEGACY));
    assert_eq!(
        delivery_namespace(&outcome, both.id()),
        Some(NS_LEGACY),
        "legacy comes first unless configured"
    );
    let xml = format!("<message>{}</message>", outcome.messages.concat());
    for reader in [&modern, &old, &both] {
        let read: Vec<_> = outcome.messages.iter().map(|xml| reader.decrypt(ROMEO, xml).unwrap()).collect();
        let shown = read.iter().filter(|read| read.action == abi::ACTION_SHOW).count();
        assert_eq!(shown, 1, "{read:?}");
        let body = read.iter().find_map(|read| read.body.as_deref());
        assert_eq!(body, Some("But, soft!"));
        // Both elements in one stanza are no hindrance: what comes out is about the one for this device.
        assert_eq!(reader.decrypt(ROMEO, &xml).unwrap().status, -501);
    }
    // The readers answer in the namespace that was chosen for them, and all arrive.
    for (reader, ns) in [(&modern, NS_2), (&old, NS_LEGACY), (&both, NS_2)] {
        let answer = reader.encrypt(&[ROMEO], "Ay me!").ok();
        assert_eq!(delivery_namespace(&answer, romeo.id()), Some(ns));
        let read = answer.messages.iter().map(|xml| romeo.decrypt(JULIET, xml).unwrap());
        assert_eq!(read.filter(|read| read.body.as_deref() == Some("Ay me!")).count(), 1);
    }
}

#[test]
fn two_elements_in_one_stanza_are_read_by_the_one_for_this_device() {
    let world = World::new(2);
    let romeo = online(&world, ROMEO, &[]);
    let modern = online(&world, JULIET, &[NS_2, NS_LEGACY]);
    let old = online(&world, JULIET, &[NS_LEGACY]);
    // For the first device in omemo:2, for the second in legacy: one stanza holds both.
    assert_eq!(romeo.refresh(JULIET).status, abi::OK);
    assert_eq!(romeo.prefer_namespace(JULIET, modern.id(), Some(NS_2)), abi::OK);
    let outcome = romeo.encrypt(&[JULIET], "by yonder blessed moon").ok();
    assert_eq!(delivery_namespace(&outcome, modern.id()), Some(NS_2));
    let stanza = format!("<message>{}{}</message>", outcome.messages[0], outcome.messages[1]);
    for reader in [&modern, &old] {
        let read = reader.decrypt(ROMEO, &stanza).unwrap();
        assert_eq!((read.action, read.body.as_deref()), (abi::ACTION_SHOW, Some("by yonder blessed moon")));
    }
    // Afterwards the other namespace's stanza is no news: who sent it serves this device elsewhere.
    let next = romeo.encrypt(&[JULIET], "I vow").ok();
    let legacy = next.messages.iter().find(|xml| xml.contains(NS_LEGACY)).unwrap();
    let read = modern.decrypt(ROMEO, legacy).unwrap();
    assert_eq!((read.status, read.action), (abi::ERR_NOT_FOR_US, abi::ACTION_HIDE));
}

#[test]
fn a_stanza_in_which_neither_element_is_for_this_device_is_not_hidden() {
    const MERCUTIO: &str = "mercutio@verona.lit";
    let world = World::new(21);
    let romeo = online(&world, ROMEO, &[]);
    let juliet = online(&world, JULIET, &[]);
    let _modern = online(&world, MERCUTIO, &[NS_2]);
    let _old = online(&world, MERCUTIO, &[NS_LEGACY]);
    for ns in [NS_2, NS_LEGACY] {
        let message = seal_in(&romeo, &[ns], "Ah me!").ok();
        assert_eq!(juliet.decrypt(ROMEO, &message.messages[0]).unwrap().action, abi::ACTION_SHOW);
    }
    let outcome = romeo.encrypt(&[MERCUTIO], "You kiss by the book.").ok();
    assert_eq!(outcome.messages.len(), 2);
    let read = juliet.decrypt(ROMEO, &format!("<message>{}</message>", outcome.messages.concat())).unwrap();
    assert_eq!((read.status, read.action), (abi::ERR_NOT_FOR_US, abi::ACTION_WARN));
}

#[test]
fn a_device_is_served_in_the_namespace_that_is_preferred_for_it() {
    let world = World::new(3);
    let mut romeo = online(&world, ROMEO, &[NS_LEGACY, NS_2]);
    let juliet = online(&world, JULIET, &[NS_LEGACY, NS_2]);
    assert_eq!(romeo.prefer_namespace(JULIET, juliet.id(), Some(NS_2)), -10, "not known yet");
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "1").ok(), juliet.id()), Some(NS_LEGACY));
    assert_eq!(romeo.prefer_namespace(JULIET, juliet.id(), Some(NS_2)), abi::OK);
    assert_eq!(
        romeo.prefer_namespace(JULIET, juliet.id(), Some("urn:xmpp:omemo:1")),
        abi::ERR_UNKNOWN_NAMESPACE
    );
    assert_eq!(romeo.devices(JULIET)[0].preferred.as_deref(), Some(NS_2));
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "2").ok(), juliet.id()), Some(NS_2));
    let drafted = seal_in(&romeo, &[NS_LEGACY], "3").ok();
    assert_eq!(delivery_namespace(&drafted, juliet.id()), Some(NS_LEGACY));
    romeo.restart();
    romeo.connect().ok();
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "4").ok(), juliet.id()), Some(NS_2));
    assert_eq!(romeo.prefer_namespace(JULIET, juliet.id(), None), abi::OK);
    assert_eq!(romeo.devices(JULIET)[0].preferred, None);
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "5").ok(), juliet.id()), Some(NS_LEGACY));
    assert_eq!(delivery_namespace(&seal_in(&romeo, &[NS_2, NS_LEGACY], "6").ok(), juliet.id()), Some(NS_2));
}

#[test]
fn a_plaintext_that_a_namespace_lacks_is_told_before_anything_happens() {
    let world = World::new(4);
    let romeo = online(&world, ROMEO, &[NS_2, NS_LEGACY]);
    online(&world, JULIET, &[NS_2]);
    world.clear_journal();
    let (ns, bytes) = (std::ffi::CString::new(NS_2).unwrap(), b"only here");
    let started = romeo.start_draft(&[JULIET], |draft| {
        // SAFETY: the draft is open, the bytes live.
        let status =
            unsafe { abi::omemo_draft_set_plaintext(draft, ns.as_ptr(), bytes.as_ptr(), bytes.len()) };
        assert_eq!(status, abi::OK);
    });
    assert_eq!(started, Err(abi::ERR_PLAINTEXT));
    romeo.settle();
    assert!(world.journal().is_empty(), "{:?}", world.journal());
}

#[test]
fn two_programs_under_one_id_are_told_and_the_wrong_key_gets_nothing() {
    let world = World::new(5);
    let romeo = online(&world, ROMEO, &[NS_LEGACY, NS_2]);
    let juliet = online(&world, JULIET, &[NS_LEGACY]);
    // Somebody else's bundle stands under the same id in the other namespace.
    let tybalt = online(&world, "tybalt@capulet.lit", &[NS_2]);
    let theirs = world.bundle(NS_2, "tybalt@capulet.lit", tybalt.id()).unwrap();
    world.publish_bundle(NS_2, JULIET, juliet.id(), &theirs);
    let list = format!("<devices xmlns='{NS_2}'><device id='{}'/></devices>", juliet.id());
    world.publish_list(NS_2, JULIET, &list);
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "1").ok(), juliet.id()), Some(NS_LEGACY));
    let refused = seal_in(&romeo, &[NS_2], "2");
    assert_eq!(refused.status, abi::ERR_NO_ELIGIBLE_DEVICES);
    assert_eq!(refused.row(JULIET, juliet.id()), Some(abi::ERR_IDENTITY_MISMATCH));
    let told = romeo.notices().into_iter().filter(|notice| notice.0 == abi::NOTICE_IDENTITY_CHANGED);
    let told: Vec<_> = told.collect();
    let expected = (
        abi::NOTICE_IDENTITY_CHANGED,
        Some(NS_2.to_owned()),
        Some(JULIET.to_owned()),
        juliet.id(),
        abi::ERR_IDENTITY_MISMATCH,
    );
    assert_eq!(told, [expected]);
    let device = &romeo.devices(JULIET)[0];
    assert!(device.identity_changed);
    assert_eq!(device.conflicting_key, Some(tybalt.identity()));
    assert_eq!(device.identity, Some(juliet.identity()));
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "3").ok(), juliet.id()), Some(NS_LEGACY));
    assert_eq!(romeo.accept_identity(JULIET, juliet.id(), &tybalt.identity()), abi::OK);
    assert_eq!(delivery_namespace(&seal_in(&romeo, &[NS_2], "4").ok(), juliet.id()), Some(NS_2));
}

#[test]
fn a_downgrade_is_told_once_and_remembered() {
    let world = World::new(6);
    let mut romeo = online(&world, ROMEO, &[NS_2, NS_LEGACY]);
    let mut juliet = online(&world, JULIET, &[NS_2, NS_LEGACY]);
    let id = juliet.id();
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "1").ok(), id), Some(NS_2));
    juliet.restart_with(&[NS_LEGACY]);
    juliet.connect().ok();
    support::settle(&[&romeo, &juliet]);
    romeo.receive();
    romeo.settle();
    let downgrades = |romeo: &Client| {
        romeo.notices().into_iter().filter(|notice| notice.0 == abi::NOTICE_DOWNGRADED).collect::<Vec<_>>()
    };
    let expected = (abi::NOTICE_DOWNGRADED, Some(NS_LEGACY.to_owned()), Some(JULIET.to_owned()), id, abi::OK);
    assert_eq!(downgrades(&romeo), [expected]);
    assert_eq!(delivery_namespace(&romeo.encrypt(&[JULIET], "2").ok(), id), Some(NS_LEGACY));
    romeo.restart();
    romeo.connect().ok();
    assert!(romeo.devices(JULIET)[0].downgraded);
    assert_eq!(downgrades(&romeo), [], "told once");
    assert_eq!(romeo.prefer_namespace(JULIET, id, None), abi::OK);
    assert!(!romeo.devices(JULIET)[0].downgraded);
}

#[test]
fn an_account_takes_a_namespace_up_and_leaves_one() {
    for (gone, kept) in [(NS_LEGACY, NS_2), (NS_2, NS_LEGACY)] {
        let world = World::new(7);
        let mut romeo = online(&world, ROMEO, &[kept]);
        let juliet = online(&world, JULIET, &[kept]);
        let (id, key) = (romeo.id(), romeo.identity());
        assert_eq!(romeo.encrypt(&[JULIET], "1").status, abi::OK);
        romeo.restart_with(&[gone, kept]);
        assert_eq!((romeo.id(), romeo.identity()), (id, key));
        let rows = romeo.connect().ok().rows;
        assert_eq!(rows.iter().map(|row| row.ns.as_deref()).collect::<Vec<_>>(), [Some(gone), Some(kept)]);
        let lists =
            |world: &World, ns| world.list(ns, ROMEO).is_some_and(|xml| xml.contains(&id.to_string()));
        assert!(lists(&world, gone) && world.bundle(gone, ROMEO, id).is_some());
        // The server refuses to delete at first; it is told, and tried again.
        romeo.restart_with(&[kept]);
        world.clear_journal();
        let mut refusals = 1;
        world.set_fault(move |request| {
            let refuse = request.kind == Kind::DeleteBundle && refusals > 0;
            refusals -= i32::from(refuse);
            refuse.then_some(support::Answer::Reject(abi::REJECT_FAILED))
        });
        let outcome = romeo.connect().ok();
        let left = outcome.rows.iter().find(|row| row.ns.as_deref() == Some(gone)).unwrap();
        assert_eq!(left.status, -404, "OMEMO_ERR_BUNDLE_DELETION_FAILED");
        for _ in 0..5 {
            world.advance(2_000);
            romeo.settle();
        }
        assert_eq!(world.count(Kind::DeleteBundle), 2);
        assert!(!lists(&world, gone) && world.bundle(gone, ROMEO, id).is_none());
        assert!(lists(&world, kept) && world.bundle(kept, ROMEO, id).is_some());
        let message = romeo.seal(&[JULIET], "still here");
        assert_eq!(juliet.decrypt(ROMEO, &message).unwrap().body.as_deref(), Some("still here"));
        world.clear_fault();
        world.clear_journal();
        romeo.disconnect();
        romeo.connect().ok();
        assert_eq!(world.journal().iter().filter(|request| request.ns == gone).count(), 0);
    }
}

#[test]
fn a_client_that_deletes_no_bundles_is_told_so_and_asked_when_it_can() {
    let world = World::new(8);
    let store = Store::default();
    let setup = |namespaces: &[&'static str], old_table| Setup {
        store: store.clone(),
        namespaces: Some(namespaces.to_vec()),
        old_table,
        ..Setup::default()
    };
    let setup_new = setup(&[NS_LEGACY], false);
    let setup = setup(&[NS_LEGACY, NS_2], true);
    let mut romeo = Client::with(&world, ROMEO, setup);
    romeo.connect().ok();
    romeo.restart_with(&[NS_LEGACY]);
    let rows = romeo.connect().ok().rows;
    let left = rows.iter().find(|row| row.ns.as_deref() == Some(NS_2)).unwrap();
    assert_eq!(left.status, abi::ERR_BUNDLE_DELETION_FAILED);
    let told = romeo.notices().into_iter().any(|notice| {
        (notice.0, notice.1.as_deref(), notice.4)
            == (abi::NOTICE_PUBLISH_FAILED, Some(NS_2), abi::ERR_BUNDLE_DELETION_FAILED)
    });
    assert!(told);
    assert!(!world.list(NS_2, ROMEO).unwrap().contains("<device "));
    assert!(world.bundle(NS_2, ROMEO, romeo.id()).is_some(), "nobody deleted it");
    assert_eq!(world.count(Kind::DeleteBundle), 0);
    // Its next version can.
    let id = romeo.id();
    romeo.close();
    drop(romeo);
    let romeo = Client::with(&world, ROMEO, setup_new);
    let rows = romeo.connect().ok().rows;
    assert!(rows.iter().all(|row| row.status == abi::OK), "{rows:?}");
    assert_eq!((romeo.id(), world.count(Kind::DeleteBundle)), (id, 1));
    assert!(world.bundle(NS_2, ROMEO, id).is_none());
}

#[test]
fn a_legacy_key_exchange_is_read_before_its_senders_sign_is_known_and_trust_by_either_sign_holds() {
    for sign in [false, true] {
        for given in [false, true] {
            let world = World::new(8);
            let mut romeo = online(&world, ROMEO, &[NS_LEGACY]);
            let fits = |raw: &RawDevice| raw.identity.public().sign() == sign;
            let mut juliet = (0..200).map(|_| RawDevice::of(Legacy, JULIET, 7)).find(fits).unwrap();
            let with_sign = |sign: bool| {
                let mut key = juliet.key().to_vec();
                key[31] = (key[31] & 0x7f) | if sign { 0x80 } else { 0 };
                key
            };
            let (real, unsigned, named) = (juliet.key().to_vec(), with_sign(false), with_sign(given));
            juliet.begin(&world, ROMEO, romeo.id());
            let mut say = |text: &str| {
                let sealed = payload::encrypt(Legacy, text.as_bytes(), &mut SystemRng).unwrap();
                let (payload, iv) = (sealed.payload.as_deref(), sealed.iv.as_deref());
                message::write(&juliet.transport(romeo.id(), &sealed.key, payload, iv))
            };
            let (first, second) = (say("hello"), say("more"));
            let read = romeo.decrypt(JULIET, &first).unwrap();
            assert_eq!((read.status, read.body.as_deref()), (abi::OK, Some("hello")));
            assert_eq!(read.identity, Some(unsigned));
            assert_eq!(romeo.set_trust(JULIET, &named, "distrusted"), abi::OK);
            juliet.announce(&world);
            assert_eq!(romeo.refresh(JULIET).status, abi::OK);
            romeo.restart();
            romeo.connect().ok();
            let device = &romeo.devices(JULIET)[0];
            assert_eq!((device.identity.as_ref(), device.level.as_str()), (Some(&real), "distrusted"));
            assert!(!device.identity_changed);
            assert_eq!(romeo.decrypt(JULIET, &second).unwrap().status, abi::ERR_SENDER_DISTRUSTED);
            assert_eq!(romeo.set_trust(JULIET, &named, "trusted"), abi::OK);
            let read = romeo.decrypt(JULIET, &second).unwrap();
            assert_eq!((read.body.as_deref(), read.identity), (Some("more"), Some(real)));
        }
    }
}
