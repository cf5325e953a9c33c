//! Rules about the shape of the sources: how long files and functions are, what functions take, and where casts, policy
//! numbers and differences between the namespaces stand. Each list of exceptions only shrinks: an entry that is no longer
//! needed is a failure.

use super::rooms::{bare, closing, functions};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 400;
const TEST_LINES: usize = 600;
const FUNCTION_LINES: usize = 60;
const PARAMETERS: usize = 5;

/// A source below `src` or `tests`, its path, and whether it belongs to tests.
struct Source {
    path: String,
    text: String,
    is_test: bool,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories = vec![root.join("src"), root.join("tests")];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let ends = ["rs", "c", "h", "py"];
            if path.extension().is_some_and(|end| ends.iter().any(|known| end == *known)) {
                let relative = path.strip_prefix(root).unwrap().display().to_string();
                let is_test = relative.starts_with("tests/")
                    || relative.ends_with("/tests.rs")
                    || relative.contains("/tests/")
                    || ["src/test_support.rs", "src/crypto/vectors.rs"].contains(&relative.as_str());
                found.push(Source { text: std::fs::read_to_string(&path).unwrap(), path: relative, is_test });
            }
        }
    }
    assert!(found.len() > 250, "{} sources", found.len());
    found
}

/// Fails for what is found and no exception, and for exceptions that are not found.
#[track_caller]
fn compare(found: Vec<(String, String)>, exceptions: &[&str]) {
    let keys: BTreeSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    let wrong: Vec<String> = found
        .iter()
        .filter(|(key, _)| !exceptions.contains(&key.as_str()))
        .map(|(key, what)| format!("{key}: {what}"))
        .collect();
    let idle: Vec<&&str> = exceptions.iter().filter(|exception| !keys.contains(**exception)).collect();
    assert!(
        wrong.is_empty() && idle.is_empty(),
        "\n{}\nexceptions that are none any more: {idle:?}",
        wrong.join("\n")
    );
}

/// The functions of a source: name and what stands before the body.
fn signatures(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (i, _) in text.match_indices("fn ") {
        let name: String = text[i + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(end) = text[i..].find(['{', ';']).map(|end| i + end) else { continue };
        let line = text[..i].rfind('\n').map_or(0, |newline| newline + 1);
        if !name.is_empty() && text[end..].starts_with('{') {
            found.push((name, text[line..end].to_owned()));
        }
    }
    found
}

/// The parameters in a signature, without `self`.
fn parameters(signature: &str) -> Vec<String> {
    let after = signature.find("fn ").unwrap();
    let Some(open) = signature[after..].find('(').map(|open| after + open) else { return Vec::new() };
    let (mut depth, mut start, mut found) = (0_i32, open + 1, Vec::new());
    for (i, c) in signature.char_indices().skip_while(|(i, _)| *i < open) {
        match c {
            '(' | '[' | '<' => depth += 1,
            '>' if signature[..i].ends_with('-') => {}
            ')' | ']' | '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            found.push(signature[start..i].trim().to_owned());
            start = i + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found.retain(|parameter| !parameter.is_empty() && !parameter.ends_with("self"));
    found
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        let most = if source.is_test { TEST_LINES } else { FILE_LINES };
        let lines = source.text.lines().count();
        if lines > most {
            found.push((source.path.clone(), format!("{lines} lines, at most {most}")));
        }
        if source.path.ends_with(".rs") && !source.is_test {
            for (name, lines) in functions(&bare(&source.text)) {
                if lines > FUNCTION_LINES {
                    found.push((
                        format!("{} {name}", source.path),
                        format!("{lines} lines, at most {FUNCTION_LINES}"),
                    ));
                }
            }
        }
    }
    compare(found, &[]);
}

#[test]
fn functions_take_few_parameters_and_no_flags() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with(".rs") && !source.is_test) {
        for (name, signature) in signatures(&bare(&source.text)) {
            let parameters = parameters(&signature);
            if signature.contains("extern \"C\"") || signature.contains("extern \"\"") {
                continue;
            }
            if parameters.len() > PARAMETERS {
                found.push((format!("{} {name}", source.path), format!("{} parameters", parameters.len())));
            }
            if parameters.iter().any(|parameter| parameter.ends_with(": bool")) {
                found.push((
                    format!("{} {name} bool", source.path),
                    "a flag: an enumeration says more".to_owned(),
                ));
            }
        }
    }
    compare(found, &[]);
}

#[test]
fn casts_stand_at_the_boundary_and_every_call_goes_through_the_guard() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/") && !source.is_test) {
        let text = bare(&source.text);
        // The allocator that SQLite is given is the other border to C.
        if !source.path.starts_with("src/ffi/boundary/") && source.path != "src/storage/sqlite_memory.rs" {
            for cast in
                [".cast()", ".cast::<", "from_raw(", "into_raw(", " as *const", " as *mut", "transmute"]
            {
                if text.contains(cast) {
                    found.push((source.path.clone(), format!("has {cast}")));
                }
            }
        }
        for (i, _) in text.match_indices("#[unsafe(no_mangle)]") {
            let Some(open) = text[i..].find('{').map(|open| i + open) else { continue };
            let body = &text[open..=closing(&text, open)];
            if !body.contains("guard::") {
                let name: String =
                    text[i..].split("fn ").nth(1).unwrap_or("").chars().take_while(|c| *c != '(').collect();
                found.push((format!("{} {name}", source.path), "does not go through the guard".to_owned()));
            }
        }
    }
    // It is a constant.
    compare(found, &["src/ffi/api/status.rs omemo_version"]);
}

#[test]
fn namespaces_differ_in_protocol_and_stanza() {
    let places =
        ["src/protocol/", "src/stanza/", "src/manager/model/namespaces.rs", "src/ffi/boundary/returns.rs"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/") && !source.is_test) {
        let here = places.iter().any(|place| source.path.starts_with(place));
        if !here && bare(&source.text).contains("Namespace::Legacy =>") {
            found.push((source.path.clone(), "decides by the namespace".to_owned()));
        }
    }
    compare(found, &[]);
}

#[test]
fn numbers_of_policy_stand_in_two_files() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/manager/") && !source.is_test)
    {
        for line in bare(&source.text).lines().filter(|line| line.contains("const ") && line.contains(": u"))
        {
            let large = line.split(|c: char| !c.is_ascii_digit() && c != '_').any(|number| number.len() > 2);
            if large && source.path != "src/manager/policy.rs" && source.path != "src/manager/config.rs" {
                found.push((source.path.clone(), line.trim().to_owned()));
            }
        }
    }
    // A definition of the clock, in a room that knows no policy; a unit of time; what an entry weighs in memory.
    const OTHERS: &[&str] = &[
        "src/manager/engine/clock.rs",
        "src/manager/model/bucket.rs",
        "src/manager/store/current_session.rs",
    ];
    compare(found, OTHERS);
}

#[test]
fn shapes_are_read_as_meant() {
    let text = "pub fn f(&self, a: &dyn Fn(u8, u8) -> u8, b: HashMap<u8, u8>, last: bool) -> bool { x }";
    let (name, signature) = signatures(text).remove(0);
    assert_eq!((name.as_str(), parameters(&signature).len()), ("f", 3), "{:?}", parameters(&signature));
    assert!(parameters(&signature)[2].ends_with(": bool"));
}

#[test]
#[should_panic(expected = "exceptions that are none any more")]
fn an_idle_exception_is_found() {
    compare(Vec::new(), &["src/gone.rs"]);
}
