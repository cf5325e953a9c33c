//! The target `stanza`: bytes go to every reader, and what can be read is written, read again, and must be the same.

use omemo::error::{Result, Status};
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::limits;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::{KeyExchange, holds_exchange};
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::envelope;
use omemo::stanza::pep::answer::{self, Answer, Asked};
use omemo::stanza::pep::push::{self, Pushed};
use omemo::stanza::{bundle, device_list, jid, message};

use super::world::{JULIET, ROMEO, Seeded, jid as bare};

pub fn run(input: &[u8]) {
    if let Ok(message::Received { messages, .. }) = message::candidates(input) {
        assert!(messages.len() <= limits::MESSAGES_PER_STANZA);
        assert_eq!(message::parse(input).as_ref().ok(), messages.first());
        messages.into_iter().for_each(message_again);
    }
    for namespace in Namespace::ALL {
        if let Ok(Some(message)) = message::parse_in(input, namespace) {
            assert_eq!(message.namespace, namespace);
        }
        keys(namespace, input);
    }
    if let Ok(list) = device_list::parse(input) {
        list_again(&list);
    }
    for wanted in [None, Some(1), Some(31_337)] {
        if let Ok(bundle) = bundle::parse(input, wanted) {
            bundle_again(&bundle);
        }
    }
    answers(input);
    pushes(input);
    envelopes(input);
    jids(input);
}

/// Whether a failure is that what was written is too long, which normal forms of JIDs can make it.
fn is_too_long<T>(written: &str, again: &Result<T>) -> bool {
    let status = again.as_ref().err().map(|error| error.status());
    written.len() > limits::STANZA_BYTES && status == Some(Status::Limit)
}

fn message_again(mut message: Message) {
    let written = message::write(&message);
    // Keys that could not be decoded are left out, and those of one JID stand together.
    message.keys.retain(|key| key.bytes.is_some());
    let mut jids: Vec<Option<BareJid>> = Vec::new();
    let mut place = |key: &MessageKey| {
        jids.iter().position(|jid| *jid == key.jid).unwrap_or_else(|| {
            jids.push(key.jid.clone());
            jids.len() - 1
        })
    };
    let mut keys: Vec<(usize, MessageKey)> = message.keys.into_iter().map(|key| (place(&key), key)).collect();
    keys.sort_by_key(|(place, _)| *place);
    message.keys = keys.into_iter().map(|(_, key)| key).collect();
    let again = message::parse(written.as_bytes());
    assert!(again == Ok(message) || is_too_long(&written, &message::parse(written.as_bytes())), "{written}");
}

/// Reads the bytes, and those of an element's keys, as what a key of a message holds.
fn keys(namespace: Namespace, input: &[u8]) {
    let held = holds_exchange(namespace, input);
    if let Ok(exchange) = KeyExchange::parse(namespace, input) {
        assert_eq!(exchange.namespace(), namespace);
        assert_ne!(held, Some(false), "a key exchange that does not look like one");
    }
    if let Ok(message) = RatchetMessage::parse(namespace, input) {
        assert_eq!(message.namespace(), namespace);
    }
    if let Ok(Some(message)) = message::parse_in(input, namespace) {
        for bytes in message.keys.iter().filter_map(|key| key.bytes.as_deref()) {
            KeyExchange::parse(namespace, bytes).ok();
            RatchetMessage::parse(namespace, bytes).ok();
        }
    }
}

fn list_again(list: &DeviceList) {
    let written = device_list::write(list);
    let again = device_list::parse(written.as_bytes());
    assert!(again.as_ref() == Ok(list) || is_too_long(&written, &again), "{list:?}\n{written}\n{again:?}");
    list.devices.iter().for_each(|device| drop(device_list::write_entry(device)));
    // A device comes and goes, and leaves nothing behind.
    let mut changed = list.clone();
    if !list.contains(77) && changed.add(ListedDevice::new(77)).is_ok() {
        assert!(changed.contains(77) && changed != *list);
        assert!(changed.remove(77) && !changed.remove(77));
        assert_eq!(device_list::write(&changed), written);
    }
    let mut twice = list.clone();
    if twice.merge(list).is_ok() {
        assert_eq!(twice.devices, list.devices);
    }
}

fn bundle_again(bundle: &Bundle) {
    let written = bundle::write(bundle);
    let Ok(written) = written else {
        // Only legacy publishes another form of the key, and what came from there has one.
        assert_eq!(bundle.namespace, Namespace::Omemo2);
        return;
    };
    let again = bundle::parse(written.as_bytes(), None);
    assert!(again.as_ref() == Ok(bundle) || is_too_long(&written, &again), "{bundle:?}\n{written}");
    bundle.verify().ok();
}

fn answers(input: &[u8]) {
    let (own, other) = (bare(ROMEO), bare(JULIET));
    for about in [&own, &other] {
        for namespace in Namespace::ALL {
            let node = Some(namespace.device_list_node());
            for (node, item) in [(None, None), (node, None), (node, Some("current"))] {
                let asked = Asked { account: &own, jid: about, node, item };
                if let Answer::Found(list) = answer::device_list(input, namespace, &asked) {
                    assert_eq!(list.namespace, namespace);
                    list_again(&list);
                }
                if let Answer::Found(bundle) = answer::bundle(input, namespace, 31_337, &asked) {
                    assert_eq!(bundle.namespace, namespace);
                    bundle_again(&bundle);
                }
                assert_ne!(answer::done(input, &asked), Answer::NotFound);
            }
        }
    }
}

fn pushes(input: &[u8]) {
    let delayed = push::is_delayed(input);
    if let Ok(push) = push::parse(input) {
        assert_eq!(push.delayed, delayed);
        if let Pushed::List(list) = push.pushed {
            list_again(&list);
        }
    }
}

fn envelopes(input: &[u8]) {
    if let Ok(Some(text)) = envelope::read_body(input) {
        assert_eq!(envelope::check_text(&text), Ok(()), "a text that XML cannot carry was read from XML");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let time = i64::try_from(input.len()).unwrap() << 40;
    match envelope::write_body(text, &bare(JULIET), time, &mut Seeded(1)) {
        Ok(envelope) => {
            let again = envelope::read_body(envelope.as_bytes()).unwrap();
            assert_eq!(again.as_ref().map(|again| again.as_str()), Some(text));
        }
        Err(error) => assert!(envelope::check_text(text).is_err() || error.status() == Status::Limit),
    }
}

fn jids(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(normal) = jid::bare(text) {
        assert_eq!(jid::bare(normal.as_str()).as_ref(), Ok(&normal), "not settled");
        let full = format!("{text}/x");
        assert_eq!(jid::bare_of(&full).unwrap(), (normal, true));
    }
    jid::bare_of(text).ok();
}
