//! The simulated world: four accounts with three devices each write 300 texts to one another, in chats and in a room, over a
//! wire that loses, doubles, delays and reorders; devices go away and read the archive, restart, are reinstalled, get an older
//! copy of their store back, judge each other's keys; servers refuse, fail and fall silent. Every text that the network
//! delivered must be read, exactly once, by each device that it was meant for, or a fact that the simulation recorded
//! excuses it (`excuse.rs`). Odd seeds go through the Rust face, even ones through the C functions; every fifth is
//! without churn: nothing that would excuse anything happens in it.
//!
//! After every delivery the oracle holds against the run: I1 (`tap.rs`), I2 and I3, I6 for what is read and served, I7 for what
//! is sent, I9 by the number of commits, and for an eighth of what is refused byte by byte; I10 at every publication. Every
//! 120 steps and at the end: I6 for all levels, I7 in the stores, I8. At the end alone: I4, I5 (beside each restart), I7 in
//! the log, and what was read is given again (I2, I9).
//!
//! `OMEMO_SEEDS` is the number of seeds, 100 if it is not set and 1,000 with `OMEMO_FULL`; `OMEMO_FIRST_SEED` is the first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout)] // seeds and figures are for people
#![allow(unreachable_pub)] // one crate, many modules

mod check;
mod drive;
mod end;
mod excuse;
mod facts;
mod figures;
mod play;
mod rule;
mod run;
mod script;
mod spoilt;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod tap;

use excuse::Excuse;
use figures::{Count, Figures};
use script::{Churn, Setup};
use support::workers;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn print(figures: &Figures) {
    figures.counts.iter().for_each(|(what, number)| println!("{what:>16?} {number:>8}"));
    for excuse in Excuse::ALL {
        println!("{:>16} {:>8}", format!("{excuse:?}"), figures.excuses.get(&excuse).unwrap_or(&0));
    }
}

/// Namespaces, healing and face take turns in so many seeds.
const KINDS: usize = 12;

/// How often each excuse may be needed in a hundred seeds: about twice as often as it is.
const MOST: [(Excuse, usize); 6] = [
    (Excuse::SingleSession, 500),
    (Excuse::Restored, 800),
    (Excuse::Inactive, 500),
    (Excuse::Purged, 360),
    (Excuse::Distrusted, 90),
    (Excuse::SharedPreKey, 60),
];

/// How much of everything there has to be in a hundred seeds, or they were no test.
const LEAST: [(Count, usize); 25] = [
    (Count::OfOthers, 10_000),
    (Count::Read, 150_000),
    (Count::Omemo2, 60_000),
    (Count::Legacy, 60_000),
    (Count::RustFace, 60_000),
    (Count::CFace, 60_000),
    (Count::Restarts, 1_500),
    (Count::Duplicates, 20_000),
    (Count::Reorderings, 10_000),
    (Count::Lost, 8_000),
    (Count::Simultaneous, 250),
    (Count::LateLast, 400),
    (Count::Judgements, 500),
    (Count::Restored, 25),
    (Count::RolledBack, 10),
    (Count::Carbons, 20_000),
    (Count::RoomMessages, 50_000),
    (Count::CatchUps, 1_000),
    (Count::FailedRequests, 500),
    (Count::Reinstalled, 50),
    (Count::Purged, 5),
    (Count::Replaced, 190),
    (Count::ReplacedAll, 190),
    (Count::Refused, 75_000),
    (Count::Reused, 1),
];

/// What a number of a hundred seeds is in so many; in fewer than a hundred, from as many on as there are kinds of seeds.
fn share(of_hundred: usize, seeds: usize) -> usize {
    if seeds < 100 {
        of_hundred * seeds.saturating_sub(KINDS) / (100 - KINDS)
    } else {
        of_hundred * seeds / 100
    }
}

/// Whether there were enough runs without churn, few excuses, and enough of everything else.
fn assert_was_a_test(sum: &Figures, seeds: &[u64]) {
    let (excused, read) = (sum.excused(), sum.of(Count::Read));
    // A single seed that is played again may need more.
    assert!(excused * 100 < read || seeds.len() < 50, "{excused} excuses for {read} texts that were read");
    let steady = seeds.iter().filter(|seed| Setup::of(**seed).churn == Churn::None).count();
    println!(
        "{read} texts were read, {excused} excused ({:.2} %), {steady} seeds without churn",
        100.0 * excused as f64 / read as f64
    );
    assert!(steady >= seeds.len() / 5, "{steady} seeds without churn of {}", seeds.len());
    for (what, least) in LEAST {
        let (number, count) = (sum.of(what), seeds.len());
        assert!(
            number >= share(least, count),
            "{what:?}: {number} in {count} seeds, at least {least} in 100"
        );
    }
    for (excuse, most) in MOST {
        let (number, count) = (sum.excuses.get(&excuse).copied().unwrap_or_default(), seeds.len());
        // What a single restore or purge costs comes in a lump.
        let most_here = if count < 100 { most.div_ceil(2) + most * count / 200 } else { most * count / 100 };
        assert!(number <= most_here, "{excuse:?}: {number} in {count} seeds, at most {most} in 100");
    }
    for (what, most) in [(Count::EmptyUnread, 240), (Count::Unrecognised, 10)] {
        let (number, count) = (sum.of(what), seeds.len());
        let most_here = most * count.max(KINDS) / 100 + 2;
        assert!(number <= most_here, "{what:?}: {number} in {count} seeds, at most {most} in 100");
    }
    let (shown, noticed) = (sum.of(Count::Shown), sum.of(Count::Noticed));
    assert_eq!(noticed, shown, "older copies that were shown, and found out");
}

#[test]
fn what_is_delivered_is_read_once_by_everybody() {
    let count =
        number("OMEMO_SEEDS").unwrap_or(if std::env::var("OMEMO_FULL").is_ok() { 1_000 } else { 100 });
    let first = number("OMEMO_FIRST_SEED").unwrap_or(1);
    let seeds: Vec<u64> = (first..first + count).collect();
    println!("sim: seeds {first} to {}", first + count - 1);
    let runs = workers::each(&seeds, |seed| {
        let seed = *seed;
        let setup = Setup::of(seed);
        run::play(setup, &setup.script(), None)
    });
    let mut sum = Figures::default();
    let mut failed = Vec::new();
    for (seed, run) in seeds.iter().zip(&runs) {
        sum.merge(&run.figures);
        if let Some(failure) = &run.failure {
            println!("seed {seed}, step {}: {failure}", run.steps);
            failed.push(*seed);
        } else if Setup::of(*seed).churn == Churn::None && run.figures.excused() > 0 {
            println!("seed {seed}: without churn, and {:?}", run.figures.excuses);
            failed.push(*seed);
        }
    }
    print(&sum);
    if let Some(seed) = failed.first() {
        let setup = Setup::of(*seed);
        let short = run::shrink(setup, &setup.script(), None);
        println!("seed {seed} in {} steps:", short.len());
        short.iter().for_each(|step| println!("    {step:?}"));
    }
    assert!(failed.is_empty(), "{} of {count} seeds fail: {failed:?}", failed.len());
    assert_was_a_test(&sum, &seeds);
}
