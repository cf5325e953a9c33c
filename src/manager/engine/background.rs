//! Background jobs: what is due runs, a limited number at a time, each as a task of its own.
//!
//! Whether a job is due, what it does and what its failure means is the caller's. A job that panics ends alone: the
//! panic goes on out of `Runtime::step`, and the caller is told in the next one.

use super::Now;
use crate::runtime::{Runtime, Signal};
use async_task::Task;
use futures_util::future::{BoxFuture, Either, pending, select};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The caller's side: the jobs of one manager.
pub(in crate::manager) trait Jobs<J>: Send + Sync + 'static {
    /// Reads the clocks.
    fn now(&self) -> Now;

    /// Returns jobs that may begin now, most important first, and when the next one may, by `Now::steady_ms`. More than
    /// `room` are not begun; jobs that are in `busy` run already, and are not begun twice.
    fn due(&self, now: Now, busy: &BTreeSet<J>, room: usize) -> (Vec<J>, Option<u64>);

    /// Does a job, and notes by itself whether that succeeded.
    fn perform(&self, job: J) -> BoxFuture<'static, ()>;

    /// Notes that a job panicked. It would be due again at once: this delays it.
    fn panicked(&self, job: J);
}

/// Runs the jobs of one manager.
pub(in crate::manager) struct Background<J> {
    runtime: Runtime,
    limit: usize,
    jobs: Arc<dyn Jobs<J>>,
    work: Signal,
    state: Mutex<State<J>>,
}

struct State<J> {
    /// `None` for the moment in which the job is being started.
    running: BTreeMap<J, Option<Task<()>>>,
    /// Jobs of which the caller does not know yet that they panicked.
    panicked: Vec<J>,
    worker: Worker,
}

enum Worker {
    /// None runs; `wake` starts one.
    Absent,
    /// One runs; the handle is `None` for the moment in which it is being started.
    Running(Option<Task<()>>),
    /// None will run any more.
    Stopped,
}

impl<J: Clone + Ord + Send + 'static> Background<J> {
    /// Starts the worker; at most `limit` jobs run at a time.
    pub(in crate::manager) fn start(
        runtime: &Runtime,
        limit: usize,
        jobs: Arc<dyn Jobs<J>>,
    ) -> Arc<Background<J>> {
        let state = State { running: BTreeMap::new(), panicked: Vec::new(), worker: Worker::Absent };
        let background = Arc::new(Background {
            runtime: runtime.clone(),
            limit: limit.max(1),
            jobs,
            work: Signal::default(),
            state: Mutex::new(state),
        });
        background.wake();
        background
    }

    /// Looks for due jobs in a later step: something has changed. Also replaces a worker that panicked in `Jobs::due`.
    pub(in crate::manager) fn wake(self: &Arc<Self>) {
        let absent = {
            let mut state = self.state.lock();
            let absent = matches!(state.worker, Worker::Absent);
            if absent {
                state.worker = Worker::Running(None);
            }
            absent
        };
        if absent {
            let presence = Presence { background: self.clone() };
            let task = self.runtime.spawn(async move {
                let presence = presence;
                presence.background.work().await;
            });
            let mut state = self.state.lock();
            let unused = match &mut state.worker {
                Worker::Running(handle @ None) => handle.replace(task),
                _ => Some(task),
            };
            drop(state);
            drop(unused);
        }
        self.work.notify();
    }

    /// Ends the worker and all jobs. Nothing is begun any more.
    pub(in crate::manager) fn stop(&self) {
        let mut state = self.state.lock();
        let running = std::mem::take(&mut state.running);
        let worker = std::mem::replace(&mut state.worker, Worker::Stopped);
        drop(state);
        drop((running, worker));
    }

    /// Returns whether no job runs. Jobs may be due all the same.
    pub(in crate::manager) fn is_idle(&self) -> bool {
        self.state.lock().running.is_empty()
    }

    async fn work(self: &Arc<Self>) {
        loop {
            let seen = self.work.generation();
            let next = self.begin_due();
            let changed = self.work.changed(seen);
            let sleep = match next {
                Some(at) => Either::Left(self.runtime.sleep_until(at)),
                None => Either::Right(pending()),
            };
            select(changed, sleep).await;
        }
    }

    /// Begins as many due jobs as there is room for. Returns when to look again, if no job ends before.
    fn begin_due(self: &Arc<Self>) -> Option<u64> {
        let (busy, panicked) = {
            let mut state = self.state.lock();
            let busy: BTreeSet<J> = state.running.keys().cloned().collect();
            (busy, std::mem::take(&mut state.panicked))
        };
        panicked.into_iter().for_each(|job| self.jobs.panicked(job));
        let room = self.limit.saturating_sub(busy.len());
        if room == 0 {
            return None;
        }
        let now = self.jobs.now();
        let (due, next) = self.jobs.due(now, &busy, room);
        due.into_iter().filter(|job| !busy.contains(job)).take(room).for_each(|job| self.begin(job));
        // A time that has come already would have the client call without an end.
        next.map(|at| at.max(now.steady_ms.saturating_add(1)))
    }

    fn begin(self: &Arc<Self>, job: J) {
        {
            let mut state = self.state.lock();
            if matches!(state.worker, Worker::Stopped) || state.running.contains_key(&job) {
                return;
            }
            state.running.insert(job.clone(), None);
        }
        let guard = JobGuard { background: self.clone(), job: job.clone(), finished: false };
        let task = self.runtime.spawn(async move {
            // In here: what `perform` does before its first wait may panic, too.
            let mut guard = guard;
            guard.background.jobs.perform(guard.job.clone()).await;
            guard.finish();
        });
        let mut state = self.state.lock();
        let unused = match state.running.get_mut(&job) {
            Some(entry) => entry.replace(task),
            None => Some(task),
        };
        drop(state);
        drop(unused);
    }
}

/// Lives in the task of a job, and notes how the job ended.
struct JobGuard<J: Clone + Ord + Send + 'static> {
    background: Arc<Background<J>>,
    job: J,
    finished: bool,
}

impl<J: Clone + Ord + Send + 'static> JobGuard<J> {
    fn finish(&mut self) {
        self.finished = true;
    }
}

impl<J: Clone + Ord + Send + 'static> Drop for JobGuard<J> {
    fn drop(&mut self) {
        let mut state = self.background.state.lock();
        let ended = state.running.remove(&self.job);
        // A job that was stopped is not in the table any more. The caller is told by the worker: nothing of the caller's
        // runs while the stack unwinds, where a second panic would end the process.
        if ended.is_some() && !self.finished {
            state.panicked.push(self.job.clone());
        }
        drop(state);
        drop(ended);
        self.background.work.notify();
    }
}

/// Lives in the task of the worker: a worker that panics makes room for another one.
struct Presence<J> {
    background: Arc<Background<J>>,
}

impl<J> Drop for Presence<J> {
    fn drop(&mut self) {
        let mut state = self.background.state.lock();
        let old = match state.worker {
            Worker::Running(_) => std::mem::replace(&mut state.worker, Worker::Absent),
            _ => Worker::Absent,
        };
        drop(state);
        drop(old);
    }
}

#[cfg(test)]
mod tests;
