//! Fields of records that a newer version of the library has added: they are remembered when a record is loaded, and written
//! with it again. They are kept beside the record, so that nothing else has to know of them. Only fields of the record itself
//! survive: what is inside of a field is that field's business.

use crate::error::Result;
use crate::storage::{Batch, Storage};
use parking_lot::Mutex;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// What was found in each record that has any, by its key. Empty but for a store that a newer version has written.
#[derive(Default)]
pub(super) struct UnknownFields(Mutex<HashMap<String, Zeroizing<Vec<u8>>>>);

/// Returns the highest tag of the record under a key that this version knows, which knows all below it as well; `None`: it is
/// no protobuf message.
fn highest_tag(key: &str) -> Option<u32> {
    let parts: Vec<&str> = key.split('/').collect();
    Some(match *parts.as_slice() {
        ["v1", "account"] => 19,
        ["v1", "anchor"] => 4,
        ["v1", "own", _] => 6,
        ["v1", "jid", _] => 6,
        ["v1", "index", _] => 2,
        ["v1", "session", ..] => 11,
        ["v1", "skipped", ..] => 2,
        ["v1", "archive", _, _, _] => 4,
        ["v1", "archive", ..] => 3,
        ["v1", "chains", ..] => 3,
        ["v1", "todo"] => 2,
        ["v1", "kept"] => 3,
        ["v1", "kept", "index", _] => 2,
        ["v1", "kept", _] => 15,
        _ => return None,
    })
}

/// Returns the fields with a higher tag, as they stand; nothing from where the bytes are no message.
fn fields_beyond(highest: u32, mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let field = bytes;
            let (tag, wire_type) = decode_key(&mut bytes).ok()?;
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?;
            if tag > highest {
                return field.get(..field.len().saturating_sub(bytes.len()));
            }
        }
        None
    })
}

/// Returns these fields as one: nearly always nothing, which costs no memory.
fn beyond(highest: u32, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = fields_beyond(highest, bytes).map(<[u8]>::len).sum();
    // One that grew would leave copies behind.
    let mut unknown = Zeroizing::new(Vec::with_capacity(length));
    fields_beyond(highest, bytes).for_each(|field| unknown.extend_from_slice(field));
    unknown
}

/// Loads a record, and remembers what is unknown in it.
pub(super) fn load_noting(
    store: &dyn Storage,
    unknown: &UnknownFields,
    key: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let record = store.load(key)?;
    unknown.note(key, record.as_ref().map(|record| record.as_slice()));
    Ok(record)
}

/// A store whose records are looked at as they are loaded.
pub(super) struct Noting<'a> {
    pub(super) store: &'a dyn Storage,
    pub(super) unknown: &'a UnknownFields,
}

impl Storage for Noting<'_> {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        load_noting(self.store, self.unknown, key)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.store.commit(batch)
    }

    fn keys(&self) -> Result<Option<Vec<String>>> {
        self.store.keys()
    }
}

impl UnknownFields {
    /// Remembers what is unknown in a record that was loaded.
    fn note(&self, key: &str, record: Option<&[u8]>) {
        let unknown = record.zip(highest_tag(key)).map(|(bytes, highest)| beyond(highest, bytes));
        let mut all = self.0.lock();
        match unknown.filter(|unknown| !unknown.is_empty()) {
            Some(unknown) => {
                all.insert(key.to_owned(), unknown);
            }
            None if all.is_empty() => (),
            None => {
                all.remove(key);
            }
        }
    }

    /// Adds them to the records that are written.
    pub(super) fn add_to(&self, batch: &mut Batch) {
        let all = self.0.lock();
        if all.is_empty() {
            return;
        }
        let longer: Vec<(String, Zeroizing<Vec<u8>>)> = batch
            .changes()
            .filter_map(|(key, value)| Some((key, value?, all.get(key)?)))
            .map(|(key, value, unknown)| (key.to_owned(), Zeroizing::new([value, unknown].concat())))
            .collect();
        longer.into_iter().for_each(|(key, value)| batch.put(key, value));
    }

    /// Forgets those of records that are deleted.
    pub(super) fn forget_deleted(&self, batch: &Batch) {
        let mut all = self.0.lock();
        if !all.is_empty() {
            batch.changes().filter(|(_, value)| value.is_none()).for_each(|(key, _)| {
                all.remove(key);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_with_higher_tags_are_unknown() {
        // 1: 1, 100: "x", 2: "", 101: 7
        let bytes = [8, 1, 0xa2, 6, 1, b'x', 18, 0, 0xa8, 6, 7];
        assert_eq!(*beyond(2, &bytes), [0xa2, 6, 1, b'x', 0xa8, 6, 7]);
        assert_eq!(*beyond(100, &bytes), [0xa8, 6, 7]);
        assert!(beyond(101, &bytes).is_empty() && beyond(2, &[0xff; 3]).is_empty());
    }

    #[test]
    fn they_are_forgotten_with_the_record() {
        let (unknown, bytes) = (UnknownFields::default(), [8, 1, 0xa2, 6, 0]);
        let written = |delete: bool| {
            let mut batch = Batch::default();
            if delete {
                batch.delete("v1/account");
            } else {
                batch.put("v1/account", vec![8, 1]);
            }
            unknown.add_to(&mut batch);
            unknown.forget_deleted(&batch);
            batch.get("v1/account").cloned().flatten().map(|value| value.to_vec())
        };
        unknown.note("v1/account", Some(&bytes));
        // The empty message under this key is no protobuf.
        unknown.note("v1/todo/7", Some(&bytes));
        assert_eq!(written(false), Some(bytes.to_vec()));
        assert_eq!(written(false), Some(bytes.to_vec()));
        written(true);
        assert_eq!(written(false), Some(vec![8, 1]));
    }
}
