//! The matrices: how many calls each flow makes is counted in a run without failure, then every call is paired with every
//! kind of failure.

use crate::fault::{NetworkKind, StorageKind};
use crate::flow::{FLOWS, Flow};
use crate::known;
use crate::stage::{Plan, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, Once, OnceLock};

/// Of so many entries one is run, unless all are.
const SAMPLE: usize = 8;
const WORKERS: usize = 2;
const WORKER: &str = "worker";

/// What a flow calls when nothing fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub commits: usize,
    pub loads: usize,
    pub requests: usize,
}

/// One run: a flow, and what fails in it.
#[derive(Clone, Copy)]
pub struct Entry {
    pub flow: &'static Flow,
    pub plan: Plan,
}

/// What came of a run.
#[derive(Default)]
pub struct Run {
    pub calls: Calls,
    /// Whether the call that was to fail was made.
    pub hit: bool,
    pub stored: usize,
    pub wrong: Vec<String>,
}

impl Entry {
    pub fn name(&self) -> String {
        match self.plan {
            Plan::Nothing => self.flow.name.to_owned(),
            Plan::Storage(kind, n) => format!("{}:{n}:{}", self.flow.name, kind.name()),
            Plan::Network(kind, n) => format!("{}:{n}:{}", self.flow.name, kind.name()),
        }
    }

    pub fn run(&self) -> Run {
        quieten();
        let mut run = Run::default();
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut stage = Stage::new(self.flow, self.plan);
            stage.play_all();
            let storage = &stage.romeo.storage;
            run.calls = Calls {
                commits: storage.commits() - stage.base.0,
                loads: storage.loads() - stage.base.1,
                requests: stage.requests,
            };
            run.hit = stage.is_hit();
            stage.traced = one().is_some() && self.plan != Plan::Nothing;
            stage.end_all();
            run.stored = stage.romeo.storage.size();
            run.wrong = std::mem::take(&mut stage.wrong);
        }));
        if let Err(panic) = played {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            run.wrong.push(format!("panic: {}", text.unwrap_or_default()));
        }
        run
    }
}

/// Panics of workers are printed with their entry, not where they happen.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(WORKER) || one().is_some() {
                before(info);
            }
        }));
    });
}

/// The entry that alone is to be run.
pub fn one() -> Option<String> {
    std::env::var("OMEMO_ENTRY").ok()
}

/// Runs entries side by side; what came of each, in their order.
pub fn run_all(entries: &[Entry]) -> Vec<Run> {
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let worker = || {
                loop {
                    let index = next.fetch_add(1, SeqCst);
                    let Some(entry) = entries.get(index) else { return };
                    let run = entry.run();
                    runs.lock().unwrap().push((index, run));
                }
            };
            std::thread::Builder::new().name(WORKER.into()).spawn_scoped(scope, worker).unwrap();
        }
    });
    let mut runs = runs.into_inner().unwrap();
    runs.sort_by_key(|(index, _)| *index);
    runs.into_iter().map(|(_, run)| run).collect()
}

/// What each flow calls; measured once.
pub fn measured() -> &'static [Calls] {
    static CALLS: OnceLock<Vec<Calls>> = OnceLock::new();
    CALLS.get_or_init(|| {
        let entries: Vec<Entry> = FLOWS.iter().map(|flow| Entry { flow, plan: Plan::Nothing }).collect();
        let runs = run_all(&entries);
        let mut red = 0;
        for (entry, run) in entries.iter().zip(&runs) {
            let (name, calls) = (entry.name(), run.calls);
            println!(
                "{name:>22}: {:>3} steps {:>4} commits {:>5} loads {:>4} requests {:>6} bytes",
                entry.flow.steps.len(),
                calls.commits,
                calls.loads,
                calls.requests,
                run.stored
            );
            run.wrong.iter().for_each(|wrong| println!("    {wrong}"));
            red += usize::from(!run.wrong.is_empty());
        }
        assert_eq!(red, 0, "flows go wrong without any failure");
        runs.iter().map(|run| run.calls).collect()
    })
}

/// All entries of the storage.
pub fn storage() -> Vec<Entry> {
    let mut all = Vec::new();
    for (flow, calls) in FLOWS.iter().zip(measured()) {
        for (count, kinds) in
            [(calls.commits, &StorageKind::COMMITS[..]), (calls.loads, &StorageKind::LOADS[..])]
        {
            for n in 1..=count {
                all.extend(kinds.iter().map(|kind| Entry { flow, plan: Plan::Storage(*kind, n) }));
            }
        }
    }
    all
}

/// All entries of the network.
pub fn network() -> Vec<Entry> {
    let mut all = Vec::new();
    for (flow, calls) in FLOWS.iter().zip(measured()) {
        for n in 1..=calls.requests {
            all.extend(NetworkKind::all().iter().map(|kind| Entry { flow, plan: Plan::Network(*kind, n) }));
        }
    }
    all
}

/// Runs a matrix, or a sample of it; fails for what goes wrong in it.
pub fn play(what: &str, all: Vec<Entry>, least: usize) {
    let size = all.len();
    for flow in FLOWS {
        let of = all.iter().filter(|entry| entry.flow.name == flow.name).count();
        println!("{what}: {:>22} {of:>5} entries", flow.name);
        assert!(of > 0 && flow.steps.len() >= 10, "{} is no flow", flow.name);
    }
    println!("{what}: {size} entries in {} flows", FLOWS.len());
    assert!(size >= least && FLOWS.len() >= 25, "the matrix has shrunk");
    let full = std::env::var("OMEMO_FULL").is_ok_and(|full| !full.is_empty());
    let chosen = choose(what, all, full);
    let runs = run_all(&chosen);
    let (mut red, mut hits, mut met) = (Vec::new(), 0, Vec::new());
    for (entry, run) in chosen.iter().zip(&runs) {
        hits += usize::from(run.hit);
        if run.wrong.is_empty() {
            continue;
        }
        if let Some(exception) = known::find(entry) {
            met.push(exception);
            continue;
        }
        println!("{}\n    {}", entry.name(), run.wrong.join("\n    "));
        red.push(entry.name());
    }
    let (runs, bytes) = (runs.len(), runs.iter().map(|run| run.stored).max().unwrap_or(0));
    println!(
        "{what}: {runs} of {size} entries run, {} wrong, {} known, {hits} failures met, at most {bytes} bytes stored",
        red.len(),
        met.len()
    );
    assert!(red.is_empty(), "{} of {runs} runs go wrong; again: OMEMO_ENTRY={}", red.len(), red[0]);
    assert!(hits * 100 >= runs * 99, "{} runs never met their failure", runs - hits);
    if full && one().is_none() {
        known::assert_none_is_idle(what, &met);
    }
}

fn choose(what: &str, all: Vec<Entry>, full: bool) -> Vec<Entry> {
    if let Some(name) = one() {
        return all.into_iter().filter(|entry| entry.name() == name).collect();
    }
    if full {
        return all;
    }
    let offset =
        std::env::var("OMEMO_OFFSET").ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0) % SAMPLE;
    println!("{what}: every {SAMPLE}th entry from {offset} (OMEMO_OFFSET={offset})");
    all.into_iter()
        .enumerate()
        .filter(|(index, _)| index % SAMPLE == offset)
        .map(|(_, entry)| entry)
        .collect()
}
