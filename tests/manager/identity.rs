//! The ordinary path, identity and trust (R1, R2), simultaneous initiation (R3), one commit for each call (R5).

use super::world::*;
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::namespace::Namespace::{self};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    a_conversation_of_three_devices,
    an_ordinary_message_writes_a_few_hundred_bytes,
    the_index_names_a_jid_once,
    no_jid_stands_in_a_key_of_the_store,
    r1_a_swapped_bundle_is_never_encrypted_to,
    accept_identity_starts_undecided,
    r2_a_bundle_whose_signature_fails_pins_no_key,
    a_key_with_the_other_sign_is_the_same_identity,
    levels_that_nobody_knows_are_refused,
    f8_every_bundle_verifies_as_it_is_written,
    r3_simultaneous_initiation_recovers,
    r5_one_commit_per_call,
    many_devices_are_one_commit,
}

fn a_conversation_of_three_devices(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let phone = RustDevice::new(JULIET, &mut server);
    assert_eq!(server.list(&juliet.jid).len(), 2);
    juliet.push(&juliet.jid, &server);
    let message = romeo.say(&juliet.jid, "two of you", &mut server);
    assert_eq!(message.keys.len(), 2);
    for reader in [&juliet, &phone] {
        let read = reader.read(&romeo.jid, &message);
        assert_eq!(text(&read), "two of you");
        assert_eq!((read.action, read.new_session, read.device), (Action::Show, true, romeo.id()));
        assert_eq!(
            (read.identity_key, read.from.as_ref()),
            (Some(as_told(ns, romeo.key())), Some(&romeo.jid))
        );
    }
    server.settle(&[&romeo, &juliet, &phone]);
    let answer = juliet.say(&romeo.jid, "one of us", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &answer)), "one of us");
    assert_eq!(text(&phone.read(&juliet.jid, &answer)), "one of us");
    assert!(answer.keys.iter().all(|key| key.device != juliet.id()), "encrypted to itself");
}

fn an_ordinary_message_writes_a_few_hundred_bytes(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for _ in 0..3 {
        let before = romeo.storage.written.load(SeqCst);
        let message = romeo.say(&juliet.jid, "x", &mut server);
        let after = romeo.storage.written.load(SeqCst);
        assert!((1..1_000).contains(&(after - before)), "{} bytes", after - before);
        let before = juliet.storage.written.load(SeqCst);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x");
        let after = juliet.storage.written.load(SeqCst);
        assert!((1..1_000).contains(&(after - before)), "{} bytes", after - before);
    }
}

fn the_index_names_a_jid_once(ns: Namespace) {
    let (server, romeo, juliet) = friends(ns);
    let size = |client: &RustDevice| -> usize {
        let all = client.storage.all();
        all.iter().filter(|(key, _)| key.starts_with("v1/index/")).map(|(_, value)| value.len()).sum()
    };
    let before = size(&romeo);
    assert!(before > 0);
    for level in ["undecided", "trusted", "distrusted", "trusted"] {
        romeo.manager().set_trust(&juliet.jid, &juliet.key(), level).unwrap();
        romeo.push(&juliet.jid, &server);
    }
    assert_eq!(size(&romeo), before, "a JID that changes is put on the index again");
}

fn no_jid_stands_in_a_key_of_the_store(ns: Namespace) {
    let (_, romeo, _) = friends(ns);
    for key in romeo.storage.all().keys() {
        assert!(!key.contains("juliet") && !key.contains("romeo"), "{key}");
        assert!(
            key.len() <= 200 && key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/')),
            "{key}"
        );
    }
}

// ---- R1, R2: identity ----

fn r1_a_swapped_bundle_is_never_encrypted_to(ns: Namespace) {
    let (mut server, romeo, juliet) = with_raw(ns, ROMEO, (JULIET, 77));
    assert_eq!(romeo.refresh(&juliet.jid, &mut server).status(), Status::Ok);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    let mut mallory = RawDevice::of(ns, JULIET, 77);
    mallory.publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "secret", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::NoEligibleDevices));
    assert!(outcome.messages.is_empty());
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 1);
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.identity_key, device.conflicting_key), (Some(juliet.key()), Some(mallory.key())));
    // Whoever is shown another key has to name it.
    let accept = |key: &[u8; 32]| romeo.manager().accept_identity(&juliet.jid, id(77), key);
    assert_eq!(accept(&juliet.key()).unwrap_err().status(), Status::IdentityChanged);
    accept(&mallory.key()).unwrap();
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.identity_key, device.conflicting_key), (Some(mallory.key()), None));
    romeo.reconnect(&mut server);
    let message = romeo.say(&juliet.jid, "to the new key", &mut server);
    assert_eq!(mallory.accept(&message).unwrap(), "to the new key");
}

fn accept_identity_starts_undecided(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
    let juliet = RawDevice::of(ns, JULIET, 77);
    juliet.publish(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    let accept = |key: &[u8; 32]| romeo.manager().accept_identity(&juliet.jid, id(77), key);
    assert_eq!(accept(&juliet.key()).unwrap_err().status(), Status::NotFound, "nothing is shown");
    let mut new = RawDevice::of(ns, JULIET, 77);
    new.publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "one", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    accept(&new.key()).unwrap();
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.trust_level_name.as_str(), device.core_trust), ("undecided", CoreTrust::Undecided));
    let outcome = romeo.encrypt(&[&juliet.jid], "two", EncryptPolicy::Now, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::Undecided));
    romeo.manager().set_trust(&juliet.jid, &new.key(), "trusted").unwrap();
    romeo.reconnect(&mut server);
    let message = romeo.say(&juliet.jid, "three", &mut server);
    assert_eq!(new.accept(&message).unwrap(), "three");
}

fn r2_a_bundle_whose_signature_fails_pins_no_key(ns: Namespace) {
    let (mut server, romeo, juliet) = with_raw(ns, ROMEO, (JULIET, 77));
    let mut forged = RawDevice::of(ns, JULIET, 77).bundle();
    forged.signature[0] ^= 1;
    server.bundles.insert((ns, juliet.jid.clone(), 77), forged);
    let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::BundleBad));
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, None);
    juliet.publish(&mut server);
    romeo.reconnect(&mut server);
    romeo.say(&juliet.jid, "x", &mut server);
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()));
}

fn a_key_with_the_other_sign_is_the_same_identity(ns: Namespace) {
    let (_server, romeo, juliet) = with_known_raw(ns, ROMEO, (JULIET, 77));
    let mut flipped = juliet.key();
    flipped[31] ^= 0x80;
    romeo.manager().set_trust(&juliet.jid, &flipped, "distrusted").unwrap();
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().trust_level_name, "distrusted");
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().trust_level_name, "trusted");
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()));
}

fn levels_that_nobody_knows_are_refused(ns: Namespace) {
    let (_, romeo, juliet) = two(ns);
    let set = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "mystery");
    assert_eq!(set.unwrap_err().status(), Status::UnknownTrustLevel);
    let client = RustDevice::closed(config(ns, ROMEO, "mystery"), Arc::default());
    assert_eq!(client.open().unwrap_err().status(), Status::UnknownTrustLevel);
    assert!(client.storage.all().is_empty());
}

// ---- R3: simultaneous initiation ----

fn r3_simultaneous_initiation_recovers(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hers = juliet.say(&romeo.jid, "from her", &mut server);
    let his = romeo.say(&juliet.jid, "from him", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &his)), "from him");
    assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "from her");
    // Both write once more before anything of the other's that was automatic has come.
    let his = romeo.say(&juliet.jid, "again from him", &mut server);
    let hers = juliet.say(&romeo.jid, "again from her", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &his)), "again from him");
    assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "again from her");
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

// ---- R5: one commit ----

fn r5_one_commit_per_call(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let count = |client: &RustDevice, work: &mut dyn FnMut()| {
        let before = client.storage.commits();
        work();
        client.storage.commits() - before
    };
    let mut message = None;
    let encrypts = count(&romeo, &mut || message = Some(romeo.say(&juliet.jid, "x", &mut server)));
    assert_eq!(encrypts, 1);
    let message = message.unwrap();
    assert_eq!(count(&juliet, &mut || assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x")), 1);
    assert_eq!(count(&juliet, &mut || drop(juliet.read(&romeo.jid, &message))), 0);
    let key = juliet.key();
    assert_eq!(count(&romeo, &mut || romeo.manager().set_trust(&juliet.jid, &key, "distrusted").unwrap()), 1);
    assert_eq!(count(&romeo, &mut || drop(romeo.manager().devices(Some(&juliet.jid)).unwrap())), 0);
    RawDevice::of(ns, JULIET, 77).publish(&mut server);
    assert_eq!(count(&romeo, &mut || romeo.push(&juliet.jid, &server)), 1);
    // A first message: the key exchange, the used pre key and the follow-ups are one commit.
    let mut stranger = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    let (_, greeting) = stranger.greet(&juliet, &server, "en garde");
    assert_eq!(
        count(&juliet, &mut || assert_eq!(text(&juliet.read(&stranger.jid, &greeting)), "en garde")),
        1
    );
}

fn many_devices_are_one_commit(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let crowd: Vec<_> = (1..=20).map(|id| RawDevice::of(ns, JULIET, id)).collect();
    crowd.iter().for_each(|device| device.publish(&mut server));
    romeo.refresh(&crowd[0].jid, &mut server);
    romeo.say(&crowd[0].jid, "x", &mut server);
    let before = romeo.storage.commits();
    let message = romeo.say(&crowd[0].jid, "y", &mut server);
    assert_eq!((message.keys.len(), romeo.storage.commits() - before), (20, 1));
}

fn f8_every_bundle_verifies_as_it_is_written(ns: Namespace) {
    let mut signs = [0; 2];
    for id in 1..=64 {
        let bundle = RawDevice::of(ns, JULIET, id).bundle();
        let xml = omemo::stanza::bundle::write(&bundle).unwrap();
        let read = omemo::stanza::bundle::parse(xml.as_bytes(), Some(id)).unwrap();
        assert_eq!(read.verify().unwrap().ed(), &bundle.identity_key);
        signs[usize::from(bundle.identity_key[31] >> 7)] += 1;
    }
    assert!(signs[0] > 8 && signs[1] > 8, "{signs:?}");
}
