//! The matrices: how many calls each flow makes is counted in a run without failure, then every call is paired with every
//! kind of failure.

use crate::c_face::{self, CStage};
use crate::fault::{NetworkKind, StorageKind};
use crate::flow::{FLOWS, Flow};
use crate::known;
use crate::stage::{Plan, Stage};
use crate::support::workers;
use crate::vfs;
use std::sync::OnceLock;

/// Of so many entries one is run, unless all are.
const SAMPLE: usize = 8;
/// The same of those that go through the C functions, which are never all run.
const SAMPLE_OF_C: usize = 40;
/// And of those of a file, of which there are very many: a commit makes ten writes.
const SAMPLE_OF_FILE: usize = 193;

/// What a flow calls when nothing fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub commits: usize,
    pub loads: usize,
    pub requests: usize,
}

/// Through which face of the library a flow is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Face {
    Rust,
    C,
}

/// One run: a flow, and what fails in it.
#[derive(Clone, Copy)]
pub struct Entry {
    pub face: Face,
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
    /// Calls of the file system, for each of `FILE_KINDS`.
    pub file_calls: [usize; 4],
    pub wrong: Vec<String>,
}

impl Entry {
    pub fn name(&self) -> String {
        let flow =
            if self.face == Face::C { format!("c/{}", self.flow.name) } else { self.flow.name.to_owned() };
        match self.plan {
            Plan::Nothing => flow,
            Plan::Storage(kind, n) => format!("{flow}:{n}:{}", kind.name()),
            Plan::Network(kind, n) => format!("{flow}:{n}:{}", kind.name()),
            Plan::File(None) => format!("file/{flow}"),
            Plan::File(Some(plan)) => {
                let stays = if plan.stays { "-for-ever" } else { "" };
                format!("file/{flow}:{}:{:?}{stays}", plan.at, plan.kind).to_lowercase()
            }
        }
    }

    pub fn run(&self) -> Run {
        caught(|run| match self.face {
            Face::Rust => self.run_rust(run),
            Face::C => self.run_c(run),
        })
    }
}

/// Plays something; a panic is one of the things that went wrong.
pub fn caught(play: impl FnOnce(&mut Run)) -> Run {
    let mut run = Run::default();
    if let Err(panic) = workers::caught(one().is_some(), || play(&mut run)) {
        run.wrong.push(format!("panic: {panic}"));
    }
    run
}

impl Entry {
    fn run_rust(&self, run: &mut Run) {
        let mut stage = Stage::new(self.flow, self.plan);
        stage.play_all();
        let storage = &stage.romeo.storage;
        run.calls = Calls {
            commits: storage.commits() - stage.base.0,
            loads: storage.loads() - stage.base.1,
            requests: stage.requests,
        };
        run.file_calls = FILE_KINDS.map(vfs::count);
        run.hit = stage.is_hit();
        stage.traced = one().is_some() && self.plan != Plan::Nothing;
        stage.end_all();
        run.stored = stage.romeo.storage.size();
        run.wrong = std::mem::take(&mut stage.wrong);
    }

    fn run_c(&self, run: &mut Run) {
        let mut stage = CStage::new(self.flow, self.plan);
        self.flow.steps.iter().for_each(|step| stage.play(*step));
        let (commits, loads, requests) = stage.calls();
        run.calls = Calls { commits, loads, requests };
        run.hit = stage.is_hit();
        stage.end();
        run.wrong = std::mem::take(&mut stage.wrong);
    }
}

/// The entry that alone is to be run.
pub fn one() -> Option<String> {
    std::env::var("OMEMO_ENTRY").ok()
}

/// The flows of a face with what each calls; measured once.
pub fn measured(face: Face) -> &'static [(&'static Flow, Calls)] {
    static CALLS: [OnceLock<Vec<(&Flow, Calls)>>; 2] = [const { OnceLock::new() }; 2];
    CALLS[face as usize].get_or_init(|| {
        let flows = FLOWS.iter().filter(|flow| face == Face::Rust || c_face::plays(flow));
        let entries: Vec<Entry> = flows.map(|flow| Entry { face, flow, plan: Plan::Nothing }).collect();
        let runs = workers::each(&entries, Entry::run);
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
        entries.iter().zip(&runs).map(|(entry, run)| (entry.flow, run.calls)).collect()
    })
}

/// All entries of the storage.
pub fn storage(face: Face) -> Vec<Entry> {
    let mut all = Vec::new();
    for (flow, calls) in measured(face) {
        for (count, kinds) in
            [(calls.commits, &StorageKind::COMMITS[..]), (calls.loads, &StorageKind::LOADS[..])]
        {
            for n in 1..=count {
                all.extend(kinds.iter().map(|kind| Entry { face, flow, plan: Plan::Storage(*kind, n) }));
            }
        }
    }
    all
}

/// All entries of the network.
pub fn network(face: Face) -> Vec<Entry> {
    let kinds = if face == Face::C { c_face::network_kinds() } else { NetworkKind::all() };
    let mut all = Vec::new();
    for (flow, calls) in measured(face) {
        for n in 1..=calls.requests {
            all.extend(kinds.iter().map(|kind| Entry { face, flow, plan: Plan::Network(*kind, n) }));
        }
    }
    all
}

/// How the calls of the file system fail here: those that a commit makes. `tests/crash` has the others.
const FILE_KINDS: [vfs::Kind; 4] =
    [vfs::Kind::Write, vfs::Kind::Full, vfs::Kind::ShortWrite, vfs::Kind::Sync];

/// All entries of a store in a file: each write and each sync of a flow, once and for ever.
pub fn file() -> Vec<Entry> {
    vfs::install_after(|| ());
    let face = Face::Rust;
    let entries: Vec<Entry> = FLOWS.iter().map(|flow| Entry { face, flow, plan: Plan::File(None) }).collect();
    let counts = workers::each(&entries, |entry| {
        let run = entry.run();
        assert!(run.wrong.is_empty(), "{}: {:?}", entry.name(), run.wrong);
        run.file_calls
    });
    let mut all = Vec::new();
    for (entry, counts) in entries.iter().zip(counts) {
        for (kind, count) in FILE_KINDS.into_iter().zip(counts) {
            let plans = (1..=count).flat_map(|at| [false, true].map(|stays| vfs::Plan { kind, at, stays }));
            all.extend(plans.map(|plan| Entry { plan: Plan::File(Some(plan)), ..*entry }));
        }
    }
    all
}

/// Plays a matrix, or a sample of it; fails for what goes wrong in it, and if it is smaller than this.
pub fn play(what: &str, all: Vec<Entry>, least: usize) {
    let size = all.len();
    let mut flows = 0;
    for flow in FLOWS {
        let of = all.iter().filter(|entry| entry.flow.name == flow.name).count();
        println!("{what}: {:>22} {of:>5} entries", flow.name);
        assert!(flow.steps.len() >= 10, "{} is no flow", flow.name);
        flows += usize::from(of > 0);
    }
    println!("{what}: {size} entries in {flows} flows");
    assert!(size >= least, "the matrix has shrunk");
    assert!(flows == FLOWS.len() || all.iter().all(|entry| entry.face == Face::C), "a flow has no entry");
    let full = std::env::var("OMEMO_FULL").is_ok_and(|full| !full.is_empty());
    let chosen = choose(what, all, full);
    let runs = workers::each(&chosen, Entry::run);
    let (mut red, mut hits, mut met) = (Vec::new(), 0, Vec::new());
    for (entry, run) in chosen.iter().zip(&runs) {
        hits += usize::from(run.hit);
        match known::find(entry) {
            _ if run.wrong.is_empty() => (),
            Some(exception) => met.push(exception),
            None => {
                println!("{}\n    {}", entry.name(), run.wrong.join("\n    "));
                red.push(entry.name());
            }
        }
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
        let of_flow = |entry: &Entry| name.ends_with(':') && entry.name().starts_with(&name);
        return all.into_iter().filter(|entry| entry.name() == name || of_flow(entry)).collect();
    }
    let sample = match all.first().map(|entry| entry.face) {
        Some(Face::C) => SAMPLE_OF_C,
        _ if full => return all,
        _ if matches!(all.first().map(|entry| entry.plan), Some(Plan::File(_))) => SAMPLE_OF_FILE,
        _ => SAMPLE,
    };
    let offset = std::env::var("OMEMO_OFFSET").ok().and_then(|text| text.parse::<usize>().ok());
    let offset = offset.unwrap_or(0) % sample;
    println!("{what}: every {sample}th entry from {offset}");
    all.into_iter()
        .enumerate()
        .filter(|(index, _)| index % sample == offset)
        .map(|(_, entry)| entry)
        .collect()
}
