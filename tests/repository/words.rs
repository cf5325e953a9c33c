//! No identifier has a name that was given up: those of the C API stand in the changelog, those of the code here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names in Rust that the glossary's words have replaced.
const GONE: [&str; 51] = [
    "ArchivedSlot",
    "Bell",
    "ByAcquaintance",
    "Column",
    "Comparison",
    "Desk",
    "Disk",
    "Hand",
    "Host",
    "Inside",
    "KnownKey",
    "Letter",
    "NeedsStream",
    "Numbers",
    "OwnRecord",
    "Passed",
    "Patient",
    "PlainAuthenticated",
    "PlainKeyExchange",
    "PlainMessage",
    "Question",
    "Scene",
    "Sealed",
    "TailKey",
    "TodoRecord",
    "Topic",
    "Turns",
    "UNREADABLE_SLOTS",
    "VersionedKeyExchange",
    "VersionedMessage",
    "cause_message",
    "compare_bundle",
    "contradiction",
    "drop_message",
    "first_time",
    "forgive",
    "hand_over",
    "leave_id",
    "left_out",
    "looked_at_unanswered",
    "message_to_send",
    "note_identity",
    "note_levels",
    "own_compared",
    "own_looked_at",
    "own_mut",
    "served_in",
    "should_ring",
    "suspect_list",
    "take_back",
    "use_up",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the C API in the first cells of the changelog's tables; `_NOW` stands for the name before it with another end.
fn renamed(changelog: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let rows = changelog.lines().filter_map(|line| line.trim_start().strip_prefix("| `")?.split_once('|'));
    for (before, _) in rows {
        let mut first = String::new();
        for name in
            before.split('`').filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        {
            if let Some(end) = name.strip_prefix('_') {
                let stem = first.rsplit_once('_').map_or(first.as_str(), |(stem, _)| stem);
                names.insert(format!("{stem}_{end}"));
            } else {
                first = name.to_owned();
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// The identifiers of a source in Rust or C, without those in comments and strings.
fn identifiers(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for line in source.lines() {
        let code = line.split("//").next().unwrap_or(line);
        if code.trim_start().starts_with(['*', '/']) {
            continue;
        }
        for text in code.split('"').step_by(2) {
            found.extend(
                text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()),
            );
        }
    }
    found
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path
            .extension()
            .is_some_and(|end| ["rs", "c", "h", "cpp"].iter().any(|known| end == *known))
        {
            found.push(path);
        }
    }
}

#[test]
fn no_old_name_occurs() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let mut gone = renamed(&changelog);
    assert!(gone.len() > 20 && gone.contains("OMEMO_POLICY_NOW"), "{gone:?}");
    gone.remove("omemo_callbacks.withdrawn");
    gone.extend(GONE.map(str::to_owned));
    let mut files = Vec::new();
    for directory in ["src", "tests", "examples-c", "bench", "fuzz", "include"] {
        sources(&root().join(directory), &mut files);
    }
    assert!(files.len() > 200, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("repository/words.rs")) {
        let source = std::fs::read_to_string(file).unwrap();
        for name in identifiers(&source).iter().filter(|name| gone.contains(**name)) {
            wrong.push(format!("{}: {name}", file.strip_prefix(root()).unwrap().display()));
        }
    }
    assert!(wrong.is_empty(), "these names were given up:\n{}", wrong.join("\n"));
}

#[test]
fn identifiers_are_told_from_comments_and_strings() {
    let source = "let desk = Desk::new(\"Bell\"); // Host\n/* Hand */\n * Disk\nuse_up(x)";
    let found = identifiers(source);
    assert!(["Desk", "desk", "use_up", "x"].iter().all(|name| found.contains(name)), "{found:?}");
    assert!(["Bell", "Host", "Hand", "Disk"].iter().all(|name| !found.contains(name)), "{found:?}");
}
