//! Replays the corpora of the fuzz targets, and what fuzzing has found.
//!
//! The bodies of the targets are those that libFuzzer runs (`scripts/fuzz`). A new finding becomes a file below
//! `tests/data/corpora`, and a test here if it says something that the body does not check.

use crate::bodies;
use crate::heap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bodies::decrypt::{Fixture, fixture};
use bodies::records::use_with;
use bodies::world::{Account, FaultyStorage, JULIET, ROMEO, Records, jid};
use omemo::error::Status;

const MIB: usize = 1024 * 1024;
/// Nothing here takes a tenth of this on an idle machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `f`, and returns the bytes of heap that it had at most.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let start = Instant::now();
    let (result, peak) = heap::peak(f);
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    (result, peak)
}

/// Runs a body on each file of a directory, and returns their number.
fn replay(directory: &str, body: fn(&[u8])) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(directory);
    let mut files: Vec<_> = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let input = std::fs::read(file).unwrap();
        let replayed = std::panic::catch_unwind(|| peak(|| body(&input)).1);
        let peak = replayed.unwrap_or_else(|_| panic!("{}: see the panic above", file.display()));
        assert!(peak <= 16 * MIB + 64 * input.len(), "{} took {peak} bytes", file.display());
    }
    files.len()
}

#[test]
fn stanzas() {
    assert!(replay("wire", bodies::stanza::run) >= 14);
    assert!(replay("corpora/stanza", bodies::stanza::run) >= 20);
}

#[test]
fn messages_to_a_live_account() {
    fixture();
    assert!(replay("corpora/decrypt", bodies::decrypt::run) >= 20);
}

#[test]
fn records() {
    fixture();
    assert!(replay("corpora/records", bodies::records::run) >= 20);
}

#[test]
fn calls_in_odd_order() {
    bodies::calls::run(&[]);
    assert!(replay("corpora/calls", bodies::calls::run) >= 20);
}

/// The targets reach what they are for: without edits each genuine message is read, and the store changes.
#[test]
fn genuine_messages_are_read_as_the_targets_give_them() {
    let fixture = fixture();
    let account = Account::open(ROMEO, FaultyStorage::of(fixture.records.clone()), 9).unwrap();
    let mut shown = 0;
    for genuine in &fixture.genuine {
        let before = account.storage.all();
        let decrypted = account.manager.decrypt(Some(&jid(JULIET)), None, &genuine.message).unwrap();
        let status = decrypted.error.status();
        let expected = if genuine.text == Some("old") { Status::Duplicate } else { Status::Ok };
        assert_eq!(status, expected, "{:?}", genuine.text);
        assert_eq!(before == account.storage.all(), status != Status::Ok);
        shown += usize::from(decrypted.plaintext.is_some());
    }
    assert_eq!(shown, 14, "of two namespaces: skipped, next, far, twice again, two of strangers");
    // Every kind of record is in the fixture: archived sessions lie below their list.
    for kind in [
        "account", "anchor", "own/1", "own/2", "todo", "jid/", "index/", "session/", "skipped/", "archive/",
        "chains/",
    ] {
        let prefix = format!("v1/{kind}");
        assert!(fixture.records.keys().any(|key| key.starts_with(&prefix)), "no record of {kind}");
    }
}

// -- What fuzzing has found --

/// A field of a record: its tag, and its bytes as they stand there.
struct Field<'a> {
    tag: u64,
    whole: &'a [u8],
    /// What a field of bytes, or a message, holds.
    content: Option<&'a [u8]>,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("no varint");
}

/// Reads a record as protobuf.
fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let start = bytes;
        let key = varint(&mut bytes);
        let mut content = None;
        match key & 7 {
            0 => drop(varint(&mut bytes)),
            2 => {
                let len = usize::try_from(varint(&mut bytes)).unwrap();
                content = Some(&bytes[..len]);
                bytes = &bytes[len..];
            }
            other => panic!("no wire type {other} in our records"),
        }
        fields.push(Field { tag: key >> 3, whole: &start[..start.len() - bytes.len()], content });
    }
    fields
}

fn write_varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    [write_varint(tag << 3 | 2), write_varint(content.len() as u64), content.to_vec()].concat()
}

/// A number in a field of its own.
fn number(tag: u64, value: u64) -> Vec<u8> {
    [write_varint(tag << 3), write_varint(value)].concat()
}

/// The genuine record with this key.
fn record<'a>(fixture: &'a Fixture, prefix: &str) -> (&'a str, &'a [u8]) {
    let (key, value) = fixture.records.iter().find(|(key, _)| key.starts_with(prefix)).unwrap();
    (key, value)
}

fn contact_of(records: &Records, jid: &str) -> String {
    let holds = |value: &[u8]| value.windows(jid.len()).any(|window| window == jid.as_bytes());
    let found = records.iter().find(|(key, value)| key.starts_with("v1/jid/") && holds(value));
    found.unwrap().0.clone()
}

#[test]
fn the_name_of_a_trust_level_is_bounded() {
    let fixture = fixture();
    let account = Account::open(ROMEO, FaultyStorage::of(fixture.records.clone()), 9).unwrap();
    let key = account.manager.devices(Some(&jid(JULIET))).unwrap()[0].identity_key.unwrap();
    let set = |len: usize| account.manager.set_trust(&jid(JULIET), &key, &"x".repeat(len));
    let before = account.storage.all();
    for len in [0, 257, MIB - 1, 4 * MIB] {
        assert!(set(len).is_err(), "a name of {len} bytes");
        assert!(account.storage.all() == before);
    }
    set(256).unwrap();
    let again = Account::open(ROMEO, FaultyStorage::of(account.storage.all()), 9).unwrap();
    let devices = again.manager.devices(Some(&jid(JULIET))).unwrap();
    let named = |device: &omemo::manager::api::device::Device| device.trust_level_name.len() == 256;
    assert!(devices.iter().any(named), "what was taken can be loaded again");
}

#[test]
fn a_record_that_would_grow_over_a_mebibyte_is_refused_before_the_commit() {
    let fixture = fixture();
    let key = contact_of(&fixture.records, JULIET);
    let mut records = fixture.records.clone();
    // As many judged keys with long names as fit, and a bit less than one.
    let mut value = records[&key].clone();
    let entry = |number: usize| {
        let identity: Vec<u8> = (0..32).map(|byte| (number >> (byte % 4 * 8)) as u8).collect();
        field(5, &[field(1, &identity), field(2, "y".repeat(256).as_bytes())].concat())
    };
    let mut count = 0;
    while value.len() + entry(0).len() <= MIB {
        value.extend(entry(count));
        count += 1;
    }
    records.insert(key.clone(), value);
    let account = Account::open(ROMEO, FaultyStorage::of(records.clone()), 9).unwrap();
    let devices = account.manager.devices(Some(&jid(JULIET))).unwrap();
    for device in &devices {
        let key = device.identity_key.unwrap();
        let set = account.manager.set_trust(&jid(JULIET), &key, &"z".repeat(256));
        assert_eq!(set.err().map(|error| error.status()), Some(Status::Limit));
    }
    assert!(devices.len() >= 2);
    assert!(account.storage.all() == records, "a refused record left a trace");
    account.manager.devices(Some(&jid(JULIET))).unwrap();
    assert!(Account::open(ROMEO, FaultyStorage::of(account.storage.all()), 9).is_ok());
}

#[test]
fn a_stored_purge_that_cannot_be_one_is_corrupt() {
    let fixture = fixture();
    let (key, value) = record(fixture, "v1/account");
    let with = |namespace: u64, device: u64| {
        let purge = field(11, &[number(1, namespace), number(2, device)].concat());
        use_with(fixture, key, [value, &purge].concat(), 3)
    };
    for (namespace, device) in [(1, 0), (2, 0), (1, 1 << 31), (1, (1 << 32) - 1), (0, 5), (3, 5), (9, 0)] {
        assert_eq!(with(namespace, device), Err(Status::StorageCorrupt), "{device} in namespace {namespace}");
    }
    assert_eq!(with(1, 5), Ok(()));
    assert_eq!(with(2, (1 << 31) - 1), Ok(()));
}

#[test]
fn repeated_namespaces_of_an_account_are_corrupt_at_once() {
    let fixture = fixture();
    let (key, value) = record(fixture, "v1/account");
    for code in [1_u8, 2] {
        // One number in each field, and all of them in one.
        for repeated in [[7 << 3, code].repeat(MIB / 2 - 1_000), field(7, &vec![code; MIB - 1_000])] {
            let start = Instant::now();
            let (opened, peak) = peak(|| use_with(fixture, key, [value, repeated.as_slice()].concat(), 3));
            assert_eq!(opened, Err(Status::StorageCorrupt));
            assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
            assert!(peak <= 24 * MIB, "took {peak} bytes");
        }
    }
}

/// The tags of all fields of our records that are repeated messages.
const REPEATED: [u64; 7] = [2, 3, 4, 5, 8, 11, 21];

#[test]
fn the_repeated_fields_of_our_records_are_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = std::collections::BTreeSet::new();
    for directory in ["manager/store/records", "manager/store", "protocol"] {
        for entry in root.join(directory).read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let source = std::fs::read_to_string(path).unwrap();
                let after = source.split("(message, repeated, tag = \"").skip(1);
                found.extend(after.map(|rest| rest.split('"').next().unwrap().parse::<u64>().unwrap()));
            }
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), REPEATED, "put a new tag into REPEATED");
}

/// One record of each kind: of what lies below another record, one as well.
fn kinds(fixture: &Fixture) -> Vec<(&String, &Vec<u8>)> {
    let mut seen = std::collections::BTreeSet::new();
    let kind = |key: &str| {
        let parts: Vec<&str> = key.split('/').collect();
        (
            parts[1].to_owned(),
            parts.len(),
            parts.get(2).filter(|_| parts[1] == "own").map(|own| own.to_string()),
        )
    };
    fixture.records.iter().filter(|(key, _)| seen.insert(kind(key))).collect()
}

/// Puts a mebibyte of empty fields into a record: beside its own, and into each message or record that it holds.
fn stuffed(value: &[u8], tag: u64) -> Vec<(String, Vec<u8>)> {
    let empty = field(tag, &[]);
    let junk = empty.repeat((MIB - 32_768) / empty.len());
    let mut inputs = vec![("itself".to_owned(), [value, &junk].concat())];
    let own = fields(value);
    for (at, inner) in own.iter().enumerate() {
        let first = own.iter().position(|other| other.tag == inner.tag) == Some(at);
        let Some(content) = inner.content.filter(|_| first) else { continue };
        let wrapped = field(inner.tag, &[content, &junk].concat());
        let whole = own.iter().enumerate().map(|(i, own)| if i == at { &wrapped } else { own.whole });
        inputs.push((format!("its field {}", inner.tag), whole.collect::<Vec<_>>().concat()));
    }
    inputs
}

#[test]
fn a_mebibyte_of_empty_fields_takes_no_memory() {
    let fixture = fixture();
    let (mut tried, mut costly) = (0, Vec::new());
    for (key, value) in kinds(fixture) {
        for (tag, (place, input)) in REPEATED
            .into_iter()
            .flat_map(|tag| stuffed(value, tag).into_iter().map(move |input| (tag, input)))
        {
            assert!(input.len() <= MIB);
            let (_, peak) = peak(|| use_with(fixture, key, input, 8).ok());
            tried += 1;
            // A copy for the store and one for each load, and what the account takes anyway.
            if peak > 16 * MIB {
                costly.push(format!("{key}: {place}, tag {tag}: {} MiB", peak / MIB));
            }
        }
    }
    assert!(tried > 150, "{tried} inputs");
    assert!(costly.is_empty(), "of {tried} inputs:\n{}", costly.join("\n"));
}

#[test]
fn a_bucket_of_the_index_is_no_larger_than_it_can_be_written() {
    let fixture = fixture();
    let (key, _) = record(fixture, "v1/index/");
    // Ids of one JID, as many as fit.
    let ids: Vec<u8> = (0..260_000_u64).flat_map(|id| write_varint(1 << 21 | id)).collect();
    let entry = [field(1, b"a@b.example"), field(3, &ids)].concat();
    let value = [number(1, 1), field(2, &entry)].concat();
    assert!(value.len() > MIB - 64 * 1024);
    let (opened, peak) = peak(|| use_with(fixture, key, value, 3));
    assert!(peak <= 32 * MIB, "took {} MiB, {opened:?}", peak / MIB);
}

#[test]
fn the_heap_is_counted() {
    let (len, peak) = heap::peak(|| Arc::new(vec![0_u8; MIB]).len());
    assert!(len == MIB && (MIB..2 * MIB).contains(&peak));
}
