//! Lists and bundles do not go stale, and dead servers do not stall.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_dead_server_of_one_member_delays_a_room_once,
    a_dead_server_of_one_member_does_not_delay_the_bundles_of_others,
    a_failed_list_fetch_is_remembered_with_doubling_back_off,
    a_stored_list_that_could_not_be_fetched_is_used_with_a_row,
    a_list_that_is_outdated_after_the_last_round_is_a_row,
    a_list_that_was_not_stored_does_not_make_a_jid_without_devices,
    a_quiet_client_with_its_own_clock_fetches_lists_again,
    a_list_grows_old_after_an_hour,
    a_bundle_that_follows_its_device_is_looked_at_by_the_next_message,
    a_distrusted_device_keeps_nobody_from_another_one,
    a_bundle_that_is_missing_beside_a_good_device_is_looked_at_after_a_minute,
    the_bundle_of_our_other_device_is_looked_at_after_a_minute,
    a_bundle_that_stays_missing_is_asked_for_less_and_less,
    a_bundle_that_failed_in_the_old_stream_is_asked_for_in_the_new_one,
    r36_a_message_of_a_device_forgets_that_its_bundle_was_missing,
    an_unusable_bundle_that_was_mended_is_used,
    a_list_that_was_pushed_empty_counts_for_a_minute,
    a_list_that_is_gone_is_looked_at_by_the_next_message,
    who_installs_omemo_after_our_first_try_is_served,
    a_new_device_of_a_stranger_is_served_after_an_hour,
    offline_encryptions_wait_for_the_next_stream,
    offline_encryptions_of_a_restarted_client_wait_for_the_stream,
    offline_now_completes_with_rows,
    offline_now_says_so_for_a_device_without_bundle,
    a_thousand_encryptions_wait_offline_and_no_more,
    background_requests_never_repeat_item_not_found_within_an_hour,
    a_bundle_that_is_not_there_is_asked_for_once_an_hour_by_itself,
    a_wall_clock_that_is_set_back_makes_nothing_fresh,
    an_own_key_on_another_own_device_is_a_row,
    an_id_that_cannot_be_served_is_a_row,
    a_contacts_list_of_any_length_is_a_row,
    a_bundle_of_a_long_prompt_is_fetched_anew,
}

/// Lets seconds pass until an operation is over; those requests are never answered. How many seconds.
fn seconds_until_done(
    client: &RustDevice,
    operation: u64,
    server: &mut Server,
    dead: impl Fn(&Request) -> bool,
) -> u32 {
    for seconds in 0..3_600 {
        client.run_holding(server, &dead);
        if client.is_done(operation) {
            return seconds;
        }
        client.advance(1_000);
    }
    panic!("it does not end within an hour");
}

/// Romeo, his friend Juliet, and Paris, whom he knows and whose server is dead from now on.
fn room(ns: Namespace) -> (Server, RustDevice, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends(ns);
    let paris = RustDevice::new(PARIS, &mut server);
    romeo.say(&paris.jid, "hello", &mut server);
    romeo.reconnect(&mut server);
    (server, romeo, juliet, paris)
}

fn a_dead_server_of_one_member_delays_a_room_once(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = room(ns);
    let mut waits = Vec::new();
    for n in 0..5 {
        let to = [&juliet.jid, &paris.jid];
        let operation = romeo.begin_encrypt(&to, &n.to_string(), EncryptPolicy::Wait);
        waits.push(seconds_until_done(&romeo, operation, &mut server, is_list_of(&paris.jid)));
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::Ok);
        assert!(serves(&outcome, juliet.id()) && serves(&outcome, paris.id()));
    }
    assert!(waits.iter().sum::<u32>() <= 65, "seconds that five messages in a row waited: {waits:?}");
}

fn a_dead_server_of_one_member_does_not_delay_the_bundles_of_others(ns: Namespace) {
    let (mut server, romeo, _juliet, paris) = room(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    romeo.begin_encrypt(&[&tybalt.jid, &paris.jid], "text", EncryptPolicy::Wait);
    romeo.run_holding(&mut server, is_list_of(&paris.jid));
    assert_eq!(romeo.count_asked(is_bundle_of(&tybalt.jid)), 1, "his bundle waits for another's dead server");
}

fn a_failed_list_fetch_is_remembered_with_doubling_back_off(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = room(ns);
    let before = romeo.count_asked(is_list_of(&paris.jid));
    let dead = is_list_of(&paris.jid);
    for _ in 0..120 {
        let operation = romeo.begin_encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Wait);
        romeo.run_with(|request| match dead(request) {
            true => Some(Answer::Rejected(Reason::Failed)),
            false => Some(server.answer(&romeo, request)),
        });
        assert!(romeo.is_done(operation));
        romeo.advance(30_000);
    }
    let asked = romeo.count_asked(is_list_of(&paris.jid)) - before;
    assert!((2..=12).contains(&asked), "within an hour her server was asked {asked} times");
    // As soon as it answers, a new device is found.
    RawDevice::of(ns, PARIS, 99).publish(&mut server);
    let mut served = false;
    for _ in 0..62 {
        romeo.advance(60_000);
        served |= serves(&romeo.encrypt(&[&paris.jid], "text", EncryptPolicy::Wait, &mut server), 99);
    }
    assert!(served);
}

fn a_stored_list_that_could_not_be_fetched_is_used_with_a_row(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = room(ns);
    let dead = is_list_of(&paris.jid);
    for n in 0..3 {
        let operation = romeo.begin_encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Wait);
        romeo.run_with(|request| match dead(request) {
            true => Some(Answer::Rejected(Reason::Failed)),
            false => Some(server.answer(&romeo, request)),
        });
        let outcome = romeo.take(operation);
        assert!(serves(&outcome, paris.id()));
        let told = row(&outcome, &paris.jid, 0);
        assert_eq!(told, Some(Status::DeviceListDownloadFailed), "message {n}: {:?}", outcome.rows);
        assert_eq!(super::world::row(&outcome, &juliet.jid, 0), None);
    }
}

fn a_list_that_is_outdated_after_the_last_round_is_a_row(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let first = RawDevice::of(ns, JULIET, 1);
    first.publish(&mut server);
    let operation = romeo.begin_encrypt(&[&first.jid], "hello", EncryptPolicy::Wait);
    let mut number = 1;
    for _ in 0..8 {
        let open = romeo.run_holding(&mut server, is_prompt);
        let Some((prompt, request)) = open.into_iter().next() else { break };
        let Request::DecideTrust { devices, .. } = request else { panic!() };
        for index in 0..devices.len() {
            romeo.manager().decide(prompt, index, "trusted").unwrap();
        }
        // The stream breaks and comes back; meanwhile she has one more device.
        romeo.manager().disconnected().unwrap();
        number += 1;
        RawDevice::of(ns, JULIET, number).publish(&mut server);
        romeo.begin_connect();
        romeo.manager().answer(prompt, Answer::Done).unwrap();
    }
    romeo.run_holding(&mut server, is_prompt);
    let outcome = romeo.take(operation);
    let rows = rows(&outcome, &first.jid);
    assert!(rows.iter().any(|(id, _)| *id == 0 || *id == number), "left out in silence: {rows:?}");
}

fn a_list_that_was_not_stored_does_not_make_a_jid_without_devices(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let contact = RawDevice::of(ns, "mercutio@verona.lit", 5);
    contact.publish(&mut server);
    for n in 1..=2 {
        romeo.storage.keep_failing(true);
        romeo.storage.fail(1, Fault::Nothing);
        let outcome = romeo.encrypt(&[&contact.jid], "hello", EncryptPolicy::Wait, &mut server);
        assert_ne!(outcome.status(), Status::Ok);
        let rows = rows(&outcome, &contact.jid);
        assert!(rows.iter().all(|(_, status)| *status != Status::NoDevices), "try {n}: {rows:?}");
    }
    romeo.storage.keep_failing(false);
    romeo.storage.heal();
    assert!(is_served(&romeo, &contact.jid, 5, &mut server));
}

fn a_quiet_client_with_its_own_clock_fetches_lists_again(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.services.wall_clock_only.store(true, std::sync::atomic::Ordering::SeqCst);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.say(&juliet.jid, "x", &mut server);
    // Her new phone. There is no subscription: nothing is pushed.
    RawDevice::of(ns, JULIET, 77).publish(&mut server);
    let mut messages = 0;
    while !has_key(&romeo.say(&juliet.jid, "x", &mut server), 77) {
        messages += 1;
        assert!(messages <= 3, "a message every 61 minutes, and her list is never fetched again");
        romeo.advance(61 * 60_000);
    }
}

fn a_list_grows_old_after_an_hour(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.reconnect(&mut server);
    romeo.say(&juliet.jid, "x", &mut server);
    let before = romeo.count_asked(is_list_of(&juliet.jid));
    romeo.advance(59 * 60_000);
    romeo.say(&juliet.jid, "x", &mut server);
    assert_eq!(romeo.count_asked(is_list_of(&juliet.jid)), before);
    romeo.advance(2 * 60_000);
    romeo.say(&juliet.jid, "x", &mut server);
    assert_eq!(romeo.count_asked(is_list_of(&juliet.jid)), before + 1);
}

/// A device on its JID's list; its bundle comes later.
fn listed_only(ns: Namespace, name: &str, id: u32, server: &mut Server) -> RawDevice {
    let device = RawDevice::of(ns, name, id);
    let mut ids = server.list(&device.jid);
    ids.push(id);
    server.lists.insert((ns, device.jid.clone()), list(ns, &ids));
    device
}

fn a_bundle_that_follows_its_device_is_looked_at_by_the_next_message(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = listed_only(ns, TYBALT, 5, &mut server);
    assert!(!is_served(&romeo, &tybalt.jid, 5, &mut server));
    tybalt.publish(&mut server);
    romeo.advance(6_000);
    assert!(is_served(&romeo, &tybalt.jid, 5, &mut server), "six seconds later the bundle is not looked at");
}

fn a_bundle_that_is_missing_beside_a_good_device_is_looked_at_after_a_minute(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let phone = listed_only(ns, JULIET, 77, &mut server);
    push(&romeo, &juliet.jid, &[juliet.id(), 77]);
    assert!(!has_key(&romeo.say(&juliet.jid, "x", &mut server), 77));
    phone.publish(&mut server);
    romeo.advance(61_000);
    romeo.run(&mut server);
    assert!(has_key(&romeo.say(&juliet.jid, "x", &mut server), 77), "a minute later");
}

fn the_bundle_of_our_other_device_is_looked_at_after_a_minute(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let laptop = listed_only(ns, ROMEO, 77, &mut server);
    push(&romeo, &romeo.jid, &[romeo.id(), 77]);
    assert!(!has_key(&romeo.say(&juliet.jid, "x", &mut server), 77));
    laptop.publish(&mut server);
    romeo.advance(61_000);
    assert!(has_key(&romeo.say(&juliet.jid, "x", &mut server), 77), "a minute later");
}

fn a_bundle_that_stays_missing_is_asked_for_less_and_less(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    listed_only(ns, JULIET, 77, &mut server);
    push(&romeo, &juliet.jid, &[juliet.id(), 77]);
    let before = romeo.count_asked(is_bundle);
    for _ in 0..24 * 60 {
        romeo.say(&juliet.jid, "x", &mut server);
        romeo.advance(60_000);
    }
    let asked = romeo.count_asked(is_bundle) - before;
    assert!((24..=40).contains(&asked), "in a day of messages a missing bundle was asked for {asked} times");
}

fn r36_a_message_of_a_device_forgets_that_its_bundle_was_missing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut phone = listed_only(ns, JULIET, 77, &mut server);
    push(&romeo, &juliet.jid, &[juliet.id(), 77]);
    // It was missing for so long that the back-off is an hour.
    for _ in 0..8 {
        romeo.say(&juliet.jid, "x", &mut server);
        romeo.advance(HOUR + 60_000);
    }
    romeo.say(&juliet.jid, "x", &mut server);
    phone.publish(&mut server);
    let (_, hello) = phone.greet(&romeo, &server, "from the phone");
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "from the phone");
    assert!(has_key(&romeo.say(&juliet.jid, "x", &mut server), 77), "we show it and refuse to answer it");
}

fn an_unusable_bundle_that_was_mended_is_used(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    server.bundles.get_mut(&(ns, tybalt.jid.clone(), 5)).unwrap().signature[3] ^= 1;
    let outcome = romeo.encrypt(&[&tybalt.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &tybalt.jid, 5), Some(Status::BundleBad));
    tybalt.publish(&mut server);
    romeo.advance(6_000);
    assert!(is_served(&romeo, &tybalt.jid, 5, &mut server));
}

fn a_list_that_was_pushed_empty_counts_for_a_minute(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 5);
    server.lists.insert((ns, tybalt.jid.clone()), list(ns, &[]));
    push(&romeo, &tybalt.jid, &[]);
    for _ in 0..5 {
        romeo.encrypt(&[&tybalt.jid], "x", EncryptPolicy::Wait, &mut server);
        romeo.advance(10_000);
    }
    assert_eq!(romeo.count_asked(is_list_of(&tybalt.jid)), 0);
    tybalt.publish(&mut server);
    romeo.advance(11_000);
    assert!(is_served(&romeo, &tybalt.jid, 5, &mut server));
}

fn who_installs_omemo_after_our_first_try_is_served(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 5);
    for _ in 0..3 {
        let outcome = romeo.encrypt(&[&tybalt.jid], "x", EncryptPolicy::Wait, &mut server);
        assert_eq!(rows(&outcome, &tybalt.jid), [(0, Status::NoDevices)]);
    }
    assert_eq!(romeo.count_asked(is_list_of(&tybalt.jid)), 1, "within five seconds it is asked for once");
    tybalt.publish(&mut server);
    romeo.advance(6_000);
    assert!(is_served(&romeo, &tybalt.jid, 5, &mut server));
}

fn a_new_device_of_a_stranger_is_served_after_an_hour(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    RawDevice::of(ns, TYBALT, 5).publish(&mut server);
    let tybalt = jid(TYBALT);
    assert!(is_served(&romeo, &tybalt, 5, &mut server));
    RawDevice::of(ns, TYBALT, 6).publish(&mut server);
    romeo.advance(HOUR + 1_000);
    assert!(is_served(&romeo, &tybalt, 6, &mut server));
}

fn offline_encryptions_wait_for_the_next_stream(ns: Namespace) {
    for policy in [EncryptPolicy::Wait, EncryptPolicy::All] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.manager().disconnected().unwrap();
        romeo.step();
        let operation = romeo.begin_encrypt(&[&juliet.jid], "text", policy);
        romeo.step();
        romeo.advance(DAY);
        romeo.step();
        assert!(!romeo.is_done(operation), "{policy:?} completed offline, for the devices of then");
        // Meanwhile she has one more.
        RawDevice::of(ns, JULIET, 77).publish(&mut server);
        romeo.connect(&mut server);
        let outcome = romeo.take(operation);
        assert!(serves(&outcome, juliet.id()) && serves(&outcome, 77), "{policy:?} {:?}", outcome.rows);
    }
}

fn offline_encryptions_of_a_restarted_client_wait_for_the_stream(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.restart();
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
    romeo.step();
    assert!(!romeo.is_done(operation));
    romeo.connect(&mut server);
    assert_eq!(romeo.take(operation).status(), Status::Ok);
}

fn offline_now_completes_with_rows(ns: Namespace) {
    let (_server, romeo, juliet) = friends(ns);
    romeo.manager().disconnected().unwrap();
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Now);
    romeo.step();
    let outcome = romeo.take(operation);
    assert!(serves(&outcome, juliet.id()));
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::Offline), "{:?}", outcome.rows);
}

fn offline_now_says_so_for_a_device_without_bundle(ns: Namespace) {
    let (_server, romeo, juliet) = friends(ns);
    push(&romeo, &juliet.jid, &[juliet.id(), 77]);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Now);
    romeo.step();
    let outcome = romeo.take(operation);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::Offline), "{:?}", outcome.rows);
    assert!(serves(&outcome, juliet.id()));
}

fn a_thousand_encryptions_wait_offline_and_no_more(ns: Namespace) {
    let (_server, romeo, juliet) = friends(ns);
    romeo.manager().disconnected().unwrap();
    let draft = |n: usize| draft(ns, &[&juliet.jid], &n.to_string(), EncryptPolicy::Wait);
    let mut refused = None;
    for n in 0..=1_000 {
        let operation = omemo::runtime::next_number();
        let started = romeo.manager().encrypt(operation, draft(n));
        romeo.step();
        let ended = romeo.done.borrow_mut().remove(&operation);
        let status = started.err().map(|error| error.status()).or(ended.map(|outcome| outcome.status()));
        assert!(status.is_none() || n == 1_000, "{n}: {status:?}");
        refused = status;
    }
    assert_eq!(refused, Some(Status::Limit));
}

fn background_requests_never_repeat_item_not_found_within_an_hour(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    // Somebody of whom no list can be found writes all day.
    let mut stranger = RawDevice::of(ns, "s@evil.example", 5);
    let (mut session, mut message) = stranger.greet(&romeo, &server, "x");
    for _ in 0..59 {
        romeo.read(&stranger.jid, &message);
        romeo.run(&mut server);
        romeo.advance(60_000);
        message = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
    }
    let asked = romeo.count_asked(is_list_of(&stranger.jid));
    assert!(asked <= 1, "asked {asked} times");
}

fn a_wall_clock_that_is_set_back_makes_nothing_fresh(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.services.wall_clock_only.store(true, std::sync::atomic::Ordering::SeqCst);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.say(&juliet.jid, "x", &mut server);
    let before = romeo.count_asked(is_list_of(&juliet.jid));
    romeo.services.clock.step_wall(-30 * 86_400_000);
    romeo.say(&juliet.jid, "x", &mut server);
    romeo.advance(40 * 60_000);
    romeo.say(&juliet.jid, "x", &mut server);
    romeo.advance(40 * 60_000);
    romeo.say(&juliet.jid, "x", &mut server);
    assert_eq!(romeo.count_asked(is_list_of(&juliet.jid)), before + 1, "80 minutes have passed");
}

fn an_own_key_on_another_own_device_is_a_row(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut bundle = server.bundle(&romeo);
    bundle.pre_keys.truncate(3);
    server.bundles.insert((ns, romeo.jid.clone(), 77), bundle);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[romeo.id(), 77]));
    push(&romeo, &romeo.jid, &[romeo.id(), 77]);
    let outcome = romeo.encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(serves(&outcome, 77) || row(&outcome, &romeo.jid, 77).is_some(), "left out in silence");
}

fn an_id_that_cannot_be_served_is_a_row(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    for wrong in [0, 3_000_000_000, u32::MAX] {
        let name = format!("tybalt{wrong}@capulet.lit");
        let good = RawDevice::of(ns, &name, 5);
        good.publish(&mut server);
        server.lists.insert((ns, good.jid.clone()), list(ns, &[5, wrong]));
        let outcome = romeo.encrypt(&[&good.jid], "x", EncryptPolicy::Wait, &mut server);
        assert_eq!(outcome.status(), Status::Ok);
        let beside: Vec<_> = rows(&outcome, &good.jid).into_iter().filter(|(id, _)| *id != 5).collect();
        assert_eq!(beside.len(), 1, "{wrong} is left out in silence: {:?}", outcome.rows);
        assert!(!matches!(beside[0].1, Status::Ok | Status::NoDevices));
        // Alone.
        let alone = jid(&format!("alone{wrong}@capulet.lit"));
        server.lists.insert((ns, alone.clone()), list(ns, &[wrong]));
        let outcome = romeo.encrypt(&[&alone], "x", EncryptPolicy::Wait, &mut server);
        assert!(rows(&outcome, &alone).iter().all(|(_, status)| *status != Status::NoDevices));
        assert!(!rows(&outcome, &alone).is_empty());
    }
}

fn a_contacts_list_of_any_length_is_a_row(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for count in [257, 300, 1_000] {
        let name = jid(&format!("many{count}@capulet.lit"));
        let ids: Vec<u32> = (1..=count).collect();
        server.lists.insert((ns, name.clone()), list(ns, &ids));
        let to = [&juliet.jid, &name];
        let outcome = romeo.encrypt(&to, "x", EncryptPolicy::Wait, &mut server);
        assert!(rows(&outcome, &name).contains(&(0, Status::Limit)), "{count}: {:?}", outcome.rows.first());
        let pushed = romeo.manager().update_device_list(&name, &list(ns, &ids));
        assert_eq!(pushed.unwrap_err().status(), Status::Limit);
    }
}

fn a_bundle_of_a_long_prompt_is_fetched_anew(ns: Namespace) {
    // 10 minutes of prompt, and 9.
    for (minutes, expected) in [(11, 1), (9, 0)] {
        let mut server = Server::of(ns);
        let romeo = careful(ns, ROMEO, &mut server);
        let juliet = RustDevice::new(JULIET, &mut server);
        let operation = romeo.begin_encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait);
        let open = romeo.run_holding(&mut server, is_prompt);
        let prompt = open[0].0;
        let before = romeo.count_asked(is_bundle);
        romeo.advance(minutes * 60_000);
        romeo.manager().decide(prompt, 0, "trusted").unwrap();
        romeo.manager().answer(prompt, Answer::Done).unwrap();
        romeo.run(&mut server);
        assert_eq!(romeo.take(operation).status(), Status::Ok);
        assert_eq!(romeo.count_asked(is_bundle) - before, expected, "{minutes} minutes");
    }
}

fn a_bundle_that_failed_in_the_old_stream_is_asked_for_in_the_new_one(ns: Namespace) {
    let (mut server, romeo, juliet) = with_raw(ns, ROMEO, (JULIET, 7));
    for answer in [Reason::NotFound, Reason::Failed] {
        let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
        let open = romeo.run_holding(&mut server, is_bundle_of(&juliet.jid));
        // It is noted; before `run` the stream breaks and comes up again.
        romeo.manager().answer(open[0].0, Answer::Rejected(answer)).unwrap();
        romeo.manager().disconnected().unwrap();
        romeo.manager().cancel(operation).unwrap();
        romeo.connect(&mut server);
        let again = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
        let open = romeo.run_holding(&mut server, is_bundle_of(&juliet.jid));
        assert_eq!(open.len(), 1, "what failed in the old stream counts in the new one");
        romeo.manager().cancel(again).unwrap();
        romeo.step();
    }
}

fn a_distrusted_device_keeps_nobody_from_another_one(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (lost, new) = (RawDevice::of(ns, JULIET, 7), RawDevice::of(ns, JULIET, 8));
    lost.publish(&mut server);
    romeo.say(&lost.jid, "hello", &mut server);
    romeo.manager().set_trust(&lost.jid, &lost.key(), "distrusted").unwrap();
    // Nobody has pushed that she has another device; the list is looked at again all the same.
    romeo.advance(10_000);
    new.publish(&mut server);
    server.lists.insert((ns, new.jid.clone()), list(ns, &[7, 8]));
    let bundle = server.bundles.remove(&(ns, new.jid.clone(), 8)).unwrap();
    assert!(!serves(&romeo.encrypt(&[&new.jid], "x", EncryptPolicy::Wait, &mut server), 8));
    // Its bundle comes seconds later.
    server.bundles.insert((ns, new.jid.clone(), 8), bundle);
    romeo.advance(10_000);
    let outcome = romeo.encrypt(&[&new.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!((serves(&outcome, 7), serves(&outcome, 8)), (false, true), "{:?}", outcome.rows);
}

fn a_bundle_that_is_not_there_is_asked_for_once_an_hour_by_itself(ns: Namespace) {
    let (mut server, romeo, mut juliet) = with_raw(ns, ROMEO, (JULIET, 7));
    let (mut session, hello) = juliet.greet(&romeo, &server, "hello");
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "hello");
    romeo.run(&mut server);
    // Her bundle is gone, and so are our sessions.
    server.bundles.remove(&(ns, juliet.jid.clone(), 7));
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    let asked = romeo.count_asked(is_bundle_of(&juliet.jid));
    let to = (romeo.jid.clone(), romeo.id());
    for n in 0..10 {
        let message = juliet.write(&mut session, (&to.0, to.1), &n.to_string());
        romeo.refuse(&juliet.jid, &inner(&message), Status::NoSession);
        romeo.advance(300_000);
        romeo.run(&mut server);
    }
    let asked = romeo.count_asked(is_bundle_of(&juliet.jid)) - asked;
    assert!(asked <= 1, "{asked} questions in fifty minutes");
}

fn a_list_that_is_gone_is_looked_at_by_the_next_message(ns: Namespace) {
    let (mut server, romeo, juliet) = with_raw(ns, ROMEO, (JULIET, 7));
    romeo.say(&juliet.jid, "hello", &mut server);
    // One of several items was retracted; the others stand there as before.
    romeo.manager().device_list_gone(&juliet.jid, ns).unwrap();
    assert!(!romeo.is_active(&juliet.jid, 7));
    romeo.say(&juliet.jid, "still there", &mut server);
    assert!(romeo.is_active(&juliet.jid, 7));
}
