//! The faults that are planted for `scripts/planted`: each stands in the code and in the table, its check exists, and no
//! library that is built otherwise contains any.

use super::docs::{functions_below, root};
use super::symbols::library;
use std::collections::BTreeSet;
use std::path::Path;

/// The rows of the table: fault, program, check.
fn rows() -> Vec<[String; 3]> {
    let script = std::fs::read_to_string(root().join("scripts/planted")).unwrap();
    let table = script.split_once("table='\n").unwrap().1.split_once("\n'\n").unwrap().0;
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let row = [(); 3].map(|()| words.next().unwrap());
        assert!(words.next().is_some(), "{row:?} does not say what the fault is");
        row
    };
    table.lines().map(row).collect()
}

/// The names of the faults in the sources below a folder.
fn planted_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            planted_below(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let names = text.split("is_planted(\"").skip(1);
        found.extend(names.map(|rest| rest.split_once('"').unwrap().0.to_owned()));
    }
}

#[test]
fn each_planted_fault_has_a_check_and_each_row_a_fault() {
    let rows = rows();
    let faults: BTreeSet<String> = rows.iter().map(|[fault, ..]| fault.clone()).collect();
    assert_eq!(faults.len(), rows.len(), "a fault stands in the table twice");
    let mut planted = BTreeSet::new();
    planted_below(&root().join("src"), &mut planted);
    assert_eq!(planted, faults);
    assert!(faults.len() >= 20, "{} faults", faults.len());
}

#[test]
fn each_check_is_a_test_of_its_program() {
    for [fault, program, check] in rows() {
        if program == "c" {
            let text = std::fs::read_to_string(root().join("tests/c/secrets.c")).unwrap();
            assert!(text.contains(&format!("RUN({check})")), "{fault}: {check}");
            continue;
        }
        let folder = if program == "lib" { "src".to_owned() } else { format!("tests/{program}") };
        let mut functions = Vec::new();
        functions_below(&root().join(folder), &mut functions);
        let name = check.rsplit("::").next().unwrap();
        assert!(functions.iter().any(|function| function == name), "{fault}: {check} is not in {program}");
    }
}

#[test]
fn no_fault_is_in_the_library() {
    let library = std::fs::read(library()).unwrap();
    let contains = |text: &str| library.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("OMEMO_ERR_STORAGE"), "strings can be found");
    assert_eq!(contains("OMEMO_PLANTED"), cfg!(omemo_planted));
    for [fault, ..] in rows() {
        assert!(cfg!(omemo_planted) || !contains(&fault), "{fault}");
    }
}
