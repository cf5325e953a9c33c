//! Sharing, limits, deadlines, and what a broken stream makes of requests.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::super::tests::{jid, key_of};
use super::future::PendingRequest;
use super::*;
use crate::manager::api::device::Device;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const TIMEOUT: u64 = 60_000;
const FETCH: Class = Class::Foreground;

fn at(steady_ms: u64) -> Now {
    Now { steady_ms, ..Now::default() }
}

fn list_of(name: &str) -> Request {
    Request::FetchDeviceList { namespace: Namespace::Omemo2, jid: jid(name) }
}

fn bundle_of(device: u32) -> Request {
    let device = DeviceId::new(device).unwrap();
    Request::FetchBundle { namespace: Namespace::Omemo2, jid: jid("juliet@capulet.lit"), device }
}

fn empty_list() -> Answer {
    Answer::DeviceList(DeviceList::new(Namespace::Omemo2))
}

fn publication() -> Request {
    let list = DeviceList::new(Namespace::Omemo2);
    Request::PublishDeviceList { list }
}

fn judge(devices: &[Device]) -> Request {
    Request::DecideTrust { devices: devices.to_vec(), context: None }
}

/// Takes over all that was answered.
fn take_over(requests: &Arc<OpenRequests>) {
    while let Some(noted) = requests.next_noted() {
        noted.settle(());
    }
}

fn poll_only(pending: &mut PendingRequest) -> Option<Response> {
    match Pin::new(pending).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(settled) => Some((*settled.response).clone()),
        Poll::Pending => None,
    }
}

fn poll_response(pending: &mut PendingRequest) -> Option<Response> {
    take_over(&pending.requests.clone());
    poll_only(pending)
}

fn poll(pending: &mut PendingRequest) -> Option<Answer> {
    poll_response(pending).map(|response| response.answer)
}

#[test]
fn answers_are_taken_over_in_their_order_before_anybody_goes_on() {
    let requests = online(32);
    let mut asks: Vec<_> = (1..=3).map(|device| requests.ask(bundle_of(device), FETCH)).collect();
    let numbers: Vec<_> =
        std::iter::from_fn(|| requests.next_request(at(0))).map(|(number, _)| number).collect();
    for (number, stamp) in numbers.iter().zip([7, 9, 8]) {
        requests.answer(*number, Answer::Rejected(Reason::NotFound), at(0), Stamp(stamp)).unwrap();
    }
    // The one whose answer came last is cancelled: what was answered stays a fact.
    drop(asks.remove(1));
    assert!(asks.iter_mut().all(|ask| poll_only(ask).is_none()) && requests.is_ready(at(0)));
    assert!(!requests.is_idle());
    let order: Vec<Stamp> = std::iter::from_fn(|| requests.next_noted())
        .map(|noted| {
            let stamp = noted.response.stamp;
            noted.settle(());
            stamp
        })
        .collect();
    assert_eq!(order, [Stamp(7), Stamp(8), Stamp(9)]);
    assert!(asks.iter_mut().all(|ask| poll_only(ask).is_some()));
    assert_empty(&requests);
}

#[test]
fn nobody_waits_for_ever_for_an_answer_that_could_not_be_taken_over() {
    let requests: Arc<OpenRequests<Option<u8>>> = OpenRequests::new(TIMEOUT, 32);
    requests.connected();
    let mut ask = requests.ask(bundle_of(1), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    requests.answer(request_id, Answer::Rejected(Reason::NotFound), at(0), Stamp(1)).unwrap();
    // A panic in between drops it.
    drop(requests.next_noted());
    match Pin::new(&mut ask).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(settled) => assert_eq!(settled.fact, None),
        Poll::Pending => panic!("it waits"),
    }
}

fn online(max_fetches: usize) -> Arc<OpenRequests> {
    let requests = OpenRequests::new(TIMEOUT, max_fetches);
    requests.connected();
    requests
}

/// Answers with a stamp that does not matter.
fn answer(requests: &OpenRequests, request_id: RequestId, answer: Answer, now: u64) -> Result<()> {
    requests.answer(request_id, answer, at(now), Stamp(1))
}

fn expire(requests: &OpenRequests, now: u64) {
    requests.expire(at(now), &Stamps::default());
}

/// Takes all requests that may be asked now; bundles by their device, others as 0.
fn asked(requests: &OpenRequests) -> Vec<u32> {
    let requests = std::iter::from_fn(|| requests.next_request(at(0)));
    let devices = requests.map(|(_, request)| match request {
        Request::FetchBundle { device, .. } => device.get(),
        _ => 0,
    });
    devices.collect()
}

fn assert_empty(requests: &OpenRequests) {
    assert!(requests.is_idle());
    let table = requests.table.lock();
    assert!(table.answered.is_empty() && table.noted.is_empty() && table.keys.is_empty());
    assert!(table.requests.is_empty() && table.deadlines.is_empty());
    for lane in Lane::ALL.map(|lane| table.lane(lane)) {
        assert!(lane.queued.is_empty() && lane.deferred.is_empty() && lane.open == 0);
    }
}

#[test]
fn the_same_request_is_asked_once_and_answers_all() {
    let requests = online(32);
    let mut asks: Vec<_> = (0..3).map(|_| requests.ask(list_of("juliet@capulet.lit"), FETCH)).collect();
    let mut other = requests.ask(list_of("romeo@montague.lit"), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    assert!(
        requests.next_request(at(0)).is_some() && requests.next_request(at(0)).is_none(),
        "two questions, not four"
    );
    assert!(asks.iter_mut().all(|ask| poll(ask).is_none()));
    // A request that is open is joined, too; who leaves takes nothing away from the others.
    asks.push(requests.ask(list_of("juliet@capulet.lit"), FETCH));
    asks.remove(0);
    assert!(requests.next_request(at(0)).is_none() && requests.take_withdrawn().is_empty());
    answer(&requests, request_id, empty_list(), 0).unwrap();
    assert!(asks.iter_mut().all(|ask| poll(ask) == Some(empty_list())));
    assert_eq!(poll(&mut other), None);
    assert_eq!(answer(&requests, request_id, empty_list(), 0).unwrap_err().status(), Status::Stale);
    // A request that was answered is a new one when it comes again.
    let _again = requests.ask(list_of("juliet@capulet.lit"), FETCH);
    assert!(requests.next_request(at(0)).is_some_and(|(number, _)| number > request_id));
}

#[test]
fn publications_are_never_the_same() {
    let requests = online(1);
    let _asks = [requests.ask(publication(), FETCH), requests.ask(publication(), Class::Background)];
    assert_eq!(asked(&requests).len(), 2);
}

#[test]
fn requests_about_the_same_keys_are_one_in_any_order() {
    let requests = online(32);
    let (romeo, juliet) = (key_of("romeo@montague.lit", 1), key_of("juliet@capulet.lit", 2));
    let mut one = requests.ask(judge(&[romeo.clone(), juliet.clone()]), FETCH);
    let mut same = requests.ask(judge(&[juliet.clone(), romeo.clone()]), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    assert!(requests.next_request(at(0)).is_none());
    let _fewer = requests.ask(judge(std::slice::from_ref(&juliet)), FETCH);
    assert!(requests.next_request(at(0)).is_some());
    // A level goes to its key, whichever place the key has in the other request.
    requests.decide(request_id, 1, "trusted", Stamp(5)).unwrap();
    let unknown = requests.decide(request_id, 2, "trusted", Stamp(6));
    assert_eq!(unknown.unwrap_err().status(), Status::Argument);
    requests.answer(request_id, Answer::Done, at(0), Stamp(9)).unwrap();
    let judged = Some(Answer::Levels(vec![(juliet.jid, [2; 32], "trusted".into(), Stamp(5))]));
    assert_eq!((poll(&mut one), poll(&mut same)), (judged.clone(), judged));
}

#[test]
fn each_decision_has_its_own_stamp_and_the_later_of_two_holds() {
    let requests = online(32);
    let devices: Vec<Device> = (1..=3).map(|key| key_of("juliet@capulet.lit", key)).collect();
    let mut pending = requests.ask(judge(&devices), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    for (index, level, stamp) in [(0, "a", 7), (0, "late", 3), (2, "b", 4), (2, "c", 8)] {
        requests.decide(request_id, index, level, Stamp(stamp)).unwrap();
    }
    requests.answer(request_id, Answer::Done, at(0), Stamp(9)).unwrap();
    let juliet = jid("juliet@capulet.lit");
    let levels = vec![
        (juliet.clone(), [1; 32], "a".to_owned(), Stamp(7)),
        (juliet, [3; 32], "c".to_owned(), Stamp(8)),
    ];
    let response = poll_response(&mut pending).unwrap();
    assert_eq!((response.answer, response.stamp), (Answer::Levels(levels), Stamp(9)));
    let fetch = requests.ask(bundle_of(1), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    let wrong = requests.decide(request_id, 0, "a", Stamp(1));
    assert_eq!(wrong.unwrap_err().status(), Status::WrongAnswer);
    drop(fetch);
}

#[test]
fn a_response_says_when_and_in_which_stream_it_was_given() {
    let requests = online(32);
    assert_eq!(requests.stream(), 1);
    requests.connected();
    assert_eq!(requests.stream(), 1, "it was up already");
    let mut pending = requests.ask(bundle_of(1), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    let now = Now { wall_ms: 3, steady_ms: 4, aged_ms: 5 };
    requests.answer(request_id, Answer::Rejected(Reason::NotFound), now, Stamp(6)).unwrap();
    requests.disconnected();
    requests.connected();
    let response = poll_response(&mut pending).unwrap();
    let expected =
        Response { answer: Answer::Rejected(Reason::NotFound), stamp: Stamp(6), stream: 1, at: now };
    assert_eq!((response, requests.stream()), (expected, 2));
}

#[test]
fn a_limited_number_of_fetches_is_open() {
    let requests = online(2);
    let _asks: Vec<_> = (1..=5).map(|device| requests.ask(bundle_of(device), FETCH)).collect();
    let _trust = requests.ask(judge(&[key_of("juliet@capulet.lit", 1)]), FETCH);
    let mut open = Vec::new();
    while let Some((request_id, request)) = requests.next_request(at(0)) {
        if is_fetch(&request) {
            open.push(request_id);
        }
    }
    assert_eq!((open.len(), requests.is_ready(at(0))), (2, false), "the question about trust is no fetch");
    for answered in 1..=3 {
        answer(&requests, open.remove(0), Answer::Rejected(Reason::NotFound), 0).unwrap();
        assert!(requests.is_ready(at(0)));
        let (request_id, _) = requests.next_request(at(0)).unwrap();
        open.push(request_id);
        assert!(requests.next_request(at(0)).is_none(), "after {answered} answers");
    }
}

#[test]
fn the_background_has_half_of_the_slots_and_the_foreground_goes_first() {
    let requests = online(5);
    let _background: Vec<_> =
        (1..=9).map(|device| requests.ask(bundle_of(device), Class::Background)).collect();
    assert_eq!(asked(&requests), [1, 2], "half of five, although nobody else wants the rest");
    let _foreground: Vec<_> = (11..=15).map(|device| requests.ask(bundle_of(device), FETCH)).collect();
    let _publication = requests.ask(publication(), Class::Background);
    assert_eq!(asked(&requests), [11, 12, 13, 0]);
    assert!(!requests.is_ready(at(0)));
    // A place that a fetch of the background leaves goes to the foreground while that waits.
    let first = requests.table.lock().requests.keys().copied().min().unwrap();
    answer(&requests, first, Answer::Rejected(Reason::NotFound), 0).unwrap();
    assert_eq!(asked(&requests), [14]);
}

#[test]
fn the_only_slot_is_the_foregrounds_while_that_wants_it() {
    let requests = online(1);
    let background = requests.ask(bundle_of(1), Class::Background);
    let foreground = requests.ask(bundle_of(2), FETCH);
    assert_eq!(asked(&requests), [2]);
    drop(foreground);
    assert_eq!(asked(&requests), [1], "nobody else wants it");
    let _foreground = requests.ask(bundle_of(3), FETCH);
    assert!(asked(&requests).is_empty(), "it waits for those that are open already");
    drop(background);
    assert_eq!(asked(&requests), [3]);
}

#[test]
fn who_joins_from_the_foreground_lifts_the_request() {
    let requests = online(2);
    let _background: Vec<_> =
        (1..=4).map(|device| requests.ask(bundle_of(device), Class::Background)).collect();
    assert_eq!(asked(&requests), [1]);
    let _joined = requests.ask(bundle_of(3), FETCH);
    let _other = requests.ask(bundle_of(9), FETCH);
    assert_eq!(asked(&requests), [3], "before the other ones of the background");
    // One that is open counts for the foreground from now on: the background may have its place.
    let requests = online(4);
    let _background: Vec<_> =
        (1..=4).map(|device| requests.ask(bundle_of(device), Class::Background)).collect();
    assert_eq!(asked(&requests), [1, 2]);
    let _joined = requests.ask(bundle_of(1), FETCH);
    let _again = requests.ask(bundle_of(1), Class::Background);
    assert_eq!(asked(&requests), [3], "and nobody who joins from the background takes it back");
}

#[test]
fn only_network_requests_have_a_deadline() {
    let requests = online(32);
    let mut fetch = requests.ask(bundle_of(1), FETCH);
    let mut trust = requests.ask(judge(&[key_of("juliet@capulet.lit", 1)]), FETCH);
    assert!(poll(&mut fetch).is_none() && poll(&mut trust).is_none());
    let (request_id, _) = requests.next_request(at(1_000)).unwrap();
    let (request, _) = requests.next_request(at(1_000)).unwrap();
    assert_eq!(requests.next_deadline(at(1_000)), Some(1_000 + TIMEOUT));
    expire(&requests, 999 + TIMEOUT);
    assert_eq!(poll(&mut fetch), None);
    assert!(requests.is_ready(at(1_000 + TIMEOUT)) && !requests.is_ready(at(999 + TIMEOUT)));
    let stamps = Stamps::default();
    let before = stamps.take();
    requests.expire(at(1_000 + TIMEOUT), &stamps);
    let response = poll_response(&mut fetch).unwrap();
    assert_eq!(response.answer, Answer::Rejected(Reason::Timeout));
    assert_eq!((response.at, response.stream), (at(1_000 + TIMEOUT), 1));
    assert!(before < response.stamp && response.stamp < stamps.take());
    assert_eq!(requests.take_withdrawn(), [request_id]);
    assert_eq!(answer(&requests, request_id, empty_list(), 0).unwrap_err().status(), Status::Stale);
    expire(&requests, u64::MAX);
    assert_eq!(poll(&mut trust), None);
    answer(&requests, request, Answer::Done, 0).unwrap();
    assert!(matches!(poll(&mut trust), Some(Answer::Levels(levels)) if levels.is_empty()));
    assert_empty(&requests);
}

#[test]
fn deadlines_end_in_the_order_of_their_times() {
    let requests = online(32);
    let mut asks: Vec<_> = (1..=3).map(|device| requests.ask(bundle_of(device), FETCH)).collect();
    for now in [30, 10, 20] {
        requests.next_request(at(now)).unwrap();
    }
    let ended = |asks: &mut Vec<PendingRequest>| {
        asks.iter_mut().map(|ask| !ask.done && poll(ask).is_some()).collect::<Vec<_>>()
    };
    for (now, expected) in
        [(10, [false, true, false]), (20, [false, false, true]), (30, [true, false, false])]
    {
        assert_eq!(requests.next_deadline(at(0)), Some(now + TIMEOUT));
        expire(&requests, now + TIMEOUT);
        assert_eq!(ended(&mut asks), expected);
    }
    assert_eq!(requests.next_deadline(at(0)), None);
}

#[test]
fn what_the_stream_interrupts_is_asked_again_under_a_new_number() {
    let requests = online(32);
    let mut ask = requests.ask(bundle_of(1), FETCH);
    let trust = requests.ask(judge(&[key_of("juliet@capulet.lit", 1)]), FETCH);
    let (first, _) = requests.next_request(at(0)).unwrap();
    requests.next_request(at(0)).unwrap();
    requests.disconnected();
    assert_eq!(requests.take_withdrawn(), [first], "a person goes on thinking without a stream");
    let late = answer(&requests, first, Answer::Rejected(Reason::NotFound), 0);
    assert_eq!(late.unwrap_err().status(), Status::Stale);
    assert!(requests.next_request(at(0)).is_none() && !requests.is_ready(at(0)));
    assert!(requests.next_deadline(at(0)).is_none());
    requests.connected();
    let (second, _) = requests.next_request(at(0)).unwrap();
    assert!(second > first);
    // The client knows of the broken stream before the library does.
    answer(&requests, second, Answer::Rejected(Reason::Offline), 10).unwrap();
    assert_eq!((poll(&mut ask), requests.next_deadline(at(10))), (None, Some(TIMEOUT)));
    assert!(requests.next_request(at(10)).is_none());
    let (third, _) = requests.next_request(at(TIMEOUT)).unwrap();
    answer(&requests, third, Answer::Rejected(Reason::Offline), TIMEOUT).unwrap();
    requests.connected();
    let (fourth, _) = requests.next_request(at(TIMEOUT)).unwrap();
    answer(&requests, fourth, Answer::Rejected(Reason::NotFound), TIMEOUT).unwrap();
    assert_eq!(poll(&mut ask), Some(Answer::Rejected(Reason::NotFound)));
    assert!(requests.take_withdrawn().is_empty());
    drop(trust);
}

#[test]
fn a_deferred_fetch_waits_for_a_slot_without_a_time_of_its_own() {
    let requests = online(1);
    let _first = requests.ask(bundle_of(1), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    answer(&requests, request_id, Answer::Rejected(Reason::Offline), 5).unwrap();
    let _second = requests.ask(bundle_of(2), FETCH);
    requests.next_request(at(10)).unwrap();
    assert_eq!(requests.next_deadline(at(10)), Some(10 + TIMEOUT), "that of the second, which has the place");
    assert!(!requests.is_ready(at(TIMEOUT)));
    expire(&requests, 10 + TIMEOUT);
    assert!(requests.next_request(at(10 + TIMEOUT)).is_some_and(|(_, request)| request == bundle_of(1)));
}

#[test]
fn what_nobody_waits_for_is_withdrawn_or_never_asked() {
    let requests = online(1);
    let [first, queued, third] = [1, 2, 3].map(|device| requests.ask(bundle_of(device), FETCH));
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    drop(queued);
    assert!(requests.take_withdrawn().is_empty(), "the client has not heard of it");
    drop(first);
    assert!(!requests.is_idle() && requests.take_withdrawn() == [request_id]);
    // Its place is free for the next one.
    let (number, request) = requests.next_request(at(0)).unwrap();
    assert_eq!(request, bundle_of(3));
    // An answer that nobody fetches any more is not kept when it was taken over.
    answer(&requests, number, Answer::Rejected(Reason::NotFound), 0).unwrap();
    drop(third);
    take_over(&requests);
    assert_empty(&requests);
}

#[test]
fn an_answer_that_does_not_fit_leaves_the_request_open() {
    let requests = online(32);
    let mut ask = requests.ask(list_of("juliet@capulet.lit"), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    let legacy = DeviceList::new(Namespace::Legacy);
    for wrong in [Answer::Done, Answer::DeviceList(legacy), Answer::Levels(Vec::new())] {
        assert_eq!(answer(&requests, request_id, wrong, 0).unwrap_err().status(), Status::WrongAnswer);
    }
    assert_eq!(requests.request(request_id).unwrap(), list_of("juliet@capulet.lit"));
    answer(&requests, request_id, empty_list(), 0).unwrap();
    assert_eq!(poll(&mut ask), Some(empty_list()));
}

#[test]
fn a_push_answers_a_fetch_that_is_queued_or_open() {
    let requests = online(1);
    let key = |name: &str| RequestKey::List(Namespace::Omemo2, jid(name));
    let (juliet, romeo) = ("juliet@capulet.lit", "romeo@montague.lit");
    let mut open = requests.ask(list_of(juliet), FETCH);
    let mut queued = [requests.ask(list_of(romeo), FETCH), requests.ask(list_of(romeo), Class::Background)];
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    assert!(requests.pending_for(&key(juliet)) && requests.pending_for(&key(romeo)));
    assert!(!requests.supersede(&key("nurse@capulet.lit"), empty_list(), (), Stamp(1), at(1)));
    let legacy = Answer::DeviceList(DeviceList::new(Namespace::Legacy));
    assert!(!requests.supersede(&key(juliet), legacy, (), Stamp(1), at(1)), "no answer to this question");
    assert!(requests.supersede(&key(romeo), empty_list(), (), Stamp(2), at(2)));
    assert!(requests.take_withdrawn().is_empty(), "the client has not heard of it");
    assert!(requests.supersede(&key(juliet), empty_list(), (), Stamp(3), at(3)));
    assert_eq!(requests.take_withdrawn(), [request_id]);
    assert_eq!(answer(&requests, request_id, empty_list(), 4).unwrap_err().status(), Status::Stale);
    let response = poll_response(&mut open).unwrap();
    assert_eq!((response.answer, response.stamp, response.at), (empty_list(), Stamp(3), at(3)));
    assert!(queued.iter_mut().all(|ask| poll_response(ask).unwrap().stamp == Stamp(2)));
    assert!(!requests.pending_for(&key(juliet)));
    assert_empty(&requests);
    // Requests to a person are not fetches.
    let devices = [key_of(juliet, 1)];
    let _trust = requests.ask(judge(&devices), FETCH);
    let key = RequestKey::of(&judge(&devices));
    assert!(!requests.supersede(&key, Answer::Done, (), Stamp(4), at(4)) && requests.pending_for(&key));
}

#[test]
fn the_end_withdraws_all_and_makes_every_answer_stale() {
    let requests = online(32);
    let mut ask = requests.ask(bundle_of(1), FETCH);
    let (request_id, _) = requests.next_request(at(0)).unwrap();
    let _queued = requests.ask(bundle_of(2), FETCH);
    requests.close();
    requests.connected();
    assert_eq!(requests.take_withdrawn(), [request_id]);
    assert!(requests.next_request(at(0)).is_none() && !requests.is_online());
    assert_eq!(answer(&requests, request_id, Answer::Done, 0).unwrap_err().status(), Status::Stale);
    assert_eq!(poll(&mut ask), None);
}

/// Asks, asks the client, defers, asks again, and answers `count` fetches, as a client with a loop does. Returns how
/// often an entry was looked at.
fn visits_for(count: u32) -> usize {
    let requests = online(8);
    let name = |n: u32| -> BareJid { jid(&format!("{n}@capulet.lit")) };
    let ask = |n: u32| {
        let class = if n.is_multiple_of(3) { Class::Background } else { Class::Foreground };
        requests.ask(Request::FetchDeviceList { namespace: Namespace::Omemo2, jid: name(n) }, class)
    };
    let mut pending: Vec<_> = (0..count).map(ask).collect();
    pending.iter_mut().for_each(|pending| assert!(poll(pending).is_none()));
    let mut answered = 0;
    for round in 0..u64::from(count) * 3 {
        let now = at(round);
        requests.expire(now, &Stamps::default());
        requests.take_withdrawn();
        while let Some((request_id, _)) = requests.next_request(now) {
            // Every third one is rejected as offline once, others are answered.
            let reason =
                if round < 100 && request_id.is_multiple_of(3) { Reason::Offline } else { Reason::NotFound };
            answered += usize::from(reason == Reason::NotFound);
            requests.answer(request_id, Answer::Rejected(reason), now, Stamp(round)).unwrap();
        }
        let _ = (requests.is_ready(now), requests.next_deadline(now));
    }
    expire(&requests, u64::MAX);
    requests.connected();
    while let Some((request_id, _)) = requests.next_request(at(0)) {
        answered += 1;
        answer(&requests, request_id, Answer::Rejected(Reason::NotFound), 0).unwrap();
    }
    assert_eq!(answered, count as usize);
    assert!(pending.iter_mut().all(|pending| poll(pending).is_some()));
    assert_empty(&requests);
    requests.table.lock().entries.visits
}

#[test]
fn ten_thousand_requests_cost_ten_times_what_a_thousand_cost() {
    let (few, many) = (visits_for(1_000), visits_for(10_000));
    assert!(few <= 1_000 * 20, "{few} looks at entries for 1,000 questions");
    assert!(many <= few * 11, "{many} looks for 10,000, {few} for 1,000");
}

#[test]
fn ten_thousand_who_wait_are_woken_only_by_their_own_answers() {
    use crate::runtime::Runtime;
    let (requests, runtime) = (online(100_000), Runtime::default());
    let tasks: Vec<_> = (1..=10_000)
        .map(|device| {
            let pending = requests.ask(bundle_of(device), FETCH);
            runtime.spawn(async move {
                pending.await;
            })
        })
        .collect();
    let steps = || {
        take_over(&requests);
        std::iter::from_fn(|| runtime.step().then_some(())).count()
    };
    assert_eq!(steps(), 10_000);
    let open: Vec<_> = std::iter::from_fn(|| requests.next_request(at(0))).collect();
    let half = open.iter().step_by(2);
    for (request_id, _) in half {
        answer(&requests, *request_id, Answer::Rejected(Reason::NotFound), 0).unwrap();
        assert_eq!(steps(), 1);
    }
    requests.disconnected();
    assert_eq!((steps(), requests.take_withdrawn().len()), (0, 5_000));
    requests.connected();
    assert_eq!(std::iter::from_fn(|| requests.next_request(at(0))).count(), 5_000);
    expire(&requests, TIMEOUT);
    assert_eq!((steps(), requests.take_withdrawn().len()), (5_000, 5_000));
    drop(tasks);
    assert_empty(&requests);
}
