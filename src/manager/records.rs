//! The records of the manager, as protobuf messages with a version each. `docs/storage.md` shows them.
//!
//! Records with secrets are wiped when dropped and say nothing of themselves.

use crate::error::{Error, Result, Status};
use prost::Message;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// The version that is written. Newer ones are refused.
pub(super) const VERSION: u32 = 1;

/// A record of the store.
pub(super) trait Record: Message + Default {
    /// What it is called in errors.
    const NAME: &'static str;

    /// Its version field.
    fn version(&mut self) -> &mut u32;
}

/// Writes a record.
pub(super) fn encode<R: Record + Clone>(record: &R) -> Vec<u8> {
    let mut record = record.clone();
    *record.version() = VERSION;
    record.encode_to_vec()
}

/// Reads a record.
pub(super) fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    let mut record = R::decode(bytes).map_err(|_| corrupt(R::NAME, "cannot be read"))?;
    match *record.version() {
        0 => Err(corrupt(R::NAME, "has no version")),
        1..=VERSION => Ok(record),
        _ => Err(Status::StorageVersion.into()),
    }
}

/// What is stored contradicts itself.
pub(super) fn corrupt(name: &str, what: &str) -> Error {
    Error::new(Status::StorageCorrupt, format!("The record of {name} {what}."))
}

macro_rules! records {
    ($($record:ident $name:literal $($secret:ident)*;)*) => {$(
        impl Record for $record {
            const NAME: &'static str = $name;

            fn version(&mut self) -> &mut u32 {
                &mut self.version
            }
        }

        records!(@wipe $record $($secret)*);
    )*};
    (@wipe $record:ident) => {};
    (@wipe $record:ident $($secret:ident)+) => {
        impl Drop for $record {
            fn drop(&mut self) {
                $(self.$secret.zeroize();)+
            }
        }
    };
}

records! {
    AccountRecord "the account" secret;
    AnchorRecord "the anchor";
    OwnRecord "the pre keys";
    JidRecord "a JID";
    BucketRecord "the index";
    SessionRecord "a session" session;
    ArchiveRecord "the archive of a session";
    ArchivedRecord "an archived session" session skipped;
    TodoRecord "the follow-ups";
}

macro_rules! silent {
    ($($record:ident)*) => {$(
        impl fmt::Debug for $record {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($record), "(..)"))
            }
        }
    )*};
}

silent! {
    AccountRecord AnchorRecord OwnRecord JidRecord BucketRecord SessionRecord ArchiveRecord ArchivedRecord TodoRecord
    HighestRecord LeavingRecord PairRecord SignedRecord DeviceRecord TrustRecord ArchiveEntry TodoEntry
}

/// The highest ids that were ever handed out in a namespace; they never go down.
#[derive(Clone, Copy, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct HighestRecord {
    #[prost(uint32, tag = "1")]
    pub(super) namespace: u32,
    #[prost(uint32, tag = "2")]
    pub(super) pre_key: u32,
    #[prost(uint32, tag = "3")]
    pub(super) signed_pre_key: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AccountRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    /// 16 random bytes, drawn once.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) store_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) jid: String,
    /// 0: not chosen yet.
    #[prost(uint32, tag = "4")]
    pub(super) device_id: u32,
    /// The seed of the identity key, or its scalar.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) secret: Vec<u8>,
    #[prost(bool, tag = "6")]
    pub(super) secret_is_seed: bool,
    /// Namespaces whose keys were made.
    #[prost(uint32, repeated, tag = "7")]
    pub(super) namespaces: Vec<u32>,
    #[prost(message, repeated, tag = "8")]
    pub(super) highest: Vec<HighestRecord>,
    /// Sessions of an earlier epoch are retired.
    #[prost(uint32, tag = "9")]
    pub(super) epoch: u32,
    /// The last number of a follow-up.
    #[prost(uint64, tag = "10")]
    pub(super) last_todo: u64,
    /// Namespaces that are not served any more and of which the server does not know that yet.
    #[prost(message, repeated, tag = "11")]
    pub(super) leaving: Vec<LeavingRecord>,
}

/// A namespace that this device still has to leave.
#[derive(Clone, Copy, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct LeavingRecord {
    #[prost(uint32, tag = "1")]
    pub(super) namespace: u32,
    /// The device id under which it was announced there.
    #[prost(uint32, tag = "2")]
    pub(super) device: u32,
    /// It was taken off the own list; what is left is the bundle.
    #[prost(bool, tag = "3")]
    pub(super) unlisted: bool,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AnchorRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) store_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) jid: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) highest: Vec<HighestRecord>,
}

/// A one-time pre key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct PairRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) private: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) public: Vec<u8>,
}

impl Drop for PairRecord {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

/// A signed pre key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct SignedRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) pair: Option<PairRecord>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) signature: Vec<u8>,
    /// When it was made, ms since 1970.
    #[prost(int64, tag = "3")]
    pub(super) made: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct OwnRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) signed: Option<SignedRecord>,
    #[prost(message, optional, tag = "3")]
    pub(super) previous: Option<SignedRecord>,
    #[prost(message, repeated, tag = "4")]
    pub(super) pre_keys: Vec<PairRecord>,
    /// Hashes of the last key exchanges that used up a pre key.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(super) processed: Vec<Vec<u8>>,
    /// The bundle on the server is not this one.
    #[prost(bool, tag = "6")]
    pub(super) bundle_pending: bool,
    /// This device is to be put on the own list.
    #[prost(bool, tag = "7")]
    pub(super) list_pending: bool,
}

/// One device of a JID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct DeviceRecord {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    /// Namespaces in which the JID's own list names it now.
    #[prost(uint32, repeated, tag = "2")]
    pub(super) active: Vec<u32>,
    /// Identity key in Curve25519 form; empty: not known.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) identity: Vec<u8>,
    /// Sign of its Ed25519 form: 0, 1, or 2 for unknown.
    #[prost(uint32, tag = "4")]
    pub(super) sign: u32,
    /// Namespaces in which a bundle from the JID's own node showed the key; in none: nobody vouches for it.
    #[prost(uint32, repeated, tag = "5")]
    pub(super) seen: Vec<u32>,
    /// The key, in Ed25519 form, that a bundle shows instead of the confirmed one; empty: none.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) shown: Vec<u8>,
    /// Identity key in Ed25519 form, sign 0 while it is unknown: kept, since a conversion for each device of each message
    /// costs more than the encryption.
    #[prost(bytes = "vec", tag = "7")]
    pub(super) ed: Vec<u8>,
    /// In which namespace it shows `shown`.
    #[prost(uint32, tag = "8")]
    pub(super) shown_in: u32,
    /// The namespace in which it is served whatever the order says; 0: by the order.
    #[prost(uint32, tag = "9")]
    pub(super) preferred: u32,
    /// It was announced in omemo:2 since the last word of the client about its namespace.
    #[prost(bool, tag = "10")]
    pub(super) had_omemo2: bool,
    /// It left omemo:2 and was served by legacy since then.
    #[prost(bool, tag = "11")]
    pub(super) downgraded: bool,
}

/// The level of one key of a JID.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TrustRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) identity: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) level: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct JidRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) jid: String,
    /// Namespaces in which its own list was seen at least once.
    #[prost(uint32, repeated, tag = "3")]
    pub(super) listed: Vec<u32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) devices: Vec<DeviceRecord>,
    #[prost(message, repeated, tag = "5")]
    pub(super) trust: Vec<TrustRecord>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct BucketRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, repeated, tag = "2")]
    pub(super) jids: Vec<String>,
}

/// The current session with a device.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct SessionRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) jid: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) session: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(super) epoch: u32,
    /// The ratchet key for which a heartbeat was caused.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) heartbeat: Vec<u8>,
}

/// Why a session is not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A key exchange took its place. Decrypts, and is current again when it did.
    Superseded,
    /// It was given up. Decrypts, never sends, and goes after 30 days.
    Retired,
}

impl Reason {
    pub(super) fn code(self) -> u32 {
        match self {
            Reason::Superseded => 1,
            Reason::Retired => 2,
        }
    }
}

/// One predecessor of a session, the oldest first.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ArchiveEntry {
    #[prost(uint32, tag = "1")]
    pub(super) slot: u32,
    /// See [`Reason`].
    #[prost(uint32, tag = "2")]
    pub(super) reason: u32,
    /// When it was archived, ms since 1970.
    #[prost(int64, tag = "3")]
    pub(super) since: i64,
    /// The account's epoch then: one of an earlier epoch counts as retired.
    #[prost(uint32, tag = "4")]
    pub(super) epoch: u32,
}

impl ArchiveEntry {
    /// Why it is not the current one, in an account of this epoch.
    pub(super) fn reason_now(&self, epoch: u32) -> Reason {
        match self.reason == Reason::Superseded.code() && self.epoch == epoch {
            true => Reason::Superseded,
            false => Reason::Retired,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ArchiveRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, tag = "2")]
    pub(super) jid: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) entries: Vec<ArchiveEntry>,
    /// The last slot that was used.
    #[prost(uint32, tag = "4")]
    pub(super) last_slot: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ArchivedRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) session: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) skipped: Vec<u8>,
}

/// An empty message that is to be sent.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TodoEntry {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(string, tag = "2")]
    pub(super) jid: String,
    #[prost(uint32, tag = "3")]
    pub(super) device: u32,
    #[prost(uint32, tag = "4")]
    pub(super) namespace: u32,
    /// The own ratchet key of the session that it is for.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) ratchet_key: Vec<u8>,
    /// When it was caused, ms since 1970.
    #[prost(int64, tag = "6")]
    pub(super) since: i64,
    /// It was encrypted: its bytes lie in a record of their own.
    #[prost(bool, tag = "7")]
    pub(super) encrypted: bool,
    /// Messages that were sent on that ratchet key before.
    #[prost(uint32, tag = "8")]
    pub(super) sent: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TodoRecord {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) entries: Vec<TodoEntry>,
}

/// 32 bytes of a record.
pub(super) fn bytes32(field: &[u8], name: &str) -> Result<[u8; 32]> {
    field.try_into().map_err(|_| corrupt(name, "holds a key of the wrong length"))
}

/// 32 secret bytes of a record.
pub(super) fn secret32(field: &[u8], name: &str) -> Result<Zeroizing<[u8; 32]>> {
    bytes32(field, name).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_and_broken_records_are_told_apart() {
        let record = JidRecord { jid: "juliet@capulet.lit".into(), ..JidRecord::default() };
        let bytes = encode(&record);
        assert_eq!(decode::<JidRecord>(&bytes).unwrap().jid, record.jid);
        let mut newer = decode::<JidRecord>(&bytes).unwrap();
        newer.version = 2;
        let status = |bytes: &[u8]| decode::<JidRecord>(bytes).unwrap_err().status();
        assert_eq!(status(&newer.encode_to_vec()), Status::StorageVersion);
        assert_eq!(status(&[0xff, 1]), Status::StorageCorrupt);
        assert_eq!(status(&[]), Status::StorageCorrupt);
    }

    #[test]
    fn records_do_not_print_secrets() {
        let mut record = AccountRecord::default();
        record.secret = vec![0xab; 32];
        assert_eq!(format!("{record:?}"), "AccountRecord(..)");
    }
}
