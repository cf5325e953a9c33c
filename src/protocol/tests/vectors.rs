//! The vectors of the reference implementation for both namespaces: the same checks for each.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::super::bundle::{Bundle, PublicPreKey};
use super::super::chain::{Chain, step_root};
use super::super::chain_budget::{ChainBudget, SkipLimits};
use super::super::messages::key_exchange::ExchangeId;
use super::super::messages::ratchet_message::{Header, Parties, RatchetMessage};
use super::super::namespace::Namespace;
use super::super::profile::Wire;
use super::super::ranges::Ranges;
use super::super::ratchet::Ratchet;
use super::super::role::Role;
use super::super::session::{Session, Step};
use super::super::skipped_keys::SkippedKeys;
use super::super::x3dh::ResponderKeys;
use super::super::{payload, x3dh};
use crate::crypto::aead::CbcHmacKeys;
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::error::Status;
use crate::test_support::{Recorded, Seeded, fixed, hex, in_both_namespaces, list, secret, vectors};
use serde_json::Value;

fn file(name: &str, namespace: Namespace) -> Value {
    let suffix = match namespace {
        Namespace::Omemo2 => "omemo2",
        Namespace::Legacy => "legacy",
    };
    vectors(&format!("{name}_{suffix}.json"))
}

fn public(value: &Value) -> PublicKey {
    PublicKey::from_bytes(fixed(value))
}

/// The identity keys in what the vectors give as associated data of messages of the initiator.
fn parties(namespace: Namespace, data: &Value) -> Parties {
    let data = hex(data);
    let (first, second) = match namespace.profile().wire {
        Wire::Omemo => (&data[..32], &data[32..]),
        Wire::Signal => (&data[1..33], &data[34..]),
    };
    Parties { initiator: first.try_into().unwrap(), responder: second.try_into().unwrap() }
}

fn identity(secret_type: &Value, value: &Value) -> IdentityKeyPair {
    match secret_type.as_str().unwrap() {
        "seed" => IdentityKeyPair::from_seed(secret(value)),
        _ => IdentityKeyPair::from_private(&fixed(value)),
    }
}

fn chains(namespace: Namespace) {
    let all = file("kdf_aead_payload", namespace);
    let profile = namespace.profile();
    for case in list(&all, "root_chain") {
        assert_eq!(profile.root_info, case["info"].as_str().unwrap());
        let (root, chain) =
            step_root(profile, &secret(&case["root_key"]), &secret(&case["dh_output"])).unwrap();
        assert_eq!(*root, fixed(&case["new_root_key"]));
        assert_eq!(*chain, fixed(&case["new_chain_key"]));
    }
    for case in list(&all, "message_chain") {
        let mut chain = Chain::new(secret(&case["chain_key"]));
        assert_eq!(*chain.step().unwrap(), fixed(&case["message_key"]));
        assert_eq!(**chain.key(), fixed(&case["next_chain_key"]));
    }
    assert_eq!((list(&all, "root_chain").len(), list(&all, "message_chain").len()), (3, 3));
}

fn aead(namespace: Namespace) {
    let all = file("kdf_aead_payload", namespace);
    let mut checks = 0;
    for case in list(&all, "aead") {
        let header = Header {
            ratchet_key: public(&case["header"]["dh_pub"]),
            pn: case["header"]["pn"].as_u64().unwrap().try_into().unwrap(),
            n: case["header"]["n"].as_u64().unwrap().try_into().unwrap(),
        };
        // The associated data of these vectors is random: no two keys stand in it, so the MAC is compared apart.
        let (data, covered) =
            (hex(&case["session_associated_data"]), hex(&case["omemo_message_with_ciphertext"]));
        assert_eq!([data.as_slice(), &covered].concat(), hex(&case["hmac_input"]));
        let keys =
            CbcHmacKeys::derive(&hex(&case["message_key"]), namespace.profile().message_info.as_bytes())
                .unwrap();
        let mac = hex(&case["mac_truncated"]);
        match namespace.profile().mac_bytes {
            16 => assert_eq!(keys.mac::<16>(&[&data, &covered]).unwrap().as_slice(), mac),
            _ => assert_eq!(keys.mac::<8>(&[&data, &covered]).unwrap().as_slice(), mac),
        }
        let (key, plaintext) = (fixed(&case["message_key"]), hex(&case["plaintext"]));
        let parties = Parties { initiator: [3; 32], responder: [4; 32] };
        let wire =
            RatchetMessage::seal(namespace, header, &key, &parties, Role::Initiator, &plaintext).unwrap();
        let theirs = hex(&case["serialized_authenticated_message"]);
        // All but the MAC is the same to the byte.
        let without_mac = |wire: &[u8]| match namespace.profile().wire {
            Wire::Omemo => wire[18..].to_vec(),
            Wire::Signal => wire[..wire.len() - 8].to_vec(),
        };
        assert_eq!(without_mac(&wire), without_mac(&theirs));
        let message = RatchetMessage::parse(namespace, &theirs).unwrap();
        assert_eq!(message.header(), header);
        assert_eq!(
            *RatchetMessage::parse(namespace, &wire).unwrap().open(&key, &parties, Role::Initiator).unwrap(),
            plaintext
        );
        assert!(message.open(&key, &parties, Role::Initiator).is_err());
        checks += 1;
    }
    assert_eq!(checks, 4);
}

fn payloads(namespace: Namespace) {
    let all = file("kdf_aead_payload", namespace);
    for case in list(&all, "payload") {
        let (plaintext, key) = (hex(&case["plaintext"]), hex(&case["key_and_tag_sent_through_the_ratchet"]));
        let mut draws = vec![hex(&case["key"])];
        draws.extend(case.get("iv").filter(|_| namespace == Namespace::Legacy).map(hex));
        let sealed = payload::encrypt(namespace, &plaintext, &mut Recorded::new(draws)).unwrap();
        let ciphertext = sealed.payload.unwrap();
        assert_eq!(ciphertext, hex(&case["ciphertext"]));
        assert_eq!(*sealed.key, key);
        let opened = payload::decrypt(namespace, &key, &ciphertext, sealed.iv.as_deref()).unwrap();
        assert_eq!(*opened, plaintext);
        let mut altered = ciphertext;
        altered[0] ^= 1;
        assert!(payload::decrypt(namespace, &key, &altered, sealed.iv.as_deref()).is_err());
    }
    assert_eq!(list(&all, "payload").len(), 6);
    let parts = payload::key_parts(namespace, &[0xab; 48], Some(&[0xcd; 12])).unwrap();
    assert_eq!(format!("{parts:?}"), "KeyParts(..)", "keys are never shown");
    assert!(payload::encrypt(namespace, b"", &mut Recorded::default()).is_err());
    // 12 bytes in legacy; omemo:2 has no IV.
    let drawn = (namespace == Namespace::Legacy).then(|| vec![7; 12]);
    let iv = payload::empty_iv(namespace, &mut Recorded::new(drawn.clone())).unwrap();
    assert_eq!(iv, drawn);
    assert_eq!(payload::empty_iv_bytes(namespace), drawn.map_or(0, |iv| iv.len()));
    // A key of zeros is no key in omemo:2, unless a tag makes it the key of a payload.
    let is_key = |tag: &[u8]| payload::key_parts(namespace, &[&[0; 32], tag].concat(), None).is_some();
    assert_eq!((is_key(&[]), is_key(&[0; 16])), (namespace == Namespace::Legacy, true));
    // A tag of another length is none, nor is an empty IV one.
    let size = if namespace == Namespace::Legacy { 16 } else { 32 };
    for (tag, iv) in [(0, &[][..]), (15, &[]), (16, &[2]), (17, &[2])] {
        let parts = payload::key_parts(namespace, &vec![1; size + tag], Some(iv)).unwrap();
        assert_eq!((parts.key.len(), parts.tag.is_some()), (size, tag == 16));
        assert_eq!(parts.iv.as_deref(), (!iv.is_empty()).then_some(iv));
    }
    match namespace {
        Namespace::Omemo2 => {
            let key = payload::empty_key(namespace, &mut Recorded::default()).unwrap();
            assert_eq!(*key, hex(&all["empty"]["key_and_tag_sent_through_the_ratchet"]));
        }
        Namespace::Legacy => {
            let case = &all["payload_iv16"];
            let key = [hex(&case["key"]), hex(&case["auth_tag"])].concat();
            let iv = hex(&case["iv"]);
            let opened = payload::decrypt(namespace, &key, &hex(&case["ciphertext"]), Some(&iv)).unwrap();
            assert_eq!(*opened, hex(&case["plaintext"]));
            let case = &all["payload_tag_in_payload"];
            let (key, iv) = (hex(&case["key_sent_through_the_ratchet"]), hex(&case["iv"]));
            let whole =
                case.as_object().unwrap().iter().find(|(name, _)| name.starts_with("payload")).unwrap().1;
            let opened = payload::decrypt(namespace, &key, &hex(whole), Some(&iv)).unwrap();
            assert_eq!(*opened, hex(&case["plaintext"]));
            assert!(payload::is_tag_in_payload(namespace, &key));
            assert!(!payload::is_tag_in_payload(namespace, &[0; 32]));
        }
    }
}

fn bundle_of(namespace: Namespace, case: &Value) -> Bundle {
    let responder = &case["responder"];
    let xml = case["responder_bundle_xml"].as_str().unwrap();
    let bundle = crate::stanza::bundle::parse(xml.as_bytes(), None).unwrap();
    assert_eq!(bundle.namespace, namespace);
    assert_eq!(bundle.identity_key, fixed(&responder["identity_ed25519_pub"]));
    assert_eq!(bundle.signed_pre_key, fixed(&responder["signed_pre_key_pub"]));
    assert_eq!(bundle.signature, fixed(&responder["signature_internal"]));
    bundle
}

fn agreements(namespace: Namespace) {
    let all = file("x3dh", namespace);
    assert_eq!(namespace.profile().agreement_info, all["info"].as_str().unwrap());
    for case in list(&all, "cases") {
        let bundle = bundle_of(namespace, case);
        let [initiator, responder] = ["initiator", "responder"].map(|side| &case[side]);
        let ours = identity(&initiator["identity_secret_type"], &initiator["identity_secret"]);
        let theirs = identity(&responder["identity_secret_type"], &responder["identity_secret"]);
        assert_eq!(*ours.public().ed(), fixed(&initiator["identity_ed25519_pub"]));
        let ephemeral = KeyPair::from_private(secret(&initiator["ephemeral_priv"]));
        assert_eq!(ephemeral.public(), public(&initiator["ephemeral_pub"]));
        let id = u32::try_from(responder["pre_key_id"].as_u64().unwrap()).unwrap();
        let agreement = x3dh::for_vectors::initiate(&ours, &bundle, &ephemeral, id).unwrap();
        assert_eq!(*agreement.secret, fixed(&case["shared_secret"]));
        let signed = KeyPair::from_private(secret(&responder["signed_pre_key_priv"]));
        let pre_key = KeyPair::from_private(secret(&responder["pre_key_priv"]));
        let identity = ours.public().public();
        let answer = x3dh::respond(
            namespace,
            &ResponderKeys::new(&theirs, &signed, &pre_key),
            &identity,
            &ephemeral.public(),
        )
        .unwrap();
        assert_eq!(*answer, fixed(&case["shared_secret"]));
        let session = Session::initiated(&ours, &bundle, &agreement, &mut Seeded::new(1)).unwrap();
        assert_eq!(session.parties, parties(namespace, &case["associated_data_initiator_first"]));
        for dh in ["dh1_IKa_SPKb", "dh2_EKa_IKb", "dh3_EKa_SPKb", "dh4_EKa_OPKb"] {
            assert!(case["hkdf_ikm"].as_str().unwrap().contains(case[dh].as_str().unwrap()));
        }
    }
    assert_eq!(list(&all, "cases").len(), 4);
    // The negative cases; those about lost pre keys and rotation belong to whoever keeps the keys.
    let case = &list(&all, "cases")[0];
    let ours = identity(&case["initiator"]["identity_secret_type"], &case["initiator"]["identity_secret"]);
    let refused = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = bundle_of(namespace, case);
        change(&mut bundle);
        Session::initiate(&ours, &bundle, &mut Seeded::new(2)).err().map(|error| error.status())
    };
    let low_order = || vec![PublicPreKey { id: 1, key: [0; 32] }];
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|bundle| bundle.signature[0] ^= 1), Some(Status::BundleBad));
    assert_eq!(refused(&|bundle| bundle.pre_keys.clear()), Some(Status::BundleBad));
    assert_eq!(refused(&|bundle| bundle.identity_key[31] ^= 0x80), Some(Status::BundleBad));
    assert_eq!(refused(&|bundle| bundle.pre_keys = low_order()), Some(Status::BundleBad));
    let signed = KeyPair::from_private(secret(&case["responder"]["signed_pre_key_priv"]));
    let mut one = [0; 32];
    one[0] = 1;
    let one = PublicKey::from_bytes(one);
    let identity = ours.public().public();
    assert!(x3dh::respond(namespace, &ResponderKeys::new(&ours, &signed, &signed), &identity, &one).is_err());
}

/// One side of the vectors' conversation.
struct Side {
    session: Option<Session>,
    skipped: SkippedKeys,
}

fn new_session(namespace: Namespace, parties: Parties, role: Role, ratchet: Ratchet) -> Session {
    let exchange = ExchangeId {
        ephemeral: PublicKey::from_bytes([1; 32]),
        identity: [1; 32],
        signed_pre_key_id: 1,
        pre_key_id: 1,
    };
    // Confirmed, since the vectors hold bare ratchet messages.
    Session {
        namespace,
        role,
        confirmed: true,
        parties,
        peer: [1; 32],
        exchange,
        ratchet,
        skipped: 0,
        answered: false,
        evicted: Ranges::default(),
    }
}

impl Side {
    fn decrypt(
        &mut self,
        first: impl Fn(&RatchetMessage, &mut Recorded) -> crate::error::Result<Step>,
        namespace: Namespace,
        wire: &[u8],
        rng: &mut Recorded,
    ) -> crate::error::Result<Vec<u8>> {
        let message = RatchetMessage::parse(namespace, wire)?;
        let step = match &self.session {
            None => first(&message, rng)?,
            Some(session) => {
                let skipped = session.needs_skipped(&message).then_some(&self.skipped);
                session.decrypt(
                    &message,
                    skipped,
                    &mut |_| Ok(None),
                    &mut ChainBudget::new(SkipLimits::default()),
                    rng,
                )?
            }
        };
        self.session = Some(step.session);
        self.skipped = step.skipped.unwrap_or(std::mem::take(&mut self.skipped));
        Ok(step.plaintext.to_vec())
    }

    /// The state as the reference implementation writes it; the tail is ours alone.
    fn assert_state(&self, expected: &Value) {
        // What is compared went through the records, as in real life.
        let session = Session::decode(&self.session.as_ref().unwrap().encode()).unwrap();
        let skipped = SkippedKeys::decode(&self.skipped.encode()).unwrap();
        let ratchet = &session.ratchet;
        let dh = &expected["diffie_hellman_ratchet"];
        assert_eq!(*ratchet.own.private(), fixed(&dh["own_ratchet_priv"]));
        assert_eq!(ratchet.own.public(), KeyPair::from_private(secret(&dh["own_ratchet_priv"])).public());
        assert_eq!(ratchet.remote, public(&dh["other_ratchet_pub"]));
        assert_eq!(*ratchet.root, fixed(&dh["root_chain"]["key"]));
        let symmetric = &dh["symmetric_key_ratchet"];
        let chain = |value: &Value| (fixed::<32>(&value["key"]), value["length"].as_u64().unwrap());
        let sending = &ratchet.sending;
        assert_eq!((**sending.key(), u64::from(sending.length())), chain(&symmetric["sending_chain"]));
        match &ratchet.receiving {
            None => assert!(symmetric["receiving_chain"].is_null()),
            Some(receiving) => assert_eq!(
                (**receiving.key(), u64::from(receiving.length())),
                chain(&symmetric["receiving_chain"])
            ),
        }
        let pn = symmetric["previous_sending_chain_length"].as_u64().unwrap_or(0);
        assert_eq!(u64::from(ratchet.pn), pn);
        let theirs = list(expected, "skipped_message_keys");
        let ours: Vec<_> =
            skipped.iter().map(|(key, n, message_key)| (*key, u64::from(n), **message_key)).collect();
        let theirs: Vec<_> = theirs
            .iter()
            .map(|k| (public(&k["ratchet_pub"]), k["index"].as_u64().unwrap(), fixed(&k["message_key"])))
            .collect();
        assert_eq!(ours, theirs);
        assert_eq!(session.skipped_keys() as usize, skipped.len());
    }
}

fn first_message(
    namespace: Namespace,
    all: &Value,
    parties: Parties,
) -> impl Fn(&RatchetMessage, &mut Recorded) -> crate::error::Result<Step> {
    let spk = KeyPair::from_private(secret(&all["responder_signed_pre_key_priv"]));
    let shared = secret(&all["shared_secret"]);
    move |message, rng| {
        let profile = namespace.profile();
        let (mut budget, shared) = (ChainBudget::new(SkipLimits::default()), shared.clone());
        let received = Ratchet::responder(profile, &shared, &spk, &message.header(), &mut budget)?;
        let plaintext = message.open(&received.key, &parties, Role::Initiator)?;
        let (ratchet, passed) = received.complete(profile, rng)?;
        let session = new_session(namespace, parties, Role::Responder, ratchet);
        assert!(passed.iter().all(|(_, keys)| keys.is_empty()));
        Ok(Step { session, skipped: None, plaintext, advanced: true, chain: None })
    }
}

fn conversation(namespace: Namespace) {
    let all = file("double_ratchet", namespace);
    let parties = parties(namespace, &all["associated_data_for_messages_of_initiator"]);
    let first = first_message(namespace, &all, parties);
    let mut sides = [(); 2].map(|()| Side { session: None, skipped: SkippedKeys::new() });
    let mut checks = 0;
    for step in list(&all, "steps") {
        let side = &mut sides[usize::from(step["by"] == "B")];
        let draws = list(step, "new_ratchet_privs_drawn").iter().map(hex);
        let mut rng = Recorded::new(draws);
        if step["op"] == "encrypt" {
            let session = side.session.get_or_insert_with(|| {
                let spk = public(&all["responder_signed_pre_key_pub"]);
                let profile = namespace.profile();
                let ratchet =
                    Ratchet::initiator(profile, &secret(&all["shared_secret"]), spk, &mut rng).unwrap();
                new_session(namespace, parties, Role::Initiator, ratchet)
            });
            let mut copy = session.ratchet.clone();
            let (header, key) = copy.send().unwrap();
            assert_eq!(*key, fixed(&step["message_key"]));
            assert_eq!(header.ratchet_key, public(&step["header"]["dh_pub"]));
            assert_eq!(u64::from(header.n), step["header"]["n"].as_u64().unwrap());
            assert_eq!(u64::from(header.pn), step["header"]["pn"].as_u64().unwrap());
            CbcHmacKeys::derive(&*key, namespace.profile().message_info.as_bytes()).unwrap();
            let encrypted = session.encrypt(&hex(&step["plaintext"])).unwrap();
            assert!(!encrypted.key_exchange);
            assert_eq!(encrypted.bytes, hex(&step["wire"]));
            side.assert_state(&step["sender_state_after"]);
        } else {
            let before = side.session.as_ref().map(|session| (session.encode(), side.skipped.encode()));
            let result = side.decrypt(&first, namespace, &hex(&step["wire"]), &mut rng);
            match step["expected_error"]["exception"].as_str() {
                None => assert_eq!(result.unwrap(), hex(&step["expected_plaintext"])),
                Some("DuplicateMessageException") => {
                    assert_eq!(result.unwrap_err().status(), Status::Duplicate)
                }
                Some(_) => assert_eq!(result.unwrap_err().status(), Status::DecryptionFailed),
            }
            if step["state_unchanged"].as_bool().unwrap() {
                let after = side.session.as_ref().map(|session| (session.encode(), side.skipped.encode()));
                assert!(before == after);
            }
            side.assert_state(&step["receiver_state_after"]);
        }
        checks += 1;
    }
    assert_eq!(checks, 37);
}

fn limits(namespace: Namespace) {
    let all = file("double_ratchet_limits", namespace);
    let parties = parties(namespace, &all["associated_data_for_messages_of_initiator"]);
    let first = first_message(namespace, &all, parties);
    let start = |wire: &Value| {
        let mut side = Side { session: None, skipped: SkippedKeys::new() };
        let mut rng = Recorded::new([vec![9; 32]]);
        side.decrypt(&first, namespace, &hex(wire), &mut rng).unwrap();
        side
    };
    for case in list(&all, "cases") {
        let mut side = start(&case["first_message_wire"]);
        let result = side.decrypt(&first, namespace, &hex(&case["wire"]), &mut Recorded::default());
        if case["expected_error"].is_null() {
            assert_eq!(result.unwrap(), hex(&case["expected_plaintext"]))
        } else {
            assert_eq!(result.unwrap_err().status(), Status::TooManySkipped)
        }
        assert_eq!(side.skipped.len() as u64, case["stored_skipped_keys_after"].as_u64().unwrap());
    }
    assert_eq!(list(&all, "cases").len(), 2);
    let fifo = &all["fifo"];
    let mut side = start(&list(&all, "cases")[0]["first_message_wire"]);
    for wire in list(fifo, "wires") {
        let _ = side.decrypt(&first, namespace, &hex(wire), &mut Recorded::default());
    }
    let oldest = &fifo["oldest_then"];
    let result = side.decrypt(&first, namespace, &hex(&oldest["wire_index_1"]), &mut Recorded::default());
    // It was never decrypted: the reference implementation calls it a duplicate, and so hides what was lost.
    assert_eq!(result.unwrap_err().status(), Status::DecryptionFailed);
    let second = &fifo["second_oldest_still_there"];
    let result = side.decrypt(&first, namespace, &hex(&second["wire_index_2"]), &mut Recorded::default());
    assert_eq!(result.unwrap(), hex(&second["plaintext"]));
}

in_both_namespaces! { chains aead payloads agreements conversation limits }
