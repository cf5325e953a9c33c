//! Ordered rules, read from a file: what is expected of a row of a decision table.
//!
//! A file has sections, one for each thing that is observed of a row. A rule is a name, conditions that all must hold, and
//! after an arrow the value; of each section the first rule that matches counts. Conditions are about the dimensions of the
//! table and about the sections above: `envelope=chat|room`, `status!=OK`. The value `=status` is that of another section.
//! What stands under a name in round brackets is not observed: it gives later rules a word.

use std::collections::{BTreeMap, BTreeSet};

/// The words of a row: a value for each dimension, or for each section.
pub type Words = BTreeMap<String, String>;

/// The dimensions of a table: the name and the values of each.
pub type Dimensions = [(&'static str, &'static [&'static str])];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sense {
    OneOf,
    NoneOf,
}

#[derive(Clone, Debug)]
struct Condition {
    subject: String,
    sense: Sense,
    values: Vec<String>,
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        let (subject, values) = text.split_once('=')?;
        let (subject, sense) = match subject.strip_suffix('!') {
            Some(subject) => (subject, Sense::NoneOf),
            None => (subject, Sense::OneOf),
        };
        let values = values.split('|').map(str::to_owned).collect();
        Some(Self { subject: subject.to_owned(), sense, values })
    }

    fn holds(&self, words: &Words) -> bool {
        let word = &words[&self.subject];
        self.values.contains(word) == (self.sense == Sense::OneOf)
    }
}

/// A rule of a section.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    conditions: Vec<Condition>,
    value: String,
}

/// The rules about one thing that is observed.
#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    is_observed: bool,
    pub rules: Vec<Rule>,
}

impl Section {
    fn first_match(&self, words: &Words) -> &Rule {
        let matches = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.holds(words));
        self.rules.iter().find(matches).unwrap_or_else(|| panic!("[{}] says nothing of {words:?}", self.name))
    }

    /// Another value than that of a rule: the first one that the section has.
    fn other_value(&self, value: &str) -> Option<String> {
        self.rules.iter().map(|rule| &rule.value).find(|other| *other != value).cloned()
    }
}

/// The rules of a file.
#[derive(Clone, Debug)]
pub struct Rules {
    pub sections: Vec<Section>,
}

/// What the rules say of a row.
pub struct Expected {
    /// The value of each section.
    pub words: Words,
    /// The rule that has decided about each.
    pub rules: BTreeSet<String>,
}

impl Rules {
    /// Reads a file; a name or a value that the table does not have is refused.
    pub fn parse(text: &str, dimensions: &Dimensions) -> Result<Self, String> {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, values) in dimensions {
            known.insert((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect());
        }
        let (mut sections, mut names) = (Vec::<Section>::new(), BTreeSet::new());
        let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(rule, _)| rule).trim());
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(section) = parse_title(line) {
                sections.push(section);
                continue;
            }
            let rule = parse_rule(line).ok_or_else(|| format!("{line}: no rule"))?;
            let section = sections.last_mut().ok_or("rules stand in a section")?;
            let possible = |subject: &String| known.get(subject).filter(|_| *subject != section.name);
            for Condition { subject, values, .. } in &rule.conditions {
                let possible =
                    possible(subject).ok_or_else(|| format!("{line}: there is no {subject} yet"))?;
                if !values.iter().all(|value| possible.contains(value)) {
                    return Err(format!("{line}: {subject} has no such value"));
                }
            }
            let values = match rule.value.strip_prefix('=') {
                Some(other) => possible(&other.to_owned())
                    .cloned()
                    .ok_or_else(|| format!("{line}: there is no {other} yet"))?,
                None => BTreeSet::from([rule.value.clone()]),
            };
            if !names.insert(rule.name.clone()) {
                return Err(format!("{line}: another rule has that name"));
            }
            known.entry(section.name.clone()).or_default().extend(values);
            section.rules.push(rule);
        }
        Ok(Self { sections })
    }

    fn all(&self) -> impl Iterator<Item = (&Section, &Rule)> {
        self.sections.iter().flat_map(|section| section.rules.iter().map(move |rule| (section, rule)))
    }

    pub fn count(&self) -> usize {
        self.all().count()
    }

    pub fn names(&self) -> Vec<String> {
        self.all().map(|(_, rule)| rule.name.clone()).collect()
    }

    /// What is expected of a row.
    pub fn expect(&self, row: &Words) -> Expected {
        let (mut words, mut expected) = (row.clone(), Words::new());
        let mut rules = BTreeSet::new();
        for section in &self.sections {
            let rule = section.first_match(&words);
            let value = rule.value.strip_prefix('=').map_or(&rule.value, |other| &words[other]).clone();
            if section.is_observed {
                expected.insert(section.name.clone(), value.clone());
            }
            words.insert(section.name.clone(), value);
            rules.insert(rule.name.clone());
        }
        Expected { words: expected, rules }
    }

    /// The same rules, but one says the opposite.
    pub fn with_inverted(&self, name: &str) -> Self {
        let mut inverted = self.clone();
        for section in &mut inverted.sections {
            let Some(place) = section.rules.iter().position(|rule| rule.name == name) else { continue };
            let other = section.other_value(&section.rules[place].value);
            section.rules[place].value = other.expect("a section has two values at least");
        }
        inverted
    }
}

fn parse_title(line: &str) -> Option<Section> {
    let within = |open, close| line.strip_prefix(open).and_then(|line: &str| line.strip_suffix(close));
    let (name, is_observed) = match within('[', ']') {
        Some(name) => (name, true),
        None => (within('(', ')')?, false),
    };
    Some(Section { name: name.to_owned(), is_observed, rules: Vec::new() })
}

fn parse_rule(line: &str) -> Option<Rule> {
    let (before, value) = line.split_once("->")?;
    let mut words = before.split_whitespace();
    let name = words.next()?.to_owned();
    let conditions = words.map(Condition::parse).collect::<Option<_>>()?;
    Some(Rule { name, conditions, value: value.trim().to_owned() })
}

#[test]
fn the_first_rule_that_matches_counts_and_typing_errors_are_seen() {
    let dimensions: &Dimensions = &[("sky", &["blue", "grey", "black"]), ("wind", &["yes", "no"])];
    let text = "[coat]\nrain sky=grey -> yes # wet\ncalm wind!=yes -> no\nrest -> yes\n\n[hat]\nwith-coat coat=yes -> yes\nbare -> no";
    let rules = Rules::parse(text, dimensions).unwrap();
    let row = |sky: &str, wind: &str| {
        Words::from([("sky".to_owned(), sky.to_owned()), ("wind".to_owned(), wind.to_owned())])
    };
    let coat = |rules: &Rules, row: &Words| {
        let words = rules.expect(row).words;
        (words["coat"].clone(), words["hat"].clone())
    };
    let both = |word: &str| (word.to_owned(), word.to_owned());
    assert_eq!(coat(&rules, &row("grey", "no")), both("yes"));
    assert_eq!(coat(&rules, &row("blue", "no")), both("no"));
    assert_eq!(coat(&rules, &row("blue", "yes")), both("yes"));
    assert_eq!(coat(&rules.with_inverted("rain"), &row("grey", "no")), both("no"));
    assert_eq!(
        coat(&rules.with_inverted("with-coat"), &row("grey", "no")),
        ("yes".to_owned(), "no".to_owned())
    );
    for wrong in
        ["[a]\nx moon=full -> yes", "[a]\nx sky=green -> yes", "[a]\nx -> y\nx -> z", "[a]\nx a=y -> y"]
    {
        assert!(Rules::parse(wrong, dimensions).is_err(), "{wrong}");
    }
}
