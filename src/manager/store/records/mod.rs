//! The records of the manager, as protobuf messages with a version each. `docs/storage.md` shows them.
//!
//! What stands in the store is checked when it is read: lengths, counts, ids. Records with secrets are wiped when
//! dropped, and say nothing of themselves.

pub(in crate::manager) mod account;
pub(super) mod contact;
pub(super) mod index;
pub(super) mod kept;
pub(super) mod moved;
pub(super) mod outbox;
pub(super) mod pre_keys;
pub(super) mod sessions;

use crate::error::{Error, Result, Status};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use zeroize::Zeroizing;

/// The version that is written. Newer ones are refused.
const VERSION: u32 = 1;

/// A record of the store.
pub(super) trait Record: Message + Default {
    /// What it is called in errors.
    const NAME: &'static str;
    /// How many there may be of each repeated field that is a message: an empty one takes two bytes in the store, and a
    /// hundred times as much in memory.
    const COUNTS: &'static [(u32, usize)];

    /// Its version field.
    fn version(&mut self) -> &mut u32;
}

/// Writes a record.
pub(super) fn encode<R: Record>(mut record: R) -> Zeroizing<Vec<u8>> {
    *record.version() = VERSION;
    Zeroizing::new(record.encode_to_vec())
}

/// Reads a record.
pub(super) fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    if R::COUNTS.iter().any(|(tag, most)| count(bytes, *tag).is_none_or(|count| count > *most)) {
        return Err(corrupt(R::NAME, "holds too much, or cannot be read"));
    }
    let mut record = R::decode(bytes).map_err(|_| corrupt(R::NAME, "cannot be read"))?;
    match *record.version() {
        0 => Err(corrupt(R::NAME, "has no version")),
        1..=VERSION => Ok(record),
        _ => Err(Status::StorageVersion.into()),
    }
}

/// Returns how often a field stands in a message; `None` if it is no message.
fn count(mut bytes: &[u8], wanted: u32) -> Option<usize> {
    let mut count = 0_usize;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?;
        count = count.saturating_add((tag == wanted).into());
    }
    Some(count)
}

/// What is stored contradicts itself.
pub(in crate::manager) fn corrupt(name: &str, what: &str) -> Error {
    Error::new(Status::StorageCorrupt, format!("The record of {name} {what}."))
}

/// 32 bytes of a record.
pub(super) fn bytes32(field: &[u8], name: &str) -> Result<[u8; 32]> {
    field.try_into().map_err(|_| corrupt(name, "holds a key of the wrong length"))
}

/// 32 secret bytes of a record.
pub(super) fn secret32(field: &[u8], name: &str) -> Result<Zeroizing<[u8; 32]>> {
    bytes32(field, name).map(Zeroizing::new)
}

macro_rules! record {
    ($record:ident, $name:literal, [$($tag:literal => $most:expr),*] $(, wipes $($secret:ident)+)?) => {
        impl super::Record for $record {
            const NAME: &'static str = $name;
            const COUNTS: &'static [(u32, usize)] = &[$(($tag, $most)),*];

            fn version(&mut self) -> &mut u32 {
                &mut self.version
            }
        }

        $(impl Drop for $record {
            fn drop(&mut self) {
                $(zeroize::Zeroize::zeroize(&mut self.$secret);)+
            }
        })?
    };
}
pub(super) use record;

#[cfg(test)]
mod tests {
    use super::account::AccountRecord;
    use super::contact::ContactRecord;
    use super::*;

    #[test]
    fn newer_and_broken_records_are_told_apart() {
        let mut record = ContactRecord::default();
        record.jid = "juliet@capulet.lit".into();
        let bytes = encode(record);
        let mut newer = decode::<ContactRecord>(&bytes).unwrap();
        assert_eq!(newer.jid, "juliet@capulet.lit");
        newer.version = 2;
        let status = |bytes: &[u8]| decode::<ContactRecord>(bytes).unwrap_err().status();
        assert_eq!(status(&newer.encode_to_vec()), Status::StorageVersion);
        assert_eq!(status(&[0xff, 1]), Status::StorageCorrupt);
        assert_eq!(status(&[]), Status::StorageCorrupt);
    }

    #[test]
    fn a_mebibyte_of_empty_fields_is_refused_before_it_takes_memory() {
        for (tag, _) in ContactRecord::COUNTS {
            let mut bytes = vec![8, 1];
            let key = u8::try_from(tag << 3 | 2).unwrap();
            bytes.extend(std::iter::repeat_n([key, 0], 500_000).flatten());
            let error = decode::<ContactRecord>(&bytes).unwrap_err();
            assert_eq!(error.status(), Status::StorageCorrupt);
        }
    }

    #[test]
    fn records_do_not_print_secrets() {
        let mut record = AccountRecord::default();
        record.secret = vec![0xab; 32];
        assert_eq!(format!("{record:?}"), "AccountRecord(..)");
    }
}
