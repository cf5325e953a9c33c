//! The page on parity with python-omemo: no item without a function and a test, and all that it names exists.

use super::docs::functions_below;
use super::docs::root;
use std::collections::BTreeSet;

/// The words of a cell that stand in backticks, and are of letters, digits and underscores alone.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// What is wrong with the rows of a page; `functions` are those of the tests, `header` what the library declares.
fn wrong_with(page: &str, functions: &BTreeSet<String>, header: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| python-omemo"));
    let mut wrong = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [item, here, test, differs] = cells.as_slice() else {
            wrong.push(format!("not four cells: {row}"));
            continue;
        };
        if [item, here, test, differs].iter().any(|cell| cell.is_empty()) || names(test).next().is_none() {
            wrong.push(format!("something is missing: {row}"));
        }
        let declared = |name: &&str| name.starts_with("omemo_") || name.starts_with("OMEMO_");
        wrong.extend(
            names(here)
                .filter(declared)
                .filter(|name| !header.contains(*name))
                .map(|name| format!("{name} is not in the header")),
        );
        wrong.extend(
            names(test)
                .filter(|name| !functions.contains(*name))
                .map(|name| format!("there is no test {name}")),
        );
    }
    wrong
}

#[test]
fn each_item_of_python_omemo_has_a_function_and_a_test() {
    let mut functions = Vec::new();
    for folder in ["src", "tests"] {
        functions_below(&root().join(folder), &mut functions);
    }
    let functions = functions.into_iter().collect();
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let page = read("docs/parity.md");
    let wrong = wrong_with(&page, &functions, &read("include/omemo.h"));
    assert!(wrong.is_empty(), "docs/parity.md:\n{}", wrong.join("\n"));
    assert!(page.lines().filter(|line| line.starts_with("| ")).count() > 70, "{page}");
}

#[test]
fn what_is_wrong_with_the_page_is_seen() {
    let functions: BTreeSet<String> = ["a_test".to_owned()].into();
    let wrong = |row: &str| wrong_with(row, &functions, "omemo_one(void)").len();
    assert_eq!(wrong("| `x` | `omemo_one` | `a_test` | the same |"), 0);
    for row in [
        "| `x` | `omemo_two` | `a_test` | the same |",
        "| `x` | `omemo_one` | `no_test` | the same |",
        "| `x` | `omemo_one` | none | the same |",
        "| `x` | `omemo_one` | `a_test` |  |",
        "| `x` | `omemo_one` | `a_test` |",
    ] {
        assert_eq!(wrong(row), 1, "{row}");
    }
}
