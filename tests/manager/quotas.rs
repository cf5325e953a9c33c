//! Those whom the client knows and strangers do not share: fetches, memory, storage; and no node is published without end.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::Request;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    fetches_that_strangers_cause_do_not_hold_up_a_message,
    lists_of_strangers_take_little_memory,
    pushes_that_are_refused_take_no_memory,
    r31_what_one_stranger_can_have_stored_is_bounded,
    strangers_delete_no_pre_key_that_is_still_offered,
    strangers_lists_do_not_push_out_a_friends,
    a_message_of_nobody_costs_little,
    a_friend_in_a_semi_anonymous_room_is_found_among_many,
    a_strangers_key_exchange_in_a_room_without_sender_touches_no_member,
    f22_a_fight_over_the_own_list_is_bounded_by_the_day,
    a_fight_over_the_own_list_does_not_hold_up_the_bundle,
    an_exhausted_bucket_is_one_notice,
    an_exhausted_bucket_fills_again,
    three_publications_a_minute_at_most,
    r19_the_largest_skip_limit_is_usable,
    the_budget_of_chain_steps_is_exact,
}

fn is_of_stranger(request: &Request) -> bool {
    matches!(request, Request::FetchDeviceList { jid, .. } | Request::FetchBundle { jid, .. }
        if jid.as_str().ends_with("evil.example"))
}

/// Messages of so many JIDs, of whom nothing is known: a repair and a look at a list each.
fn strangers_write(ns: Namespace, count: u32, to: &RustDevice, server: &Server) {
    for n in 0..count {
        let mut stranger = RawDevice::of(ns, &format!("s{n}@evil.example"), 5);
        let (_, message) = stranger.greet(to, server, "x");
        to.read(&stranger.jid, &inner(&message));
    }
}

fn fetches_that_strangers_cause_do_not_hold_up_a_message(ns: Namespace) {
    for max_open_fetches in [32, 2, 1] {
        let mut server = Server::of(ns);
        let mut settings = config(ns, ROMEO, "trusted");
        settings.max_open_fetches = max_open_fetches;
        let romeo = RustDevice::with(settings, &mut server);
        let juliet = RustDevice::new(JULIET, &mut server);
        strangers_write(ns, 256, &romeo, &server);
        // Their server never answers.
        romeo.run_holding(&mut server, is_of_stranger);
        let operation = romeo.begin_encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait);
        let mut waited = 0;
        while !romeo.is_done(operation) && waited < 300 {
            romeo.run_holding(&mut server, is_of_stranger);
            if !romeo.is_done(operation) {
                romeo.advance(1_000);
                waited += 1;
            }
        }
        // With one place a request that is open already keeps it until its deadline.
        let most = if max_open_fetches == 1 { 65 } else { 5 };
        assert!(waited < most, "with {max_open_fetches} places the first message waited for {waited} s");
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn lists_of_strangers_take_little_memory(ns: Namespace) {
    alone(|| measure_lists_of_strangers_take_little_memory(ns));
}

fn measure_lists_of_strangers_take_little_memory(ns: Namespace) {
    let (_server, romeo, _) = two(ns);
    let before = resident();
    for n in 0..1_000 {
        let stranger = jid(&format!("s{n}@evil.example"));
        for round in 0..4 {
            let ids: Vec<u32> = (1..=250).map(|id| round * 250 + id).collect();
            let _ = romeo.manager().update_device_list(&stranger, &list(ns, &ids));
        }
        romeo.step();
        romeo.notices.borrow_mut().clear();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 100_000_000, "{grown} bytes for 1,000 strangers");
}

fn pushes_that_are_refused_take_no_memory(ns: Namespace) {
    alone(|| measure_pushes_that_are_refused_take_no_memory(ns));
}

fn measure_pushes_that_are_refused_take_no_memory(ns: Namespace) {
    let (_server, romeo, _) = two(ns);
    romeo.storage.keep_failing(true);
    romeo.storage.fail(1, Fault::Nothing);
    let name = |n: u32| format!("{n}{}@evil.example", "x".repeat(1_000));
    let push = |n: u32| {
        let _ = romeo.manager().update_device_list(&jid(&name(n)), &list(ns, &[1]));
        romeo.step();
        romeo.notices.borrow_mut().clear();
    };
    (0..2_000).for_each(push);
    let before = resident();
    (2_000..22_000).for_each(push);
    let grown = resident().saturating_sub(before);
    assert!(grown < 10_000_000, "20,000 refused pushes: {grown} bytes");
}

fn r31_what_one_stranger_can_have_stored_is_bounded(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let before = romeo.storage.size();
    for device in 1..=2 {
        let mut stranger = RawDevice::of(ns, "s@evil.example", device);
        for _ in 0..45 {
            let mut session = stranger.initiate(&server.bundle(&romeo));
            let mut last = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
            for _ in 0..1_000 {
                last = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
            }
            assert_eq!(romeo.read(&stranger.jid, &last).error.status(), Status::Ok);
            romeo.advance(HOUR);
            romeo.run(&mut server);
            server.mail.clear();
        }
    }
    let stored = romeo.storage.size() - before;
    assert!(stored / 2 < 100_000, "two devices had {stored} bytes stored");
}

fn strangers_lists_do_not_push_out_a_friends(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for n in 0..6_000 {
        let _ = romeo.manager().update_device_list(&jid(&format!("s{n}@evil.example")), &list(ns, &[1]));
    }
    romeo.step();
    let loads = romeo.storage.loads();
    let message = juliet.say(&romeo.jid, "text", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "text");
    assert!(romeo.storage.loads() - loads <= 10, "strangers pushed a friend out of the cache");
    assert!(romeo.is_active(&juliet.jid, juliet.id()));
}

const ROOM: &str = "room@rooms.example";

fn a_message_of_nobody_costs_little(ns: Namespace) {
    let (_server, romeo, _juliet) = two(ns);
    for n in 0..10_000 {
        let _ = romeo.manager().update_device_list(&jid(&format!("s{n}@evil.example")), &list(ns, &[1]));
    }
    romeo.step();
    let mut stranger = RawDevice::of(ns, "s@evil.example", 999_999);
    let mut session = stranger.initiate(&RawDevice::of(ns, ROMEO, 3).bundle());
    let message = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
    let loads = romeo.storage.loads();
    let read = romeo.manager().decrypt(None, Some(&jid(ROOM)), &message).unwrap();
    assert_eq!(read.error.status(), Status::SenderNotFound);
    let loads = romeo.storage.loads() - loads;
    assert!(loads <= 50, "{loads} loads");
}

fn a_friend_in_a_semi_anonymous_room_is_found_among_many(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // So many strangers announce a device with her id.
    for n in 0..2_000 {
        let stranger = jid(&format!("s{n}@evil.example"));
        let _ = romeo.manager().update_device_list(&stranger, &list(ns, &[juliet.id()]));
    }
    romeo.step();
    for _ in 0..2 {
        let message = juliet.say(&romeo.jid, "text", &mut server);
        let loads = romeo.storage.loads();
        let read = romeo.manager().decrypt(None, Some(&jid(ROOM)), &message).unwrap();
        assert_eq!((text(&read), read.from.as_ref()), ("text".to_owned(), Some(&juliet.jid)));
        let loads = romeo.storage.loads() - loads;
        assert!(loads <= 50, "{loads} loads");
        romeo.restart();
        romeo.connect(&mut server);
    }
}

fn a_strangers_key_exchange_in_a_room_without_sender_touches_no_member(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let phone = RawDevice::of(ns, JULIET, 77);
    phone.publish(&mut server);
    push(&romeo, &juliet.jid, &[juliet.id(), 77]);
    // A stranger's device has the id of her phone, whose key nobody knows yet, or that of her known device.
    for id in [77, juliet.id()] {
        let mut stranger = RawDevice::of(ns, "s@evil.example", id);
        let (_, message) = stranger.greet(&romeo, &server, "I am Juliet");
        let before = romeo.storage.all();
        let read = romeo.manager().decrypt(None, Some(&jid(ROOM)), &message).unwrap();
        assert_eq!((read.error.status(), read.from), (Status::SenderNotFound, None), "{id}");
        romeo.run(&mut server);
        assert_eq!(
            romeo.count_notices(NoticeKind::IdentityChanged),
            0,
            "{id}: a stranger alarms in her name"
        );
        assert!(read.plaintext.is_none());
        assert!(romeo.storage.all() == before, "{id}: its key was put on a member's device");
    }
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, None);
}

/// Somebody takes us off our list every so many seconds, for so long; how often the list was published.
fn fight(ns: Namespace, romeo: &RustDevice, server: &mut Server, every_ms: u64, for_ms: u64) -> usize {
    let before = romeo.count_asked(is_list_publication);
    for _ in 0..for_ms / every_ms {
        server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100]));
        push(romeo, &romeo.jid, &[100]);
        romeo.run(server);
        romeo.advance(every_ms);
    }
    romeo.count_asked(is_list_publication) - before
}

fn f22_a_fight_over_the_own_list_is_bounded_by_the_day(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let published = fight(ns, &romeo, &mut server, 20_000, DAY);
    assert!((20..=31).contains(&published), "{published} publications in a day");
    let published = fight(ns, &romeo, &mut server, 20_000, DAY);
    assert!(published <= 21, "{published} publications on the second day");
}

fn a_fight_over_the_own_list_does_not_hold_up_the_bundle(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    fight(ns, &romeo, &mut server, 10_000, 4 * HOUR);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let (_, hello) = take_pre_key(&mut tybalt, &romeo, &server, 0);
    let used = server.bundle(&romeo).pre_keys[0].id;
    romeo.read(&tybalt.jid, &hello);
    romeo.run_later(&mut server);
    assert!(
        server.bundle(&romeo).pre_keys.iter().all(|key| key.id != used),
        "list and bundle share a bucket"
    );
}

fn an_exhausted_bucket_is_one_notice(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    fight(ns, &romeo, &mut server, 21_000, HOUR);
    assert_eq!(romeo.count_notices(NoticeKind::PublishFailed), 1);
}

fn an_exhausted_bucket_fills_again(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let first = fight(ns, &romeo, &mut server, 21_000, HOUR);
    assert!(first <= 10, "{first} publications in an hour");
    // The fight is over; the last word was theirs.
    romeo.run_hours(3, &mut server);
    assert!(server.list(&romeo.jid).contains(&romeo.id()), "we never come back");
    assert!(server.list(&romeo.jid).contains(&100));
}

fn three_publications_a_minute_at_most(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.advance(DAY);
    let published = fight(ns, &romeo, &mut server, 1_000, 59_000);
    assert!((1..=3).contains(&published), "{published} publications in a minute");
}

/// The limit holds for each chain: one that is closed, and one that is opened.
fn r19_the_largest_skip_limit_is_usable(ns: Namespace) {
    let mut server = Server::of(ns);
    let mut settings = config(ns, ROMEO, "trusted");
    settings.skipped_per_session = 2_000;
    settings.skipped_per_message = 2_000;
    let romeo = RustDevice::with(settings, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &hello);
    server.settle(&[&romeo, &juliet]);
    for _ in 0..900 {
        juliet.say(&romeo.jid, "x", &mut server);
    }
    let turn = romeo.say(&juliet.jid, "turn", &mut server);
    juliet.read(&romeo.jid, &turn);
    let mut last = juliet.say(&romeo.jid, "x", &mut server);
    for _ in 0..1_500 {
        last = juliet.say(&romeo.jid, "x", &mut server);
    }
    assert_eq!(
        text(&romeo.read(&juliet.jid, &last)),
        "x",
        "900 and 1,500 skipped, of 2,000 that are allowed"
    );
}

/// Whether a message that skips so many keys of the living chain, or of a closed and a new one, is read.
fn skips(ns: Namespace, in_closed: u32, in_new: u32) -> Status {
    let (mut server, romeo, juliet) = friends(ns);
    let mut last = juliet.say(&romeo.jid, "x", &mut server);
    if in_closed > 0 {
        for _ in 1..in_closed {
            juliet.say(&romeo.jid, "x", &mut server);
        }
        let turn = romeo.say(&juliet.jid, "turn", &mut server);
        juliet.read(&romeo.jid, &turn);
        last = juliet.say(&romeo.jid, "x", &mut server);
    }
    for _ in 0..in_new {
        last = juliet.say(&romeo.jid, "x", &mut server);
    }
    romeo.read(&juliet.jid, &last).error.status()
}

fn the_budget_of_chain_steps_is_exact(ns: Namespace) {
    for (in_closed, in_new, expected) in [
        (0, 1_000, Status::Ok),
        (0, 1_001, Status::TooManySkipped),
        (1_000, 0, Status::Ok),
        // What is missing at the end of a closed chain beyond the limit is given up.
        (1_001, 0, Status::Ok),
        (1_000, 1_000, Status::Ok),
    ] {
        assert_eq!(skips(ns, in_closed, in_new), expected, "{in_closed} and {in_new}");
    }
}

fn strangers_delete_no_pre_key_that_is_still_offered(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    // The server takes no further bundle for a while.
    let offered = server.bundle(&romeo);
    let mut taken = 0;
    for n in 0..400_usize {
        let mut stranger = RawDevice::of(ns, &format!("s{}@evil.example", n % 7), 9);
        let mut one = offered.clone();
        one.pre_keys = vec![offered.pre_keys[n % offered.pre_keys.len()].clone()];
        let mut session = stranger.initiate(&one);
        let message = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
        taken += usize::from(romeo.read(&stranger.jid, &message).error.status() == Status::Ok);
    }
    assert!((50..400).contains(&taken), "{taken}");
    // A friend takes any of them.
    romeo.manager().set_trust(&jid(JULIET), &RawDevice::of(ns, JULIET, 7).key(), "trusted").unwrap();
    for index in [0, 50, 99] {
        let mut juliet = RawDevice::of(ns, JULIET, 7);
        let mut one = offered.clone();
        one.pre_keys = vec![offered.pre_keys[index].clone()];
        let mut session = juliet.initiate(&one);
        let message = juliet.write(&mut session, (&romeo.jid, romeo.id()), "hello");
        assert_eq!(text(&romeo.read(&juliet.jid, &message)), "hello", "pre key {index}");
    }
}
