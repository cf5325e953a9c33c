//! Facts have one order: what the client gave last holds, whatever `run` applies when.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::address::BareJid;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    an_older_answer_does_not_undo_a_newer_push,
    an_answer_to_a_request_of_before_the_push_does_not_undo_it,
    an_older_answer_does_not_undo_a_newer_push_of_the_own_list,
    a_push_behind_the_answer_of_a_refresh_holds,
    a_newer_answer_holds_over_an_older_push,
    the_last_of_several_pushes_before_run_holds,
    an_older_decision_does_not_undo_a_newer_judgement,
    a_newer_decision_holds_over_an_older_judgement,
    one_newer_judgement_leaves_the_other_decisions_of_a_request,
    an_answer_of_the_old_stream_is_not_fresh_in_the_new_one,
    an_answer_of_the_old_stream_is_stored,
    a_push_of_the_old_stream_is_not_fresh_in_the_new_one,
    an_answer_that_comes_after_its_stream_is_stale,
    an_older_bundle_does_not_undo_an_accepted_key,
    a_push_in_one_namespace_leaves_the_other_to_its_answer,
    a_decision_counts_although_its_encryption_was_cancelled,
    a_list_counts_although_nobody_waits_for_it_any_more,
    a_list_that_is_not_found_counts_for_an_encryption_that_was_ready_before,
    a_key_counts_although_nobody_waits_for_it_any_more,
    a_crossed_publication_is_redone_in_the_next_stream,
    a_key_that_an_answer_has_shown_counts_for_an_encryption_that_was_ready_before,
}

fn an_older_answer_does_not_undo_a_newer_push(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    romeo.begin_refresh(&tybalt);
    let asked = romeo.step();
    let (request_id, _) = asked.iter().find(|(_, request)| is_list_of(&tybalt)(request)).unwrap();
    // Device 7, which was stolen, is on the list. The answer is noted; `run` comes later.
    romeo.manager().answer(*request_id, Answer::DeviceList(list(ns, &[7]))).unwrap();
    // The next stanza: Tybalt took 7 off, and put 8 on.
    push(&romeo, &tybalt, &[8]);
    romeo.step();
    assert_eq!((romeo.is_active(&tybalt, 7), romeo.is_active(&tybalt, 8)), (false, true));
    // Nor after a restart.
    romeo.restart();
    assert_eq!((romeo.is_active(&tybalt, 7), romeo.is_active(&tybalt, 8)), (false, true));
}

fn an_answer_to_a_request_of_before_the_push_does_not_undo_it(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    let operation = romeo.begin_refresh(&tybalt);
    let asked = romeo.step();
    push(&romeo, &tybalt, &[8]);
    let later = romeo.step();
    for (request_id, request) in asked {
        if is_list_of(&tybalt)(&request) {
            // It was superseded: the server may have answered before it took the new list.
            let answered = romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[7])));
            assert!(answered.is_ok() || romeo.withdrawn.borrow().contains(&request_id));
        }
    }
    for (request_id, _) in later {
        romeo.manager().answer(request_id, Answer::Rejected(Reason::NotFound)).unwrap();
    }
    romeo.run_with(|_| Some(Answer::Rejected(Reason::NotFound)));
    assert!(romeo.is_done(operation), "a refresh that a push has answered is over");
    assert_eq!((romeo.is_active(&tybalt, 7), romeo.is_active(&tybalt, 8)), (false, true));
}

fn an_older_answer_does_not_undo_a_newer_push_of_the_own_list(ns: Namespace) {
    let (mut server, romeo, _juliet) = two(ns);
    let own = romeo.id();
    romeo.begin_refresh(&romeo.jid);
    let asked = romeo.step();
    for (request_id, request) in asked {
        if is_list_of(&romeo.jid)(&request) {
            romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[own, 7]))).unwrap();
        }
    }
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[own, 8]));
    push(&romeo, &romeo.jid, &[own, 8]);
    romeo.run(&mut server);
    assert_eq!((romeo.is_active(&romeo.jid, 7), romeo.is_active(&romeo.jid, 8)), (false, true));
    assert_eq!(server.list(&romeo.jid), [own, 8]);
}

/// A push named device 7 of Tybalt, and the answer of a refresh names this one.
fn pushed_and_answered(ns: Namespace, answered: u32) -> (RustDevice, BareJid) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    push(&romeo, &tybalt, &[7]);
    romeo.begin_refresh(&tybalt);
    for (request_id, request) in romeo.step() {
        if is_list_of(&tybalt)(&request) {
            romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[answered]))).unwrap();
        }
    }
    (romeo, tybalt)
}

fn a_push_behind_the_answer_of_a_refresh_holds(ns: Namespace) {
    let (romeo, tybalt) = pushed_and_answered(ns, 7);
    push(&romeo, &tybalt, &[7, 8]);
    romeo.step();
    assert!(romeo.is_active(&tybalt, 8), "a device that was just announced counts as gone");
    assert!(romeo.is_active(&tybalt, 7));
}

fn a_newer_answer_holds_over_an_older_push(ns: Namespace) {
    let (romeo, tybalt) = pushed_and_answered(ns, 8);
    romeo.step();
    assert_eq!((romeo.is_active(&tybalt, 7), romeo.is_active(&tybalt, 8)), (false, true));
}

fn the_last_of_several_pushes_before_run_holds(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    for id in [7, 8, 9] {
        push(&romeo, &tybalt, &[id]);
    }
    romeo.step();
    let active = [7, 8, 9].map(|id| romeo.is_active(&tybalt, id));
    assert_eq!(active, [false, false, true]);
}

/// A client that was asked about keys of `count` devices of Juliet's: server, client, devices, prompt, operation.
fn asked_about(ns: Namespace, count: u32) -> (Server, RustDevice, Vec<RawDevice>, u64, u64) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let devices: Vec<_> = (1..=count).map(|id| RawDevice::of(ns, JULIET, id)).collect();
    devices.iter().for_each(|device| device.publish(&mut server));
    let operation = romeo.begin_encrypt(&[&jid(JULIET)], "text", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_prompt);
    let Request::DecideTrust { devices: rows, .. } = &open[0].1 else { panic!("no prompt") };
    assert_eq!(rows.len(), devices.len());
    let prompt = open[0].0;
    (server, romeo, devices, prompt, operation)
}

fn decide_all(romeo: &RustDevice, prompt: u64, level: &str) {
    let Request::DecideTrust { devices, .. } = romeo.manager().request(prompt).unwrap() else { panic!() };
    for index in 0..devices.len() {
        romeo.manager().decide(prompt, index, level).unwrap();
    }
}

fn an_older_decision_does_not_undo_a_newer_judgement(ns: Namespace) {
    let (mut server, romeo, devices, prompt, operation) = asked_about(ns, 1);
    decide_all(&romeo, prompt, "trusted");
    romeo.manager().answer(prompt, Answer::Done).unwrap();
    // In another window the user distrusts the key, before `run`.
    romeo.manager().set_trust(&devices[0].jid, &devices[0].key(), "distrusted").unwrap();
    romeo.run_holding(&mut server, is_prompt);
    let trust = romeo.device(&devices[0].jid, 1).unwrap().core_trust;
    assert_eq!(trust, CoreTrust::Distrusted);
    assert!(!serves(&romeo.take(operation), 1), "a message for a key that was just distrusted");
}

fn a_newer_decision_holds_over_an_older_judgement(ns: Namespace) {
    let (mut server, romeo, devices, prompt, operation) = asked_about(ns, 1);
    romeo.manager().set_trust(&devices[0].jid, &devices[0].key(), "distrusted").unwrap();
    decide_all(&romeo, prompt, "trusted");
    romeo.manager().answer(prompt, Answer::Done).unwrap();
    romeo.run_holding(&mut server, is_prompt);
    assert_eq!(romeo.device(&devices[0].jid, 1).unwrap().core_trust, CoreTrust::Trusted);
    assert!(serves(&romeo.take(operation), 1));
}

fn one_newer_judgement_leaves_the_other_decisions_of_a_request(ns: Namespace) {
    let (mut server, romeo, devices, prompt, operation) = asked_about(ns, 10);
    decide_all(&romeo, prompt, "trusted");
    romeo.manager().set_trust(&devices[4].jid, &devices[4].key(), "distrusted").unwrap();
    romeo.manager().answer(prompt, Answer::Done).unwrap();
    romeo.run_holding(&mut server, is_prompt);
    let outcome = romeo.take(operation);
    for device in &devices {
        let expected = if device.id == 5 { CoreTrust::Distrusted } else { CoreTrust::Trusted };
        assert_eq!(romeo.device(&device.jid, device.id).unwrap().core_trust, expected, "{}", device.id);
        assert_eq!(serves(&outcome, device.id), device.id != 5, "{}", device.id);
    }
}

fn an_answer_of_the_old_stream_is_not_fresh_in_the_new_one(ns: Namespace) {
    let (mut server, romeo, _juliet) = two(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 8);
    let operation = romeo.begin_encrypt(&[&tybalt.jid], "text", EncryptPolicy::Wait);
    for (request_id, request) in romeo.run_holding(&mut server, is_list_of(&tybalt.jid)) {
        assert!(is_list_of(&tybalt.jid)(&request));
        romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[7]))).unwrap();
    }
    // The stream breaks for a week before `run` is called; meanwhile 8 took the place of 7.
    romeo.manager().disconnected().unwrap();
    romeo.advance(7 * DAY);
    tybalt.publish(&mut server);
    romeo.connect(&mut server);
    romeo.run(&mut server);
    assert!(romeo.is_active(&tybalt.jid, 8), "last week's list was taken for today's");
    assert!(serves(&romeo.take(operation), 8));
}

fn an_answer_of_the_old_stream_is_stored(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    romeo.begin_refresh(&tybalt);
    for (request_id, request) in romeo.step() {
        if is_list_of(&tybalt)(&request) {
            romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[7]))).unwrap();
        }
    }
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert!(romeo.is_active(&tybalt, 7), "what the server answered in time is lost");
}

fn a_push_of_the_old_stream_is_not_fresh_in_the_new_one(ns: Namespace) {
    let (mut server, romeo, _juliet) = two(ns);
    let first = RawDevice::of(ns, TYBALT, 7);
    first.publish(&mut server);
    push(&romeo, &first.jid, &[7]);
    romeo.manager().disconnected().unwrap();
    RawDevice::of(ns, TYBALT, 8).publish(&mut server);
    romeo.connect(&mut server);
    let outcome = romeo.encrypt(&[&first.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(serves(&outcome, 7) && serves(&outcome, 8));
}

fn an_answer_that_comes_after_its_stream_is_stale(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    let tybalt = jid(TYBALT);
    romeo.begin_refresh(&tybalt);
    let asked = romeo.step();
    romeo.manager().disconnected().unwrap();
    for (request_id, request) in asked.into_iter().filter(|(_, request)| is_list_of(&tybalt)(request)) {
        let answered = romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[7])));
        assert_eq!(answered.unwrap_err().status(), Status::Stale, "{request:?}");
    }
    romeo.step();
    assert!(!romeo.is_active(&tybalt, 7));
}

fn an_older_bundle_does_not_undo_an_accepted_key(ns: Namespace) {
    let (mut server, romeo, old) = with_known_raw(ns, ROMEO, (JULIET, 7));
    // She sets her device up anew, under the same id; that is found when a session is to be begun.
    let new = RawDevice::of(ns, JULIET, 7);
    new.publish(&mut server);
    romeo.encrypt(&[&new.jid], "x", EncryptPolicy::Wait, &mut server);
    let shown = romeo.device(&new.jid, 7).unwrap().conflicting_key;
    assert_eq!(shown, Some(new.key()), "the new key is not known");
    // The bundle of before comes from a server that lags, and is noted before the user accepts the new key.
    romeo.advance(HOUR);
    romeo.begin_encrypt(&[&new.jid], "x", EncryptPolicy::Wait);
    for (request_id, _) in romeo.run_holding(&mut server, is_bundle_of(&new.jid)) {
        romeo.manager().answer(request_id, Answer::Bundle(old.bundle())).unwrap();
    }
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.device(&new.jid, 7).unwrap().identity_key, Some(new.key()));
    assert!(is_served(&romeo, &new.jid, 7, &mut server));
}

fn a_push_in_one_namespace_leaves_the_other_to_its_answer(ns: Namespace) {
    let other = if ns == Legacy { Omemo2 } else { Legacy };
    let mut server = Server::of(ns);
    let mut settings = config(ns, ROMEO, "trusted");
    settings.namespaces = vec![Legacy, Omemo2];
    let romeo = RustDevice::with(settings, &mut server);
    let tybalt = jid(TYBALT);
    romeo.begin_refresh(&tybalt);
    let asked = romeo.step();
    romeo.manager().update_device_list(&tybalt, &list(ns, &[8])).unwrap();
    for (request_id, request) in asked {
        let Request::FetchDeviceList { namespace, .. } = request else { continue };
        let answered = romeo.manager().answer(request_id, Answer::DeviceList(list(namespace, &[7])));
        assert!(answered.is_ok() || namespace == ns);
    }
    romeo.step();
    let active = |id| romeo.device(&tybalt, id).map(|device| device.active).unwrap_or_default();
    assert_eq!((active(7), active(8)), (vec![other], vec![ns]));
}

fn a_decision_counts_although_its_encryption_was_cancelled(ns: Namespace) {
    let (_server, romeo, devices, prompt, operation) = asked_about(ns, 1);
    decide_all(&romeo, prompt, "trusted");
    romeo.manager().answer(prompt, Answer::Done).unwrap();
    romeo.manager().cancel(operation).unwrap();
    romeo.step();
    assert_eq!(romeo.device(&devices[0].jid, 1).unwrap().trust_level_name, "trusted");
}

fn a_list_counts_although_nobody_waits_for_it_any_more(ns: Namespace) {
    for cancel in [true, false] {
        let (_server, romeo, _juliet) = two(ns);
        let tybalt = jid(TYBALT);
        push(&romeo, &tybalt, &[7]);
        let operation = romeo.begin_refresh(&tybalt);
        for (request_id, request) in romeo.step() {
            if is_list_of(&tybalt)(&request) {
                romeo.manager().answer(request_id, Answer::DeviceList(list(ns, &[8]))).unwrap();
            }
        }
        if cancel {
            romeo.manager().cancel(operation).unwrap();
        } else {
            romeo.manager().disconnected().unwrap();
        }
        romeo.step();
        assert_eq!((romeo.is_active(&tybalt, 7), romeo.is_active(&tybalt, 8)), (false, true));
    }
}

fn a_key_counts_although_nobody_waits_for_it_any_more(ns: Namespace) {
    for cancel in [true, false] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let juliet = RawDevice::of(ns, JULIET, 7);
        juliet.publish(&mut server);
        let operation = romeo.begin_refresh(&juliet.jid);
        for (request_id, _) in romeo.run_holding(&mut server, is_bundle_of(&juliet.jid)) {
            romeo.manager().answer(request_id, Answer::Bundle(juliet.bundle())).unwrap();
        }
        if cancel {
            romeo.manager().cancel(operation).unwrap();
        } else {
            romeo.manager().disconnected().unwrap();
        }
        romeo.step();
        assert_eq!(romeo.device(&juliet.jid, 7).unwrap().identity_key, Some(juliet.key()));
    }
}

fn a_crossed_publication_is_redone_in_the_next_stream(ns: Namespace) {
    for (answered, ours_is_last) in [(false, true), (true, true), (false, false)] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let (own, jid) = (romeo.id(), romeo.jid.clone());
        // Device 300 throws this device off, which comes back; while it publishes, 301 announces itself.
        server.lists.insert((ns, jid.clone()), list(ns, &[300]));
        push(&romeo, &jid, &[300]);
        let open = romeo.run_holding(&mut server, is_list_publication);
        let (request_id, Request::PublishDeviceList { list: ours }) = open[0].clone() else {
            panic!("{open:?}")
        };
        push(&romeo, &jid, &[300, 301]);
        if answered {
            romeo.manager().answer(request_id, Answer::Done).unwrap();
        }
        let last = if ours_is_last { ours } else { list(ns, &[300, 301]) };
        server.lists.insert((ns, jid.clone()), last);
        romeo.manager().disconnected().unwrap();
        romeo.connect(&mut server);
        romeo.run(&mut server);
        let mut ids = server.list(&jid);
        ids.sort_unstable();
        let mut expected = vec![own, 300, 301];
        expected.sort_unstable();
        assert_eq!(ids, expected, "answered {answered}, ours was last {ours_is_last}");
    }
}

fn a_key_that_an_answer_has_shown_counts_for_an_encryption_that_was_ready_before(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (juliet, tybalt) = (RawDevice::of(ns, JULIET, 7), RawDevice::of(ns, TYBALT, 8));
    // She has another device, or nobody would get anything.
    RawDevice::of(ns, JULIET, 9).publish(&mut server);
    juliet.publish(&mut server);
    assert!(serves(&romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server), 7));
    tybalt.publish(&mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid, &tybalt.jid], "text", EncryptPolicy::Wait);
    let wanted = romeo.run_holding(&mut server, is_bundle);
    // A message shows another key of Juliet's device: its bundle is looked at.
    let mut new = RawDevice::of(ns, JULIET, 7);
    let (_, hello) = new.greet(&romeo, &server, "from the new one");
    romeo.refuse(&juliet.jid, &hello, Status::PublicDataInconsistency);
    let look = romeo.run_holding(&mut server, is_bundle);
    // The encryption has what it needs first.
    romeo.manager().answer(wanted[0].0, Answer::Bundle(tybalt.bundle())).unwrap();
    romeo.manager().answer(look[0].0, Answer::Bundle(new.bundle())).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!([7, 8, 9].map(|device| serves(&outcome, device)), [false, true, true]);
}

fn a_list_that_is_not_found_counts_for_an_encryption_that_was_ready_before(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (juliet, tybalt, paris) =
        (RawDevice::of(ns, JULIET, 7), RawDevice::of(ns, TYBALT, 8), RawDevice::of(ns, PARIS, 9));
    [&juliet, &tybalt, &paris].iter().for_each(|device| device.publish(&mut server));
    romeo.encrypt(&[&juliet.jid, &paris.jid], "x", EncryptPolicy::Wait, &mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid, &tybalt.jid, &paris.jid], "text", EncryptPolicy::Wait);
    let wanted = romeo.run_holding(&mut server, is_bundle_of(&tybalt.jid));
    romeo.begin_refresh(&juliet.jid);
    let looked = romeo.run_holding(&mut server, is_list_of(&juliet.jid));
    // The encryption has what it needs; then the server says that Juliet has no list any more.
    romeo.manager().answer(wanted[0].0, Answer::Bundle(tybalt.bundle())).unwrap();
    romeo.manager().answer(looked[0].0, Answer::Rejected(Reason::NotFound)).unwrap();
    romeo.run_with(|request| match is_list_of(&juliet.jid)(request) {
        true => Some(Answer::Rejected(Reason::NotFound)),
        false => Some(server.answer(&romeo, request)),
    });
    assert!(!serves(&romeo.take(operation), 7), "a device whose list is gone is served");
}
