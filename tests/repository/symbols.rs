//! What the shared library exports: the functions that the header declares, those that `include/omemo.symbols` lists
//! with the version that brought them, and nothing else; no name among them that other software uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The header without comments.
fn code(header: &str) -> String {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        code.push(' ');
        rest = comment.split_once("*/").expect("a comment that ends").1;
    }
    code.push_str(rest);
    code.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Names that stand directly before a `(`: functions. Types of callbacks are `(*name)(` and do not.
fn declared(header: &str) -> BTreeSet<String> {
    let code = code(header);
    let mut names = BTreeSet::new();
    for (position, _) in code.match_indices('(') {
        let before = code[..position].trim_end();
        let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        if before[start..].starts_with("omemo") {
            names.insert(before[start..].to_owned());
        }
    }
    names
}

/// Name and version of each line that is no comment.
fn listed() -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let text = read("include/omemo.symbols");
    let mut last = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, version) = line.split_once(' ').unwrap_or_else(|| panic!("not `name version`: {line}"));
        assert!(name > last, "{name} is not in its place, the list is sorted");
        let numbers: Vec<_> = version.split('.').collect();
        assert!(
            numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok()),
            "{name}: version {version}"
        );
        names.insert(name.to_owned(), version.to_owned());
        last = name;
    }
    names
}

/// The shared library that cargo built for this test; one in the directory above may be older.
pub(super) fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.parent().unwrap().join("libomemo.so");
    // The C tests may be building it again beside this: then it is gone until that is compiled, and grows then.
    let mut before = None;
    for _ in 0..600 {
        let now = std::fs::metadata(&library).ok().map(|is| is.len());
        if now.is_some() && now == before {
            return library;
        }
        before = now;
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("{} is missing", library.display());
}

fn output(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn exported() -> BTreeSet<String> {
    let table = output("nm", &["-D", "--defined-only"], &library());
    table.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[test]
fn the_header_declares_what_is_exported() {
    let (declared, exported) = (declared(&read("include/omemo.h")), exported());
    assert!(exported.len() > 50, "only {} names are exported", exported.len());
    assert_same((&declared, "declared"), (&exported, "exported"));
}

/// Fails with the names that only one of two sets has.
fn assert_same((one, is_one): (&BTreeSet<String>, &str), (other, is_other): (&BTreeSet<String>, &str)) {
    let (missing, more): (Vec<_>, Vec<_>) =
        (one.difference(other).collect(), other.difference(one).collect());
    assert!(missing.is_empty(), "{is_one}, but not {is_other}: {missing:?}");
    assert!(more.is_empty(), "{is_other}, but not {is_one}: {more:?}");
}

#[test]
fn the_list_of_symbols_is_complete() {
    let (declared, listed) = (declared(&read("include/omemo.h")), listed());
    let listed: BTreeSet<_> = listed.into_keys().collect();
    assert_same((&declared, "declared"), (&listed, "in include/omemo.symbols"));
}

#[test]
fn no_symbol_is_newer_than_the_library() {
    let number = |version: &str| version.split('.').map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>();
    for (name, version) in listed() {
        assert!(number(&version) <= number(env!("CARGO_PKG_VERSION")), "{name} comes with {version}");
    }
}

#[test]
fn no_name_of_other_software_is_exported() {
    let foreign = read("tests/foreign-symbols.txt");
    let foreign: BTreeSet<_> =
        foreign.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert!(foreign.len() > 200, "only {} foreign names", foreign.len());
    let taken: Vec<_> = exported().into_iter().filter(|name| foreign.contains(name)).collect();
    assert!(taken.is_empty(), "other software has these names: {taken:?}");
}

#[test]
fn the_shared_library_has_its_soname() {
    let dynamic = output("readelf", &["-d"], &library());
    assert!(dynamic.contains("[libomemo.so.1]"), "{dynamic}");
    assert!(dynamic.contains("SYMBOLIC"), "calls inside the library can be interposed:\n{dynamic}");
}

#[test]
fn functions_are_found_in_a_header() {
    let header = "/* omemo_not(a) */ typedef void (*omemo_done)(void *user_data);\n// omemo_neither(x)\n\
                  struct s { int (*omemo_load)(void); };\nomemo_status omemo_op_cancel(omemo_op op);\n\
                  const char *omemo_status_name\n (int32_t status); #define OMEMO_X (1)";
    let found: Vec<_> = declared(header).into_iter().collect();
    assert_eq!(found, ["omemo_op_cancel", "omemo_status_name"]);
}
