//! The executor that advances only when it is told to: tasks, timers and signals on no thread of their own.
//!
//! Owns the queue of tasks that can go on and the list of timers. Knows nothing of OMEMO, of clocks (the time is an
//! argument) and of what a task waits for.

use async_task::{Runnable, Task};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A number that this process has not had before, and never 0. It takes 500 years of 10^9 a second to use them up.
pub fn next_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// Tasks, and what they wait for. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Runtime {
    ready: Arc<Mutex<VecDeque<Runnable>>>,
    timers: Arc<Mutex<BTreeMap<(u64, u64), Waker>>>,
}

impl Runtime {
    /// Takes a task over. It is first polled by a later `step`. Dropping the handle ends the task.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task<()> {
        let ready = self.ready.clone();
        let (runnable, task) = async_task::spawn(future, move |runnable| ready.lock().push_back(runnable));
        runnable.schedule();
        task
    }

    /// Polls the task that has been ready for longest. False: none is ready.
    pub fn step(&self) -> bool {
        let next = self.ready.lock().pop_front();
        next.map(Runnable::run).is_some()
    }

    /// Whether `step` has something to do.
    pub fn is_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// Wakes whoever sleeps until `now` or earlier.
    pub fn fire(&self, now: u64) {
        let due = {
            let mut timers = self.timers.lock();
            let later = timers.split_off(&(now.saturating_add(1), 0));
            std::mem::replace(&mut *timers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// When the first sleeper wants to be woken.
    pub fn next_timer(&self) -> Option<u64> {
        self.timers.lock().keys().next().map(|(at, _)| *at)
    }

    /// Sleeps until `fire` is given the time `at`, in the unit of whoever calls that.
    pub fn sleep_until(&self, at: u64) -> Sleep {
        Sleep { timers: self.timers.clone(), key: (at, next_number()), registered: false }
    }
}

/// See [`Runtime::sleep_until`].
pub struct Sleep {
    timers: Arc<Mutex<BTreeMap<(u64, u64), Waker>>>,
    key: (u64, u64),
    registered: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.timers.lock();
        if self.registered && !timers.contains_key(&self.key) {
            return Poll::Ready(());
        }
        timers.insert(self.key, context.waker().clone());
        drop(timers);
        self.registered = true;
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.timers.lock().remove(&self.key);
        drop(waker);
    }
}

/// Tells waiting tasks that something changed. A change that nobody waits for is not lost: who saw an older
/// generation goes on at once.
#[derive(Clone, Default)]
pub struct Signal {
    state: Arc<Mutex<SignalState>>,
}

#[derive(Default)]
struct SignalState {
    generation: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Signal {
    /// How often it changed.
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// It changed.
    pub fn notify(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.generation = state.generation.wrapping_add(1);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until it has changed since `generation`.
    pub fn changed(&self, generation: u64) -> Changed {
        Changed { state: self.state.clone(), generation, id: next_number() }
    }
}

/// See [`Signal::changed`].
pub struct Changed {
    state: Arc<Mutex<SignalState>>,
    generation: u64,
    id: u64,
}

impl Future for Changed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.generation != self.generation {
            return Poll::Ready(());
        }
        state.waiting.insert(self.id, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let waker = self.state.lock().waiting.remove(&self.id);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::AtomicUsize;

    fn drain(runtime: &Runtime) {
        while runtime.step() {}
    }

    #[test]
    fn tasks_advance_only_in_step() {
        let runtime = Runtime::default();
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let task = runtime.spawn(async move {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert!(runtime.is_ready());
        drain(&runtime);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(task);
    }

    #[test]
    fn a_dropped_handle_drops_the_future_in_the_next_step() {
        struct Flag(Arc<AtomicUsize>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let runtime = Runtime::default();
        let count = Arc::new(AtomicUsize::new(0));
        let (signal, flag) = (Signal::default(), Flag(count.clone()));
        let waiting = signal.changed(0);
        let task = runtime.spawn(async move {
            let _flag = flag;
            waiting.await;
        });
        drain(&runtime);
        drop(task);
        drain(&runtime);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn timers_fire_in_order_and_vanish_with_their_sleeper() {
        let runtime = Runtime::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for at in [30, 10, 20] {
            let (sleeper, woken) = (runtime.clone(), woken.clone());
            tasks.push(runtime.spawn(async move {
                sleeper.sleep_until(at).await;
                woken.lock().push(at);
            }));
        }
        drain(&runtime);
        assert_eq!(runtime.next_timer(), Some(10));
        runtime.fire(20);
        drain(&runtime);
        assert_eq!(*woken.lock(), [10, 20]);
        assert_eq!(runtime.next_timer(), Some(30));
        tasks.clear();
        drain(&runtime);
        assert_eq!(runtime.next_timer(), None);
    }

    #[test]
    fn a_signal_before_the_wait_is_not_lost() {
        let runtime = Runtime::default();
        let signal = Signal::default();
        let waiting = signal.changed(signal.generation());
        signal.notify();
        let done = Arc::new(AtomicUsize::new(0));
        let seen = done.clone();
        let _task = runtime.spawn(async move {
            waiting.await;
            seen.fetch_add(1, Ordering::SeqCst);
        });
        drain(&runtime);
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    /// Sleeps until `at`, and counts how often it is polled.
    struct Counted {
        sleep: Sleep,
        polls: Arc<AtomicUsize>,
    }

    impl Future for Counted {
        type Output = u64;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
            self.polls.fetch_add(1, Ordering::SeqCst);
            let at = self.sleep.key.0;
            Pin::new(&mut self.sleep).poll(context).map(|()| at)
        }
    }

    #[test]
    fn ten_thousand_joined_futures_are_polled_only_when_woken_and_keep_their_order() {
        let runtime = Runtime::default();
        let (polls, result) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (sleeper, seen, counter) = (runtime.clone(), result.clone(), polls.clone());
        let _task = runtime.spawn(async move {
            let sleeps = (1..=10_000_u64)
                .rev()
                .map(|at| Counted { sleep: sleeper.sleep_until(at), polls: counter.clone() });
            *seen.lock() = join_all(sleeps).await;
        });
        drain(&runtime);
        for now in 1..10_000 {
            runtime.fire(now);
            drain(&runtime);
        }
        assert!(result.lock().is_empty());
        runtime.fire(10_000);
        drain(&runtime);
        assert!(result.lock().iter().copied().eq((1..=10_000).rev()));
        assert_eq!(
            polls.load(Ordering::SeqCst),
            20_000,
            "each once at the beginning, and once when it was woken"
        );
    }

    #[test]
    fn numbers_are_never_zero_and_never_repeat() {
        let (first, second) = (next_number(), next_number());
        assert!(first > 0 && second > first);
    }
}
