//! Encryption: policies, trust, order, and what cannot be fetched.

use super::heap;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::address::BareJid;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::runtime::next_number;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    f4_messages_to_devices_that_are_distrusted_or_undecided,
    a_shared_request_about_trust_judges_keys_and_not_positions,
    f16_a_question_about_trust_that_decides_nothing_sends_nothing,
    f19_pre_keys_of_the_smallest_and_the_largest_id_are_used,
    r51_a_device_that_came_during_a_prompt_is_judged_before_anything_is_sent,
    a_hundred_new_devices_take_five_round_trips,
    encrypts_for_the_same_recipients_complete_in_order_and_now_overtakes,
    cancelling_the_first_lets_the_second_go_on,
    a_request_that_nobody_needs_is_withdrawn,
    policies_without_a_stream,
    the_end_of_the_stream_ends_connected_and_not_encrypts,
    a_list_that_cannot_be_fetched_leaves_the_stored_one,
    a_bundle_that_does_not_come_in_time_is_a_row,
    a_request_rejected_as_offline_is_asked_again_under_a_new_number,
    f15_devices_that_left_get_nothing_and_are_not_forgotten,
    a_list_of_too_many_devices_grows_nothing_without_bound,
    what_a_message_allocates_for_a_device_does_not_grow_with_their_number,
    an_outdated_list_is_noticed_before_anybody_is_served,
}

fn f4_messages_to_devices_that_are_distrusted_or_undecided(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
    let devices: Vec<_> = (1..=3).map(|id| RawDevice::of(ns, JULIET, id)).collect();
    devices.iter().for_each(|device| device.publish(&mut server));
    let juliet = &devices[0].jid;
    romeo.refresh(juliet, &mut server);
    romeo.manager().set_trust(juliet, &devices[0].key(), "trusted").unwrap();
    romeo.manager().set_trust(juliet, &devices[1].key(), "distrusted").unwrap();
    let outcome = romeo.encrypt(&[juliet], "x", EncryptPolicy::Now, &mut server);
    let rows = |outcome: &Outcome| [1, 2, 3].map(|id| row(outcome, juliet, id).unwrap_or(Status::Ok));
    assert_eq!(rows(&outcome)[1..], [Status::Distrusted, Status::Undecided]);
    assert_eq!(romeo.count_asked(|request| matches!(request, Request::DecideTrust { .. })), 0);
    // Two drafts that miss the same keys share one request.
    let operations =
        [EncryptPolicy::Wait, EncryptPolicy::Wait].map(|policy| romeo.begin_encrypt(&[juliet], "x", policy));
    let open = romeo.run_with(|request| match request {
        Request::DecideTrust { .. } => None,
        _ => Some(server.answer(&romeo, request)),
    });
    assert_eq!(open.len(), 1);
    let (request_id, Request::DecideTrust { devices: asked, .. }) = &open[0] else {
        panic!("another question")
    };
    assert_eq!(asked.iter().map(|device| device.id).collect::<Vec<_>>(), [3]);
    assert_eq!(
        romeo.manager().decide(*request_id, 0, "mystery").unwrap_err().status(),
        Status::UnknownTrustLevel
    );
    romeo.manager().decide(*request_id, 0, "trusted").unwrap();
    romeo.manager().answer(*request_id, Answer::Done).unwrap();
    romeo.run(&mut server);
    for operation in operations {
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::Ok);
        assert_eq!(outcome.messages[0].keys.iter().map(|key| key.device).collect::<Vec<_>>(), [1, 3]);
    }
}

fn a_shared_request_about_trust_judges_keys_and_not_positions(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
    let (first, second) = (RawDevice::of(ns, JULIET, 1), RawDevice::of(ns, JULIET, 2));
    first.publish(&mut server);
    second.publish(&mut server);
    let juliet = &first.jid;
    let mut open = Vec::new();
    for step in 0..2 {
        if step == 1 {
            // The same two keys, now in another order.
            let list = server.lists.get_mut(&(ns, juliet.clone())).unwrap();
            list.devices[0].id = 3;
            server.bundles.insert((ns, juliet.clone(), 3), first.bundle());
            romeo.push(juliet, &server);
        }
        romeo.begin_encrypt(&[juliet], "x", EncryptPolicy::Wait);
        open.extend(romeo.run_with(|request| match request {
            Request::DecideTrust { .. } => None,
            _ => Some(server.answer(&romeo, request)),
        }));
    }
    assert_eq!(open.len(), 1, "both share one question");
    let (request_id, Request::DecideTrust { devices, .. }) = &open[0] else { panic!("another question") };
    for (index, device) in devices.iter().enumerate() {
        let level = if device.identity_key == Some(first.key()) { "trusted" } else { "distrusted" };
        romeo.manager().decide(*request_id, index, level).unwrap();
    }
    romeo.manager().answer(*request_id, Answer::Done).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.device(juliet, 3).unwrap().core_trust, CoreTrust::Trusted);
    assert_eq!(romeo.device(juliet, 2).unwrap().core_trust, CoreTrust::Distrusted);
}

fn f16_a_question_about_trust_that_decides_nothing_sends_nothing(ns: Namespace) {
    let cases = [
        (EncryptPolicy::Wait, Answer::Done, Status::NoEligibleDevices),
        (EncryptPolicy::All, Answer::Done, Status::StillUndecided),
        (EncryptPolicy::Wait, Answer::Rejected(Reason::Declined), Status::TrustDecisionFailed),
        (EncryptPolicy::All, Answer::Rejected(Reason::Declined), Status::TrustDecisionFailed),
    ];
    for (policy, answer, expected) in cases {
        let mut server = Server::of(ns);
        let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
        let juliet = RawDevice::of(ns, JULIET, 1);
        juliet.publish(&mut server);
        let operation = romeo.begin_encrypt(&[&juliet.jid], "x", policy);
        romeo.run_with(|request| match request {
            Request::DecideTrust { .. } => Some(answer.clone()),
            _ => Some(server.answer(&romeo, request)),
        });
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), expected, "{policy:?}");
        assert!(outcome.messages.is_empty());
        if answer == Answer::Done {
            assert_eq!(row(&outcome, &juliet.jid, 1), Some(Status::Undecided), "{policy:?}");
        }
    }
}

#[test]
fn a_plaintext_that_is_missing_is_told_before_anything_happens() {
    let mut server = Server::of(Omemo2);
    let config = Config { namespaces: vec![Omemo2, Legacy], ..config(Omemo2, ROMEO, "trusted") };
    let romeo = RustDevice::with(config, &mut server);
    RawDevice::of(Legacy, JULIET, 1).publish(&mut server);
    let juliet = jid(JULIET);
    let before = romeo.storage.all();
    let operation = next_number();
    let started = romeo.manager().encrypt(operation, draft(Omemo2, &[&juliet], "x", EncryptPolicy::Wait));
    let status = match started {
        Err(error) => error.status(),
        Ok(()) => {
            romeo.run(&mut server);
            romeo.take(operation).status()
        }
    };
    assert_eq!(status, Status::Plaintext);
    let sessions =
        |all: &BTreeMap<String, Vec<u8>>| all.keys().filter(|key| key.contains("/session/")).count();
    assert_eq!(sessions(&romeo.storage.all()), sessions(&before));
}

fn a_hundred_new_devices_take_five_round_trips(ns: Namespace) {
    for split in [1, 100] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let name = |n: u32| format!("friend{}@capulet.lit", n % split);
        (0..100).for_each(|n| RawDevice::of(ns, &name(n), n + 1).publish(&mut server));
        let recipients: Vec<_> = (0..split).map(|n| jid(&name(n))).collect();
        let recipients: Vec<_> = recipients.iter().collect();
        let start = romeo.services.clock.steady_ms();
        let operation = romeo.begin_encrypt(&recipients, "x", EncryptPolicy::Wait);
        let mut open = romeo.step();
        while !romeo.is_done(operation) {
            assert!(open.len() <= 32, "{} fetches at a time", open.len());
            romeo.advance(50);
            for (request_id, request) in open {
                romeo.manager().answer(request_id, server.answer(&romeo, &request)).unwrap();
            }
            open = romeo.step();
        }
        let rounds = (romeo.services.clock.steady_ms() - start) / 50;
        let outcome = romeo.take(operation);
        assert_eq!((outcome.status(), outcome.messages[0].keys.len()), (Status::Ok, 100));
        // One list, then 32 bundles at a time; a hundred lists are fetched 32 at a time, too.
        let most = if split == 1 { 5 } else { 8 };
        assert!(rounds <= most, "{rounds} round trips for {split} JIDs");
    }
}

fn encrypts_for_the_same_recipients_complete_in_order_and_now_overtakes(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let new = RawDevice::of(ns, JULIET, 77);
    new.publish(&mut server);
    romeo.push(&juliet.jid, &server);
    let first = romeo.begin_encrypt(&[&juliet.jid], "1", EncryptPolicy::Wait);
    let second = romeo.begin_encrypt(&[&juliet.jid], "2", EncryptPolicy::All);
    let now = romeo.begin_encrypt(&[&juliet.jid], "3", EncryptPolicy::Now);
    let held = romeo
        .run_with(|request| if is_bundle(request) { None } else { Some(server.answer(&romeo, request)) });
    assert_eq!(held.len(), 1);
    assert!(romeo.is_done(now) && !romeo.is_done(first) && !romeo.is_done(second));
    // Another chat waits for nobody here.
    let tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    tybalt.publish(&mut server);
    let other = romeo.begin_encrypt(&[&tybalt.jid], "4", EncryptPolicy::Wait);
    romeo.run(&mut server);
    assert!(romeo.is_done(other) && !romeo.is_done(first));
    romeo.manager().answer(held[0].0, Answer::Bundle(new.bundle())).unwrap();
    romeo.run(&mut server);
    assert!(romeo.is_done(first) && romeo.is_done(second));
    let order = romeo.order.borrow();
    let place = |operation: u64| order.iter().position(|done| *done == operation).unwrap();
    assert!(place(now) < place(first) && place(first) < place(second));
    drop(order);
    for (operation, content) in [(now, "3"), (first, "1"), (second, "2")] {
        let message = romeo.take(operation).messages.remove(0);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), content);
    }
}

fn cancelling_the_first_lets_the_second_go_on(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let first = romeo.begin_encrypt(&[&juliet.jid], "1", EncryptPolicy::Wait);
    let second = romeo.begin_encrypt(&[&juliet.jid], "2", EncryptPolicy::Wait);
    let held = romeo.run_with(|_| None);
    assert_eq!(held.len(), 1, "the list is asked for once");
    romeo.manager().cancel(first).unwrap();
    assert_eq!(romeo.manager().cancel(first).unwrap_err().status(), Status::Stale);
    romeo.step();
    assert_eq!(romeo.take(first).status(), Status::Cancelled);
    assert!(romeo.withdrawn.borrow().is_empty(), "the second still needs the answer");
    romeo.manager().answer(held[0].0, server.answer(&romeo, &held[0].1)).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.take(second).status(), Status::Ok);
}

fn a_request_that_nobody_needs_is_withdrawn(ns: Namespace) {
    let (_, romeo, juliet) = two(ns);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "1", EncryptPolicy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().cancel(operation).unwrap();
    romeo.step();
    assert_eq!(*romeo.withdrawn.borrow(), [held[0].0]);
    let late = romeo.manager().answer(held[0].0, Answer::Rejected(Reason::NotFound));
    assert_eq!(late.unwrap_err().status(), Status::Stale);
}

fn policies_without_a_stream(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    let stranger = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    stranger.publish(&mut server);
    // What has to be fetched waits for the stream, or is reported.
    let wait = romeo.begin_encrypt(&[&stranger.jid], "1", EncryptPolicy::Wait);
    let all = romeo.begin_encrypt(&[&stranger.jid], "2", EncryptPolicy::All);
    let now = romeo.begin_encrypt(&[&stranger.jid], "3", EncryptPolicy::Now);
    assert!(romeo.step().is_empty(), "something is asked without a stream");
    assert!(!romeo.is_done(wait) && !romeo.is_done(all));
    let outcome = romeo.take(now);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert!(outcome.rows.iter().any(|row| row.error.status() == Status::Offline), "{:?}", outcome.rows);
    let known = romeo.begin_encrypt(&[&juliet.jid], "4", EncryptPolicy::Now);
    romeo.step();
    let message = romeo.take(known).messages.remove(0);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "4");
    let refresh = romeo.manager().refresh_devices(next_number(), Some(stranger.jid.clone()), None);
    assert_eq!(refresh.unwrap_err().status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(wait).status(), Status::Ok);
    assert_eq!(romeo.take(all).status(), Status::Ok);
}

fn the_end_of_the_stream_ends_connected_and_not_encrypts(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let refresh = next_number();
    romeo.manager().refresh_devices(refresh, Some(juliet.jid.clone()), None).unwrap();
    let encrypt = romeo.begin_encrypt(&[&juliet.jid], "1", EncryptPolicy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(refresh).status(), Status::Offline);
    assert!(!romeo.is_done(encrypt));
    assert_eq!(romeo.withdrawn.borrow().len(), held.len());
    let connect = romeo.begin_connect();
    romeo.run_with(|_| None);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(connect).status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(encrypt).status(), Status::Ok);
}

fn a_list_that_cannot_be_fetched_leaves_the_stored_one(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.manager().disconnected().unwrap();
    romeo.connect(&mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait);
    romeo.run_with(|request| match request {
        Request::FetchDeviceList { .. } => Some(Answer::Rejected(Reason::Failed)),
        _ => Some(server.answer(&romeo, request)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::DeviceListDownloadFailed));
    assert_eq!(text(&juliet.read(&romeo.jid, &outcome.messages[0])), "x");
}

fn a_bundle_that_does_not_come_in_time_is_a_row(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let new = RawDevice::of(ns, JULIET, 77);
    new.publish(&mut server);
    romeo.push(&juliet.jid, &server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait);
    let held = romeo
        .run_with(|request| if is_bundle(request) { None } else { Some(server.answer(&romeo, request)) });
    assert_eq!(held.len(), 1);
    assert!(romeo.manager().timeout().is_some_and(|ms| ms <= 60_000));
    romeo.advance(60_000);
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!((outcome.status(), row(&outcome, &juliet.jid, 77)), (Status::Ok, Some(Status::Timeout)));
    assert_eq!(*romeo.withdrawn.borrow(), [held[0].0]);
}

fn a_request_rejected_as_offline_is_asked_again_under_a_new_number(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().answer(held[0].0, Answer::Rejected(Reason::Offline)).unwrap();
    assert!(romeo.step().is_empty(), "it is asked again at once");
    assert!(!romeo.is_done(operation));
    let stale = romeo.manager().answer(held[0].0, Answer::Rejected(Reason::NotFound));
    assert_eq!(stale.unwrap_err().status(), Status::Stale);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(operation).status(), Status::Ok);
}

fn f15_devices_that_left_get_nothing_and_are_not_forgotten(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let empty = DeviceList::new(ns);
    romeo.manager().update_device_list(&juliet.jid, &empty).unwrap();
    let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::NoDevices));
    let device = romeo.device(&juliet.jid, juliet.id()).unwrap();
    assert_eq!((device.active, device.identity_key), (Vec::new(), Some(juliet.key())));
    romeo.push(&juliet.jid, &server);
    let message = romeo.say(&juliet.jid, "back", &mut server);
    assert!(!message.keys[0].key_exchange, "the session was forgotten");
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "back");
}

fn a_list_of_too_many_devices_grows_nothing_without_bound(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = jid(JULIET);
    let list = |ids: std::ops::Range<u32>| DeviceList::of(ns, ids.map(ListedDevice::new).collect());
    for start in (1..20_000).step_by(200) {
        romeo.manager().update_device_list(&juliet, &list(start..start + 200)).unwrap();
    }
    assert!(romeo.manager().devices(Some(&juliet)).unwrap().len() <= limits::KNOWN_DEVICES_PER_JID);
    let before = romeo.storage.all();
    let most = u32::try_from(limits::DEVICES_PER_JID).unwrap();
    let refused = romeo.manager().update_device_list(&juliet, &list(1..most + 2));
    assert_eq!(refused.unwrap_err().status(), Status::Limit);
    assert!(romeo.storage.all() == before);
}

/// What is copied once for each device (a request about all of them, a list, a table) costs the square of their number.
fn what_a_message_allocates_for_a_device_does_not_grow_with_their_number(ns: Namespace) {
    let mut server = Server::of(ns);
    let devices: Vec<_> = (1..=400)
        .map(|n| RawDevice::of(ns, &format!("device{n}@capulet.lit"), n))
        .inspect(|device| device.publish(&mut server))
        .collect();
    // What the library allocates, and not the world around it.
    let mut message = |romeo: &RustDevice, to: &[&BareJid]| {
        let operation = romeo.begin_encrypt(to, "x", EncryptPolicy::Wait);
        let (mut total, mut answers) = (0, Vec::new());
        while !romeo.is_done(operation) {
            let (asked, bytes) = heap::allocated(|| romeo.step());
            total += bytes;
            for (request_id, request) in asked {
                if let Request::DecideTrust { devices, .. } = &request {
                    for index in 0..devices.len() {
                        let decide = || romeo.manager().decide(request_id, index, "trusted").unwrap();
                        total += heap::allocated(decide).1;
                    }
                }
                answers.push((request_id, server.answer(romeo, &request)));
            }
            for (request_id, answer) in answers.drain(..) {
                total += heap::allocated(|| romeo.manager().answer(request_id, answer).unwrap()).1;
            }
        }
        let outcome = romeo.take(operation);
        assert_eq!(outcome.messages[0].keys.len(), to.len());
        total / to.len()
    };
    let mut costs = |count: usize| {
        let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut Server::of(ns));
        let to: Vec<_> = devices[..count].iter().map(|device| &device.jid).collect();
        (message(&romeo, &to), message(&romeo, &to))
    };
    let ((first, later), (first_of_many, later_of_many)) = (costs(40), costs(400));
    assert!(
        first_of_many <= first + first / 5,
        "{first} bytes a device, {first_of_many} of ten times as many"
    );
    assert!(
        later_of_many <= later + later / 5,
        "{later} bytes a device, {later_of_many} of ten times as many"
    );
}

fn f19_pre_keys_of_the_smallest_and_the_largest_id_are_used(ns: Namespace) {
    for id in [0, 0x7fff_ffff] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let mut juliet = RawDevice::with_pre_keys(ns, JULIET, 7, id, &[id]);
        juliet.publish(&mut server);
        let message = romeo.say(&juliet.jid, "hello", &mut server);
        assert_eq!(juliet.accept(&message).unwrap(), "hello", "{id}");
    }
}

fn r51_a_device_that_came_during_a_prompt_is_judged_before_anything_is_sent(ns: Namespace) {
    let is_prompt = |request: &Request| matches!(request, Request::DecideTrust { .. });
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
    let juliet = RawDevice::of(ns, JULIET, 1);
    juliet.publish(&mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait);
    for device in [1, 2] {
        let open = romeo.run_holding(&mut server, is_prompt);
        let [(request_id, Request::DecideTrust { devices, .. })] = &open[..] else { panic!("{open:?}") };
        assert_eq!(devices.iter().map(|device| device.id).collect::<Vec<_>>(), [device]);
        // Another device appears while the user thinks.
        RawDevice::of(ns, JULIET, 2).publish(&mut server);
        romeo.push(&juliet.jid, &server);
        romeo.manager().decide(*request_id, 0, "trusted").unwrap();
        romeo.manager().answer(*request_id, Answer::Done).unwrap();
    }
    romeo.run(&mut server);
    let keys = &romeo.take(operation).messages[0].keys;
    assert_eq!(keys.iter().map(|key| key.device).collect::<Vec<_>>(), [1, 2]);
}

fn an_outdated_list_is_noticed_before_anybody_is_served(ns: Namespace) {
    const MEMBERS: usize = 8;
    const DEVICES: u32 = 10;
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let members: Vec<_> = (0..MEMBERS).map(|n| jid(&format!("member{n}@verona.lit"))).collect();
    for member in &members {
        (1..=DEVICES).for_each(|device| RawDevice::of(ns, member.as_str(), device).publish(&mut server));
    }
    let to: Vec<_> = members.iter().collect();
    assert_eq!(romeo.encrypt(&to, "x", EncryptPolicy::Wait, &mut server).status(), Status::Ok);
    // Of all lists only that of the account itself, which is served last, is outdated.
    romeo.advance(3_700_000);
    romeo.run(&mut server);
    members.iter().for_each(|member| romeo.push(member, &server));
    romeo.step();
    let before = romeo.services.evaluations.load(SeqCst);
    romeo.begin_encrypt(&to, "x", EncryptPolicy::Wait);
    let asked = romeo.step();
    assert!(
        matches!(&asked[..], [(_, Request::FetchDeviceList { jid, .. })] if *jid == romeo.jid),
        "{asked:?}"
    );
    let evaluations = romeo.services.evaluations.load(SeqCst) - before;
    let devices = MEMBERS * DEVICES as usize;
    assert!(evaluations <= 2 * devices, "{evaluations} evaluations for {devices} devices");
}
