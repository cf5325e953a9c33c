//! The manual is the header: every function has a comment of one shape in plain English, and names only what is
//! declared.
//!
//! The first sentence says with a verb in the third person what the function does. `Parameters:` by name, in order; a
//! line says more than the name, and objects that are only used and indices need none. `Returns:` unless the function
//! returns nothing. `Memory:` where a pointer comes out. `Threads:` where there is something to say about them. `Since:`
//! as `include/omemo.symbols` has it.
//!
//! The phrases in `PHRASES` are neither in the header nor in the pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const LABELS: [&str; 5] = ["Parameters", "Returns", "Memory", "Threads", "Since"];

/// What functions do: with one of these verbs each of their comments begins.
const VERBS: [&str; 23] = [
    "Accepts", "Adds", "Cancels", "Copies", "Creates", "Decrypts", "Does", "Ends", "Formats", "Frees",
    "Makes", "Opens", "Parses", "Passes", "Rejects", "Removes", "Resolves", "Returns", "Runs", "Sets",
    "Starts", "Stores", "Tells",
];

/// Words with which a comment about a type, a member or a value does not name what it is about.
const NOT_NAMES: [&str; 17] = [
    "As", "Whether", "How", "It", "Its", "Or", "That", "The same", "They", "This", "What", "Whatever",
    "When", "Where", "Which", "Who", "Why",
];

/// Phrases that a reader has to read twice, in lower case; each is found as whole words.
const PHRASES: [&str; 19] = [
    "an own",
    "anew",
    "at it",
    "come to",
    "comes to",
    "for ever",
    "goes home",
    "gone home",
    "have a word",
    "save after",
    "save for",
    "the own",
    "told of",
    "twice is once",
    "went home",
    "what came out",
    "whoever",
    "whom a",
    "whomever",
];

/// Words with an underscore in the header and in pages that are names of other specifications and software.
const FOREIGN_NAMES: [&str; 5] =
    ["max_items", "muc_membersonly", "muc_nonanonymous", "roomconfig_whois", "secure_delete"];

/// Pages whose English is still to be mended; this list only gets shorter.
const NOT_YET_MENDED: [&str; 0] = [];

/// Pages that name identifiers of other software.
const PAGES_ON_OTHERS: [&str; 2] = ["docs/parity.md", "docs/porting-from-python-omemo.md"];

struct Function {
    name: String,
    /// Without `OMEMO_MUST_USE`.
    result: String,
    /// The names of its parameters, and whether there is something to say about each.
    parameters: Vec<(String, bool)>,
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
    let parameter = |text: &str| {
        let name = text.rsplit([' ', '*']).next().unwrap_or("").to_owned();
        let object =
            text.trim_start_matches("const ").starts_with("omemo_") && text.matches('*').count() == 1;
        let is_clear = (object && !name.ends_with("callbacks")) || text == "size_t index";
        (name, !is_clear)
    };
    Some(Function {
        name: name.to_owned(),
        result: result.replace("OMEMO_MUST_USE", "").trim().to_owned(),
        hands_out: list.contains("**"),
        parameters: parameters.map(parameter).collect(),
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
    let lines = of("Parameters").unwrap_or("").lines().filter_map(|line| line.trim().strip_prefix("- "));
    let mut rest = function.parameters.iter();
    for line in lines {
        let (name, text) = line.split_once(": ").unwrap_or((line, ""));
        match rest.by_ref().find(|(parameter, needed)| parameter == name || *needed) {
            Some((parameter, _)) if parameter == name => {}
            Some((parameter, _)) => wrong.push(format!("describes {name}, where {parameter} comes")),
            None => wrong.push(format!("describes {name}, which is no parameter, or an earlier one")),
        }
        let words = text.trim_end_matches('.').trim_start_matches("the ").trim_start_matches("a ");
        if words.replace(' ', "_") == name {
            wrong.push(format!("says of {name} no more than its name"));
        }
    }
    if let Some((parameter, _)) = rest.find(|(_, needed)| *needed) {
        wrong.push(format!("does not describe {parameter}"));
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

/// All comments before declarations, each as one line, with what it is about: the name of a function, else nothing.
fn subjects(header: &str) -> Vec<(Option<String>, String)> {
    let declared: BTreeSet<String> = functions(header).into_iter().map(|function| function.name).collect();
    let mut found = Vec::new();
    for part in header.split("/**").skip(1) {
        let (comment, code) = part.split_once("*/").expect("a comment ends");
        let lines = comment.lines().map(|line| line.trim().trim_start_matches('*').trim());
        let text = lines.collect::<Vec<_>>().join(" ").trim().to_owned();
        let declaration = code.split("/*").next().unwrap();
        let called =
            declaration.split('(').next().unwrap().rsplit([' ', '*', '\n']).next().unwrap().to_owned();
        found.push((Some(called).filter(|name| declared.contains(name)), text));
    }
    found
}

/// What is wrong with the first sentence of a comment.
fn fault_of_beginning(function: bool, text: &str) -> Option<String> {
    // Which arguments a notice has, and what kind of callback a member is.
    let text = match text.strip_prefix('(') {
        Some(rest) => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
        None => ["Request (event): ", "Event: ", "Service: "]
            .iter()
            .find_map(|kind| text.strip_prefix(kind))
            .unwrap_or(text),
    };
    let first = text.split([' ', ',', '.', ':']).next().unwrap_or("");
    if function {
        let known = VERBS.contains(&first);
        return (!known).then(|| format!("does not begin with a verb of VERBS: {first}"));
    }
    let unnamed =
        NOT_NAMES.iter().find(|word| text.strip_prefix(*word).is_some_and(|rest| rest.starts_with(' ')));
    unnamed.map(|word| format!("does not name what it is about: {word}"))
}

#[test]
fn comments_begin_with_a_verb_or_name_their_object() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    let subjects = subjects(&read("include/omemo.h"));
    assert!(subjects.len() > 250, "only {} comments were found", subjects.len());
    for (function, text) in subjects {
        let name = function.clone().unwrap_or_else(|| text.chars().take(60).collect());
        wrong.extend(fault_of_beginning(function.is_some(), &text).map(|fault| format!("{name}: {fault}")));
        if function.is_some() {
            used.insert(text.split(' ').next().unwrap_or("").to_owned());
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let unused: Vec<_> = VERBS.iter().filter(|verb| !used.contains(**verb)).collect();
    assert!(unused.is_empty(), "no function begins with {unused:?}");
    for (function, text) in [
        (true, "Whom a row is about."),
        (true, "Free a string."),
        (true, "The name of a status."),
        (true, "This returns."),
        (false, "What came out of a stanza."),
        (false, "(ns, jid) It shows another key."),
        (false, "Service: which key."),
        (false, "Request (event): What is it?"),
    ] {
        let wanted = !text.starts_with("Service");
        assert_eq!(fault_of_beginning(function, text).is_some(), wanted, "{text}");
    }
    assert_eq!(fault_of_beginning(true, "Returns the device id of a row."), None);
    assert_eq!(fault_of_beginning(false, "(ns) A device, which is new."), None);
}

/// The phrases of a list in a text, as whole words, wherever lines are broken.
fn phrases<'a>(text: &str, phrases: &[&'a str]) -> Vec<&'a str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let text = format!(" {} ", words.collect::<Vec<_>>().join(" ").to_lowercase());
    phrases.iter().copied().filter(|phrase| text.contains(&format!(" {phrase} "))).collect()
}

/// The pages for people, as paths in the project, and the contract, which the header begins with.
fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let names = pages.map(|path| Path::new("docs").join(path.file_name().unwrap()));
    let others = ["README.md", "src/ffi/contract.txt"].map(PathBuf::from);
    let mut pages: Vec<_> = names.chain(others).collect();
    pages.sort();
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

#[test]
fn phrases_that_are_read_twice_do_not_occur() {
    let mut wrong = Vec::new();
    for (_, comment) in subjects(&read("include/omemo.h")) {
        for phrase in phrases(&comment, &PHRASES) {
            wrong.push(format!("include/omemo.h: {phrase}: {comment}"));
        }
    }
    for page in pages().iter().filter(|page| !NOT_YET_MENDED.iter().any(|name| page.ends_with(name))) {
        let text = read(page.to_str().unwrap());
        for paragraph in text.split("\n\n").flat_map(|text| text.split("\n|")) {
            for phrase in phrases(paragraph, &PHRASES) {
                wrong.push(format!("{}: {phrase}: {:.200}", page.display(), paragraph.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(phrases("It looked *at\nit*; a run has gone-home.", &PHRASES), ["at it", "gone home"]);
    assert_eq!(phrases("Whoever reads `comes to`", &PHRASES), ["comes to", "whoever"]);
    assert!(phrases("at its end, a new list of devices, welcomes tomorrow", &PHRASES).is_empty());
}

/// Words with an underscore in a text.
fn snake_case(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_name = |word: &&str| word.trim_matches('_').contains('_') && !word.ends_with('_');
    words.filter(is_name).map(str::to_owned).collect()
}

/// Names of members, parameters and others in comments that are not in the code.
fn unknown_names(code: &str, comments: &str) -> Vec<String> {
    let known = snake_case(code);
    let named = snake_case(comments).into_iter();
    named.filter(|name| !known.contains(name) && !FOREIGN_NAMES.contains(&name.as_str())).collect()
}

#[test]
fn comments_name_members_and_parameters_that_exist() {
    let (code, comments) = apart(&read("include/omemo.h"));
    let missing: Vec<_> = unknown_names(&code, &comments)
        .into_iter()
        // Families of names: OMEMO_NS_*, OMEMO_ERR_STORAGE*.
        .filter(|name| !comments.contains(&format!("{name}*")))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(
        unknown_names("void (*fetch_list)(int user_data);", "fetch_list, user_dat_a, `max_items`"),
        ["user_dat_a"]
    );
}

/// Names of the code in backticks on a page, as `struct_size`, that no source knows.
fn unknown_on_page(page: &str, known: &BTreeSet<String>) -> Vec<String> {
    // Blocks of code are compiled elsewhere.
    let text: String = page.split("```").step_by(2).collect();
    let quoted: String = text.split('`').skip(1).step_by(2).collect::<Vec<_>>().join(" ");
    snake_case(&quoted).into_iter().filter(|name| !known.contains(name)).collect()
}

/// The words of all sources of a folder.
fn words_below(folder: &Path, words: &mut BTreeSet<String>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            words_below(&path, words);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            words.extend(snake_case(&text));
        }
    }
}

#[test]
fn pages_name_identifiers_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for folder in ["src", "include", "tests", "scripts", "cmake"] {
        words_below(&root.join(folder), &mut known);
    }
    known.extend(["CMakeLists.txt", "Cargo.toml"].into_iter().flat_map(|file| snake_case(&read(file))));
    known.extend(FOREIGN_NAMES.map(str::to_owned));
    for page in pages().iter().filter(|page| !PAGES_ON_OTHERS.iter().any(|name| page.ends_with(name))) {
        let unknown = unknown_on_page(&read(page.to_str().unwrap()), &known);
        assert_eq!(unknown, Vec::<String>::new(), "{}", page.display());
    }
    let few = BTreeSet::from(["is_there".to_owned()]);
    assert_eq!(unknown_on_page("`is_there`, `is_gone(x)`, no_code ```\na_b\n```", &few), ["is_gone"]);
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
}

#[test]
fn planted_faults_are_found() {
    let good = "/**\n * Frees all of a thing.\n * Parameters:\n * - a: the thing,\n *   of some size.\n * - b: another.\n\
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
        ("Frees all of a thing.", "Frees"),
        ("- b: another", "- c: another"),
        (" * - b: another.\n", ""),
        ("- b: another", "- b: the b"),
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
    // An object that is only used needs no line; a pointer that is filled does.
    assert_eq!(of(&good.replace(" * - a: the thing,\n *   of some size.\n", "")), 0);
    let bare = functions("/** A type. */\ntypedef struct x x;\n\nconst char *omemo_y(void);\n");
    assert_eq!(bare[0].comment.len(), 0, "the comment of something else is none");
    assert!(functions("typedef void (*omemo_done)(void *user_data);\n").is_empty());
}
