//! The manual is the header: every function has a comment of one shape, and it speaks of what is declared.
//!
//! What it does. `Parameters:` each by its name, in order. `Returns:` unless it returns nothing. `Memory:` where a
//! pointer comes out. `Threads:` where that needs a word. `Since:` as `include/omemo.symbols` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LABELS: [&str; 5] = ["Parameters", "Returns", "Memory", "Threads", "Since"];

struct Function {
    name: String,
    /// Without `OMEMO_MUST_USE`.
    result: String,
    parameters: Vec<String>,
    /// Some pointer to a pointer is filled.
    hands_out: bool,
    /// The lines of its comment, without stars.
    comment: Vec<String>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The functions that a header declares, each with the comment directly before it.
fn functions(header: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let (mut comment, mut code) = (Vec::new(), String::new());
    let mut inside = false;
    for line in header.lines() {
        let text = line.trim();
        if !inside && text.starts_with("/*") {
            (inside, comment, code) = (true, Vec::new(), String::new());
        }
        if inside {
            let bare =
                text.trim_start_matches("/**").trim_end_matches("*/").trim().trim_start_matches('*').trim();
            comment.push(bare.to_owned());
            inside = !text.ends_with("*/");
            continue;
        }
        if text.starts_with('#') || text.is_empty() {
            code.clear();
            continue;
        }
        code.push_str(text);
        code.push(' ');
        if !text.ends_with(';') {
            continue;
        }
        if let Some(function) = function(code.trim_end_matches([' ', ';']), std::mem::take(&mut comment)) {
            found.push(function);
        }
        code.clear();
    }
    found
}

/// A declaration; none if the code is a type, a member or a pointer to a function.
fn function(code: &str, comment: Vec<String>) -> Option<Function> {
    let (head, rest) = code.split_once('(')?;
    let (result, name) = head.rsplit_once([' ', '*'])?;
    let result = format!("{result}{}", if head[result.len()..].starts_with('*') { "*" } else { "" });
    if !name.starts_with("omemo_") || result.contains("typedef") || code.contains('{') {
        return None;
    }
    let list = rest.trim_end_matches(')');
    let parameters = list.split(',').map(str::trim).filter(|parameter| !matches!(*parameter, "void" | ""));
    let word = |parameter: &str| parameter.rsplit([' ', '*']).next().unwrap_or("").to_owned();
    Some(Function {
        name: name.to_owned(),
        result: result.replace("OMEMO_MUST_USE", "").trim().to_owned(),
        hands_out: list.contains("**"),
        parameters: parameters.map(word).collect(),
        comment,
    })
}

/// The label that a line of a comment begins with.
fn label(line: &str) -> Option<&'static str> {
    LABELS.into_iter().find(|label| line.strip_prefix(label).is_some_and(|rest| rest.starts_with(':')))
}

/// What is wrong with a function's comment.
fn faults(function: &Function, since: Option<&String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut sections: Vec<(&str, String)> = vec![("", String::new())];
    for line in function.comment.iter().filter(|line| !line.starts_with('#')) {
        match label(line) {
            Some(label) => sections.push((label, line[label.len() + 1..].trim().to_owned())),
            None => {
                let text = &mut sections.last_mut().unwrap().1;
                text.push(if line.starts_with("- ") { '\n' } else { ' ' });
                text.push_str(line);
            }
        }
    }
    let of = |wanted: &str| sections.iter().find(|(label, _)| *label == wanted).map(|(_, text)| text.trim());
    let order: Vec<_> =
        sections[1..].iter().map(|(label, _)| LABELS.iter().position(|known| known == label)).collect();
    if !order.is_sorted_by(|a, b| a < b) {
        wrong.push(
            "its sections are not in the order of Parameters, Returns, Memory, Threads, Since".to_owned(),
        );
    }
    if !of("").is_some_and(|text| text.len() > 8 && text.ends_with(['.', '`', ')'])) {
        wrong.push("does not say in sentences what it does".to_owned());
    }
    let described: Vec<_> = of("Parameters")
        .unwrap_or("")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .flat_map(|line| line.split_once(':').map_or("?", |(names, _)| names).split(", "))
        .map(str::to_owned)
        .collect();
    if described != function.parameters {
        wrong.push(format!("describes {described:?}, but takes {:?}", function.parameters));
    }
    if of("Returns").is_some_and(|text| !text.is_empty()) == (function.result == "void") {
        wrong.push("Returns: is there if and only if something is returned".to_owned());
    }
    if (function.result.ends_with('*') || function.hands_out) && of("Memory").is_none_or(str::is_empty) {
        wrong.push(
            "hands out a pointer and does not say in Memory: who frees it, or how long it lives".to_owned(),
        );
    }
    let version = of("Since").unwrap_or("").split([' ', '(']).next().unwrap_or("").to_owned();
    if since != Some(&version) {
        wrong.push(format!("Since: {version:?}, but include/omemo.symbols says {since:?}"));
    }
    wrong
}

#[test]
fn every_function_is_documented_in_the_fixed_shape() {
    let symbols = read("include/omemo.symbols");
    let since: BTreeMap<_, _> = symbols.lines().filter_map(|line| line.split_once(' ')).collect();
    let functions = functions(&read("include/omemo.h"));
    assert!(functions.len() > 100, "only {} functions were found", functions.len());
    let mut wrong = Vec::new();
    for function in &functions {
        let since = since.get(function.name.as_str()).map(|version| (*version).to_owned());
        for fault in faults(function, since.as_ref()) {
            wrong.push(format!("{}: {fault}", function.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_declaration_escapes_this_reader() {
    let header = read("include/omemo.h");
    let symbols = read("include/omemo.symbols");
    let found: Vec<_> = functions(&header).into_iter().map(|function| function.name).collect();
    for name in
        symbols.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next())
    {
        assert!(found.iter().any(|known| known == name), "{name} is not seen");
    }
}

/// The names of the library in a text. An end that is left open (OMEMO_ERR_STORAGE*) is kept as a star.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
    let words = text.split(|c| !is_name(c)).map(|word| word.trim_start_matches('*'));
    words.filter(|word| word.starts_with("omemo_") || word.starts_with("OMEMO_")).map(str::to_owned).collect()
}

/// A header without and with nothing but its comments.
fn apart(header: &str) -> (String, String) {
    let (mut code, mut comments, mut rest) = (String::new(), String::new(), header);
    while let Some((before, after)) = rest.split_once("/*") {
        let (comment, behind) = after.split_once("*/").expect("a comment ends");
        code.push_str(before);
        comments.push_str(comment);
        rest = behind;
    }
    code.push_str(rest);
    (code, comments)
}

/// Names in comments that nothing declares.
fn undeclared(header: &str) -> Vec<String> {
    let (code, comments) = apart(header);
    let declared: BTreeSet<String> =
        names(&code).iter().map(|name| name.trim_matches('*').to_owned()).collect();
    let known = |name: &str| match name.split_once('*') {
        Some((stem, _)) => declared.iter().any(|declared| declared.starts_with(stem)),
        None => declared.contains(name),
    };
    names(&comments).into_iter().filter(|name| !known(name)).collect()
}

#[test]
fn comments_speak_of_what_is_declared() {
    let header = read("include/omemo.h");
    assert_eq!(undeclared(&header), Vec::<String>::new());
    assert_eq!(
        undeclared("/* an omemo_part, OMEMO_ERR_* */ enum omemo_x { OMEMO_ERR_NULL };"),
        ["omemo_part"]
    );
    // What comes in as int32_t is in no signature: cbindgen passes over what it does not find.
    let (code, _) = apart(&header);
    let config = read("cbindgen.toml");
    let line = config.lines().find(|line| line.starts_with("include = [")).expect("the list of [export]");
    let listed = names(line);
    assert!(listed.len() > 4, "{listed:?}");
    for name in listed {
        assert!(code.contains(&format!("enum {name}")), "{name} is to be exported, and is not");
    }
}

#[test]
fn planted_faults_are_found() {
    let good = "/**\n * Free all of a thing.\n * Parameters:\n * - a: the thing,\n *   of some size.\n * - b: another.\n\
                 \x20* Returns: OMEMO_ERR_NULL.\n * Memory: free it by omemo_x_free.\n * Since: 0.1.0 (XEP-0384 4)\n */\n\
                 OMEMO_MUST_USE omemo_status omemo_x(const omemo_a *a,\n                 omemo_b **b);\n";
    let since = Some("0.1.0".to_owned());
    let of = |text: &str| {
        let functions = functions(text);
        assert_eq!(functions.len(), 1, "{text}");
        faults(&functions[0], since.as_ref()).len()
    };
    assert_eq!(of(good), 0);
    for (from, to) in [
        ("Free all of a thing.", "Free"),
        ("- b: another", "- c: another"),
        (" * - b: another.\n", ""),
        (" * Returns: OMEMO_ERR_NULL.\n", ""),
        (" * Memory: free it by omemo_x_free.\n", ""),
        ("Since: 0.1.0", "Since: 0.2.0"),
        ("omemo_status omemo_x", "void omemo_x"),
        (
            " * Returns: OMEMO_ERR_NULL.\n * Memory: free it",
            " * Memory: free it\n * Returns: OMEMO_ERR_NULL.\n *",
        ),
    ] {
        assert!(good.contains(from));
        assert_eq!(of(&good.replace(from, to)), 1, "{from} -> {to}");
    }
    let bare = functions("/** A type. */\ntypedef struct x x;\n\nconst char *omemo_y(void);\n");
    assert_eq!(bare[0].comment.len(), 0, "the comment of something else is none");
    assert!(functions("typedef void (*omemo_done)(void *user_data);\n").is_empty());
}
