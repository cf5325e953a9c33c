//! The simulated world of the tests is itself tested: what it promises to them holds.

use crate::support::world::Wire;
use crate::support::{Answer, Answering, Kind, Mail, NS_2, Request, World, seeds};
use std::collections::BTreeMap;

fn fetch(world: &World, endpoint: usize, jid: &str) -> Request {
    Request {
        kind: Kind::FetchList,
        endpoint,
        ns: NS_2.to_owned(),
        jid: jid.to_owned(),
        device: 0,
        xml: None,
        at_ms: world.now_ms(),
    }
}

#[test]
fn a_list_that_nobody_published_is_not_found_and_one_that_was_is_pushed() {
    let world = World::new(1);
    let romeo = world.join("romeo@montague.lit");
    let juliet = world.join("juliet@capulet.lit");
    assert_eq!(world.ask(1, fetch(&world, romeo, "juliet@capulet.lit")), Some(Answer::Reject(1)));
    let list = Request {
        kind: Kind::PublishList,
        xml: Some("<devices/>".to_owned()),
        ..fetch(&world, juliet, "juliet@capulet.lit")
    };
    assert_eq!(world.ask(2, list), Some(Answer::Done));
    assert_eq!(
        world.ask(3, fetch(&world, romeo, "juliet@capulet.lit")),
        Some(Answer::Xml("<devices/>".to_owned()))
    );
    let pushed = Mail::DeviceList {
        ns: NS_2.to_owned(),
        jid: "juliet@capulet.lit".to_owned(),
        xml: "<devices/>".to_owned(),
    };
    assert_eq!(world.take(romeo), Some(pushed));
    assert_eq!(world.count(Kind::FetchList), 2);
}

#[test]
fn later_answers_come_when_they_are_due_each_once_and_in_an_order_of_the_seed() {
    let order = |seed| {
        let world = World::new(seed);
        let romeo = world.join("romeo@montague.lit");
        world.set_answering(Answering::Later { least_ms: 50, most_ms: 50 });
        for request_id in 1..=8 {
            assert_eq!(world.ask(request_id, fetch(&world, romeo, "juliet@capulet.lit")), None);
        }
        assert_eq!(world.open_most(), 8);
        assert_eq!(world.due_answers(), []);
        world.advance(50);
        let due = world.due_answers();
        assert_eq!(world.due_answers(), []);
        due.into_iter().map(|(request_id, _)| request_id).collect::<Vec<_>>()
    };
    let first = order(1);
    assert_eq!(first, order(1));
    assert!((2..10).any(|seed| order(seed) != first));
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_fault_replaces_the_answer_and_silence_is_none() {
    let world = World::new(1);
    let romeo = world.join("romeo@montague.lit");
    world.publish_list(NS_2, "romeo@montague.lit", "<devices/>");
    let mut count = 0;
    world.set_fault(move |_| {
        count += 1;
        match count {
            1 => Some(Answer::Reject(2)),
            2 => Some(Answer::Silence),
            _ => None,
        }
    });
    let request = || fetch(&world, romeo, "romeo@montague.lit");
    assert_eq!(world.ask(1, request()), Some(Answer::Reject(2)));
    assert_eq!(world.ask(2, request()), None);
    assert!(matches!(world.ask(3, request()), Some(Answer::Xml(_))));
}

#[test]
fn a_stanza_reaches_every_other_device_of_both_accounts() {
    let world = World::new(1);
    let jids = ["romeo@montague.lit", "romeo@montague.lit", "juliet@capulet.lit", "tybalt@capulet.lit"];
    let endpoints: Vec<usize> = jids.iter().map(|jid| world.join(jid)).collect();
    world.post(endpoints[0], &["juliet@capulet.lit"], "<encrypted/>");
    let got: Vec<usize> = endpoints.iter().map(|endpoint| world.take_stanzas(*endpoint).len()).collect();
    assert_eq!(got, [0, 1, 1, 0]);
    world.post_only(endpoints[0], "romeo@montague.lit", "<encrypted/>");
    let got: Vec<usize> = endpoints.iter().map(|endpoint| world.take_stanzas(*endpoint).len()).collect();
    assert_eq!(got, [0, 1, 0, 0]);
}

#[test]
fn a_bad_wire_loses_repeats_and_reorders() {
    let world = World::new(7);
    let romeo = world.join("romeo@montague.lit");
    let juliet = world.join("juliet@capulet.lit");
    world.set_wire(Wire { loss: 20, twice: 20, reorder: 20 });
    for number in 0..1000 {
        world.post(romeo, &["juliet@capulet.lit"], &format!("{number:04}"));
    }
    let got: Vec<String> = world.take_stanzas(juliet).into_iter().map(|(_, xml)| xml).collect();
    let mut once = got.clone();
    once.sort();
    once.dedup();
    assert!((700..900).contains(&once.len()), "{} of 1000 arrived", once.len());
    assert!(got.len() > once.len() + 100, "some arrived twice");
    assert!(!got.is_sorted(), "some overtook others");
}

#[test]
fn dice_are_the_same_for_the_same_seed_and_shuffle_loses_nothing() {
    seeds::each("dice", |seed| {
        let (mut one, mut two) = (seeds::Dice::new(seed), seeds::Dice::new(seed));
        let mut numbers: Vec<usize> = (0..50).collect();
        one.shuffle(&mut numbers);
        let mut again: Vec<usize> = (0..50).collect();
        two.shuffle(&mut again);
        assert_eq!(numbers, again);
        numbers.sort_unstable();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    });
}

/// Without comments, on one line.
fn bare(source: &str) -> String {
    let mut text = source.to_owned();
    while let (Some(start), Some(end)) = (text.find("/*"), text.find("*/")) {
        text.replace_range(start..end + 2, " ");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A parameter as the ABI sees it.
fn kind(parameter: &str) -> &'static str {
    let words = parameter.replace('*', " * ");
    let has = |word: &str| words.split([' ', ':', ',', '<', '>']).any(|part| part == word);
    if has("*")
        || ["omemo_done", "omemo_destroy", "omemo_log", "Done", "Destroy", "Log"].iter().any(|w| has(w))
    {
        "pointer"
    } else if ["size_t", "usize", "u64", "uint64_t", "i64", "int64_t", "omemo_op", "omemo_request"]
        .iter()
        .any(|word| has(word))
    {
        "64 bits"
    } else if has("bool") {
        "bool"
    } else {
        "32 bits"
    }
}

#[test]
fn the_functions_that_the_tests_declare_are_those_of_the_header() {
    let header = bare(include_str!("../../include/omemo.h"));
    let declared = bare(include_str!("../support/abi.rs"));
    let parameters = |text: &str| -> Vec<&str> {
        let (list, _) = text.split_once(')').unwrap();
        list.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "void").map(kind).collect()
    };
    let mut count = 0;
    for function in declared.split("pub fn ").skip(1) {
        let (name, rest) = function.split_once('(').unwrap();
        let (_, theirs) = header
            .split_once(&format!(" {name}("))
            .or_else(|| header.split_once(&format!("*{name}(")))
            .unwrap_or_else(|| panic!("{name} is not in the header"));
        assert_eq!(parameters(rest), parameters(theirs), "{name}");
        count += 1;
    }
    assert!(count > 80, "{count} functions compared");
}

#[test]
fn the_constants_that_the_tests_declare_are_those_of_the_header() {
    let header = include_str!("../../include/omemo.h");
    let values: BTreeMap<&str, &str> = header
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .filter_map(|(name, value)| Some((name.strip_prefix("OMEMO_")?, value)))
        .collect();
    let mut count = 0;
    for constant in include_str!("../support/abi.rs").split("pub const ").skip(1) {
        let (name, rest) = constant.split_once(": ").unwrap();
        let (_, value) = rest.split_once(';').unwrap().0.split_once(" = ").unwrap();
        assert_eq!(values.get(name), Some(&value), "{name}");
        count += 1;
    }
    assert!(count > 40, "{count} constants compared");
}
