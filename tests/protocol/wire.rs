//! How strictly bytes are read and how exactly they are written: protobuf fields, versions, lengths, in both namespaces.

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::crypto::rng::SystemRng;
use omemo::error::{Result, Status};
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{ChainBudget, Session, SkipLimits, Step};
use omemo::protocol::x3dh::ResponderKeys;

/// Who takes a key exchange, and a session that begins with one.
struct Responder {
    namespace: Namespace,
    own: IdentityKeyPair,
    signed: SignedPreKey,
    pre_key: KeyPair,
    session: Session,
}

fn responder(namespace: Namespace) -> Responder {
    let rng = &mut SystemRng;
    let [own, theirs] = [(); 2].map(|()| IdentityKeyPair::generate(rng).unwrap());
    let signed = SignedPreKey::generate(namespace, &own, 0, rng).unwrap();
    let pre_key = KeyPair::generate(rng).unwrap();
    let bundle = Bundle {
        namespace,
        identity_key: *own.public().ed(),
        signed_pre_key_id: 0,
        signed_pre_key: *signed.pair.public().as_bytes(),
        signature: signed.signature,
        pre_keys: vec![PublicPreKey { id: 0, key: *pre_key.public().as_bytes() }],
    };
    let session = Session::initiate(&theirs, &bundle, rng).unwrap();
    Responder { namespace, own, signed, pre_key, session }
}

impl Responder {
    fn exchange(&mut self) -> Vec<u8> {
        let sent = self.session.encrypt(b"hello").unwrap();
        assert!(sent.key_exchange);
        sent.bytes
    }

    fn accept(&self, bytes: &[u8]) -> Result<Step> {
        let exchange = KeyExchange::parse(self.namespace, bytes)?;
        let (mut budget, rng) = (ChainBudget::new(SkipLimits::default()), &mut SystemRng);
        Session::accept(
            &ResponderKeys::new(&self.own, &self.signed.pair, &self.pre_key),
            &exchange,
            &mut budget,
            rng,
        )
    }

    /// Bytes before the protobuf message: the version of legacy.
    fn before(&self) -> usize {
        usize::from(self.namespace == Namespace::Legacy)
    }

    fn status(&self, bytes: &[u8]) -> Status {
        self.accept(bytes).err().map_or(Status::Ok, |error| error.status())
    }
}

fn varint(bytes: &[u8]) -> (u64, usize) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, length)
}

/// The fields of a protobuf message: number and whole encoding.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (tag, tag_length) = varint(bytes);
        let (value, length) = varint(&bytes[tag_length..]);
        let content = if tag & 7 == 2 { usize::try_from(value).unwrap() } else { 0 };
        let (field, rest) = bytes.split_at(tag_length + length + content);
        all.push((tag >> 3, field.to_vec()));
        bytes = rest;
    }
    all
}

fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

/// What is in a field of bytes shorter than 128.
fn content(field: &[u8]) -> &[u8] {
    &field[2..]
}

fn joined(version: &[u8], fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = version.to_vec();
    fields.iter().for_each(|(_, field)| bytes.extend_from_slice(field));
    bytes
}

fn numbers(fields: &[(u64, Vec<u8>)]) -> Vec<u64> {
    fields.iter().map(|(number, _)| *number).collect()
}

/// The bare ratchet message of a key exchange, and its inner fields.
fn inner(namespace: Namespace, exchange: &[u8]) -> (Vec<u8>, Vec<(u64, Vec<u8>)>) {
    match namespace {
        Namespace::Omemo2 => {
            let message = fields(exchange).into_iter().find(|(number, _)| *number == 5).unwrap().1;
            let message = content(&message).to_vec();
            let inside = fields(&message).into_iter().find(|(number, _)| *number == 2).unwrap().1;
            (message, fields(content(&inside)))
        }
        Namespace::Legacy => {
            let message = fields(&exchange[1..]).into_iter().find(|(number, _)| *number == 4).unwrap().1;
            let message = content(&message).to_vec();
            let inside = fields(&message[1..message.len() - 8]);
            (message, inside)
        }
    }
}

/// A ratchet message of these inner fields, with a MAC that is none.
fn message_of(namespace: Namespace, inside: &[(u64, Vec<u8>)], mac: usize) -> Vec<u8> {
    match namespace {
        Namespace::Omemo2 => [bytes_field(1, &vec![7; mac]), bytes_field(2, &joined(&[], inside))].concat(),
        Namespace::Legacy => [joined(&[0x33], inside), vec![7; mac]].concat(),
    }
}

fn required_fields_are_written_in_order_even_when_zero(namespace: Namespace) {
    let mut responder = responder(namespace);
    let exchange = responder.exchange();
    let (message, inside) = inner(namespace, &exchange);
    let outer = fields(&exchange[responder.before()..]);
    match namespace {
        Namespace::Omemo2 => {
            assert_eq!(numbers(&outer), [1, 2, 3, 4, 5]);
            assert_eq!((&outer[0].1[..], &outer[1].1[..]), (&[0x08, 0][..], &[0x10, 0][..]));
            assert_eq!((content(&outer[2].1).len(), content(&outer[3].1).len()), (32, 32));
            assert_eq!(numbers(&fields(&message)), [1, 2]);
            assert_eq!(numbers(&inside), [1, 2, 3, 4]);
            assert_eq!((&inside[0].1[..], &inside[1].1[..]), (&[0x08, 0][..], &[0x10, 0][..]));
        }
        Namespace::Legacy => {
            assert_eq!((exchange[0], message[0]), (0x33, 0x33));
            // The registration id is not written.
            assert_eq!(numbers(&outer), [1, 2, 3, 4, 6]);
            assert_eq!((&outer[0].1[..], &outer[4].1[..]), (&[0x08, 0][..], &[0x30, 0][..]));
            for key in [&outer[1].1, &outer[2].1, &inside[0].1] {
                assert_eq!((content(key).len(), content(key)[0]), (33, 5));
            }
            assert_eq!(numbers(&inside), [1, 2, 3, 4]);
            assert_eq!((&inside[1].1[..], &inside[2].1[..]), (&[0x10, 0][..], &[0x18, 0][..]));
        }
    }
    assert_eq!(&*responder.accept(&exchange).unwrap().plaintext, b"hello");
}

fn a_key_exchange_is_read_in_any_order_and_with_more_in_it(namespace: Namespace) {
    let mut responder = responder(namespace);
    let exchange = responder.exchange();
    let (version, rest) = exchange.split_at(responder.before());
    let mut outer = fields(rest);
    let other_ids = outer[0].1.iter().map(|byte| if *byte == 0 { 9 } else { *byte }).collect();
    outer.reverse();
    outer.insert(0, (1, other_ids)); // the last of several counts
    outer.insert(2, (5000, vec![0xc0, 0xb8, 0x02, 0x2a])); // field 5000, a varint
    outer.push((15, bytes_field(15, b"of a later version")));
    if namespace == Namespace::Legacy {
        outer.push((5, vec![0x28, 0x81, 0x01])); // the registration id of libsignal
    }
    let changed = joined(version, &outer);
    assert_eq!(KeyExchange::parse(namespace, &changed).unwrap().id().pre_key_id, 0);
    assert_eq!(&*responder.accept(&changed).unwrap().plaintext, b"hello");
}

fn f13_each_required_field_is_required(namespace: Namespace) {
    let mut responder = responder(namespace);
    let exchange = responder.exchange();
    let (version, rest) = exchange.split_at(responder.before());
    let outer = fields(rest);
    for at in 0..outer.len() {
        let mut fewer = outer.clone();
        let (number, _) = fewer.remove(at);
        assert_eq!(responder.status(&joined(version, &fewer)), Status::Malformed, "field {number}");
    }
    let (_, inside) = inner(namespace, &exchange);
    let mac = if namespace == Namespace::Legacy { 8 } else { 16 };
    let parse =
        |inside: &[(u64, Vec<u8>)]| RatchetMessage::parse(namespace, &message_of(namespace, inside, mac));
    let header = parse(&inside).unwrap().header();
    for at in 0..inside.len() {
        let mut fewer = inside.clone();
        let (number, _) = fewer.remove(at);
        // The ciphertext alone is optional, and a message without it is never opened.
        match parse(&fewer) {
            Ok(message) => assert_eq!((number, message.header()), (4, header)),
            Err(error) => assert_eq!((error.status(), number == 4), (Status::Malformed, false)),
        }
    }
    let mut reversed = inside;
    reversed.reverse();
    reversed.push((9, bytes_field(9, b"later")));
    assert_eq!(parse(&reversed).unwrap().header(), header);
}

fn macs_and_keys_have_one_length(namespace: Namespace) {
    let mut responder = responder(namespace);
    let exchange = responder.exchange();
    let (_, inside) = inner(namespace, &exchange);
    if namespace == Namespace::Omemo2 {
        for mac in (0..40).filter(|mac| *mac != 16) {
            let error = RatchetMessage::parse(namespace, &message_of(namespace, &inside, mac)).err().unwrap();
            assert_eq!(error.status(), Status::Malformed, "{mac}");
        }
    }
    let (version, rest) = exchange.split_at(responder.before());
    let outer = fields(rest);
    let mut checks = 0;
    for (at, (number, field)) in outer.iter().enumerate() {
        if !matches!(content(field).len(), 32 | 33) || field[0] & 7 != 2 {
            continue;
        }
        let key = content(field);
        let longer = [key, &[0]].concat();
        let mut wrong = vec![key[1..].to_vec(), longer, Vec::new()];
        match namespace {
            Namespace::Omemo2 => wrong.push([&[5], key].concat()),
            Namespace::Legacy => wrong.extend([[&[4], &key[1..]].concat(), [&[0x85], &key[1..]].concat()]),
        }
        for key in wrong {
            let mut changed = outer.clone();
            changed[at].1 = bytes_field(u8::try_from(*number).unwrap(), &key);
            assert_eq!(
                responder.status(&joined(version, &changed)),
                Status::Malformed,
                "{} bytes",
                key.len()
            );
            checks += 1;
        }
    }
    assert_eq!(checks, if namespace == Namespace::Legacy { 10 } else { 8 });
}

fn the_high_half_of_the_version_is_3(namespace: Namespace) {
    let mut responder = responder(namespace);
    let mut exchange = responder.exchange();
    if namespace == Namespace::Omemo2 {
        // There is none: a version is no part of a protobuf message.
        exchange.insert(0, 0x33);
        assert_ne!(responder.status(&exchange), Status::Ok);
        return;
    }
    let (message, _) = inner(namespace, &exchange);
    let mut read = 0;
    for version in 0..=255 {
        exchange[0] = version;
        let mut message = message.clone();
        message[0] = version;
        let parsed = RatchetMessage::parse(namespace, &message);
        if version >> 4 == 3 {
            assert_eq!(responder.status(&exchange), Status::Ok);
            parsed.unwrap();
            read += 1;
        } else {
            assert_eq!(responder.status(&exchange), Status::Malformed);
            assert_eq!(parsed.err().unwrap().status(), Status::Malformed);
        }
    }
    assert_eq!(read, 16);
    assert_eq!(responder.status(&[]), Status::Malformed);
}

fn identity_keys_not_fit_for_use_are_refused(namespace: Namespace) {
    let mut responder = responder(namespace);
    let exchange = responder.exchange();
    let (version, rest) = exchange.split_at(responder.before());
    let outer = fields(rest);
    let at = outer.iter().position(|(number, _)| *number == 3).unwrap();
    let with = |key: [u8; 32]| {
        let prefix: &[u8] = if namespace == Namespace::Legacy { &[5] } else { &[] };
        let mut changed = outer.clone();
        changed[at].1 = bytes_field(3, &[prefix, &key].concat());
        responder.status(&joined(version, &changed))
    };
    let (mut zero, mut one) = ([0; 32], [0; 32]);
    one[0] = 1;
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    for key in [zero, one, p] {
        assert_eq!(with(key), Status::KeyExchangeFailed, "{key:02x?}");
    }
    // Another writing of the sender's own key: the highest bit in Curve25519 form.
    if namespace == Namespace::Legacy {
        zero.copy_from_slice(&content(&outer[at].1)[1..]);
        zero[31] |= 0x80;
        assert_eq!(with(zero), Status::KeyExchangeFailed);
    }
    // The ephemeral key, and the ratchet key, of low order.
    let key: Vec<u8> = if namespace == Namespace::Legacy { vec![5] } else { vec![] };
    let key = [key, vec![0; 32]].concat();
    let at = outer.iter().position(|(_, field)| {
        matches!((namespace, field[0] >> 3), (Namespace::Omemo2, 4) | (Namespace::Legacy, 2))
    });
    let mut changed = outer.clone();
    let number = u8::try_from(changed[at.unwrap()].0).unwrap();
    changed[at.unwrap()].1 = bytes_field(number, &key);
    assert_eq!(responder.status(&joined(version, &changed)), Status::KeyExchangeFailed);
}

in_both_namespaces! {
    required_fields_are_written_in_order_even_when_zero,
    a_key_exchange_is_read_in_any_order_and_with_more_in_it,
    f13_each_required_field_is_required,
    macs_and_keys_have_one_length,
    the_high_half_of_the_version_is_3,
    identity_keys_not_fit_for_use_are_refused,
}
