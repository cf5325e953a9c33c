//! Holds the pages against the code: statuses, limits, dependencies, names of the C API, links. A page that says what
//! is no longer true fails here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // a test may panic

use omemo::error::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of each table of a page, without heads and rulers.
fn rows(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// All Markdown pages of the project.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for directory in [root().to_owned(), root().join("docs")] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() >= 10, "only {} pages", pages.len());
    pages
}

#[test]
fn every_status_is_explained() {
    let rows = rows(&read("docs/errors.md"));
    let explained: BTreeMap<&str, &Vec<String>> =
        rows.iter().map(|row| (row[0].trim_matches('`'), row)).collect();
    assert_eq!(explained.len(), rows.len(), "a status stands there twice");
    let mut wrong = String::new();
    for status in Status::ALL {
        let expected = (status.name(), (*status as i32).to_string(), status.text());
        match explained.get(status.name()) {
            None => {
                writeln!(wrong, "missing: | `{}` | {} | {} |", expected.0, expected.1, expected.2).unwrap()
            }
            Some(row) if row.len() != 5 || row[3].is_empty() => {
                writeln!(wrong, "incomplete: {row:?}").unwrap()
            }
            Some(row) if row[1] != expected.1 || row[2] != expected.2 => {
                writeln!(wrong, "{row:?} should be {expected:?}").unwrap();
            }
            Some(_) => {}
        }
    }
    for name in explained.keys() {
        if !Status::ALL.iter().any(|status| status.name() == *name) {
            writeln!(wrong, "no such status: {name}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "docs/errors.md:\n{wrong}");
}

/// `1048576` as `1,048,576`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table of limits as the source gives it: `pub const NAME: type = a * b;` after its comment.
fn limits(source: &str) -> String {
    let (mut table, mut why) = (String::new(), String::new());
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            why.push_str(if why.is_empty() { "" } else { " " });
            why.push_str(text);
        } else if let Some(item) = line.strip_prefix("pub const ") {
            let (name, rest) = item.split_once(": ").expect("a type");
            let (_, value) = rest.split_once(" = ").expect("a value");
            let factors = value.trim_end_matches(';').split(" * ");
            let value: u64 = factors.map(|n| n.replace('_', "").parse::<u64>().expect("a number")).product();
            writeln!(table, "| `{name}` | {} | {} |", grouped(value), std::mem::take(&mut why)).unwrap();
        }
    }
    table
}

#[test]
fn every_limit_is_shown() {
    let page = read("docs/limits.md");
    let expected = limits(&read("src/protocol/limits.rs"));
    let start = page.find("| `").expect("a table");
    if std::env::var_os("OMEMO_UPDATE_DOCS").is_some() {
        std::fs::write(root().join("docs/limits.md"), format!("{}{expected}", &page[..start])).unwrap();
        return;
    }
    assert!(expected.lines().count() > 10, "{expected}");
    assert_eq!(&page[start..], expected, "docs/limits.md: OMEMO_UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let (manifest, deny) = (read("Cargo.toml"), read("deny.toml"));
    let mut section = "";
    let mut missing = Vec::new();
    let reasons: BTreeSet<String> = deny
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter_map(|line| line.split_once("  "))
        .flat_map(|(names, _)| names.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let ("[dependencies]" | "[dev-dependencies]", Some((name, _))) =
            (section, line.split_once(" = "))
            && !reasons.contains(name)
        {
            missing.push(name.to_owned());
        }
    }
    assert!(missing.is_empty(), "deny.toml says nothing about {missing:?}");
}

/// Words of a text that look like names of the C API.
fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        let long = word.trim_end_matches('_').len() > "omemo_".len();
        if long && !word.ends_with('_') && (word.starts_with("omemo_") || word.starts_with("OMEMO_")) {
            found.insert(word.to_owned());
        }
    }
    found
}

#[test]
fn pages_name_only_what_exists() {
    // A line that says "not yet" may name what is to come; the rest is in the header, or belongs to building and testing.
    let mut known = names(&read("include/omemo.h"));
    for file in
        ["CMakeLists.txt", "scripts/lib.sh", "scripts/suites/header.sh", "tests/docs.rs", "tests/header.rs"]
    {
        known.extend(names(&read(file)));
    }
    for entry in std::fs::read_dir(root().join("tests/support")).unwrap() {
        known.extend(names(&std::fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    let mut wrong = String::new();
    for page in pages() {
        for (number, line) in std::fs::read_to_string(&page).unwrap().lines().enumerate() {
            if !line.to_lowercase().contains("not yet") {
                for name in names(line).difference(&known) {
                    writeln!(wrong, "{}:{}: {name}", page.display(), number + 1).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "there is no such thing:\n{wrong}");
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = String::new();
    let mut links = 0;
    for page in pages() {
        for link in std::fs::read_to_string(&page).unwrap().split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            if !page.parent().unwrap().join(target).exists() {
                writeln!(wrong, "{}: {target}", page.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(links > 10, "only {links} links");
}

#[test]
fn tables_and_names_are_read_as_meant() {
    assert_eq!(grouped(1_048_576), "1,048,576");
    assert_eq!(grouped(40), "40");
    let source = "/// Why\n/// so.\npub const A: usize = 2 * 1_024;\n";
    assert_eq!(limits(source), "| `A` | 2,048 | Why so. |\n");
    assert_eq!(rows("| a | b |\n|---|---|\n| `x` | 1 |\n"), [["`x`", "1"]]);
    let found: Vec<_> =
        names("see `omemo_op_cancel(op)`, OMEMO_OK, omemo_*, omemo:2, `omemo_result_`").into_iter().collect();
    assert_eq!(found, ["OMEMO_OK", "omemo_op_cancel"]);
}
