//! What is known of a JID.

use super::super::super::model::contact::Contact;
use super::super::super::model::device::KnownDevice;
use super::super::super::model::identity::{Conflict, DeviceKey, Identity};
use super::super::super::model::namespaces::NamespaceSet;
use super::super::super::model::standing::Standing;
use super::super::super::model::trust::TrustLevels;
use super::super::super::policy;
use super::{bytes32, corrupt, record};
use crate::crypto::silent::silent;
use crate::error::Result;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::label::SignedLabel;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use prost::Message;
use std::sync::Arc;

silent! { ContactRecord DeviceRecord TrustRecord }
record!(ContactRecord, "a JID", [4 => 2 * limits::KNOWN_DEVICES_PER_JID, 5 => policy::TRUST_ENTRIES]);

const SIGN_UNKNOWN: u32 = 2;

/// One device of a JID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct DeviceRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    /// Namespaces in which the JID's own list names it now.
    #[prost(uint32, repeated, tag = "2")]
    active: Vec<u32>,
    /// Identity key in Curve25519 form; empty: not known.
    #[prost(bytes = "vec", tag = "3")]
    identity: Vec<u8>,
    /// Sign of its Ed25519 form: 0, 1, or 2 for unknown.
    #[prost(uint32, tag = "4")]
    sign: u32,
    /// Namespaces in which a bundle from the JID's own node showed the key; in none: it is provisional.
    #[prost(uint32, repeated, tag = "5")]
    confirmed_in: Vec<u32>,
    /// The key, in Ed25519 form, that a bundle shows instead of the confirmed one; empty: none.
    #[prost(bytes = "vec", tag = "6")]
    conflicting: Vec<u8>,
    /// Identity key in Ed25519 form, sign 0 while it is unknown: kept, since a conversion for each device of each message
    /// costs more than the encryption.
    #[prost(bytes = "vec", tag = "7")]
    ed: Vec<u8>,
    /// In which namespace it shows `conflicting`.
    #[prost(uint32, tag = "8")]
    conflicting_in: u32,
    /// The namespace in which it is served whatever the order says; 0: by the order.
    #[prost(uint32, tag = "9")]
    preferred: u32,
    /// It was announced in omemo:2 since the client last set its namespace.
    #[prost(bool, tag = "10")]
    had_omemo2: bool,
    /// It left omemo:2 and was served by legacy since then.
    #[prost(bool, tag = "11")]
    downgraded: bool,
    /// The same as `conflicting` where the bundle of another namespace showed a key before that; empty: none.
    #[prost(bytes = "vec", tag = "12")]
    conflicting_before: Vec<u8>,
    /// In which namespace.
    #[prost(uint32, tag = "13")]
    conflicting_before_in: u32,
    /// When its session was last replaced by itself, in wall-clock milliseconds; 0: never.
    #[prost(int64, tag = "14")]
    healed_ms: i64,
    /// Its label as announced, not verified; empty: none.
    #[prost(string, tag = "15")]
    label: String,
    /// The signature of the label, 64 bytes; empty without label.
    #[prost(bytes = "vec", tag = "16")]
    label_signature: Vec<u8>,
}

fn set(codes: &[u32]) -> Result<NamespaceSet> {
    NamespaceSet::from_codes(codes).ok_or_else(|| corrupt("a JID", "names an unknown namespace"))
}

fn one(code: u32) -> Result<Namespace> {
    Namespace::from_code(code).ok_or_else(|| corrupt("a JID", "names an unknown namespace"))
}

impl DeviceRecord {
    fn new(device: &KnownDevice) -> DeviceRecord {
        let (key, conflict) = (device.identity.key(), device.identity.conflict());
        // There are two namespaces.
        let before = match device.identity.conflicts() {
            [before, _] => Some(before),
            _ => None,
        };
        let sign = |key: &DeviceKey| u32::from(key.ed().last().is_some_and(|byte| byte & 0x80 != 0));
        DeviceRecord {
            id: device.id,
            active: device.active.codes(),
            identity: key.map_or_else(Vec::new, |key| key.mont().to_vec()),
            sign: key.map_or(0, |key| if key.is_sign_known() { sign(key) } else { SIGN_UNKNOWN }),
            confirmed_in: device.identity.confirmed_in().codes(),
            conflicting: conflict.map_or_else(Vec::new, |conflict| conflict.ed.to_vec()),
            ed: key.map_or_else(Vec::new, |key| key.ed().to_vec()),
            conflicting_in: conflict.map_or(0, |conflict| conflict.namespace.code()),
            preferred: device.preferred.map_or(0, Namespace::code),
            had_omemo2: device.had_omemo2,
            downgraded: device.downgraded,
            conflicting_before: before.map_or_else(Vec::new, |conflict| conflict.ed.to_vec()),
            conflicting_before_in: before.map_or(0, |conflict| conflict.namespace.code()),
            healed_ms: device.healed_ms,
            label: device.label.as_ref().map_or_else(String::new, |label| label.text.clone()),
            label_signature: device.label.as_ref().map_or_else(Vec::new, |label| label.signature.to_vec()),
        }
    }

    fn label(&self) -> Result<Option<Arc<SignedLabel>>> {
        if self.label_signature.is_empty() {
            return Ok(None);
        }
        let bad = |_| corrupt("a JID", "holds a label with a signature of the wrong length");
        let signature = self.label_signature.as_slice().try_into().map_err(bad)?;
        Ok(Some(Arc::new(SignedLabel { text: self.label.clone(), signature })))
    }

    fn identity(&self) -> Result<Identity> {
        if self.identity.is_empty() {
            return Ok(Identity::Unknown);
        }
        let mont = bytes32(&self.identity, "a JID")?;
        let key = DeviceKey::from_stored(mont, bytes32(&self.ed, "a JID")?, self.sign != SIGN_UNKNOWN);
        let confirmed_in = set(&self.confirmed_in)?;
        if confirmed_in.is_empty() {
            return Ok(Identity::Provisional(key));
        }
        if self.conflicting.is_empty() {
            return Ok(Identity::Confirmed(key, confirmed_in));
        }
        let conflict = |ed: &[u8], code: u32| -> Result<Conflict> {
            Ok(Conflict { ed: bytes32(ed, "a JID")?, namespace: one(code)? })
        };
        let mut conflicts = Vec::new();
        if !self.conflicting_before.is_empty() {
            conflicts.push(conflict(&self.conflicting_before, self.conflicting_before_in)?);
        }
        conflicts.push(conflict(&self.conflicting, self.conflicting_in)?);
        if let [before, last] = conflicts.as_slice()
            && before.namespace == last.namespace
        {
            return Err(corrupt("a JID", "names a namespace twice"));
        }
        Ok(Identity::in_conflict(key, confirmed_in, conflicts))
    }

    fn device(&self) -> Result<KnownDevice> {
        if DeviceId::new(self.id).is_none() {
            return Err(corrupt("a JID", "holds a device id that is none"));
        }
        let preferred = (self.preferred != 0).then(|| one(self.preferred)).transpose()?;
        Ok(KnownDevice {
            id: self.id,
            active: set(&self.active)?,
            identity: self.identity()?,
            preferred,
            had_omemo2: self.had_omemo2,
            downgraded: self.downgraded,
            healed_ms: self.healed_ms,
            label: self.label()?,
        })
    }
}

/// The level of one key of a JID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TrustRecord {
    #[prost(bytes = "vec", tag = "1")]
    identity: Vec<u8>,
    #[prost(string, tag = "2")]
    level: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct ContactRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) jid: String,
    /// Namespaces in which its own list was seen at least once.
    #[prost(uint32, repeated, tag = "3")]
    listed: Vec<u32>,
    #[prost(message, repeated, tag = "4")]
    devices: Vec<DeviceRecord>,
    #[prost(message, repeated, tag = "5")]
    trust: Vec<TrustRecord>,
    /// The client itself has named it.
    #[prost(bool, tag = "6")]
    known: bool,
}

impl ContactRecord {
    pub(in crate::manager::store) fn new(contact: &Contact) -> ContactRecord {
        let trust =
            |(key, level): &([u8; 32], String)| TrustRecord { identity: key.to_vec(), level: level.clone() };
        ContactRecord {
            version: 0,
            jid: contact.jid.as_str().to_owned(),
            listed: contact.listed.codes(),
            devices: contact.devices.iter().map(DeviceRecord::new).collect(),
            trust: contact.trust.iter().map(trust).collect(),
            known: contact.standing.is_known(),
        }
    }

    /// Returns what it holds, if it is of this JID.
    pub(in crate::manager::store) fn contact(&self, jid: &BareJid) -> Result<Contact> {
        if self.jid != jid.as_str() {
            return Err(corrupt("a JID", "names another one"));
        }
        let trust = |trust: &TrustRecord| Ok((bytes32(&trust.identity, "a JID")?, trust.level.clone()));
        Ok(Contact {
            jid: jid.clone(),
            standing: if self.known { Standing::Known } else { Standing::Stranger },
            listed: set(&self.listed)?,
            devices: self.devices.iter().map(DeviceRecord::device).collect::<Result<_>>()?,
            trust: TrustLevels::from_stored(self.trust.iter().map(trust).collect::<Result<_>>()?),
        })
    }
}
