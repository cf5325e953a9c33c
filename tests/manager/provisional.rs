//! A key that only its own messages vouch for: what it may, and what it can neither do nor shut out.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_relayed_key_is_not_shown_as_trusted,
    a_provisional_key_judged_trusted_is_not_shown_as_trusted,
    a_distrusted_provisional_key_stays_distrusted,
    a_key_that_the_bundle_confirmed_is_shown_as_trusted,
    a_key_that_the_bundle_contradicted_stops_decrypting,
    a_replaced_key_stops_decrypting,
    a_message_of_a_replaced_key_repairs_nothing,
    an_archive_of_a_replaced_key_is_silent,
    a_confirmed_key_that_a_bundle_contradicts_keeps_its_sessions_for_reading,
    a_key_that_a_bundle_contradicts_gets_no_empty_message,
    relayed_key_exchanges_do_not_shut_out_a_contacts_list,
    relayed_key_exchanges_do_not_shut_out_our_own_list,
    shutting_a_list_out_takes_no_five_minutes_of_pre_keys,
    offline_the_seventeenth_provisional_device_is_refused,
    online_the_oldest_provisional_device_makes_room,
    provisional_devices_on_the_list_do_not_count,
    two_provisional_keys_of_one_device_are_both_read,
    the_bundle_is_looked_at_when_two_keys_contradict_each_other,
    what_identity_changed_asks_for_can_be_done,
    a_forged_key_does_not_silence_the_real_change,
    a_key_confirmed_for_somebody_else_is_not_opened_in_this_name,
    one_person_with_two_accounts_is_served_on_both,
    a_copied_bundle_delays_nobody,
    a_refused_list_does_not_end_connected,
    nothing_is_encrypted_to_a_provisional_key,
    the_gathered_bundle_is_compared_with_the_judged_key,
    a_gathered_bundle_is_of_no_use_once_another_key_is_accepted,
}

fn relay(
    ns: Namespace,
    name: &str,
    device: u32,
    to: &RustDevice,
    server: &Server,
    content: &str,
) -> RawDevice {
    let mut mallory = RawDevice::of(ns, name, device);
    let (_, message) = mallory.greet(to, server, content);
    let read = to.read(&mallory.jid, &message);
    assert_eq!(read.error.status(), Status::Ok);
    mallory
}

fn a_relayed_key_is_not_shown_as_trusted(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    let read = juliet.read(&mallory.jid, &relayed);
    assert_eq!(text(&read), "I am Romeo");
    assert_eq!(read.core_trust, CoreTrust::Undecided);
    // Nor the next message, nor after a restart, nor in the list of devices.
    juliet.restart();
    let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "more");
    assert_eq!(juliet.read(&mallory.jid, &more).core_trust, CoreTrust::Undecided);
    assert_eq!(juliet.device(&mallory.jid, MALLORY).unwrap().core_trust, CoreTrust::Undecided);
}

fn a_provisional_key_judged_trusted_is_not_shown_as_trusted(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = careful(ns, JULIET, &mut server);
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    juliet.read(&mallory.jid, &relayed);
    juliet.manager().set_trust(&mallory.jid, &as_told(ns, mallory.key()), "trusted").unwrap();
    let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "more");
    let read = juliet.read(&mallory.jid, &more);
    assert_eq!(text(&read), "more");
    assert_eq!(read.core_trust, CoreTrust::Undecided);
}

fn a_distrusted_provisional_key_stays_distrusted(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    juliet.read(&mallory.jid, &relayed);
    juliet.manager().set_trust(&mallory.jid, &as_told(ns, mallory.key()), "distrusted").unwrap();
    let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "more");
    let read = juliet.refuse(&mallory.jid, &more, Status::SenderDistrusted);
    assert_eq!(read.core_trust, CoreTrust::Distrusted);
}

fn a_key_that_the_bundle_confirmed_is_shown_as_trusted(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 7);
    let (mut session, hello) = romeo.greet(&juliet, &server, "hello");
    assert_eq!(juliet.read(&romeo.jid, &hello).core_trust, CoreTrust::Undecided);
    romeo.publish(&mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let more = romeo.write(&mut session, (&juliet.jid, juliet.id()), "more");
    assert_eq!(juliet.read(&romeo.jid, &more).core_trust, CoreTrust::Trusted);
}

fn a_key_that_the_bundle_contradicted_stops_decrypting(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let romeo = RawDevice::of(ns, ROMEO, MALLORY);
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    juliet.read(&romeo.jid, &relayed);
    romeo.publish(&mut server);
    juliet.refresh(&romeo.jid, &mut server);
    assert_eq!(juliet.device(&romeo.jid, MALLORY).unwrap().identity_key, Some(romeo.key()));
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 1);
    for day in 0..3 {
        juliet.advance(DAY);
        let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "your password?");
        for more in [inner(&more), more] {
            let read = juliet.refuse(&romeo.jid, &more, Status::PublicDataInconsistency);
            assert_eq!(read.plaintext, None, "day {day}");
        }
    }
    let before = juliet.sent.borrow().len();
    juliet.run_later(&mut server);
    assert_eq!(juliet.sent.borrow().len(), before, "a given-up session is repaired");
}

fn a_replaced_key_stops_decrypting(ns: Namespace) {
    let (mut server, juliet, mut old) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let (mut session, hello) = old.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&old.jid, &hello)), "hello");
    let mut new = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut new, &mut server);
    juliet.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    let more = old.write(&mut session, (&juliet.jid, juliet.id()), "more");
    juliet.refuse(&old.jid, &inner(&more), Status::PublicDataInconsistency);
    juliet.restart();
    juliet.refuse(&old.jid, &inner(&more), Status::PublicDataInconsistency);
}

fn a_confirmed_key_that_a_bundle_contradicts_keeps_its_sessions_for_reading(ns: Namespace) {
    let (mut server, juliet, mut old) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let (mut session, hello) = old.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&old.jid, &hello)), "hello");
    // A server that wants to separate them shows another key.
    let mut other = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut other, &mut server);
    let more = old.write(&mut session, (&juliet.jid, juliet.id()), "more");
    let read = juliet.read(&old.jid, &inner(&more));
    assert_eq!((text(&read), read.core_trust), ("more".to_owned(), CoreTrust::Trusted));
    let outcome = juliet.encrypt(&[&old.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(!serves(&outcome, 7));
    assert_eq!(row(&outcome, &old.jid, 7), Some(Status::IdentityChanged));
}

/// Many key exchanges in one name, each of another device; how many were taken.
fn flood(ns: Namespace, name: &str, count: u32, to: &RustDevice, server: &mut Server) -> usize {
    let mut taken = 0;
    for number in 0..count {
        let mut mallory = RawDevice::of(ns, name, 1_000_000 + number);
        let (_, relayed) = mallory.greet(to, server, "x");
        taken += usize::from(to.read(&mallory.jid, &relayed).error.status() == Status::Ok);
        to.advance(21_000);
        to.run(server);
        server.mail.clear();
    }
    taken
}

fn relayed_key_exchanges_do_not_shut_out_a_contacts_list(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    flood(ns, JULIET, 1_010, &romeo, &mut server);
    // Juliet gets a new phone.
    let updated = romeo.manager().update_device_list(&juliet.jid, &list(ns, &[juliet.id(), 77]));
    assert!(updated.is_ok(), "her list is refused from now on: {:?}", updated.err().map(|e| e.status()));
    romeo.step();
    assert!(romeo.is_active(&juliet.jid, 77));
    let known = romeo.manager().devices(Some(&juliet.jid)).unwrap().len();
    assert!(known <= 2 + 16, "{known} devices are kept");
    both_ways(&romeo, &juliet, &mut server);
}

fn relayed_key_exchanges_do_not_shut_out_our_own_list(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    flood(ns, ROMEO, 1_010, &romeo, &mut server);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[romeo.id(), 77]));
    let updated = romeo.manager().update_device_list(&romeo.jid, &list(ns, &[romeo.id(), 77]));
    assert!(updated.is_ok(), "{:?}", updated.err().map(|e| e.status()));
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.restart();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    assert!(romeo.is_active(&romeo.jid, 77));
    both_ways(&romeo, &juliet, &mut server);
}

fn shutting_a_list_out_takes_no_five_minutes_of_pre_keys(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut number = 1_000_000;
    for _ in 0..15 {
        for index in 0..server.bundle(&romeo).pre_keys.len() {
            number += 1;
            let mut mallory = RawDevice::of(ns, JULIET, number);
            let (_, relayed) = take_pre_key(&mut mallory, &romeo, &server, index);
            romeo.read(&mallory.jid, &relayed);
        }
        romeo.advance(21_000);
        romeo.run(&mut server);
        server.mail.clear();
    }
    let updated = romeo.manager().update_device_list(&juliet.jid, &list(ns, &[juliet.id(), 77]));
    assert!(updated.is_ok(), "{:?}", updated.err().map(|e| e.status()));
}

fn offline_the_seventeenth_provisional_device_is_refused(ns: Namespace) {
    for name in [JULIET, ROMEO, "stranger@evil.example"] {
        let (server, romeo, _juliet) = friends(ns);
        romeo.manager().disconnected().unwrap();
        romeo.step();
        for number in 0..16 {
            let mut mallory = RawDevice::of(ns, name, 1_000_000 + number);
            let (_, message) = take_pre_key(&mut mallory, &romeo, &server, number as usize);
            assert_eq!(romeo.read(&mallory.jid, &message).error.status(), Status::Ok, "{name} {number}");
        }
        let mut mallory = RawDevice::of(ns, name, 2_000_000);
        let (_, message) = take_pre_key(&mut mallory, &romeo, &server, 20);
        romeo.refuse(&mallory.jid, &message, Status::Limit);
    }
}

fn online_the_oldest_provisional_device_makes_room(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.refresh(&juliet.jid, &mut server);
    for number in 0..17 {
        let mut mallory = RawDevice::of(ns, JULIET, 1_000_000 + number);
        let (_, message) = take_pre_key(&mut mallory, &romeo, &server, number as usize);
        let first = romeo.read(&mallory.jid, &message).error.status();
        romeo.run(&mut server);
        server.mail.clear();
        if first == Status::Limit {
            // Her list had to be looked at before.
            assert_eq!(number, 16);
            assert_eq!(text(&romeo.read(&mallory.jid, &message)), "x");
        }
        romeo.advance(60_000);
    }
    romeo.run(&mut server);
    let known = |id| romeo.device(&juliet.jid, id).is_some();
    assert!(known(1_000_016), "the newest was not taken");
    assert!(!known(1_000_000), "the oldest is still there");
    assert!(known(juliet.id()) && romeo.is_active(&juliet.jid, juliet.id()));
    both_ways(&romeo, &juliet, &mut server);
}

fn provisional_devices_on_the_list_do_not_count(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = jid(JULIET);
    // Twenty devices are on her list; nobody has looked at their bundles.
    let ids: Vec<u32> = (1..=20).collect();
    push(&romeo, &juliet, &ids);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    for id in ids {
        let mut device = RawDevice::of(ns, JULIET, id);
        let (_, message) = take_pre_key(&mut device, &romeo, &server, id as usize);
        assert_eq!(text(&romeo.read(&juliet, &message)), "x", "{id}");
    }
}

fn two_provisional_keys_of_one_device_are_both_read(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    juliet.manager().disconnected().unwrap();
    juliet.step();
    let (mut romeo, mut mallory) = (RawDevice::of(ns, ROMEO, 7), RawDevice::of(ns, ROMEO, 7));
    let (mut his, first) = romeo.greet(&juliet, &server, "first");
    let (mut others, second) = mallory.greet(&juliet, &server, "second");
    assert_eq!(text(&juliet.read(&romeo.jid, &first)), "first");
    assert_eq!(text(&juliet.read(&romeo.jid, &second)), "second");
    for n in 0..3 {
        let more = romeo.write(&mut his, (&juliet.jid, juliet.id()), "his");
        let read = juliet.read(&romeo.jid, &more);
        assert_eq!((text(&read), read.core_trust), ("his".to_owned(), CoreTrust::Undecided), "{n}");
        let more = mallory.write(&mut others, (&juliet.jid, juliet.id()), "other");
        let read = juliet.read(&romeo.jid, &more);
        assert_eq!((text(&read), read.core_trust), ("other".to_owned(), CoreTrust::Undecided), "{n}");
        juliet.restart();
    }
}

fn the_bundle_is_looked_at_when_two_keys_contradict_each_other(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let (mut romeo, mut mallory) = (RawDevice::of(ns, ROMEO, 7), RawDevice::of(ns, ROMEO, 7));
    romeo.publish(&mut server);
    let (_, second) = mallory.greet(&juliet, &server, "second");
    juliet.read(&romeo.jid, &second);
    let (mut his, first) = romeo.greet(&juliet, &server, "first");
    juliet.read(&romeo.jid, &first);
    juliet.run(&mut server);
    assert_eq!(juliet.device(&romeo.jid, 7).unwrap().identity_key, Some(romeo.key()));
    let more = romeo.write(&mut his, (&juliet.jid, juliet.id()), "his");
    let read = juliet.read(&romeo.jid, &more);
    assert_eq!((text(&read), read.core_trust), ("his".to_owned(), CoreTrust::Trusted));
}

fn what_identity_changed_asks_for_can_be_done(ns: Namespace) {
    let (mut server, juliet, _) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let mut new = RawDevice::of(ns, ROMEO, 7);
    let hello = show_other_key(&juliet, &mut new, &mut server);
    // For the message, and when the key can be accepted.
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 2);
    // Without any further call of the client's.
    assert_eq!(juliet.device(&new.jid, 7).unwrap().conflicting_key, Some(new.key()));
    juliet.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    assert_eq!(text(&juliet.read(&new.jid, &hello)), "from the new one");
    juliet.run(&mut server);
    assert!(is_served(&juliet, &new.jid, 7, &mut server));
}

fn a_key_confirmed_for_somebody_else_is_not_opened_in_this_name(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // Mallory has Juliet's message relayed under a name of his own.
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    romeo.refresh(&tybalt.jid, &mut server);
    let (_, hello) = tybalt.greet(&romeo, &server, "hello");
    let mallory = jid("mallory@evil.example");
    let pre_keys = |client: &RustDevice| {
        client.storage.all().into_iter().filter(|(key, _)| key.contains("pre")).collect::<Vec<_>>()
    };
    let before = pre_keys(&romeo);
    romeo.refuse(&mallory, &hello, Status::PublicDataInconsistency);
    assert!(pre_keys(&romeo) == before, "a pre key was used up");
    assert_eq!(text(&romeo.read(&tybalt.jid, &hello)), "hello");
    drop(juliet);
}

fn one_person_with_two_accounts_is_served_on_both(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let work = RawDevice::of(ns, "tybalt@work.example", 5);
    let mut home = work.twin(ns, TYBALT, 5);
    work.publish(&mut server);
    romeo.refresh(&work.jid, &mut server);
    home.publish(&mut server);
    let (_, hello) = home.greet(&romeo, &server, "hello");
    romeo.refuse(&home.jid, &hello, Status::PublicDataInconsistency);
    // His list and bundle are looked at by themselves.
    romeo.run(&mut server);
    assert_eq!(text(&romeo.read(&home.jid, &hello)), "hello");
    assert!(is_served(&romeo, &home.jid, 5, &mut server));
    assert!(is_served(&romeo, &work.jid, 5, &mut server));
    drop(juliet);
}

fn a_copied_bundle_delays_nobody(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // Mallory publishes a copy of Tybalt's bundle as his own before Tybalt was ever heard of.
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let mallory = jid("mallory@evil.example");
    server.lists.insert((ns, mallory.clone()), list(ns, &[5]));
    server.bundles.insert((ns, mallory.clone(), 5), tybalt.bundle());
    romeo.refresh(&mallory, &mut server);
    tybalt.publish(&mut server);
    assert!(is_served(&romeo, &tybalt.jid, 5, &mut server));
    let (_, hello) = tybalt.greet(&romeo, &server, "hello");
    assert_eq!(text(&romeo.read(&tybalt.jid, &hello)), "hello");
    drop(juliet);
}

fn a_refused_list_does_not_end_connected(ns: Namespace) {
    let (mut server, romeo, _juliet) = friends(ns);
    let own = romeo.id();
    for rejected in [Reason::Failed, Reason::Timeout] {
        romeo.manager().disconnected().unwrap();
        let operation = romeo.begin_connect();
        let of_own = is_list_of(&romeo.jid);
        romeo.run_with(|request| match of_own(request) {
            true => Some(Answer::Rejected(rejected)),
            false => Some(server.answer(&romeo, request)),
        });
        let outcome = romeo.take(operation);
        let statuses: Vec<_> = outcome.rows.iter().map(|row| row.error.status()).collect();
        assert!(statuses.iter().any(|status| *status != Status::Ok), "it is a row: {statuses:?}");
        assert_eq!(romeo.id(), own);
    }
}

fn nothing_is_encrypted_to_a_provisional_key(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mallory = relay(ns, ROMEO, MALLORY, &juliet, &server, "I am Romeo");
    // Its id is on Romeo's list; its bundle cannot be had.
    push(&juliet, &mallory.jid, &[MALLORY]);
    server.lists.insert((ns, mallory.jid.clone()), list(ns, &[MALLORY]));
    let outcome = juliet.encrypt(&[&mallory.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(!serves(&outcome, MALLORY), "{:?}", outcome.rows);
    let outcome = juliet.encrypt(&[&mallory.jid], "text", EncryptPolicy::Now, &mut server);
    assert!(!serves(&outcome, MALLORY), "{:?}", outcome.rows);
}

fn the_gathered_bundle_is_compared_with_the_judged_key(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let judged = RawDevice::of(ns, JULIET, 7);
    judged.publish(&mut server);
    romeo.refresh(&judged.jid, &mut server);
    romeo.manager().set_trust(&judged.jid, &judged.key(), "trusted").unwrap();
    // Her bundle is asked for, and shows another key.
    let other = RawDevice::of(ns, JULIET, 7);
    romeo.advance(HOUR);
    let operation = romeo.begin_encrypt(&[&judged.jid], "text", EncryptPolicy::Wait);
    let of_juliet = is_bundle_of(&judged.jid);
    romeo.run_with(|request| match request {
        request if is_prompt(request) => None,
        request if of_juliet(request) => Some(Answer::Bundle(other.bundle())),
        request => Some(server.answer(&romeo, request)),
    });
    let outcome = romeo.take(operation);
    assert!(!serves(&outcome, 7), "a session was begun with a key that nobody judged");
    // It changes between two encryptions that gather at the same time.
    other.publish(&mut server);
    let outcome = romeo.encrypt(&[&judged.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(!serves(&outcome, 7));
}

fn a_message_of_a_replaced_key_repairs_nothing(ns: Namespace) {
    let (mut server, juliet, mut old) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let (mut session, hello) = old.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&old.jid, &hello)), "hello");
    juliet.run(&mut server);
    let mut new = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut new, &mut server);
    juliet.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    juliet.run(&mut server);
    let sent = juliet.count_asked(is_send);
    // The same position, the next ones, and one behind a gap: none of them is a session that was lost.
    let more: Vec<_> = (0..4).map(|_| old.write(&mut session, (&juliet.jid, juliet.id()), "more")).collect();
    for message in [&more[0], &more[0], &more[3], &more[1]] {
        juliet.refuse(&old.jid, &inner(message), Status::PublicDataInconsistency);
        juliet.run_later(&mut server);
    }
    assert_eq!(juliet.count_asked(is_send), sent, "it writes to a device that asked for nothing");
}

fn a_key_that_a_bundle_contradicts_gets_no_empty_message(ns: Namespace) {
    let (mut server, juliet, mut old) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let (mut session, hello) = old.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&old.jid, &hello)), "hello");
    // The answer to its key exchange still waits when the other key is shown.
    juliet.manager().disconnected().unwrap();
    juliet.step();
    juliet.connect(&mut server);
    let mut other = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut other, &mut server);
    let sent = juliet.count_asked(is_send);
    // A long monologue is answered otherwise.
    for n in 0..60 {
        let more = old.write(&mut session, (&juliet.jid, juliet.id()), &n.to_string());
        assert_eq!(text(&juliet.read(&old.jid, &inner(&more))), n.to_string());
    }
    juliet.run_later(&mut server);
    assert_eq!(juliet.count_asked(is_send), sent, "it is written to before its key is accepted");
}

fn a_forged_key_does_not_silence_the_real_change(ns: Namespace) {
    let (mut server, romeo, old) = with_raw(ns, ROMEO, (JULIET, 7));
    romeo.say(&old.jid, "hello", &mut server);
    // Somebody forges a key exchange in her name; her bundle shows her own key.
    let (_, forged) = RawDevice::of(ns, JULIET, 7).greet(&romeo, &server, "forged");
    romeo.refuse(&old.jid, &forged, Status::PublicDataInconsistency);
    romeo.run(&mut server);
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 1);
    // Minutes later she sets her device up anew.
    romeo.advance(120_000);
    let mut new = RawDevice::of(ns, JULIET, 7);
    show_other_key(&romeo, &mut new, &mut server);
    // Messages are told of once; that the key can be accepted is told in any case.
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 2);
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
}

fn an_archive_of_a_replaced_key_is_silent(ns: Namespace) {
    let (mut server, juliet, mut old) = with_known_raw(ns, JULIET, (ROMEO, 7));
    let (mut session, hello) = old.greet(&juliet, &server, "hello");
    let to = (juliet.jid.clone(), juliet.id());
    let mut archive = vec![hello];
    archive.extend((0..3).map(|n| old.write(&mut session, (&to.0, to.1), &n.to_string())));
    archive.extend((0..3).map(|n| inner(&old.write(&mut session, (&to.0, to.1), &n.to_string()))));
    for message in &archive {
        text(&juliet.read(&old.jid, message));
    }
    juliet.run(&mut server);
    let mut new = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut new, &mut server);
    juliet.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    juliet.run(&mut server);
    let notices = juliet.count_notices(NoticeKind::IdentityChanged);
    for _ in 0..2 {
        for message in &archive {
            juliet.refuse(&old.jid, message, Status::Duplicate);
            juliet.run(&mut server);
        }
        juliet.restart();
        juliet.connect(&mut server);
    }
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), notices, "an old archive alarms");
}

fn a_gathered_bundle_is_of_no_use_once_another_key_is_accepted(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (old, paris) = (RawDevice::of(ns, JULIET, 7), RawDevice::of(ns, PARIS, 5));
    for device in [&old, &paris] {
        device.publish(&mut server);
        romeo.refresh(&device.jid, &mut server);
    }
    // Her bundle is here already when she sets her device up anew; that of another recipient is still on its way.
    let operation = romeo.begin_encrypt(&[&old.jid, &paris.jid], "text", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_bundle_of(&paris.jid));
    assert_eq!(open.len(), 1);
    let mut new = RawDevice::of(ns, JULIET, 7);
    show_other_key(&romeo, &mut new, &mut server);
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    romeo.manager().answer(open[0].0, server.answer(&romeo, &open[0].1)).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(row(&outcome, &old.jid, 7), Some(Status::IdentityChanged), "{:?}", outcome.rows);
    assert!(!serves(&outcome, 7), "it is encrypted to the key of before");
}
