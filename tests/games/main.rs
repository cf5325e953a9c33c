//! Games: answers, pushes, failures, setters, streams, restarts and runs in all orders, against a small model of what
//! the client said last.
//!
//! `OMEMO_GAMES` is the number of games, 2,000 if it is not set; `OMEMO_SEED` plays one again and prints what happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout, clippy::print_stderr)] // seeds and tables are for people
#![allow(unreachable_pub)] // one crate, many modules

mod cast;
mod check;
mod end;
mod event;
mod game;
mod model;
mod order;
mod server;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, unused_imports)] // shared with the tests of the manager
#[path = "../manager/world.rs"]
mod world;

use event::Kind;
use game::Game;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Games that are played if nothing else is asked for.
const GAMES: u64 = 2_000;
/// Events that do something, in each game.
const EVENTS: usize = 60;
/// How often each kind of event has to occur before each other kind, counted once a game, in a run of `GAMES`. The rarest is a
/// decision behind a restart: nothing is encrypted, and so nobody asked, before the next comparison with the server.
const LEAST: u64 = 25;
/// Failing games that are shown in full.
const SHOWN: usize = 5;

type Pairs = Vec<Vec<u64>>;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays one game; the difference, if there is one, with the last events.
fn play(seed: u64, pairs: &mut Pairs) -> Result<(), String> {
    let mut game = Game::new(seed);
    let played = catch_unwind(AssertUnwindSafe(|| game.play(EVENTS)));
    let difference = match played {
        Ok(Ok(())) => None,
        Ok(Err(difference)) => Some(difference),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    for (first, second) in game.pairs() {
        pairs[first][second] += 1;
    }
    match difference {
        None => Ok(()),
        Some(difference) => Err(format!("seed {seed}: {difference}\n{}", game.last_events())),
    }
}

/// Prints how often each kind occurred before each other one; returns the smallest number.
fn print_pairs(pairs: &Pairs) -> u64 {
    println!("games in which the kind of the row occurred before the kind of the column:");
    let names: Vec<String> = Kind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
    let header: Vec<String> = names.iter().map(|name| format!("{:>6}", &name[..name.len().min(6)])).collect();
    println!("{:>16} {}", "", header.join(" "));
    for (name, row) in names.iter().zip(pairs) {
        let row: Vec<String> = row.iter().map(|count| format!("{count:>6}")).collect();
        println!("{name:>16} {}", row.join(" "));
    }
    pairs.iter().flatten().copied().min().unwrap_or(0)
}

#[test]
fn the_manager_does_what_the_client_said_last() {
    let one = number("OMEMO_SEED");
    let games = if one.is_some() { 1 } else { number("OMEMO_GAMES").unwrap_or(GAMES) };
    let first = one.unwrap_or(1);
    let next = AtomicU64::new(0);
    let (differences, table) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::panic::set_hook(Box::new(|_| ()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut pairs: Pairs = vec![vec![0; Kind::ALL.len()]; Kind::ALL.len()];
                loop {
                    let game = next.fetch_add(1, Ordering::SeqCst);
                    if game >= games {
                        break;
                    }
                    if let Err(difference) = play(first + game, &mut pairs) {
                        differences.lock().unwrap().push((first + game, difference));
                    }
                }
                table.lock().unwrap().push(pairs);
            });
        }
    });
    let _ = std::panic::take_hook();
    let tables = table.into_inner().unwrap();
    let mut sum: Pairs = vec![vec![0; Kind::ALL.len()]; Kind::ALL.len()];
    for pairs in &tables {
        for (to, from) in sum.iter_mut().flatten().zip(pairs.iter().flatten()) {
            *to += from;
        }
    }
    let least = print_pairs(&sum);
    let mut differences = differences.into_inner().unwrap();
    differences.sort();
    for (_, difference) in differences.iter().take(SHOWN) {
        println!("{difference}\n");
    }
    let seeds: Vec<u64> = differences.iter().map(|(seed, _)| *seed).collect();
    println!("{games} games, {} differences: {seeds:?}; the rarest pair: {least}", seeds.len());
    assert!(seeds.is_empty(), "{} of {games} games differ from the model", seeds.len());
    if games >= 2_000 {
        assert!(least >= LEAST, "a pair of kinds occurred {least} times only");
    }
}
