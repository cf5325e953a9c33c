//! The whole loop: operations, requests, deadlines, wake-ups, and panics.

use super::super::tests::ManualClock;
use super::super::{Answer, Class, Reason, Request};
use super::*;
use crate::manager::engine::tests::jid;
use crate::protocol::namespace::Namespace;
use std::panic::{AssertUnwindSafe, catch_unwind};

const TIMEOUT_MS: u64 = 60_000;

fn engine() -> (Arc<ManualClock>, Engine) {
    let client = Arc::new(ManualClock::at(0));
    let engine = Engine::new(client.clone(), TIMEOUT_MS, 32);
    engine.requests().connected();
    while engine.next_event(|noted| noted.settle(())).is_some() {}
    assert!(engine.sleep());
    (client, engine)
}

/// An operation that asks for a list and ends with what became of that.
fn fetching(engine: &Engine, operation: OperationId) {
    let request = Request::FetchDeviceList { namespace: Namespace::Omemo2, jid: jid("juliet@capulet.lit") };
    let requests = engine.requests().clone();
    let run = async move {
        match requests.ask(request, Class::Foreground).await.response.answer {
            Answer::Rejected(Reason::NotFound) => Outcome::bare(Status::NotFound),
            Answer::Rejected(Reason::Timeout) => Outcome::bare(Status::Timeout),
            _ => Outcome::bare(Status::Ok),
        }
    };
    engine.start(operation, OperationKind::EndsWithStream, run).unwrap();
}

fn done(event: Option<Event>) -> Option<(OperationId, Status)> {
    match event {
        Some(Event::Done(operation, outcome)) => Some((operation, outcome.status())),
        _ => None,
    }
}

#[test]
fn a_request_goes_out_and_its_answer_ends_the_operation() {
    let (client, engine) = engine();
    assert!(engine.is_idle() && engine.timeout().is_none());
    fetching(&engine, 1);
    assert_eq!((client.wakeups(), engine.timeout(), engine.is_idle()), (1, Some(0), false));
    let Some(Event::Request(request_id, _)) = engine.next_event(|noted| noted.settle(())) else { panic!() };
    assert!(engine.next_event(|noted| noted.settle(())).is_none() && engine.sleep());
    assert_eq!((client.wakeups(), engine.timeout()), (0, Some(TIMEOUT_MS)));
    let answer = Answer::Rejected(Reason::NotFound);
    engine.requests().answer(request_id, answer, engine.now(), engine.stamp()).unwrap();
    engine.wake();
    assert_eq!(client.wakeups(), 1);
    assert_eq!(done(engine.next_event(|noted| noted.settle(()))), Some((1, Status::NotFound)));
    assert!(engine.next_event(|noted| noted.settle(())).is_none() && engine.is_idle());
}

#[test]
fn a_deadline_ends_the_operation_and_withdraws_the_request() {
    let (client, engine) = engine();
    fetching(&engine, 1);
    engine.next_event(|noted| noted.settle(()));
    client.advance(TIMEOUT_MS.cast_signed() - 1);
    assert!(engine.next_event(|noted| noted.settle(())).is_none() && engine.timeout() == Some(1));
    // A step of more than an hour is a person who sets the clock.
    client.advance(7_200_000);
    assert!(engine.next_event(|noted| noted.settle(())).is_none() && engine.timeout() == Some(1));
    client.advance(1);
    assert_eq!(engine.timeout(), Some(0));
    let events = [engine.next_event(|noted| noted.settle(())), engine.next_event(|noted| noted.settle(()))];
    assert!(matches!(events[0], Some(Event::Withdrawn(_))));
    let [_, end] = events;
    assert_eq!(done(end), Some((1, Status::Timeout)));
}

#[test]
fn the_end_of_the_stream_withdraws_and_ends() {
    let (client, engine) = engine();
    fetching(&engine, 1);
    engine.next_event(|noted| noted.settle(()));
    engine.sleep();
    engine.disconnected();
    engine.wake();
    assert_eq!(client.wakeups(), 2, "once for the start, once for the end");
    let events: Vec<_> = std::iter::from_fn(|| engine.next_event(|noted| noted.settle(()))).collect();
    assert!(events.len() == 2 && engine.is_idle(), "{events:?}");
}

#[test]
fn a_panic_goes_out_of_next_event_once_and_the_operation_ends() {
    let (_client, engine) = engine();
    engine.start(1, OperationKind::SurvivesStream, async { panic!("planted") }).unwrap();
    fetching(&engine, 2);
    assert!(catch_unwind(AssertUnwindSafe(|| engine.next_event(|noted| noted.settle(())))).is_err());
    assert_eq!(done(engine.next_event(|noted| noted.settle(()))), Some((1, Status::Internal)));
    assert!(matches!(engine.next_event(|noted| noted.settle(())), Some(Event::Request(..))));
}

#[test]
fn the_client_is_woken_for_work_that_comes_while_it_falls_asleep() {
    let (client, engine) = engine();
    engine.mark_awake();
    fetching(&engine, 1);
    assert_eq!(client.wakeups(), 0, "it is awake");
    assert!(!engine.sleep(), "there is work");
    engine.wake_again();
    assert_eq!(client.wakeups(), 1);
    engine.wake();
    assert_eq!(client.wakeups(), 0, "it is woken once");
    // An earlier time than the client knows of.
    engine.next_event(|noted| noted.settle(()));
    engine.next_event(|noted| noted.settle(()));
    assert!(engine.sleep());
    let sleep = engine.runtime().sleep_until(10);
    let run = async move {
        sleep.await;
        Outcome::bare(Status::Ok)
    };
    engine.start(2, OperationKind::SurvivesStream, run).unwrap();
    assert_eq!(client.wakeups(), 1);
    assert!(engine.next_event(|noted| noted.settle(())).is_none());
    assert_eq!(engine.timeout(), Some(10));
}

#[test]
fn a_long_sleep_is_no_jump_of_the_clock() {
    let (_client, engine) = engine();
    let sleep = engine.runtime().sleep_until(72 * 60_000);
    let run = async move {
        sleep.await;
        Outcome::bare(Status::Ok)
    };
    engine.start(1, OperationKind::SurvivesStream, run).unwrap();
    assert!(engine.next_event(|noted| noted.settle(())).is_none());
    assert_eq!(engine.timeout(), Some(30 * 60_000));
}

#[test]
fn the_end_cancels_everything_and_gives_the_last_events() {
    let (_client, engine) = engine();
    fetching(&engine, 1);
    engine.next_event(|noted| noted.settle(()));
    engine.start(2, OperationKind::SurvivesStream, std::future::pending()).unwrap();
    engine.close();
    assert_eq!(
        engine.start(3, OperationKind::EndsWithStream, std::future::pending()).unwrap_err().status(),
        Status::Cancelled
    );
    assert_eq!(engine.cancel(1).unwrap_err().status(), Status::Stale);
    let events: Vec<_> = std::iter::from_fn(|| engine.next_event(|noted| noted.settle(()))).collect();
    assert_eq!(events.len(), 3, "two ends, and a question withdrawn: {events:?}");
    assert!(engine.is_idle());
}
