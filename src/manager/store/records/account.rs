//! The account: identity, device id, highest ids, what the server still has to hear of; and its anchor.

use super::super::super::model::session_set::Epoch;
use super::{corrupt, record};
use crate::crypto::silent::silent;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::label::SignedLabel;
use crate::protocol::namespace::Namespace;
use prost::Message;
use std::collections::BTreeSet;

/// Identity keys of this device that are remembered when it has another one.
const MOST_FORMER: usize = 64;
/// Ids that may wait at a time to be purged from the server.
const MOST_PURGES: usize = 80;
/// Those of other devices among them: what this device itself gives up must always have room, since nobody else cleans it up.
const MOST_FOREIGN_PURGES: usize = 64;

silent! { AccountRecord AnchorRecord HighestRecord PurgeRecord }
record!(AccountRecord, "the account", [8 => 16, 11 => MOST_PURGES, 18 => MOST_FORMER], wipes secret);
record!(AnchorRecord, "the anchor", [4 => 16]);

/// The highest ids that were ever handed out in a namespace; they never go down.
#[derive(Clone, Copy, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager) struct HighestRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager) namespace: u32,
    #[prost(uint32, tag = "2")]
    pub(in crate::manager) pre_key: u32,
    #[prost(uint32, tag = "3")]
    pub(in crate::manager) signed_pre_key: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager) struct AccountRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager) version: u32,
    /// 16 random bytes, drawn once.
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::manager) store_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(in crate::manager) jid: String,
    /// 0: not chosen yet.
    #[prost(uint32, tag = "4")]
    pub(in crate::manager) device_id: u32,
    /// The seed of the identity key, or its scalar.
    #[prost(bytes = "vec", tag = "5")]
    pub(in crate::manager) secret: Vec<u8>,
    #[prost(bool, tag = "6")]
    pub(in crate::manager) secret_is_seed: bool,
    /// Namespaces whose keys were made.
    #[prost(uint32, repeated, tag = "7")]
    pub(in crate::manager) namespaces: Vec<u32>,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::manager) highest: Vec<HighestRecord>,
    /// Sessions of an earlier epoch are retired.
    #[prost(uint32, tag = "9")]
    pub(in crate::manager) epoch: u32,
    /// The last number of an empty message.
    #[prost(uint64, tag = "10")]
    pub(in crate::manager) last_outbox_id: u64,
    /// Device ids that are to be purged from the server, each in a namespace.
    #[prost(message, repeated, tag = "11")]
    pub(in crate::manager) purges: Vec<PurgeRecord>,
    /// When a device id was given up last, in wall-clock milliseconds; 0: never.
    #[prost(int64, tag = "12")]
    pub(in crate::manager) id_given_up_ms: i64,
    /// The sum of the steps of the wall clock, none of them less than nothing or more than a day, in milliseconds.
    #[prost(uint64, tag = "13")]
    pub(in crate::manager) accumulated_ms: u64,
    /// What the wall clock said then, in milliseconds; 0: it was not read yet.
    #[prost(int64, tag = "14")]
    pub(in crate::manager) accumulated_at_ms: i64,
    /// Identity keys in Curve25519 form that this device had before: nothing is encrypted for a device that shows one.
    #[prost(bytes = "vec", repeated, tag = "18")]
    pub(in crate::manager) former_identities: Vec<Vec<u8>>,
    /// When this store was found to be an older copy last, in wall-clock milliseconds; 0: never.
    #[prost(int64, tag = "17")]
    pub(in crate::manager) rolled_back_ms: i64,
    /// When the epoch began, in accumulated milliseconds.
    #[prost(uint64, tag = "19")]
    pub(in crate::manager) epoch_since_ms: u64,
    /// The label of this device; empty: none.
    #[prost(string, tag = "15")]
    pub(in crate::manager) label: String,
    /// Its signature, 64 bytes; empty without label.
    #[prost(bytes = "vec", tag = "16")]
    pub(in crate::manager) label_signature: Vec<u8>,
}

impl AccountRecord {
    /// Retires all sessions of the account, whoever they are with.
    pub(in crate::manager) fn retire_sessions(&mut self, accumulated_ms: u64) {
        (self.epoch, self.epoch_since_ms) = (self.epoch.saturating_add(1), accumulated_ms);
    }

    /// Returns the epoch: sessions of an earlier one are retired.
    pub(in crate::manager) fn epoch(&self) -> Epoch {
        Epoch { number: self.epoch, since_ms: self.epoch_since_ms }
    }

    /// Returns the label of this device with its signature.
    pub(in crate::manager) fn signed_label(&self) -> Option<SignedLabel> {
        let signature = self.label_signature.as_slice().try_into().ok()?;
        Some(SignedLabel { text: self.label.clone(), signature })
    }

    /// Sets the label of this device, or takes it away.
    pub(in crate::manager) fn set_label(&mut self, label: Option<SignedLabel>) {
        (self.label, self.label_signature) =
            label.map_or_else(Default::default, |label| (label.text, label.signature.to_vec()));
    }

    /// Notes an id that is to be purged from the server. [`Status::Limit`]: too many wait already.
    pub(in crate::manager) fn add_purge(&mut self, purge: PurgeRecord) -> Result<()> {
        self.purges.retain(|other| !other.is_same(&purge));
        let foreign = self.purges.iter().filter(|other| other.foreign).count();
        if self.purges.len() >= MOST_PURGES || (purge.foreign && foreign >= MOST_FOREIGN_PURGES) {
            return Err(Error::new(Status::Limit, "Too many device ids wait to be purged from the server."));
        }
        self.purges.push(purge);
        Ok(())
    }

    /// Returns whether nobody serves a device id of this account, whoever's it was, because it is being purged. Another
    /// device that was taken off the list and stands on it again has announced itself.
    pub(in crate::manager) fn is_given_up(&self, device: u32) -> bool {
        self.purges.iter().any(|purge| purge.device == device && !(purge.foreign && purge.unlisted))
    }

    /// Remembers an identity key that this device had; the oldest are forgotten.
    pub(in crate::manager) fn add_former_identity(&mut self, mont: &[u8; 32]) {
        if self.former_identities.len() >= MOST_FORMER {
            self.former_identities.remove(0);
        }
        self.former_identities.push(mont.to_vec());
    }

    /// Checks what protobuf does not: ids and namespaces.
    pub(in crate::manager) fn check(&self) -> Result<()> {
        let is_id = |id: u32| DeviceId::new(id).is_some();
        let namespaces: BTreeSet<u32> = self.namespaces.iter().copied().collect();
        let known = namespaces.iter().all(|code| Namespace::from_code(*code).is_some());
        if namespaces.len() != self.namespaces.len() || !known {
            return Err(corrupt("the account", "names an unknown namespace, or one twice"));
        }
        if self.device_id != 0 && !is_id(self.device_id) {
            return Err(corrupt("the account", "holds no valid device id"));
        }
        let fit =
            |purge: &PurgeRecord| is_id(purge.device) && Namespace::from_code(purge.namespace).is_some();
        if self.label_signature.len() != if self.label.is_empty() { 0 } else { 64 } {
            return Err(corrupt("the account", "holds a label without its signature"));
        }
        if !self.purges.iter().all(fit) {
            return Err(corrupt("the account", "names an id to be purged that cannot be one"));
        }
        Ok(())
    }
}

/// A device id of this account that is to be purged from the server.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager) struct PurgeRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager) namespace: u32,
    /// The device id under which this device was announced there.
    #[prost(uint32, tag = "2")]
    pub(in crate::manager) device: u32,
    /// It was taken off this account's list; what is left is the bundle.
    #[prost(bool, tag = "3")]
    pub(in crate::manager) unlisted: bool,
    /// It is another device's, which the client wants gone: whoever's bundle stands under it is deleted.
    #[prost(bool, tag = "4")]
    pub(in crate::manager) foreign: bool,
    /// The identity key, in Curve25519 form, under which this device was announced; empty: the one that it has now.
    #[prost(bytes = "vec", tag = "5")]
    pub(in crate::manager) identity: Vec<u8>,
}

impl PurgeRecord {
    /// Makes one of an id under which this device was announced with the identity key that it has now.
    pub(in crate::manager) fn of(namespace: Namespace, device: DeviceId) -> PurgeRecord {
        PurgeRecord { namespace: namespace.code(), device: device.get(), ..PurgeRecord::default() }
    }

    /// Returns whether both are about the same id.
    pub(in crate::manager) fn is_same(&self, other: &PurgeRecord) -> bool {
        (self.namespace, self.device) == (other.namespace, other.device)
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager) struct AnchorRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::manager) store_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(in crate::manager) jid: String,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::manager) highest: Vec<HighestRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(device: u32, foreign: bool) -> PurgeRecord {
        PurgeRecord { foreign, ..PurgeRecord::of(Namespace::Omemo2, DeviceId::new(device).unwrap()) }
    }

    #[test]
    fn removals_of_other_devices_leave_room_for_what_this_device_gives_up() {
        let mut account = AccountRecord::default();
        for device in 1..=64 {
            account.add_purge(purge(device, true)).unwrap();
        }
        assert_eq!(account.add_purge(purge(65, true)).unwrap_err().status(), Status::Limit);
        // The same again takes no second place.
        account.add_purge(purge(64, true)).unwrap();
        for device in 101..=116 {
            account.add_purge(purge(device, false)).unwrap();
        }
        assert_eq!(account.add_purge(purge(117, false)).unwrap_err().status(), Status::Limit);
        assert_eq!(account.purges.len(), 80);
    }
}
