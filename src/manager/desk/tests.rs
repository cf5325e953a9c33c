//! Sharing, limits, deadlines, and what a broken stream makes of questions.

use super::*;
use crate::manager::api::device::{CoreTrust, Device};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;

const TIMEOUT: u64 = 60_000;

fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

fn list_of(name: &str) -> Question {
    Question::FetchDeviceList { namespace: Namespace::Omemo2, jid: jid(name) }
}

fn bundle_of(device: u32) -> Question {
    let device = DeviceId::new(device).unwrap();
    Question::FetchBundle { namespace: Namespace::Omemo2, jid: jid("juliet@capulet.lit"), device }
}

fn empty_list() -> Answer {
    Answer::DeviceList(DeviceList { namespace: Namespace::Omemo2, devices: Vec::new() })
}

fn key_of(name: &str, key: u8) -> Device {
    Device {
        jid: jid(name),
        id: 1,
        identity_key: Some([key; 32]),
        trust_level_name: "undecided".into(),
        core_trust: CoreTrust::Undecided,
        active: Vec::new(),
        conflicting_key: None,
        preferred: None,
        downgraded: false,
    }
}

fn judge(devices: &[Device]) -> Question {
    Question::DecideTrust { devices: devices.to_vec(), context: None }
}

fn poll(ask: &mut Ask) -> Option<Answer> {
    match Pin::new(ask).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn online(limit: usize) -> Arc<Desk> {
    let desk = Desk::new(TIMEOUT, limit);
    desk.connected();
    desk
}

#[test]
fn the_same_question_is_asked_once_and_answers_all() {
    let desk = online(32);
    let mut asks: Vec<Ask> = (0..3).map(|_| desk.ask(list_of("juliet@capulet.lit"))).collect();
    let mut other = desk.ask(list_of("romeo@montague.lit"));
    let (request, _) = desk.next_ask(0).unwrap();
    assert!(desk.next_ask(0).is_some() && desk.next_ask(0).is_none(), "two questions, not four");
    assert!(asks.iter_mut().all(|ask| poll(ask).is_none()));
    // Who comes while it is open joins, too; who leaves takes nothing away from the others.
    asks.push(desk.ask(list_of("juliet@capulet.lit")));
    asks.remove(0);
    assert!(desk.next_ask(0).is_none() && desk.take_withdrawn().is_empty());
    desk.answer(request, empty_list(), 0).unwrap();
    assert!(asks.iter_mut().all(|ask| poll(ask) == Some(empty_list())));
    assert_eq!(poll(&mut other), None);
    assert_eq!(desk.answer(request, empty_list(), 0).unwrap_err().status(), Status::Stale);
    // What was answered is asked anew by whoever comes later.
    let _again = desk.ask(list_of("juliet@capulet.lit"));
    assert!(desk.next_ask(0).is_some_and(|(number, _)| number > request));
}

#[test]
fn questions_about_the_same_keys_are_one_in_any_order() {
    let desk = online(32);
    let (romeo, juliet) = (key_of("romeo@montague.lit", 1), key_of("juliet@capulet.lit", 2));
    let mut one = desk.ask(judge(&[romeo.clone(), juliet.clone()]));
    let mut same = desk.ask(judge(&[juliet.clone(), romeo.clone()]));
    let (request, _) = desk.next_ask(0).unwrap();
    assert!(desk.next_ask(0).is_none());
    let _fewer = desk.ask(judge(std::slice::from_ref(&juliet)));
    assert!(desk.next_ask(0).is_some());
    // A level goes to its key, whichever place the key has in one's own question.
    desk.decide(request, 1, "trusted").unwrap();
    assert_eq!(desk.decide(request, 2, "trusted").unwrap_err().status(), Status::Argument);
    desk.answer(request, Answer::Done, 0).unwrap();
    let judged = Some(Answer::Levels(vec![(juliet.jid, [2; 32], "trusted".into())]));
    assert_eq!((poll(&mut one), poll(&mut same)), (judged.clone(), judged));
}

#[test]
fn a_limited_number_of_fetches_is_open() {
    let desk = online(2);
    let _asks: Vec<Ask> = (1..=5).map(|device| desk.ask(bundle_of(device))).collect();
    let _trust = desk.ask(judge(&[key_of("juliet@capulet.lit", 1)]));
    let mut open = Vec::new();
    let mut fetches = 0;
    while let Some((request, question)) = desk.next_ask(0) {
        fetches += usize::from(is_fetch(&question));
        if is_fetch(&question) {
            open.push(request);
        }
    }
    assert_eq!((fetches, desk.is_ready(0)), (2, false), "the question about trust is no fetch");
    for answered in 1..=3 {
        desk.answer(open.remove(0), Answer::Rejected(Reason::NotFound), 0).unwrap();
        assert!(desk.is_ready(0));
        let (request, _) = desk.next_ask(0).unwrap();
        open.push(request);
        assert!(desk.next_ask(0).is_none(), "after {answered} answers");
    }
}

#[test]
fn only_network_questions_have_a_deadline() {
    let desk = online(32);
    let mut fetch = desk.ask(bundle_of(1));
    let mut trust = desk.ask(judge(&[key_of("juliet@capulet.lit", 1)]));
    assert!(poll(&mut fetch).is_none() && poll(&mut trust).is_none());
    let (request, _) = desk.next_ask(1_000).unwrap();
    let (question, _) = desk.next_ask(1_000).unwrap();
    assert_eq!(desk.next_deadline(1_000), Some(1_000 + TIMEOUT));
    desk.expire(999 + TIMEOUT);
    assert_eq!(poll(&mut fetch), None);
    assert!(desk.is_ready(1_000 + TIMEOUT) && !desk.is_ready(999 + TIMEOUT));
    desk.expire(1_000 + TIMEOUT);
    assert_eq!(poll(&mut fetch), Some(Answer::Rejected(Reason::Timeout)));
    assert_eq!(desk.take_withdrawn(), [request]);
    assert_eq!(desk.answer(request, empty_list(), 0).unwrap_err().status(), Status::Stale);
    desk.expire(u64::MAX);
    assert_eq!(poll(&mut trust), None);
    desk.answer(question, Answer::Done, 0).unwrap();
    assert!(matches!(poll(&mut trust), Some(Answer::Levels(levels)) if levels.is_empty()));
}

#[test]
fn what_the_stream_interrupts_is_asked_again_under_a_new_number() {
    let desk = online(32);
    let mut ask = desk.ask(bundle_of(1));
    let trust = desk.ask(judge(&[key_of("juliet@capulet.lit", 1)]));
    let (first, _) = desk.next_ask(0).unwrap();
    desk.next_ask(0).unwrap();
    desk.disconnected();
    assert_eq!(desk.take_withdrawn(), [first], "a person goes on thinking without a stream");
    assert_eq!(
        desk.answer(first, Answer::Rejected(Reason::NotFound), 0).unwrap_err().status(),
        Status::Stale
    );
    assert!(desk.next_ask(0).is_none() && !desk.is_ready(0) && desk.next_deadline(0).is_none());
    desk.connected();
    let (second, _) = desk.next_ask(0).unwrap();
    assert!(second > first);
    // The client knows of the broken stream before we do.
    desk.answer(second, Answer::Rejected(Reason::Offline), 10).unwrap();
    assert_eq!((poll(&mut ask), desk.next_deadline(10)), (None, Some(TIMEOUT)));
    assert!(desk.next_ask(10).is_none());
    let (third, _) = desk.next_ask(TIMEOUT).unwrap();
    desk.answer(third, Answer::Rejected(Reason::Offline), TIMEOUT).unwrap();
    desk.connected();
    let (fourth, _) = desk.next_ask(TIMEOUT).unwrap();
    desk.answer(fourth, Answer::Rejected(Reason::NotFound), TIMEOUT).unwrap();
    assert_eq!(poll(&mut ask), Some(Answer::Rejected(Reason::NotFound)));
    assert!(desk.take_withdrawn().is_empty());
    drop(trust);
}

#[test]
fn what_nobody_waits_for_is_withdrawn_or_never_asked() {
    let desk = online(1);
    let asked = desk.ask(bundle_of(1));
    let queued = desk.ask(bundle_of(2));
    let third = desk.ask(bundle_of(3));
    let (request, _) = desk.next_ask(0).unwrap();
    drop(queued);
    assert!(desk.take_withdrawn().is_empty(), "nobody has heard of it");
    drop(asked);
    assert_eq!(desk.take_withdrawn(), [request]);
    // Its place is free for the next.
    assert!(matches!(desk.next_ask(0), Some((_, question)) if question == bundle_of(3)));
    // An answer that nobody fetches any more is not kept.
    let (number, _) =
        desk.table.lock().requests.iter().map(|(request, key)| (*request, *key)).next().unwrap();
    desk.answer(number, Answer::Rejected(Reason::NotFound), 0).unwrap();
    drop(third);
    let table = desk.table.lock();
    assert!(table.answered.is_empty() && table.entries.is_empty() && table.topics.is_empty());
    assert!(table.requests.is_empty() && table.open_fetches == 0);
}

#[test]
fn an_answer_that_does_not_fit_leaves_the_question_open() {
    let desk = online(32);
    let mut ask = desk.ask(list_of("juliet@capulet.lit"));
    let (request, _) = desk.next_ask(0).unwrap();
    let legacy = DeviceList { namespace: Namespace::Legacy, devices: Vec::new() };
    for wrong in [Answer::Done, Answer::DeviceList(legacy), Answer::Levels(Vec::new())] {
        assert_eq!(desk.answer(request, wrong, 0).unwrap_err().status(), Status::WrongAnswer);
    }
    desk.answer(request, empty_list(), 0).unwrap();
    assert_eq!(poll(&mut ask), Some(empty_list()));
}

#[test]
fn the_end_withdraws_all_and_makes_every_answer_stale() {
    let desk = online(32);
    let mut ask = desk.ask(bundle_of(1));
    let (request, _) = desk.next_ask(0).unwrap();
    let _queued = desk.ask(bundle_of(2));
    desk.close();
    assert_eq!(desk.take_withdrawn(), [request]);
    assert!(desk.next_ask(0).is_none());
    assert_eq!(desk.answer(request, Answer::Done, 0).unwrap_err().status(), Status::Stale);
    assert_eq!(poll(&mut ask), None);
}
