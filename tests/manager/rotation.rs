//! What a rotated signed pre key still opens (R54).
//!
//! The manager has no rotation yet. These tests rotate in the store, as a rotation leaves it there: the signed pre key
//! becomes the previous one, what was the previous one is gone, and a new one with the next id stands in its place.

use super::world::*;
use omemo::crypto::identity::IdentityKeyPair;
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use prost::Message as _;
use zeroize::Zeroizing;

in_both_namespaces! {
    r54_a_key_exchange_on_the_previous_signed_pre_key_is_accepted_for_one_rotation,
    a_session_outlives_the_signed_pre_key_that_it_began_with,
}

/// Of the record of the account what signing needs.
#[derive(prost::Message)]
struct Account {
    #[prost(bytes = "vec", tag = "5")]
    secret: Vec<u8>,
    #[prost(bool, tag = "6")]
    secret_is_seed: bool,
}

/// The whole record of the own keys of a namespace, its parts as bytes.
#[derive(prost::Message)]
struct Own {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", optional, tag = "2")]
    signed: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    previous: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pre_keys: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    processed: Vec<Vec<u8>>,
    #[prost(bool, tag = "6")]
    bundle_pending: bool,
    #[prost(bool, tag = "7")]
    list_pending: bool,
}

#[derive(prost::Message)]
struct Signed {
    #[prost(message, optional, tag = "1")]
    pair: Option<Pair>,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(int64, tag = "3")]
    made: i64,
}

#[derive(prost::Message)]
struct Pair {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "vec", tag = "2")]
    private: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    public: Vec<u8>,
}

/// Rotates the signed pre key of a closed account, opens it, and has the new bundle published.
fn rotate(client: &RustDevice, server: &mut Server) {
    let before = server.bundle(client);
    client.manager.replace(None);
    let at = format!("v1/own/{}", client.config.namespaces[0].code());
    {
        let mut records = client.storage.records.lock().unwrap();
        let account = Account::decode(records["v1/account"].as_slice()).unwrap();
        let secret: [u8; 32] = account.secret.as_slice().try_into().unwrap();
        let identity = match account.secret_is_seed {
            true => IdentityKeyPair::from_seed(Zeroizing::new(secret)),
            false => IdentityKeyPair::from_private(&secret),
        };
        let mut own = Own::decode(records[&at].as_slice()).unwrap();
        assert_eq!(own.encode_to_vec(), records[&at], "the record has more in it than this test knows");
        let old = Signed::decode(own.signed.as_deref().unwrap()).unwrap();
        let (id, mut rng) = (old.pair.unwrap().id + 1, Seeded::fresh());
        let new = SignedPreKey::generate(server.namespace, &identity, id, &mut rng).unwrap();
        let pair =
            Pair { id, private: new.pair.private().to_vec(), public: new.pair.public().as_bytes().to_vec() };
        let made = old.made + 7 * 86_400_000;
        let new = Signed { pair: Some(pair), signature: new.signature.to_vec(), made };
        own.previous = own.signed.replace(new.encode_to_vec());
        own.bundle_pending = true;
        records.insert(at, own.encode_to_vec());
    }
    client.open().unwrap();
    assert_eq!(client.connect(server).status(), Status::Ok);
    let after = server.bundle(client);
    after.verify().unwrap();
    assert_eq!(after.signed_pre_key_id, before.signed_pre_key_id + 1);
    assert_ne!(after.signed_pre_key, before.signed_pre_key);
}

/// A first message on this bundle and on its pre key with this number: none of these shares one with another.
fn greeting(from: &mut RawDevice, to: &RustDevice, bundle: &Bundle, pre_key: usize) -> Message {
    let bundle = Bundle { pre_keys: vec![bundle.pre_keys[pre_key].clone()], ..bundle.clone() };
    let mut session = from.initiate(&bundle);
    from.write(&mut session, (&to.jid, to.id()), "hello")
}

fn r54_a_key_exchange_on_the_previous_signed_pre_key_is_accepted_for_one_rotation(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let first = server.bundle(&romeo);
    let mut strangers = (1..=5).map(|id| RawDevice::of(ns, "tybalt@capulet.lit", id)).collect::<Vec<_>>();
    let accept = |from: &RawDevice, message: &Message| {
        let read = romeo.read(&from.jid, message);
        assert_eq!(text(&read), "hello");
        assert_eq!((read.action, read.new_session, read.device), (Action::Show, true, from.id));
    };
    let on_first = greeting(&mut strangers[0], &romeo, &first, 0);
    let late_on_first = greeting(&mut strangers[1], &romeo, &first, 1);
    rotate(&romeo, &mut server);
    let second = server.bundle(&romeo);
    let late_on_second = greeting(&mut strangers[2], &romeo, &second, 2);
    accept(&strangers[0], &on_first);
    let on_second = greeting(&mut strangers[3], &romeo, &second, 3);
    accept(&strangers[3], &on_second);

    rotate(&romeo, &mut server);
    let third = server.bundle(&romeo);
    let refused = romeo.refuse(&strangers[1].jid, &late_on_first, Status::PreKeyUnknown);
    assert_eq!(refused.action, Action::Warn);
    accept(&strangers[2], &late_on_second);
    // It was the signed pre key alone that was missing: the one-time pre key is still there, and opens a new exchange.
    let at = first.pre_keys[1].id;
    let at = third
        .pre_keys
        .iter()
        .position(|pre_key| pre_key.id == at)
        .expect("a pre key was used up for nothing");
    assert_eq!(third.pre_keys[at].key, first.pre_keys[1].key);
    let again = greeting(&mut strangers[1], &romeo, &third, at);
    accept(&strangers[1], &again);
    // What was read before is a duplicate as long as its session lives, not unknown, though its signed pre key is gone.
    romeo.refuse(&strangers[0].jid, &on_first, Status::Duplicate);
}

fn a_session_outlives_the_signed_pre_key_that_it_began_with(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    let (mut session, hello) = tybalt.greet(&romeo, &server, "hello");
    assert_eq!(text(&romeo.read(&tybalt.jid, &hello)), "hello");
    // Unanswered, it goes on repeating its key exchange, whose signed pre key is gone in the end.
    for round in ["once", "twice", "three times"] {
        rotate(&romeo, &mut server);
        let next = tybalt.write(&mut session, (&romeo.jid, romeo.id()), round);
        assert!(next.keys[0].key_exchange);
        let read = romeo.read(&tybalt.jid, &next);
        assert_eq!((text(&read).as_str(), read.new_session), (round, false));
    }
}
