//! Key transport through the C functions: what a draft may say, whom a key reaches, and what comes out.

use crate::support::{
    Client, JULIET, KeyParts, NS_2, NS_LEGACY, Outcome, ROMEO, RawDevice, Setup, Trust, World, settle,
    status_name,
};
use std::ffi::CString;
use std::ptr::null;

use crate::support::abi::{self, Opaque};
use omemo::protocol::namespace::Namespace::{Legacy, Omemo2};

fn speaking(world: &World, jid: &str, namespaces: &[&'static str]) -> Client {
    let client =
        Client::with(world, jid, Setup { namespaces: Some(namespaces.to_vec()), ..Setup::default() });
    client.connect().ok();
    client
}

fn set_key_transport(draft: *mut Opaque) {
    // SAFETY: a live draft.
    assert_eq!(unsafe { abi::omemo_draft_set_key_transport(draft) }, abi::OK);
}

fn set_body(draft: *mut Opaque, text: &str) -> i32 {
    let text = CString::new(text).unwrap();
    // SAFETY: a live draft, and a string that lives for the call.
    unsafe { abi::omemo_draft_set_body(draft, text.as_ptr()) }
}

fn set_namespaces(draft: *mut Opaque, namespaces: &[&str]) {
    let names: Vec<CString> = namespaces.iter().map(|ns| CString::new(*ns).unwrap()).collect();
    let names: Vec<_> = names.iter().map(|ns| ns.as_ptr()).collect();
    // SAFETY: a live draft, and strings that live for the call.
    assert_eq!(unsafe { abi::omemo_draft_set_namespaces(draft, names.as_ptr(), names.len()) }, abi::OK);
}

fn transport(client: &Client, to: &[&str]) -> Outcome {
    let op = client.start_draft(to, set_key_transport).unwrap_or_else(|status| {
        panic!("the transport does not start: {}", status_name(status));
    });
    client.finish(op)
}

/// The one message of an outcome, and what it transports.
fn single(outcome: Outcome) -> (String, KeyParts) {
    let Outcome { mut messages, mut keys, .. } = outcome.ok();
    assert_eq!((messages.len(), keys.len()), (1, 1));
    (messages.remove(0), keys.remove(0).expect("it transports a key"))
}

#[test]
fn the_other_side_gets_key_and_iv_as_they_were_sent() {
    let world = World::new(1);
    let (romeo, juliet) = (speaking(&world, ROMEO, &[NS_LEGACY]), speaking(&world, JULIET, &[NS_LEGACY]));
    let laptop = speaking(&world, ROMEO, &[NS_LEGACY]);
    settle(&[&romeo, &juliet, &laptop]);
    let mut seen = Vec::new();
    for first in [true, false, false] {
        romeo.receive();
        let (stanza, sent) = single(transport(&romeo, &[JULIET]));
        assert!(stanza.contains("<iv>") && !stanza.contains("<payload"), "{stanza}");
        assert_eq!((sent.key.len(), &sent.tag, sent.iv.as_ref().unwrap().len()), (16, &None, 12));
        for (who, client) in [("juliet", &juliet), ("an own device", &laptop)] {
            let read = client.decrypt(ROMEO, &stanza).unwrap();
            assert_eq!((read.action, read.status), (abi::ACTION_HIDE, abi::OK), "{who}: {}", read.text);
            assert_eq!((&read.plaintext, &read.body), (&None, &None));
            assert_eq!(read.key.as_ref(), Some(&sent), "{who}");
            assert_eq!(read.flags, u32::from(first), "{who}: a new session at the first one only");
            let again = client.decrypt(ROMEO, &stanza).unwrap();
            assert_eq!((again.status, again.key), (abi::ERR_DUPLICATE, None), "{who}");
        }
        seen.push(sent.key);
        settle(&[&romeo, &juliet, &laptop]);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "each time another key");
}

#[test]
fn messages_with_content_give_their_key_to_the_receiver_only() {
    for (namespace, key, iv) in [(NS_LEGACY, 16, Some(12)), (NS_2, 32, None)] {
        let world = World::new(1);
        let (romeo, juliet) = (speaking(&world, ROMEO, &[namespace]), speaking(&world, JULIET, &[namespace]));
        let sent = romeo.encrypt(&[JULIET], "hello").ok();
        assert_eq!(sent.keys, [None]);
        let read = juliet.decrypt(ROMEO, &sent.messages[0]).unwrap();
        assert_eq!((read.action, read.body.as_deref()), (abi::ACTION_SHOW, Some("hello")));
        let parts = read.key.expect("the key of the content");
        assert_eq!((parts.key.len(), parts.tag.map(|tag| tag.len())), (key, Some(16)));
        assert_eq!(parts.iv.map(|iv| iv.len()), iv);
        let refused = juliet.decrypt(ROMEO, &sent.messages[0]).unwrap();
        assert_eq!((refused.status, refused.key), (abi::ERR_DUPLICATE, None));
    }
}

#[test]
fn empty_messages_carry_a_key_in_the_legacy_namespace_alone() {
    for (namespace, carries) in [(NS_LEGACY, true), (NS_2, false)] {
        let world = World::new(1);
        let (romeo, juliet) = (speaking(&world, ROMEO, &[namespace]), speaking(&world, JULIET, &[namespace]));
        romeo.say(&[JULIET], "hello");
        juliet.read();
        settle(&[&romeo, &juliet]);
        let answers: Vec<_> = romeo.receive();
        assert_eq!(answers.len(), 1, "the answer to the key exchange");
        assert_eq!((answers[0].action, answers[0].status), (abi::ACTION_HIDE, abi::OK));
        assert_eq!(answers[0].key.is_some(), carries, "{namespace}");
    }
}

#[test]
fn the_last_content_of_a_draft_counts() {
    let world = World::new(1);
    let (romeo, juliet) = (speaking(&world, ROMEO, &[NS_LEGACY]), speaking(&world, JULIET, &[NS_LEGACY]));
    let outcome = |fill: fn(*mut Opaque)| romeo.finish(romeo.start_draft(&[JULIET], fill).unwrap()).ok();
    let sent = outcome(|draft| {
        set_body(draft, "not this");
        set_key_transport(draft);
    });
    let read = juliet.decrypt(ROMEO, &sent.messages[0]).unwrap();
    assert_eq!((read.action, read.key.is_some(), sent.keys[0].is_some()), (abi::ACTION_HIDE, true, true));
    let sent = outcome(|draft| {
        set_key_transport(draft);
        set_body(draft, "but this");
    });
    let read = juliet.decrypt(ROMEO, &sent.messages[0]).unwrap();
    assert_eq!((read.body.as_deref(), &sent.keys), (Some("but this"), &vec![None]));
    let sent = outcome(|draft| {
        let ns = CString::new(NS_LEGACY).unwrap();
        set_key_transport(draft);
        // SAFETY: a live draft, and strings that live for the call.
        let status = unsafe { abi::omemo_draft_set_plaintext(draft, ns.as_ptr(), b"bytes".as_ptr(), 5) };
        assert_eq!(status, abi::OK);
    });
    let read = juliet.decrypt(ROMEO, &sent.messages[0]).unwrap();
    assert_eq!((read.plaintext.as_deref(), &sent.keys), (Some(&b"bytes"[..]), &vec![None]));
    // SAFETY: NULL is refused.
    assert_eq!(unsafe { abi::omemo_draft_set_key_transport(std::ptr::null_mut()) }, -1);
}

#[test]
fn a_key_goes_out_in_the_legacy_namespace_and_nowhere_else() {
    let world = World::new(1);
    let romeo = speaking(&world, ROMEO, &[NS_2, NS_LEGACY]);
    let juliet = speaking(&world, JULIET, &[NS_2, NS_LEGACY]);
    // Both ends prefer the other namespace, and content goes there.
    assert!(romeo.seal(&[JULIET], "hello").contains(NS_2));
    let (stanza, sent) = single(transport(&romeo, &[JULIET]));
    assert!(stanza.contains(NS_LEGACY));
    let read = juliet.decrypt(ROMEO, &stanza).unwrap();
    assert_eq!((read.status, read.key), (abi::OK, Some(sent)));
    let named = |namespaces: &'static [&'static str]| {
        romeo.start_draft(&[JULIET], |draft| {
            set_key_transport(draft);
            set_namespaces(draft, namespaces);
        })
    };
    assert_eq!(named(&[NS_2]), Err(abi::ERR_PLAINTEXT));
    assert_eq!(named(&[NS_LEGACY, NS_2]), Err(abi::ERR_PLAINTEXT));
    let (stanza, _) = single(romeo.finish(named(&[NS_LEGACY]).unwrap()));
    assert!(stanza.contains(NS_LEGACY));
    // Who speaks the other namespace only is not reached, and the sender is told.
    let tybalt = speaking(&world, "tybalt@capulet.lit", &[NS_2]);
    let refused = transport(&romeo, &[&tybalt.jid]);
    assert_eq!(
        (refused.status, refused.row(&tybalt.jid, 0)),
        (abi::ERR_NO_ELIGIBLE_DEVICES, Some(abi::ERR_NO_DEVICES))
    );
    assert!(refused.messages.is_empty() && refused.keys.is_empty());
    assert_eq!(tybalt.start_draft(&[JULIET], set_key_transport), Err(abi::ERR_PLAINTEXT));
}

#[test]
fn trust_is_asked_for_a_key_as_for_content() {
    let world = World::new(1);
    let romeo = speaking(&world, ROMEO, &[NS_LEGACY]);
    let juliet = speaking(&world, JULIET, &[NS_LEGACY]);
    romeo.set_trust_policy(Trust::LeaveOpen);
    let refused = transport(&romeo, &[JULIET]);
    assert_eq!(
        (refused.status, refused.row(JULIET, juliet.id())),
        (abi::ERR_NO_ELIGIBLE_DEVICES, Some(abi::ERR_UNDECIDED))
    );
    assert_eq!((romeo.asked(), refused.keys.len()), (1, 0));
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "distrusted"), abi::OK);
    let refused = transport(&romeo, &[JULIET]);
    assert_eq!(
        (refused.status, refused.row(JULIET, juliet.id())),
        (abi::ERR_NO_ELIGIBLE_DEVICES, Some(abi::ERR_DISTRUSTED))
    );
    assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "trusted"), abi::OK);
    let (stanza, sent) = single(transport(&romeo, &[JULIET]));
    assert_eq!(juliet.decrypt(ROMEO, &stanza).unwrap().key, Some(sent));
}

#[test]
fn a_distrusted_sender_hands_over_no_key() {
    let world = World::new(1);
    let romeo = speaking(&world, ROMEO, &[NS_LEGACY]);
    let juliet = speaking(&world, JULIET, &[NS_LEGACY]);
    let (stanza, sent) = single(transport(&romeo, &[JULIET]));
    juliet.refresh(ROMEO).ok();
    assert_eq!(juliet.set_trust(ROMEO, &romeo.identity(), "distrusted"), abi::OK);
    let refused = juliet.decrypt(ROMEO, &stanza).unwrap();
    assert_eq!((refused.status, refused.key), (-506, None));
    assert_eq!(juliet.set_trust(ROMEO, &romeo.identity(), "trusted"), abi::OK);
    assert_eq!(juliet.decrypt(ROMEO, &stanza).unwrap().key, Some(sent));
}

#[test]
fn whatever_others_transport_is_taken_apart_alike() {
    let world = World::new(1);
    let juliet = speaking(&world, JULIET, &[NS_LEGACY]);
    let mut raw = RawDevice::of(Legacy, ROMEO, 7);
    raw.begin(&world, JULIET, juliet.id());
    let material: Vec<u8> = (0..48).collect();
    for (len, key, tag) in [
        (16, true, false), // as python and most others
        (32, true, true),  // as XEP-0384 0.3 says
        (17, true, false), // nobody; the key is there all the same
        (48, true, false),
        (15, false, false), // no key at all: an empty message
        (0, false, false),
    ] {
        for iv in [None, Some(&[9_u8; 12][..]), Some(&[9; 16]), Some(&[9; 7]), Some(&[])] {
            let message = raw.transport(juliet.id(), &material[..len], None, iv);
            let read = juliet.decrypt(ROMEO, &omemo::stanza::message::write(&message)).unwrap();
            assert_eq!((read.action, read.status), (abi::ACTION_HIDE, abi::OK), "{len}: {}", read.text);
            let expected = key.then(|| KeyParts {
                key: material[..16].to_vec(),
                tag: tag.then(|| material[16..32].to_vec()),
                iv: iv.filter(|iv| !iv.is_empty()).map(<[u8]>::to_vec),
            });
            assert_eq!(read.key, expected, "{len} {iv:?}");
        }
    }
}

#[test]
fn nothing_but_zeros_is_an_empty_message_of_omemo_2() {
    use omemo::protocol::message::MessageKey;
    let world = World::new(1);
    let juliet = speaking(&world, JULIET, &[NS_2]);
    let mut raw = RawDevice::of(Omemo2, ROMEO, 7);
    raw.begin(&world, JULIET, juliet.id());
    let (zeros, some) = ([0; 32], [7; 48]);
    for (material, parts) in [
        (&zeros[..], None),
        (&some[..32], Some((32, None))),
        (&some[..], Some((32, Some(16)))),
        (&some[..31], None),
    ] {
        let message = raw.transport(juliet.id(), material, None, None);
        let jid = omemo::stanza::jid::bare(JULIET).ok();
        let keys = message.keys.into_iter().map(|key| MessageKey { jid: jid.clone(), ..key }).collect();
        let message = omemo::protocol::message::Message { keys, ..message };
        let read = juliet.decrypt(ROMEO, &omemo::stanza::message::write(&message)).unwrap();
        assert_eq!((read.action, read.status), (abi::ACTION_HIDE, abi::OK), "{}", read.text);
        let found = read.key.map(|key| (key.key.len(), key.tag.map(|tag| tag.len())));
        assert_eq!(found, parts);
    }
}

#[test]
fn getters_take_null_and_any_number() {
    for part in [-1, 0, 1, 2, 3, i32::MAX, i32::MIN] {
        let mut len = 0;
        // SAFETY: NULL is allowed.
        unsafe {
            assert_eq!(abi::omemo_result_key(null(), 0, part, &mut len), null());
            assert_eq!(abi::omemo_decrypted_key(null(), part, &mut len), null());
        }
        assert_eq!(len, 0);
    }
}
