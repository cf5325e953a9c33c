//! The guard of every exported function: stops panics, and refuses calls from inside of services.
//!
//! Owns the only thread-local of the library: how deep this thread is in our own calls, and how deep in services of
//! the client. Owns the work that has to wait until neither holds a lock. Knows nothing of what a function does.

use super::returns;
use crate::error::{Error, Result, Status};
use parking_lot::Mutex;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How deep a thread is in this library.
#[derive(Clone, Copy)]
struct Depth {
    /// Calls of ours that are not interrupted by a callback of the client.
    calls: u32,
    /// Services of the client that have not returned.
    services: u32,
}

thread_local! {
    static DEPTH: Cell<Depth> = const { Cell::new(Depth { calls: 0, services: 0 }) };
}

/// Puts the depth back, also when a callback unwinds.
struct Restore(Depth);

impl Drop for Restore {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

fn at_depth<T>(change: impl FnOnce(&mut Depth), body: impl FnOnce() -> T) -> T {
    let before = DEPTH.get();
    let mut depth = before;
    change(&mut depth);
    DEPTH.set(depth);
    let _restore = Restore(before);
    body()
}

/// Runs the body of an exported function. A panic gives `on_panic`; what waited for the end of the call is
/// done.
pub(in crate::ffi) fn call<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    silence_panics();
    let enter = |depth: &mut Depth| depth.calls = depth.calls.saturating_add(1);
    let outcome = at_depth(enter, || catch_unwind(AssertUnwindSafe(body)));
    if WAITING.load(Ordering::SeqCst) > 0 && !in_service() {
        at_depth(enter, do_later);
    }
    outcome.unwrap_or(on_panic)
}

/// Runs the body of an exported function that returns a status, in the form that C knows.
pub(in crate::ffi) fn status<S: From<Status>>(body: impl FnOnce() -> Result<()>) -> S {
    call(Status::Internal, || body().err().map_or(Status::Ok, |error| error.status())).into()
}

/// Runs the body of an exported function that a service must not call.
pub(in crate::ffi) fn outside_services<S: From<Status>>(body: impl FnOnce() -> Result<()>) -> S {
    status(|| {
        not_in_service()?;
        body()
    })
}

/// Runs the body of an exported function that returns borrowed bytes and, if asked for, their number.
pub(in crate::ffi) fn bytes<'a>(
    len: Option<&mut MaybeUninit<usize>>,
    body: impl FnOnce() -> Option<&'a [u8]>,
) -> *const u8 {
    call(std::ptr::null(), || returns::give_bytes(body(), len))
}

/// Fails with `Busy` inside a service.
pub(in crate::ffi) fn not_in_service() -> Result<()> {
    if in_service() { Err(Error::from(Status::Busy)) } else { Ok(()) }
}

/// Returns whether this thread is inside of a service.
pub(in crate::ffi) fn in_service() -> bool {
    DEPTH.get().services > 0
}

/// Calls an event of the client, or a `destroy`: code that is not ours and may call anything.
pub(in crate::ffi) fn event<T>(callback: impl FnOnce() -> T) -> T {
    at_depth(|depth| depth.calls = 0, callback)
}

/// Calls a service of the client.
pub(in crate::ffi) fn service<T>(callback: impl FnOnce() -> T) -> T {
    let enter = |depth: &mut Depth| *depth = Depth { calls: 0, services: depth.services.saturating_add(1) };
    at_depth(enter, callback)
}

/// Returns a number that no other thread has while this one is running.
pub(in crate::ffi) fn this_thread() -> usize {
    DEPTH.with(|depth| std::ptr::from_ref(depth).addr())
}

type Later = Box<dyn FnOnce() + Send>;

static LATER: Mutex<Vec<(usize, Later)>> = Mutex::new(Vec::new());
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Does something as soon as this thread is in no service and holds no lock of ours: when the exported
/// function that it is in returns, or at once where it is in none.
pub(in crate::ffi) fn later(what: Later) {
    LATER.lock().push((this_thread(), what));
    WAITING.fetch_add(1, Ordering::SeqCst);
    if DEPTH.get().calls == 0 && !in_service() {
        do_later();
    }
}

fn do_later() {
    while WAITING.load(Ordering::SeqCst) > 0 {
        let next = {
            let mut waiting = LATER.lock();
            let mine = waiting.iter().position(|(thread, _)| *thread == this_thread());
            mine.map(|position| waiting.remove(position))
        };
        let Some((_, what)) = next else { return };
        WAITING.fetch_sub(1, Ordering::SeqCst);
        drop(catch_unwind(AssertUnwindSafe(what)));
    }
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Returns a line of log about the last panic: its place. Its message may contain anything, and is not logged.
pub(in crate::ffi) fn last_panic() -> String {
    let place = LAST_PANIC.lock().take();
    format!(
        "A bug in this library at {}; nothing was committed.",
        place.as_deref().unwrap_or("an unknown place")
    )
}

/// Nothing is printed for a panic that `call` turns into a status. Panics of others are printed as ever.
fn silence_panics() {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if DEPTH.get().calls == 0 {
                previous(panic);
            } else {
                *LAST_PANIC.lock() =
                    panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn bump(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn a_panic_becomes_a_status() {
        let status: Status = status(|| {
            let nothing: Option<u32> = None;
            nothing.map(|_| ()).ok_or(()).expect("a bug");
            Ok(())
        });
        assert_eq!(status, Status::Internal);
        assert_eq!(DEPTH.get().calls, 0);
        assert!(last_panic().contains(file!()));
    }

    #[test]
    fn inside_a_service_calls_are_refused_and_frees_wait() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = done.clone();
        call((), || {
            service(|| {
                assert_eq!(outside_services::<Status>(|| Ok(())), Status::Busy);
                call((), || later(Box::new(move || bump(&count))));
                assert_eq!(done.load(Ordering::SeqCst), 0);
            });
            assert_eq!(outside_services::<Status>(|| Ok(())), Status::Ok);
        });
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_waits_is_done_by_its_own_thread() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = done.clone();
        call((), || {
            service(|| {
                later(Box::new(move || bump(&count)));
                std::thread::spawn(|| call((), || ())).join().expect("the other thread");
                assert_eq!(done.load(Ordering::SeqCst), 0);
            });
        });
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
