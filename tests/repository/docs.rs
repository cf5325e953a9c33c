//! Holds the pages against the code: statuses, limits, dependencies, names of the C API, links. A page that says what
//! is no longer true fails here.

use omemo::error::Status;
use omemo::manager::config::{ConfigOption, OPTIONS};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

mod contract;
mod pep;
mod records;

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Writes a page in one step: other tests read the pages at the same time.
fn write(path: &str, text: &str) {
    let new = root().join(path).with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, root().join(path)).unwrap();
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

/// A page whose rows about statuses have the number, the sentence and the exception that the table of statuses gives.
fn with_statuses(page: &str) -> String {
    let mut text = String::new();
    for line in page.split_inclusive('\n') {
        let mut cells: Vec<String> = line.trim_end().split(" | ").map(str::to_owned).collect();
        let status = Status::ALL.iter().find(|status| cells[0] == format!("| `{}`", status.name()));
        match (status, cells.len()) {
            (Some(status), 5) => {
                cells[1] = (*status as i32).to_string();
                cells[2] = status.text().to_owned();
                cells[4] = format!("{} |", status.python());
                writeln!(text, "{}", cells.join(" | ")).unwrap();
            }
            _ => text.push_str(line),
        }
    }
    text
}

#[test]
fn every_status_is_explained() {
    if std::env::var_os("OMEMO_UPDATE_DOCS").is_some() {
        let page = with_statuses(&read("docs/errors.md"));
        std::fs::write(root().join("docs/errors.md"), page).unwrap();
    }
    let rows = rows(&read("docs/errors.md"));
    let explained: BTreeMap<&str, &Vec<String>> =
        rows.iter().map(|row| (row[0].trim_matches('`'), row)).collect();
    assert_eq!(explained.len(), rows.len(), "a status stands there twice");
    let mut wrong = String::new();
    for status in Status::ALL {
        let expected = (status.name(), (*status as i32).to_string(), status.text(), status.python());
        match explained.get(status.name()) {
            None => {
                writeln!(wrong, "missing: | `{}` | {} | {} |", expected.0, expected.1, expected.2).unwrap()
            }
            Some(row) if row.len() != 5 || row[3].is_empty() => {
                writeln!(wrong, "incomplete: {row:?}").unwrap()
            }
            Some(row) if row[1] != expected.1 || row[2] != expected.2 || row[4] != expected.3 => {
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
    assert!(
        wrong.is_empty(),
        "docs/errors.md: OMEMO_UPDATE_DOCS=1 cargo test --test repository docs::\n{wrong}"
    );
    let row = "| `OMEMO_ERR_JID` | 4 | Old. | Give one. |\n";
    assert_eq!(with_statuses(row), row, "a row of another shape stays");
    let row = with_statuses("a\n| `OMEMO_ERR_JID` | 4 | Old. | Give one. | X |\n");
    assert_eq!(row, format!("a\n| `OMEMO_ERR_JID` | -4 | {} | Give one. |  |\n", Status::Jid.text()));
}

/// The table of options.
fn options() -> String {
    let row = |option: &&ConfigOption| {
        let bounds = format!("{} to {}", grouped(option.least), grouped(option.most));
        let (name, unit, default) = (option.name, option.unit, grouped(option.default));
        format!("| `{name}` | {unit} | {bounds} | {default} | {} |\n", option.meaning)
    };
    OPTIONS.iter().map(row).collect()
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

/// The value of a constant: a product of numbers and of constants that stand above it.
fn value(text: &str, known: &BTreeMap<String, u64>) -> Option<u64> {
    let factor = |text: &str| {
        let text = text.trim();
        text.replace('_', "").parse().ok().or_else(|| known.get(text).copied())
    };
    text.split('*').map(factor).product()
}

/// Milliseconds as people read them, `86400000` as `1 d`.
fn duration(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let fits = |(unit, _): &&(u64, &str)| ms.is_multiple_of(*unit) && (*unit < 86_400_000 || ms > *unit);
    match units.iter().find(fits) {
        Some((unit, name)) => format!("{} {name}", grouped(ms / unit)),
        None => format!("{} ms", grouped(ms)),
    }
}

/// A table of constants as the source gives it: `pub const NAME: type = a * B;` after its comment, with any visibility
/// but none. What is no number (a range of them) has no row.
fn limits(source: &str) -> String {
    let (mut table, mut why, mut known) = (String::new(), String::new(), BTreeMap::new());
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            why.push_str(if why.is_empty() { "" } else { " " });
            why.push_str(text);
            continue;
        }
        let why = std::mem::take(&mut why);
        let Some((visibility, item)) = line.split_once("const ").filter(|_| !line.starts_with(' ')) else {
            continue;
        };
        let Some((name, (kind, text))) =
            item.split_once(": ").and_then(|(name, rest)| Some((name, rest.split_once(" = ")?)))
        else {
            continue;
        };
        if kind.starts_with("Range") {
            continue;
        }
        let number = value(text.trim_end_matches(';'), &known).unwrap_or_else(|| panic!("no number: {line}"));
        known.insert(name.to_owned(), number);
        if !visibility.is_empty() {
            let shown = if name.ends_with("_MS") { duration(number) } else { grouped(number) };
            writeln!(table, "| `{name}` | {shown} | {why} |").unwrap();
        }
    }
    table
}

/// A page in pieces: its tables of constants, and what stands before, between and behind them.
fn pieces(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut tables, mut texts) = (Vec::<String>::new(), vec![String::new()]);
    let mut inside = false;
    for line in page.split_inclusive('\n') {
        let row = line.starts_with("| `");
        match (row, inside) {
            (true, true) => tables.last_mut().unwrap().push_str(line),
            (true, false) => tables.push(line.to_owned()),
            (false, true) => texts.push(line.to_owned()),
            (false, false) => texts.last_mut().unwrap().push_str(line),
        }
        inside = row;
    }
    if inside {
        texts.push(String::new());
    }
    (tables, texts)
}

#[test]
fn every_limit_is_shown() {
    let page = read("docs/limits.md");
    let [limits, policy] =
        ["src/protocol/limits.rs", "src/manager/policy.rs"].map(|source| limits(&read(source)));
    let expected = [options(), limits, policy];
    let (tables, texts) = pieces(&page);
    assert_eq!(tables.len(), expected.len(), "docs/limits.md has another number of tables");
    if std::env::var_os("OMEMO_UPDATE_DOCS").is_some() {
        let ends = expected.iter().map(String::as_str).chain([""]);
        let page: String = texts.iter().zip(ends).flat_map(|(text, table)| [text.as_str(), table]).collect();
        write("docs/limits.md", &page);
        return;
    }
    for (table, expected) in tables.iter().zip(&expected) {
        assert!(expected.lines().count() >= OPTIONS.len(), "{expected}");
        assert_eq!(
            table, expected,
            "docs/limits.md: OMEMO_UPDATE_DOCS=1 cargo test --test repository docs::"
        );
    }
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
    for file in [
        "CMakeLists.txt",
        "scripts/lib.sh",
        "scripts/suites/header.sh",
        "tests/repository/docs.rs",
        "tests/repository/header.rs",
    ] {
        known.extend(names(&read(file)));
    }
    for folder in ["tests/support", "tests/support/world"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            known.extend(names(&std::fs::read_to_string(path).unwrap()));
        }
    }
    let mut wrong = String::new();
    for page in pages() {
        for (number, line) in std::fs::read_to_string(&page).unwrap().lines().enumerate() {
            // What the changelog says of a name that is gone stands in the first cell of a table.
            let now = match line.trim_start().strip_prefix("| ") {
                Some(row) if page.ends_with("CHANGELOG.md") => row.split_once('|').unwrap().1,
                _ => line,
            };
            if !line.to_lowercase().contains("not yet") {
                for name in names(now).difference(&known) {
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

/// Pages that begin with something else. No page is added here.
const BEGIN_OTHERWISE: [&str; 2] = ["architecture.md", "glossary.md"];

#[test]
fn every_page_begins_with_what_it_is_for() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        let page = read(&format!("docs/{name}"));
        let begins = page.starts_with("# ")
            && page.split("\n\n").nth(1).is_some_and(|first| first.starts_with("This page "));
        if begins == BEGIN_OTHERWISE.contains(&name.as_str()) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "a page begins \"# Title\", then \"This page ...\": {wrong:?}");
}

#[test]
fn tables_and_names_are_read_as_meant() {
    assert_eq!(grouped(1_048_576), "1,048,576");
    assert_eq!(grouped(40), "40");
    let source = "/// Why\n/// so.\npub const A: usize = 2 * 1_024;\n";
    assert_eq!(limits(source), "| `A` | 2,048 | Why so. |\n");
    let source = "/// A unit.\nconst DAY: u64 = 24 * 3_600_000;\n\n/// Old.\npub(super) const B_MS: u64 = 7 * DAY;\n\
                  /// Not.\npub(super) const C: Range<usize> = 1..2;\npub(super) const D: i64 = 3;\n";
    assert_eq!(limits(source), "| `B_MS` | 7 d | Old. |\n| `D` | 3 |  |\n");
    let durations = [1, 5_000, 72 * 60_000, 3_600_000, 86_400_000, 172_800_000].map(duration);
    assert_eq!(durations, ["1 ms", "5 s", "72 min", "1 h", "24 h", "2 d"]);
    let (tables, texts) = pieces("a\n| `x` | 1 |\n| `y` | 2 |\nb\n| `z` | 3 |\n");
    assert_eq!(tables, ["| `x` | 1 |\n| `y` | 2 |\n", "| `z` | 3 |\n"]);
    assert_eq!(texts, ["a\n", "b\n", ""]);
    assert_eq!(rows("| a | b |\n|---|---|\n| `x` | 1 |\n"), [["`x`", "1"]]);
    let found: Vec<_> =
        names("see `omemo_op_cancel(op)`, OMEMO_OK, omemo_*, omemo:2, `omemo_result_`").into_iter().collect();
    assert_eq!(found, ["OMEMO_OK", "omemo_op_cancel"]);
}

/// The map: each question has a file, and in it the symbol that answers it, as a word of its own outside of comments.
#[test]
fn the_map_leads_where_it_says() {
    let page = read("docs/architecture.md");
    let map = page.split("## Where is it done?").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut answers = 0;
    for line in map.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<_> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, file, symbol] = cells[..] else { panic!("no question with file and symbol: {line}") };
        let source = read(file);
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let is_named =
            |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == symbol);
        assert!(code.into_iter().any(is_named), "{file} has no {symbol}");
        answers += 1;
    }
    assert!(answers >= 15, "the map has {answers} answers only");
}

/// The number of a known failure: its letter, R before F, and its digits.
fn known_failure(text: &str) -> Option<(bool, u32)> {
    let (letter, digits) = (text.chars().next()?.to_ascii_lowercase(), text.get(1..)?);
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    matches!(letter, 'r' | 'f').then_some((letter == 'f', number))
}

/// The numbers with which the name of a test begins: `r20_r33_name` has two.
fn numbers_of(test: &str) -> Vec<(bool, u32)> {
    test.split('_').map_while(known_failure).collect()
}

/// The functions that are defined below a folder: `fn name(` or `fn name<`.
pub(super) fn functions_below(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
            for line in code {
                for rest in line.split("fn ").skip(1) {
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                    if rest[end..].starts_with(['(', '<']) {
                        found.push(rest[..end].to_owned());
                    }
                }
            }
        }
    }
}

/// What is wrong with a page of known failures whose tests are among these functions.
fn wrong_with_known_failures(page: &str, functions: &[String]) -> String {
    let mut wrong = String::new();
    let (met, not_yet) = page.split_once("\n## Not yet").expect("what is not met yet stands apart");
    let rows = |text: &str| -> Vec<Vec<String>> {
        let cells =
            |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let rows = text.lines().filter(|line| line.starts_with("| ")).map(cells);
        rows.filter(|cells: &Vec<String>| cells[0] != "number").collect()
    };
    let mut all = BTreeSet::new();
    let mut tests = BTreeMap::new();
    for (rows, columns) in [(rows(met), 4), (rows(not_yet), 3)] {
        let mut before = None;
        for row in rows {
            let Some(number) = known_failure(&row[0]).filter(|_| row.len() == columns) else {
                writeln!(wrong, "no number, or a cell too many: {row:?}").unwrap();
                continue;
            };
            if before.is_some_and(|before| before >= number) || !all.insert(number) {
                writeln!(wrong, "{} stands twice or not in order", row[0]).unwrap();
            }
            before = Some(number);
            if columns == 4 {
                tests.insert(number, row[3].trim_matches('`').to_owned());
            }
        }
    }
    for (number, test) in &tests {
        match functions.iter().filter(|function| *function == test).count() {
            1 if numbers_of(test) == [*number] => (),
            1 => writeln!(wrong, "{test} does not begin with its number").unwrap(),
            count => writeln!(wrong, "there are {count} functions {test}").unwrap(),
        }
    }
    for function in functions {
        for number in numbers_of(function) {
            if tests.get(&number) != Some(function) {
                writeln!(wrong, "{function} is not the test of its number on the page").unwrap();
            }
        }
    }
    wrong
}

#[test]
fn each_known_failure_has_one_test() {
    let mut functions = Vec::new();
    for folder in ["src", "tests"] {
        functions_below(&root().join(folder), &mut functions);
    }
    assert!(functions.len() > 1_000, "only {} functions were found", functions.len());
    let page = read("docs/known-failures.md");
    let wrong = wrong_with_known_failures(&page, &functions);
    assert!(wrong.is_empty(), "docs/known-failures.md:\n{wrong}");
    assert!(page.lines().filter(|line| line.starts_with("| R")).count() > 30, "{page}");
}

#[test]
fn what_is_wrong_with_known_failures_is_seen() {
    assert_eq!(numbers_of("r20_r33_broken_keys"), [(false, 20), (false, 33)]);
    assert_eq!(numbers_of("f29_nested"), [(true, 29)]);
    for none in ["restart", "r_20", "f", "rows_of_r1_", "r+1_x"] {
        assert!(numbers_of(none).is_empty(), "{none}");
    }
    let page = |met: &str, not_yet: &str| {
        format!(
            "| number | wrong | here | test |\n|---|---|---|---|\n{met}\n## Not yet\n\n| number | wrong | why |\n{not_yet}"
        )
    };
    let functions = ["r1_a", "f2_b", "other"].map(str::to_owned);
    let good = "| R1 | x | y | `r1_a` |\n| F2 | x | y | `f2_b` |\n";
    assert_eq!(wrong_with_known_failures(&page(good, "| R3 | x | y |\n"), &functions), "");
    for (met, not_yet) in [
        ("| R1 | x | y | `r1_a` |\n", ""), // a test that has no row
        ("| F2 | x | y | `f2_b` |\n| R1 | x | y | `r1_a` |\n", ""), // not in order
        ("| R1 | x | y | `r1_a` |\n| R1 | x | y | `r1_a` |\n| F2 | x | y | `f2_b` |\n", ""), // twice
        (good, "| R1 | x | y |\n"),        // met and not met
        ("| R1 | x | y | `r1_a` |\n| R9 | x | y | `r9_c` |\n| F2 | x | y | `f2_b` |\n", ""), // no such test
        ("| R1 | x | y | `r1_a` |\n| R9 | x | y | `other` |\n| F2 | x | y | `f2_b` |\n", ""), // of another name
    ] {
        assert!(!wrong_with_known_failures(&page(met, not_yet), &functions).is_empty(), "{met}{not_yet}");
    }
    let twice = ["r1_a", "r1_a", "f2_b"].map(str::to_owned);
    assert!(!wrong_with_known_failures(&page(good, ""), &twice).is_empty());
}
