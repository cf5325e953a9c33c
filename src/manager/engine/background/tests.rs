//! Limits, times, and what a panic of a job or of the worker leaves behind.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Jobs are numbers; each waits until it is let go.
#[derive(Default)]
struct JobState {
    state: Mutex<World>,
    changed: Signal,
}

#[derive(Default)]
struct World {
    due: BTreeSet<u32>,
    next: Option<u64>,
    now: u64,
    panic_in: BTreeSet<u32>,
    panic_in_due: bool,
    let_go: BTreeSet<u32>,
    begun: Vec<u32>,
    panicked: Vec<u32>,
    looks: usize,
}

struct Caller(Arc<JobState>);

impl Jobs<u32> for Caller {
    fn now(&self) -> Now {
        Now { steady_ms: self.0.state.lock().now, ..Now::default() }
    }

    fn due(&self, _: Now, busy: &BTreeSet<u32>, room: usize) -> (Vec<u32>, Option<u64>) {
        let mut state = self.0.state.lock();
        state.looks += 1;
        if std::mem::take(&mut state.panic_in_due) {
            drop(state);
            panic!("planted");
        }
        assert!(room > 0);
        // Busy ones are named all the same: the scheduler must not begin them twice.
        (busy.iter().chain(&state.due).copied().collect(), state.next)
    }

    fn perform(&self, job: u32) -> BoxFuture<'static, ()> {
        self.0.state.lock().begun.push(job);
        self.0.state.lock().due.remove(&job);
        assert!(job != 99, "planted, before the first wait");
        let numbers = self.0.clone();
        Box::pin(async move {
            loop {
                let seen = numbers.changed.generation();
                if numbers.state.lock().panic_in.contains(&job) {
                    panic!("planted");
                }
                if numbers.state.lock().let_go.contains(&job) {
                    return;
                }
                numbers.changed.changed(seen).await;
            }
        })
    }

    fn panicked(&self, job: u32) {
        self.0.state.lock().panicked.push(job);
    }
}

fn start(limit: usize) -> (Runtime, Arc<JobState>, Arc<Background<u32>>) {
    let (runtime, numbers) = (Runtime::default(), Arc::new(JobState::default()));
    let background = Background::start(&runtime, limit, Arc::new(Caller(numbers.clone())));
    (runtime, numbers, background)
}

/// Steps until nothing is ready; returns how many steps panicked.
fn drain(runtime: &Runtime) -> usize {
    let mut panics = 0;
    while runtime.is_ready() {
        panics += usize::from(catch_unwind(AssertUnwindSafe(|| runtime.step())).is_err());
    }
    panics
}

fn let_go(numbers: &JobState, job: u32) {
    numbers.state.lock().let_go.insert(job);
    numbers.changed.notify();
}

#[test]
fn a_limited_number_runs_and_the_end_of_one_begins_the_next() {
    let (runtime, numbers, background) = start(3);
    numbers.state.lock().due = (1..=10).collect();
    drain(&runtime);
    assert_eq!(numbers.state.lock().begun, [1, 2, 3]);
    background.wake();
    drain(&runtime);
    assert_eq!(numbers.state.lock().begun, [1, 2, 3], "none is begun twice");
    for (job, next) in [(2, 4), (1, 5), (5, 6)] {
        let_go(&numbers, job);
        drain(&runtime);
        assert_eq!(numbers.state.lock().begun.last(), Some(&next));
    }
    assert_eq!(background.state.lock().running.keys().copied().collect::<Vec<_>>(), [3, 4, 6]);
    (1..=10).for_each(|job| let_go(&numbers, job));
    drain(&runtime);
    assert!(background.is_idle() && numbers.state.lock().begun.len() == 10);
    assert!(numbers.state.lock().panicked.is_empty());
}

#[test]
fn a_job_that_panics_ends_alone_and_the_caller_is_told() {
    let (runtime, numbers, background) = start(2);
    numbers.state.lock().due = [1, 2, 3].into();
    drain(&runtime);
    numbers.state.lock().panic_in.insert(1);
    numbers.changed.notify();
    assert_eq!(drain(&runtime), 1, "the panic goes on out of step");
    assert_eq!(numbers.state.lock().panicked, [1]);
    assert_eq!(numbers.state.lock().begun, [1, 2, 3]);
    // One that panics before its first wait is told of as well.
    let_go(&numbers, 2);
    numbers.state.lock().due.insert(99);
    assert_eq!(drain(&runtime), 1);
    assert_eq!(numbers.state.lock().panicked, [1, 99]);
    let_go(&numbers, 3);
    numbers.state.lock().due.insert(4);
    background.wake();
    assert_eq!(drain(&runtime), 0);
    assert_eq!(numbers.state.lock().begun.last(), Some(&4));
    assert_eq!(background.state.lock().running.keys().copied().collect::<Vec<_>>(), [4]);
}

#[test]
fn a_worker_that_panics_is_replaced_by_the_next_call() {
    let (runtime, numbers, background) = start(2);
    drain(&runtime);
    numbers.state.lock().panic_in_due = true;
    background.wake();
    assert_eq!(drain(&runtime), 1);
    numbers.state.lock().due.insert(1);
    background.wake();
    assert_eq!(drain(&runtime), 0);
    assert_eq!(numbers.state.lock().begun, [1]);
}

#[test]
fn the_worker_looks_again_at_the_time_that_it_was_given() {
    let (runtime, numbers, _background) = start(2);
    numbers.state.lock().next = Some(500);
    drain(&runtime);
    assert_eq!(runtime.next_timer(), Some(500));
    numbers.state.lock().now = 500;
    numbers.state.lock().next = Some(400);
    numbers.state.lock().due.insert(1);
    runtime.fire(500);
    drain(&runtime);
    assert_eq!(numbers.state.lock().begun, [1]);
    assert_eq!(runtime.next_timer(), Some(501), "a time in the past is no reason to spin");
    let looks = numbers.state.lock().looks;
    runtime.fire(500);
    drain(&runtime);
    assert_eq!(numbers.state.lock().looks, looks);
}

#[test]
fn a_full_worker_does_not_look() {
    let (runtime, numbers, background) = start(1);
    numbers.state.lock().due = [1, 2].into();
    drain(&runtime);
    let looks = numbers.state.lock().looks;
    background.wake();
    drain(&runtime);
    assert_eq!((numbers.state.lock().looks, runtime.next_timer()), (looks, None));
    let_go(&numbers, 1);
    drain(&runtime);
    assert_eq!(numbers.state.lock().begun, [1, 2]);
}

#[test]
fn the_end_lets_all_tasks_go_and_is_no_panic() {
    let (runtime, numbers, background) = start(2);
    numbers.state.lock().due = [1, 2, 3].into();
    drain(&runtime);
    background.stop();
    assert_eq!(drain(&runtime), 0);
    background.wake();
    drain(&runtime);
    assert!(background.is_idle());
    assert_eq!(numbers.state.lock().begun, [1, 2]);
    assert!(numbers.state.lock().panicked.is_empty());
    assert_eq!(Arc::strong_count(&background), 1, "no task keeps it");
}
