//! Runs a table against its rules, and the rules against the table.

use super::rules::{Dimensions, Rules, Words};
use crate::support::status_name;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Rows of each rule that are run however few are run in all.
const OF_EACH_RULE: usize = 3;
/// Wrong rows that are printed in full.
const SHOWN: usize = 40;

/// Rules of a table.
const MOST_RULES: usize = 60;

/// Why a combination is left out.
pub type Omitted = BTreeMap<&'static str, usize>;

/// All combinations of the dimensions; those that make no sense are counted by the reason.
pub fn rows(
    dimensions: &Dimensions,
    senseless: impl Fn(&Words) -> Option<&'static str>,
) -> (Vec<Words>, Omitted) {
    let (mut rows, mut omitted) = (Vec::new(), Omitted::new());
    let total: usize = dimensions.iter().map(|(_, values)| values.len()).product();
    for number in 0..total {
        let mut rest = number;
        // The last dimension changes fastest.
        let row = dimensions.iter().rev().map(|(name, values)| {
            let value = values[rest % values.len()];
            rest /= values.len();
            ((*name).to_owned(), value.to_owned())
        });
        let row: Words = row.collect();
        match senseless(&row) {
            Some(reason) => *omitted.entry(reason).or_default() += 1,
            None => rows.push(row),
        }
    }
    (rows, omitted)
}

/// The rows that are run: every `nth`, and the first ones of each rule.
fn sample(rows: Vec<Words>, rules: &Rules, nth: usize) -> Vec<Words> {
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    let mut sampled = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        let used = rules.expect(&row).rules;
        let rare = used.iter().any(|rule| runs.get(rule).copied().unwrap_or_default() < OF_EACH_RULE);
        if number % nth == 0 || rare {
            used.into_iter().for_each(|rule| *runs.entry(rule).or_default() += 1);
            sampled.push(row);
        }
    }
    sampled
}

/// A table that was run.
pub struct Table {
    pub name: &'static str,
    pub rules: Rules,
    pub rows: Vec<Words>,
    pub omitted: Omitted,
}

impl Table {
    /// Runs the rows by `observe`, compares, and inverts every rule once.
    pub fn run(self, nth: usize, mut observe: impl FnMut(&Words) -> Words) {
        let Self { name, rules, rows, omitted } = self;
        let all = rows.len();
        assert!(
            rules.count() <= MOST_RULES,
            "{name}: people still have to know them: {} rules",
            rules.count()
        );
        check_that_all_are_used(name, &rules, &rows);
        let (began, mut observed) = (Instant::now(), Vec::new());
        for row in sample(rows, &rules, nth) {
            let seen = observe(&row);
            observed.push((row, seen));
        }
        println!(
            "{name}: {all} rows, {} of them run in {:.1} s; {} combinations left out; {} rules",
            observed.len(),
            began.elapsed().as_secs_f32(),
            omitted.values().sum::<usize>(),
            rules.count()
        );
        omitted.iter().for_each(|(reason, count)| println!("{name}: {count} left out: {reason}"));
        let wrong = wrong_rows(&rules, &observed);
        for (row, seen) in wrong.iter().take(SHOWN) {
            let expected = rules.expect(row);
            eprintln!("row      {}", line(row));
            eprintln!("expected {} by {:?}", line(&expected.words), expected.rules);
            eprintln!("observed {}\n", line(seen));
        }
        assert_eq!(wrong.len(), 0, "{name}: rows that differ from the rules");
        for rule in rules.names() {
            let red = wrong_rows(&rules.with_inverted(&rule), &observed).len();
            assert_ne!(red, 0, "{name}: no row is red if {rule} says the opposite");
        }
    }
}

fn check_that_all_are_used(name: &str, rules: &Rules, rows: &[Words]) {
    let used: BTreeSet<String> = rows.iter().flat_map(|row| rules.expect(row).rules).collect();
    let idle: Vec<String> = rules.names().into_iter().filter(|rule| !used.contains(rule)).collect();
    assert!(idle.is_empty(), "{name}: rules that no row uses: {idle:?}");
}

fn wrong_rows<'a>(rules: &Rules, observed: &'a [(Words, Words)]) -> Vec<&'a (Words, Words)> {
    observed.iter().filter(|(row, seen)| rules.expect(row).words != *seen).collect()
}

fn line(words: &Words) -> String {
    words.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}

/// Every which row is run: all with `OMEMO_FULL`.
pub fn every(nth: usize) -> usize {
    if std::env::var_os("OMEMO_FULL").is_some() { 1 } else { nth }
}

/// A word of a row.
pub fn word(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The name of a status without what all have.
pub fn short(status: i32) -> String {
    let name = status_name(status);
    name.trim_start_matches("OMEMO_").trim_start_matches("ERR_").to_owned()
}

pub fn yes_or_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}
