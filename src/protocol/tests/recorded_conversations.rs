//! Whole conversations that python-omemo recorded: its storage before each message, the stanza, and its storage after.
//!
//! The loader reads just what a decryption needs; it is no importer.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::super::chain_budget::{ChainBudget, SkipLimits};
use super::super::message::Message;
use super::super::messages::key_exchange::{ExchangeId, KeyExchange};
use super::super::messages::ratchet_message::{Parties, RatchetMessage};
use super::super::namespace::Namespace;
use super::super::payload;
use super::super::profile::Wire;
use super::super::ranges::Ranges;
use super::super::ratchet::Ratchet;
use super::super::role::Role;
use super::super::session::{Session, Step};
use super::super::skipped_keys::SkippedKeys;
use super::super::x3dh::ResponderKeys;
use crate::crypto::convert;
use crate::crypto::identity::{IdentityKey, IdentityKeyPair};
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::error::{Result, Status};
use crate::protocol::chain::Chain;
use crate::stanza::message;
use crate::test_support::{Recorded, fixed, hex, list, vectors};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;
use zeroize::Zeroizing;

/// Bytes that python wrote as the characters U+0000 to U+00FF of a string.
fn latin<const N: usize>(value: &Value) -> [u8; N] {
    let bytes: Vec<u8> = value.as_str().unwrap().chars().map(|c| u8::try_from(c).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn secret(value: &Value) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(latin(value))
}

fn base64(value: &Value) -> Vec<u8> {
    URL_SAFE.decode(value.as_str().unwrap()).unwrap()
}

fn base64_key(value: &Value) -> [u8; 32] {
    base64(value).try_into().unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// One device's storage.
struct Storage<'a> {
    namespace: Namespace,
    values: &'a Value,
}

impl Storage<'_> {
    fn own(&self) -> IdentityKeyPair {
        let key = Zeroizing::new(base64_key(&self.values["/ikp/key"]));
        if self.values["/ikp/is_seed"].as_bool().unwrap() {
            IdentityKeyPair::from_seed(key)
        } else {
            IdentityKeyPair::from_private(&key)
        }
    }

    fn x3dh(&self) -> &Value {
        &self.values[format!("/{}/x3dh", self.namespace.uri())]
    }

    /// The private key among these whose public key has this id.
    fn with_id<'b>(&self, ids: &str, id: u32, keys: impl Iterator<Item = &'b Value>) -> Option<KeyPair> {
        let ids = &self.values[format!("/{}/{ids}", self.namespace.uri())];
        let mut pairs = keys.map(|key| KeyPair::from_private(secret(key)));
        pairs.find(|pair| {
            let public = base64::engine::general_purpose::STANDARD.encode(pair.public().as_bytes());
            ids[public].as_u64() == Some(id.into())
        })
    }

    fn signed_pre_key(&self, id: u32) -> KeyPair {
        let x3dh = self.x3dh();
        let keys = [&x3dh["signed_pre_key"], &x3dh["old_signed_pre_key"]];
        let keys = keys.into_iter().filter(|key| !key.is_null()).map(|key| &key["priv"]);
        self.with_id("signed_pre_key_ids", id, keys).unwrap()
    }

    fn pre_key(&self, id: u32) -> Option<KeyPair> {
        self.with_id("pre_key_ids", id, list(self.x3dh(), "pre_keys").iter())
    }

    fn session(&self, jid: &str, device: u32) -> Option<(Session, SkippedKeys)> {
        let value = |name: &str| &self.values[format!("/{}/{jid}/{device}/{name}", self.namespace.uri())];
        let dump = value("double_ratchet");
        if dump.is_null() {
            return None;
        }
        let initiator = value("initiation") == "ACTIVE";
        let data = base64(value("associated_data"));
        let (first, second) = match self.namespace.profile().wire {
            Wire::Omemo => (&data[..32], &data[32..]),
            Wire::Signal => (&data[1..33], &data[34..]),
        };
        let parties = Parties { initiator: first.try_into().unwrap(), responder: second.try_into().unwrap() };
        let exchange = ExchangeId {
            ephemeral: PublicKey::from_bytes(base64_key(value("key_exchange/ephemeral_key"))),
            identity: convert::ed_to_mont(&base64_key(value("key_exchange/identity_key"))).unwrap(),
            signed_pre_key_id: number(value("key_exchange/signed_pre_key_id")),
            pre_key_id: number(value("key_exchange/pre_key_id")),
        };
        let theirs = if initiator { &parties.responder } else { &parties.initiator };
        let peer = match self.namespace.profile().wire {
            Wire::Omemo => convert::ed_to_mont(theirs).unwrap(),
            Wire::Signal => *theirs,
        };
        let dh = &dump["diffie_hellman_ratchet"];
        let symmetric = &dh["symmetric_key_ratchet"];
        let chain = |value: &Value| Chain::from_stored(secret(&value["key"]), number(&value["length"]));
        let receiving = &symmetric["receiving_chain"];
        let ratchet = Ratchet {
            root: secret(&dh["root_chain"]["key"]),
            own: KeyPair::from_private(secret(&dh["own_ratchet_priv"])),
            remote: PublicKey::from_bytes(latin(&dh["other_ratchet_pub"])),
            sending: chain(&symmetric["sending_chain"]),
            receiving: (!receiving.is_null()).then(|| chain(receiving)),
            pn: symmetric["previous_sending_chain_length"].as_u64().unwrap_or(0).try_into().unwrap(),
            keys_at_pn: Vec::new(),
        };
        let mut skipped = SkippedKeys::new();
        for key in list(dump, "skipped_message_keys") {
            let chain = PublicKey::from_bytes(latin(&key["ratchet_pub"]));
            skipped.add(chain, vec![(number(&key["index"]), secret(&key["message_key"]))], 1_000);
        }
        let session = Session {
            namespace: self.namespace,
            role: if initiator { Role::Initiator } else { Role::Responder },
            // Python confirms a passive session at its second message; here it never repeats a key exchange anyway.
            confirmed: !initiator || value("confirmed").as_bool().unwrap(),
            parties,
            peer,
            exchange,
            ratchet,
            skipped: skipped.len().try_into().unwrap(),
            answered: false,
            evicted: Ranges::default(),
        };
        Some((session, skipped))
    }
}

fn assert_dump(session: &Session, skipped: &SkippedKeys, dump: &Value) {
    let dh = &dump["diffie_hellman_ratchet"];
    let symmetric = &dh["symmetric_key_ratchet"];
    let ratchet = &session.ratchet;
    assert_eq!(*ratchet.root, latin(&dh["root_chain"]["key"]));
    assert_eq!(*ratchet.own.private(), latin(&dh["own_ratchet_priv"]));
    assert_eq!(*ratchet.remote.as_bytes(), latin(&dh["other_ratchet_pub"]));
    let chain = |value: &Value| (latin::<32>(&value["key"]), number(&value["length"]));
    assert_eq!((**ratchet.sending.key(), ratchet.sending.length()), chain(&symmetric["sending_chain"]));
    let receiving = ratchet.receiving.as_ref().unwrap();
    assert_eq!((**receiving.key(), receiving.length()), chain(&symmetric["receiving_chain"]));
    assert_eq!(
        u64::from(ratchet.pn),
        symmetric["previous_sending_chain_length"].as_u64().unwrap_or_default()
    );
    let theirs: Vec<_> = list(dump, "skipped_message_keys")
        .iter()
        .map(|key| (latin(&key["ratchet_pub"]), number(&key["index"]), latin(&key["message_key"])))
        .collect();
    let ours: Vec<([u8; 32], u32, [u8; 32])> =
        skipped.iter().map(|(chain, n, key)| (*chain.as_bytes(), n, **key)).collect();
    assert_eq!(ours, theirs);
}

/// What a message came to.
struct Opened {
    session: Session,
    skipped: SkippedKeys,
    by_exchange: bool,
    material: Vec<u8>,
    plaintext: Option<Vec<u8>>,
}

fn open(
    storage: &Storage<'_>,
    from: &str,
    to: &str,
    message: &Message,
    rng: &mut Recorded,
) -> Result<Opened> {
    let own_device = number(&storage.values["/own_device_id"]);
    let key = message
        .keys
        .iter()
        .find(|key| key.device == own_device && key.jid.as_ref().is_none_or(|jid| jid.as_str() == to));
    let key = key.ok_or(Status::NotForUs)?;
    let bytes = key.bytes.as_deref().unwrap();
    let session = storage.session(from, message.sender_device);
    let mut budget = ChainBudget::new(SkipLimits::default());
    let (inner, exchange) = if key.key_exchange {
        let exchange = KeyExchange::parse(storage.namespace, bytes)?;
        (exchange.message().clone(), Some(exchange))
    } else {
        (RatchetMessage::parse(storage.namespace, bytes)?, None)
    };
    let same = |(session, _): &(Session, _)| exchange.as_ref().is_none_or(|e| session.was_begun_by(e));
    let (step, before) = match (session.filter(same), &exchange) {
        (Some((session, skipped)), _) => {
            let given = session.needs_skipped(&inner).then_some(&skipped);
            (session.decrypt(&inner, given, &mut |_| Ok(None), &mut budget, rng)?, skipped)
        }
        (None, Some(exchange)) => {
            let id = exchange.id();
            let pre_key = storage.pre_key(id.pre_key_id).ok_or(Status::PreKeyUnknown)?;
            let signed = storage.signed_pre_key(id.signed_pre_key_id);
            let own = storage.own();
            let step =
                Session::accept(&ResponderKeys::new(&own, &signed, &pre_key), exchange, &mut budget, rng)?;
            (step, SkippedKeys::new())
        }
        (None, None) => return Err(Status::NoSession.into()),
    };
    let Step { session, skipped, plaintext: material, .. } = step;
    let plaintext = match &message.payload {
        Some(bytes) => {
            let opened = payload::decrypt(storage.namespace, &material, bytes, message.iv.as_deref())?;
            Some(opened.to_vec())
        }
        None => None,
    };
    let skipped = skipped.unwrap_or(before);
    Ok(Opened { session, skipped, by_exchange: exchange.is_some(), material: material.to_vec(), plaintext })
}

/// Whether a stanza is written as python does not: marks of 1, the payload before the header, white space in base64.
fn is_unusual(xml: &str) -> bool {
    let first =
        xml.find("payload>").zip(xml.find("header ")).is_some_and(|(payload, header)| payload < header);
    first || xml.contains("prekey=\"1\"") || xml.contains("kex=\"1\"") || xml.contains('\n')
}

fn flow(namespace: Namespace) {
    let all = match namespace {
        Namespace::Omemo2 => vectors("flow_omemo2.json"),
        Namespace::Legacy => vectors("flow_legacy.json"),
    };
    assert_eq!(all["namespace"], namespace.uri());
    let jid = |device: &Value| all["devices"][device.as_str().unwrap()]["bare_jid"].as_str().unwrap();
    let (mut opened, mut refused, mut answers, mut exchanges, mut unusual) = (0, 0, 0, 0, 0);
    for step in list(&all, "steps").iter().filter(|step| step["op"] == "decrypt") {
        let comment = &step["comment"];
        let storage = Storage { namespace, values: &step["receiver_storage_before"] };
        let message = message::parse(step["xml"].as_str().unwrap().as_bytes()).unwrap();
        let (from, to) = (jid(&step["from"]), jid(&step["to"]));
        let draws = list(step, "random_draws").iter().filter(|draw| draw[0] == "ratchet_priv");
        let mut rng = Recorded::new(draws.map(|draw| hex(&draw[1])));
        let result = open(&storage, from, to, &message, &mut rng);
        if let Some(error) = step["expected_error"].as_object() {
            let expected = match (error["exception"].as_str().unwrap(), error["cause"].as_str()) {
                ("MessageNotForUs", _) => Status::NotForUs,
                (_, Some("DuplicateMessageException")) => Status::Duplicate,
                _ => Status::DecryptionFailed,
            };
            assert_eq!(result.err().unwrap().status(), expected, "{comment}");
            assert!(list(step, "receiver_storage_changed_keys").is_empty());
            refused += 1;
            continue;
        }
        let mut result = result.unwrap_or_else(|error| panic!("{comment}: {:?}", error.status()));
        let plaintext = &step["plaintext"];
        assert_eq!(result.plaintext, (!plaintext.is_null()).then(|| hex(plaintext)), "{comment}");
        assert_eq!(result.material, hex(&step["key_material"]), "{comment}");
        assert!(rng.0.is_empty(), "{comment}: something was drawn less");
        let identity = IdentityKey::from_ed(&fixed(&step["sender_identity_key"])).unwrap();
        assert_eq!(result.session.peer_mont(), identity.mont(), "{comment}");
        exchanges += usize::from(result.by_exchange);
        unusual += usize::from(is_unusual(step["xml"].as_str().unwrap()));
        // Python answers a key exchange at once by an empty message, with which its storage is then written.
        for answer in list(step, "automatic_replies") {
            let theirs = message::parse(answer["xml"].as_str().unwrap().as_bytes()).unwrap();
            let draws = list(step, "random_draws").iter().filter(|draw| draw[0] == "token_bytes(16)");
            let mut rng = Recorded::new(draws.map(|draw| hex(&draw[1])));
            let empty = payload::empty_key(namespace, &mut rng).unwrap();
            let ours = result.session.encrypt(&empty).unwrap();
            assert_eq!(Some(&ours.bytes), theirs.keys[0].bytes.as_ref(), "{comment}");
            assert_eq!(ours.key_exchange, theirs.keys[0].key_exchange, "{comment}");
            answers += 1;
        }
        let name = format!("/{}/{from}/{}/double_ratchet", namespace.uri(), message.sender_device);
        assert_dump(&result.session, &result.skipped, &step["receiver_storage_after_changed"][name]);
        opened += 1;
    }
    let (plain, odd) = if namespace == Namespace::Legacy { (9, 2) } else { (8, 1) };
    assert_eq!((opened, refused, answers, exchanges, unusual), (plain, 3, 4, 4, odd));
}

#[test]
fn omemo_2() {
    flow(Namespace::Omemo2);
}

#[test]
fn legacy() {
    flow(Namespace::Legacy);
}
