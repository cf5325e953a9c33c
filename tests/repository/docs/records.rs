//! Holds docs/records.proto against the code: it is made of the messages of the source, field by field, and once a field has
//! a number there it keeps it. Also that the store knows which tags it knows.

use super::{read, write};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The sources of the messages, each with what its messages are called in the schema where the name alone would not do.
const SOURCES: [(&str, &[(&str, &str)]); 10] = [
    ("src/manager/store/records/account.rs", &[]),
    ("src/manager/store/records/pre_keys.rs", &[("PairRecord", "PreKey"), ("SignedRecord", "SignedPreKey")]),
    ("src/manager/store/records/contact.rs", &[]),
    ("src/manager/store/records/index.rs", &[("EntryRecord", "IndexEntry"), ("BucketRecord", "IndexBucket")]),
    ("src/manager/store/records/sessions.rs", &[]),
    ("src/protocol/session_record.rs", &[("SessionRecord", "SessionState")]),
    ("src/protocol/skipped_keys.rs", &[("GroupRecord", "SkippedGroup"), ("SkippedRecord", "SkippedKeys")]),
    ("src/protocol/closed_chains.rs", &[("PageRecord", "ClosedChains")]),
    ("src/manager/store/records/outbox.rs", &[("EntryRecord", "OutboxEntry")]),
    ("src/manager/store/records/kept.rs", &[]),
];

/// Which message lies under which key. What is no message does not stand here.
const KEYS: [(&str, &str); 14] = [
    ("v1/account", "Account"),
    ("v1/anchor", "Anchor"),
    ("v1/own/NAMESPACE", "PreKeys"),
    ("v1/jid/JID", "Contact"),
    ("v1/index/BUCKET", "IndexBucket"),
    ("v1/session/JID/DEVICE/NAMESPACE", "Session"),
    ("v1/skipped/JID/DEVICE/NAMESPACE", "SkippedKeys"),
    ("v1/archive/JID/DEVICE/NAMESPACE", "Archive"),
    ("v1/archive/JID/DEVICE/NAMESPACE/SLOT", "Archived"),
    ("v1/chains/JID/DEVICE/NAMESPACE/PAGE", "ClosedChains"),
    ("v1/todo", "Outbox"),
    ("v1/kept", "KeptIndex"),
    ("v1/kept/index/BUCKET", "KeptBucket"),
    ("v1/kept/RECEIPT", "KeptContent"),
];

/// Numbers that are set aside, with what they are for. This version skips such fields when it reads.
const RESERVED: [(&str, &str, &str); 4] = [
    (
        "SessionState",
        "25",
        "several open receiving chains: messages of ratchet key, chain key and length, the youngest last",
    ),
    (
        "SessionState",
        "26 to 28",
        "Montgomery forms: of the initiator's key, of the responder's, of the other side's ratchet key",
    ),
    ("SessionState", "29 to 39", "what importing sessions of other stores needs"),
    (
        "SkippedGroup",
        "4",
        "message keys expanded to cipher key, MAC key and IV, in the order of the indices; raw ones stand in keys",
    ),
];

const HEAD: &str = "// The records of a store, as they lie under its keys: storage.md says what they are for and what is promised about them.
// Made of the source; do not edit: OMEMO_UPDATE_DOCS=1 cargo test --test repository docs::
syntax = \"proto3\";

package libomemo.records;
";

struct Field {
    comment: Vec<String>,
    kind: String,
    name: String,
    tag: u32,
}

struct Message {
    comment: Vec<String>,
    name: String,
    fields: Vec<Field>,
}

fn renamed(name: &str, names: &[(&str, &str)]) -> String {
    let other = names.iter().find(|(from, _)| *from == name).map(|(_, to)| (*to).to_owned());
    other.unwrap_or_else(|| name.trim_end_matches("Record").to_owned())
}

/// The innermost name of a Rust type: `Vec<EntryRecord>` is of `EntryRecord`.
fn inner(kind: &str) -> &str {
    kind.trim_end_matches(',').rsplit('<').next().unwrap().trim_end_matches('>')
}

/// The type in the schema, by the attribute of prost and the type in Rust.
fn kind_of(attribute: &str, rust: &str, names: &[(&str, &str)]) -> String {
    let words: Vec<&str> = attribute.split(',').map(str::trim).collect();
    let base = match words[0].split(' ').next().unwrap() {
        "message" => renamed(inner(rust), names),
        scalar => scalar.to_owned(),
    };
    let label = ["repeated", "optional"].into_iter().find(|label| words.contains(label));
    label.map_or(base.clone(), |label| format!("{label} {base}"))
}

/// The messages of a source, in its order.
fn messages(source: &str, names: &[(&str, &str)]) -> Vec<Message> {
    let (mut found, mut comment, mut attribute) = (Vec::<Message>::new(), Vec::new(), None);
    let (mut derived, mut open) = (false, false);
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text.to_owned());
        } else if let Some(text) = line.strip_prefix("#[prost(").filter(|text| text.contains("tag = ")) {
            attribute = Some(text.trim_end_matches(")]").replace(" = \"vec\"", ""));
        } else if line.starts_with("#[") {
            derived |= line.starts_with("#[derive(") && line.contains("Message");
        } else if derived && line.contains("struct ") {
            let name = line.split("struct ").nth(1).unwrap().trim_end_matches(" {");
            found.push(Message {
                comment: std::mem::take(&mut comment),
                name: renamed(name, names),
                fields: vec![],
            });
            (derived, open) = (false, true);
        } else if let (true, Some(attribute)) = (open, attribute.take()) {
            let (name, rust) = line.split_once(": ").unwrap();
            let tag = attribute.split("tag = \"").nth(1).unwrap().trim_end_matches('"').parse().unwrap();
            let (name, kind) =
                (name.rsplit(' ').next().unwrap().to_owned(), kind_of(&attribute, rust, names));
            found.last_mut().unwrap().fields.push(Field {
                comment: std::mem::take(&mut comment),
                kind,
                name,
                tag,
            });
        } else {
            comment.clear();
            open &= line != "}";
        }
    }
    found
}

fn all() -> Vec<Message> {
    SOURCES.iter().flat_map(|(source, names)| messages(&read(source), names)).collect()
}

fn schema() -> String {
    let mut text = HEAD.to_owned();
    for message in all() {
        text.push('\n');
        for (key, _) in KEYS.iter().filter(|(_, name)| *name == message.name) {
            writeln!(text, "// {key}").unwrap();
        }
        message.comment.iter().for_each(|line| writeln!(text, "// {line}").unwrap());
        writeln!(text, "message {} {{", message.name).unwrap();
        let mut fields: Vec<&Field> = message.fields.iter().collect();
        fields.sort_by_key(|field| field.tag);
        for field in fields {
            field.comment.iter().for_each(|line| writeln!(text, "  // {line}").unwrap());
            writeln!(text, "  {} {} = {};", field.kind, field.name, field.tag).unwrap();
        }
        for (_, numbers, what) in RESERVED.iter().filter(|(name, ..)| *name == message.name) {
            writeln!(text, "  // Set aside for {what}.\n  reserved {numbers};").unwrap();
        }
        text.push_str("}\n");
    }
    text
}

/// Of a schema: each field's type by message and number.
fn numbered(schema: &str) -> BTreeMap<(String, u32), String> {
    let (mut found, mut message) = (BTreeMap::new(), String::new());
    for line in schema.lines() {
        if let Some(name) = line.strip_prefix("message ") {
            message = name.trim_end_matches(" {").to_owned();
        } else if let Some((field, tag)) = line.trim().trim_end_matches(';').split_once(" = ")
            && !line.contains("//")
            && line.starts_with("  ")
        {
            found.insert(
                (message.clone(), tag.parse().unwrap()),
                field.rsplit_once(' ').unwrap().0.to_owned(),
            );
        }
    }
    found
}

#[test]
fn the_schema_of_the_records_is_that_of_the_code() {
    let (stored, made) = (read("docs/records.proto"), schema());
    let (before, after) = (numbered(&stored), numbered(&made));
    assert!(before.is_empty() || before.len() > 120, "{} fields were found", before.len());
    for ((message, tag), kind) in &before {
        let now = after.get(&(message.clone(), *tag));
        assert_eq!(
            now,
            Some(kind),
            "{message}: field {tag} is promised; a field is never taken away or changed"
        );
    }
    if std::env::var_os("OMEMO_UPDATE_DOCS").is_some() {
        write("docs/records.proto", &made);
        return;
    }
    assert!(stored == made, "docs/records.proto: OMEMO_UPDATE_DOCS=1 cargo test --test repository docs::");
}

#[test]
fn numbers_of_fields_have_no_gaps_and_the_store_knows_the_highest() {
    let highest: BTreeMap<String, u32> = all()
        .into_iter()
        .map(|message| {
            let mut tags: Vec<u32> = message.fields.iter().map(|field| field.tag).collect();
            tags.sort_unstable();
            let last = u32::try_from(tags.len()).unwrap();
            assert_eq!(tags, (1..=last).collect::<Vec<_>>(), "{}", message.name);
            (message.name, last)
        })
        .collect();
    let known = read("src/manager/store/unknown_fields.rs");
    for (key, message) in KEYS {
        let kind = key.split('/').nth(1).unwrap();
        let rows: Vec<u32> = known
            .lines()
            .filter(|line| line.trim().starts_with(&format!("[\"v1\", \"{kind}\"")))
            .map(|line| line.split("=> ").nth(1).unwrap().trim_end_matches(',').parse().unwrap())
            .collect();
        assert!(
            rows.contains(&highest[message]),
            "{key}: {message} has {}, known are {rows:?}",
            highest[message]
        );
    }
}
