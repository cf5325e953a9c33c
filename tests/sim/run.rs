//! Runs scripts through either face, seeds side by side, and shortens a script that fails.

use crate::figures::{Count, Figures};
use crate::play::Sim;
use crate::rule::{Failure, Rule};
use crate::script::{Setup, Step};
use crate::spoilt::Spoilt;
use crate::support::workers;
use crate::support::world::{CDevice, Device, RustDevice};

/// Runs that shortening a script may cost.
const TRIES: usize = 400;

/// What came of a run.
pub struct Run {
    pub failure: Option<Failure>,
    pub figures: Figures,
    /// Steps that were played.
    pub steps: usize,
}

fn play_on<D: Device>(setup: Setup, script: &[Step], spoilt: Option<Spoilt>) -> Run {
    let mut steps = 0;
    let mut figures = Figures::default();
    let played = workers::caught(std::env::var("OMEMO_PANICS").is_ok(), || {
        let mut sim = Sim::<D>::new(setup, spoilt);
        sim.play(script);
        steps = sim.steps;
        if !sim.is_broken() {
            sim.finish();
        }
        figures = std::mem::take(&mut sim.figures);
        sim.wrong.first().cloned()
    });
    let failure = played.unwrap_or_else(|panic| Some(Failure::new(Rule::Panic, panic)));
    let steps = if steps == 0 { script.len() } else { steps };
    Run { failure, figures, steps }
}

/// Plays a script: odd seeds through the Rust face, even ones through the C functions.
pub fn play(setup: Setup, script: &[Step], spoilt: Option<Spoilt>) -> Run {
    let rust = !setup.seed.is_multiple_of(2);
    let mut run = match rust {
        true => play_on::<RustDevice>(setup, script, spoilt),
        false => play_on::<CDevice>(setup, script, spoilt),
    };
    let face = if rust { Count::RustFace } else { Count::CFace };
    let read = run.figures.of(Count::Read);
    run.figures.set(face, read);
    run
}

/// The shortest script that was found which still breaks the same rule.
pub fn shrink(setup: Setup, script: &[Step], spoilt: Option<Spoilt>) -> Vec<Step> {
    let first = play(setup, script, spoilt);
    let Some(rule) = first.failure.map(|failure| failure.rule) else { return script.to_vec() };
    let mut best = script[..first.steps.min(script.len())].to_vec();
    let mut tries = 0;
    let mut breaks = |steps: &[Step]| {
        tries += 1;
        let failure = if tries > TRIES { None } else { play(setup, steps, spoilt).failure };
        failure.is_some_and(|failure| failure.rule == rule)
    };
    if !breaks(&best) {
        best = script.to_vec();
    }
    let mut size = best.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        let before = best.len();
        while from < best.len() {
            let mut shorter = best.clone();
            shorter.drain(from..(from + size).min(best.len()));
            if breaks(&shorter) {
                best = shorter;
            } else {
                from += size;
            }
        }
        if size == 1 && best.len() == before {
            return best;
        }
        size = size.div_ceil(2).max(1).min(best.len().max(1));
        if size == 1 && best.is_empty() {
            return best;
        }
    }
}
