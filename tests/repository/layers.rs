//! Holds the floors of the house: who may import whom, where `unsafe` and `async` may stand, how a file opens.
//! Reads the sources as tokens; comments and strings are no tokens. `docs/architecture.md` explains the table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Which modules of the crate a layer may name. `error` is everybody's, and a layer may always name itself.
const IMPORTS: &[(&str, &[&str])] = &[
    // `planted` is compiled for scripts/planted only.
    ("crypto", &["planted"]),
    ("protocol", &["planted", "crypto"]),
    ("storage", &["crypto"]),
    ("stanza", &["planted", "protocol", "crypto"]),
    // The manager's operations are tasks; the executor below them knows nothing of OMEMO.
    ("manager", &["planted", "runtime", "storage", "protocol", "crypto"]),
    ("planted", &[]),
    ("runtime", &[]),
    ("error", &[]),
    ("ffi", &["planted", "manager", "runtime", "stanza", "storage", "protocol", "crypto"]),
];
const MAY_BE_UNSAFE: &[&str] = &["ffi"];
/// The one file besides: SQLite is given an allocator, by functions that C calls.
const UNSAFE_FILE: &str = "storage/sqlite_memory.rs";
const MAY_BE_ASYNC: &[&str] = &["manager", "runtime", "ffi"];

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Sign(char),
    Text(String),
}

/// The tokens of Rust source, each with its line. Good enough for what is asked below.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let (c, start, first) = (at(i), i, line);
        if c == '\n' {
            (line, i) = (line + 1, i + 1);
        } else if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
            line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
        } else if is_word(c) {
            while is_word(at(i)) {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            // A raw string: r"...", r#"..."#, br, cr.
            let hashes = (0..).take_while(|n| at(i + n) == '#').count();
            if matches!(word.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let rest: String = chars[i + hashes + 1..].iter().collect();
                let text = rest.split(&end).next().unwrap_or("").to_owned();
                line += text.matches('\n').count();
                i += hashes + 1 + text.chars().count() + end.len();
                found.push((first, Token::Text(text)));
            } else {
                found.push((first, Token::Word(word)));
            }
        } else if c == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            let text: String = chars[start + 1..i.min(chars.len())].iter().collect();
            line += text.matches('\n').count();
            i += 1;
            found.push((first, Token::Text(text)));
        } else if c == '\'' {
            // A character, or else a lifetime.
            i += if at(i + 1) == '\\' {
                2 + (2..).take_while(|n| at(i + n) != '\'' || *n == 2).count() + 1
            } else if at(i + 2) == '\'' {
                3
            } else {
                1
            };
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            found.push((first, Token::Path));
        } else {
            i += 1;
            if !c.is_whitespace() {
                found.push((first, Token::Sign(c)));
            }
        }
    }
    found
}

/// The layer of a file below `src`, and how many modules lie between it and the root of the crate.
fn place(path: &Path) -> (String, usize) {
    let mut names: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    (names.first().cloned().unwrap_or_default(), names.len())
}

/// What a file does that it may not, one line each. `path` is relative to `src`.
fn violations(path: &Path, source: &str) -> Vec<String> {
    let (layer, depth) = place(path);
    let mut wrong = Vec::new();
    let mut complain =
        |line: usize, what: String| wrong.push(format!("src/{}:{line}: {what}", path.display()));
    if !source.starts_with("//! ") {
        complain(1, "does not open with //! and what it owns".to_owned());
    }
    if layer == "lib" {
        return wrong;
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == layer) else {
        complain(1, format!("{layer} is no layer; the table of this test knows: {IMPORTS:?}"));
        return wrong;
    };
    let may_name = |module: &str| module == layer || module == "error" || allowed.contains(&module);
    let tokens = tokens(source);
    let word = |i: usize| match tokens.get(i) {
        Some((_, Token::Word(word))) => word.as_str(),
        _ => "",
    };
    let is = |i: usize, token: &Token| tokens.get(i).is_some_and(|(_, found)| found == token);

    let (mut braces, mut inline) = (0usize, Vec::new());
    for (i, (line, token)) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{') => {
                braces += 1;
                if i >= 2 && word(i - 2) == "mod" && !word(i - 1).is_empty() {
                    inline.push(braces);
                }
            }
            Token::Sign('}') => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces = braces.saturating_sub(1);
            }
            Token::Word(name) => match name.as_str() {
                "unsafe" if !MAY_BE_UNSAFE.contains(&layer.as_str()) && path != Path::new(UNSAFE_FILE) => {
                    complain(*line, "unsafe".to_owned());
                }
                "async" | "await" if !MAY_BE_ASYNC.contains(&layer.as_str()) => complain(*line, name.clone()),
                "include" | "include_str" | "include_bytes" if is(i + 1, &Token::Sign('!')) => {
                    complain(*line, format!("{name}! reads another file"));
                }
                "path" if is(i + 1, &Token::Sign('=')) && i > 1 && is(i - 1, &Token::Sign('[')) => {
                    complain(*line, "#[path] leaves the tree of modules".to_owned());
                }
                // Only the first of a chain of supers is looked at.
                "super" if !(i >= 2 && is(i - 1, &Token::Path) && word(i - 2) == "super") => {
                    let supers = (0..).take_while(|n| word(i + 2 * n) == "super").count();
                    if supers >= depth + inline.len() {
                        complain(*line, "super reaches the root of the crate: write crate::".to_owned());
                    }
                }
                "crate" if is(i + 1, &Token::Path) => {
                    for module in first_names(&tokens, i + 2) {
                        if !may_name(&module) {
                            complain(*line, format!("{layer} may not know {module}"));
                        }
                    }
                }
                _ => {}
            },
            Token::Text(text)
                if ["/home/", "/tmp/", "/usr/", "C:\\\\"].iter().any(|start| text.starts_with(start)) =>
            {
                complain(*line, format!("a path of one machine: {text}"));
            }
            _ => {}
        }
    }
    wrong
}

/// The modules that a file declares for tests alone: `#[cfg(test)] mod name;`. They may know what they test.
fn test_modules(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut names = Vec::new();
    let mut for_tests = false;
    for (i, (_, token)) in tokens.iter().enumerate() {
        let word = |i: usize| matches!(tokens.get(i), Some((_, Token::Word(word))) if word == "mod");
        match token {
            Token::Word(name)
                if name == "test" && matches!(tokens.get(i + 2), Some((_, Token::Sign(']')))) =>
            {
                for_tests = true;
            }
            Token::Word(name) if for_tests && i > 0 && word(i - 1) => {
                if matches!(tokens.get(i + 1), Some((_, Token::Sign(';')))) {
                    names.push(name.clone());
                }
                for_tests = false;
            }
            Token::Sign(';' | '{' | '}') => for_tests = false,
            _ => {}
        }
    }
    names
}

/// The modules that stand behind `crate::`: one, or the first names inside the braces.
fn first_names(tokens: &[(usize, Token)], start: usize) -> Vec<String> {
    let mut names = Vec::new();
    match tokens.get(start).map(|(_, token)| token) {
        Some(Token::Word(name)) => names.push(name.clone()),
        Some(Token::Sign('{')) => {
            let (mut depth, mut expect) = (1, true);
            for (_, token) in tokens.iter().skip(start + 1) {
                match token {
                    Token::Sign('{') => depth += 1,
                    Token::Sign('}') => depth -= 1,
                    Token::Sign(',') if depth == 1 => expect = true,
                    Token::Word(name) if depth == 1 && expect => {
                        names.push(name.clone());
                        expect = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        _ => {}
    }
    names
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_sources_keep_to_their_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut layers: Vec<String> = Vec::new();
    let mut wrong = String::new();
    let mut tests = Vec::new();
    for file in &files {
        // mod.rs and lib.rs have their modules beside them, others in a directory of their own name.
        let own = file.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib");
        let directory = if own { file.parent().unwrap().to_owned() } else { file.with_extension("") };
        for name in test_modules(&std::fs::read_to_string(file).unwrap()) {
            // With all that stands below it.
            tests.extend([directory.join(&name).with_extension("rs"), directory.join(&name)]);
        }
    }
    for file in files.iter().filter(|file| !tests.iter().any(|of_tests| file.starts_with(of_tests))) {
        let path = file.strip_prefix(&root).unwrap();
        layers.push(place(path).0);
        for line in violations(path, &std::fs::read_to_string(file).unwrap()) {
            writeln!(wrong, "{line}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    for (layer, _) in IMPORTS {
        assert!(layers.iter().any(|found| found == layer), "no file of the layer {layer} was read");
    }
}

/// The complaints about `body`, as a file that opens well.
fn about(path: &str, body: &str) -> Vec<String> {
    violations(Path::new(path), &format!("//! Owns nothing.\n{body}"))
}

#[test]
fn planted_violations_are_found() {
    for (path, body) in [
        ("crypto/kdf.rs", "use crate::protocol::limits;"),
        ("protocol/session.rs", "use crate::{crypto::keys, error::Result, storage::Storage};"),
        ("protocol/session.rs", "use crate::{crypto::{keys, kdf},\n manager};"),
        ("manager/encrypt.rs", "fn f() { let x = crate::stanza::parse(); }"),
        ("stanza/xml.rs", "pub use crate::manager::Manager;"),
        ("storage/mod.rs", "use super::protocol::limits;"),
        ("storage/memory.rs", "use super::super::protocol::limits;"),
        ("storage/memory.rs", "mod tests { use super::super::super::protocol::limits; }"),
        ("runtime.rs", "use crate::manager::Manager;"),
        ("error.rs", "use crate::crypto::rng;"),
        ("gossip/mod.rs", ""),
        ("manager/mod.rs", "fn f() { unsafe { g() } }"),
        ("storage/sqlite.rs", "fn f() { unsafe { g() } }"),
        ("protocol/mod.rs", "async fn f() {}"),
        ("stanza/mod.rs", "fn f() { x().await; }"),
        ("stanza/mod.rs", "const C: char = '\"'; use crate::ffi::x; const D: char = '\"';"),
        ("stanza/mod.rs", "const S: &str = r#\"\"\"#; use crate::ffi::x;"),
        ("crypto/mod.rs", "const S: &str = include_str!(\"../../x\");"),
        ("crypto/mod.rs", "#[path = \"../../x.rs\"] mod x;"),
        ("crypto/rng.rs", "const S: &str = \"/home/romeo/seed\";"),
    ] {
        assert_eq!(about(path, body).len(), 1, "{path}: {body}: {:?}", about(path, body));
    }
    assert_eq!(violations(Path::new("crypto/mod.rs"), "use std::fmt;").len(), 1);
    assert_eq!(violations(Path::new("lib.rs"), "pub mod crypto;").len(), 1);
}

#[test]
fn what_is_allowed_is_no_violation() {
    for (path, body) in [
        ("crypto/kdf.rs", "use crate::error::Result; use super::keys; // crate::protocol, unsafe, async"),
        ("protocol/session.rs", "use crate::{crypto::{keys, kdf}, error, protocol::limits};"),
        (
            "protocol/session.rs",
            "/* unsafe /* async */ crate::manager */ const S: &str = \"crate::manager unsafe\";",
        ),
        ("protocol/mod.rs", "fn f<'a>(x: &'a str) -> &'a str { x } mod tests { use super::f; }"),
        ("manager/mod.rs", "async fn f() { x().await } use crate::storage::Storage;"),
        ("ffi/mod.rs", "unsafe fn f() {} use crate::{manager, stanza, runtime};"),
        ("stanza/mod.rs", "#[allow(unsafe_code)] const Q: char = '\\''; const R: char = '\\u{27}';"),
        ("storage/sqlite_memory.rs", "fn f() { unsafe { g() } }"),
        ("storage/memory.rs", "use super::Storage; mod tests { use super::super::Batch; }"),
    ] {
        assert_eq!(about(path, body), Vec::<String>::new(), "{path}: {body}");
    }
}

#[test]
fn modules_for_tests_are_told_from_others() {
    let source = "#[cfg(test)]\nmod vectors;\n#[cfg(test)] pub(crate) mod support;\nmod wire;\n#[cfg(test)] mod tests { mod x; }\n\
                  #[cfg(test)] use std::fmt; mod chain;";
    assert_eq!(test_modules(source), ["vectors", "support"]);
}
