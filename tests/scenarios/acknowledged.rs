//! Acknowledged delivery, on both faces: what was decrypted is kept until the client has it safe, whatever happens to client,
//! sender and store in between.

use crate::support::world::device::{Device, Options, Read, settle};
use crate::support::world::storage::{Fault, Records};
use crate::support::{JULIET, NS_2, ROMEO, World};
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::config::Delivery;

in_both_namespaces_and_faces! {
    content_comes_again_until_it_is_acknowledged,
    without_the_option_nothing_is_kept,
    all_that_was_not_acknowledged_is_listed_in_order,
    what_differs_in_anything_is_a_duplicate,
    a_copy_in_a_carbon_or_an_archive_is_the_same_content,
    a_sender_who_is_distrusted_by_now_is_withheld,
    a_session_that_was_replaced_and_a_device_that_left_change_nothing,
    what_was_kept_stays_when_the_option_is_switched_off,
    a_purged_jid_takes_its_content_along,
    a_store_that_fails_moves_nothing,
    receipts_are_never_given_again,
    no_plaintext_is_left_after_it_was_acknowledged,
    nothing_but_a_part_of_the_index_is_written_again,
}

const ROOM: &str = "balcony@chat.capulet.lit";

fn acknowledged(world: &World) -> Options {
    Options { delivery: Delivery::Acknowledged, ..Options::of(world) }
}

/// Romeo, and Juliet who acknowledges; they have talked.
fn friends<D: Device>(ns: &'static str) -> (World, D, D) {
    let world = World::speaking(ns, 1);
    let romeo = D::online(&world, ROMEO);
    let juliet = D::open(&world, JULIET, acknowledged(&world));
    juliet.connect().ok();
    for (from, to) in [(&romeo, &juliet), (&juliet, &romeo), (&romeo, &juliet)] {
        from.say(to.name(), "hello");
        for read in to.receive() {
            accept(to, &read);
        }
        for _ in 0..3 {
            settle(&[&romeo, &juliet]);
        }
    }
    forget_all(&juliet);
    (world, romeo, juliet)
}

fn accept<D: Device>(device: &D, read: &Read) {
    if read.receipt != 0 {
        assert_eq!(device.acknowledge(read.receipt), Status::Ok);
    }
}

/// Acknowledges everything: answers are content in the legacy namespace.
fn forget_all<D: Device>(device: &D) {
    while let Ok(read) = device.unacknowledged(0) {
        accept(device, &read);
    }
}

/// Encrypts without any answer in between.
fn sealed<D: Device>(romeo: &D, text: &str) -> String {
    romeo.seal(JULIET, text)
}

fn kept_texts<D: Device>(device: &D) -> Vec<(u64, Option<String>)> {
    let mut all: Vec<(u64, Option<String>)> = Vec::new();
    loop {
        match device.unacknowledged(all.last().map_or(0, |(receipt, _)| *receipt)) {
            Ok(read) => all.push((read.receipt, read.text)),
            Err(status) => {
                assert_eq!(status, Status::NotFound);
                return all;
            }
        }
    }
}

/// The records of kept content, its index among them.
fn kept_records<D: Device>(device: &D) -> Records {
    device.storage().all().into_iter().filter(|(key, _)| key.starts_with("v1/kept/")).collect()
}

/// As it was handed out first, but that it is told to come again.
fn again(first: &Read) -> Read {
    Read { repeated: true, ..first.clone() }
}

fn content_comes_again_until_it_is_acknowledged<D: Device>(ns: &'static str) {
    let (_world, romeo, mut juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let before = juliet.storage().commits();
    let first = juliet.read(ROMEO, &stanza);
    assert_eq!((first.status, first.action, first.repeated), (Status::Ok, Action::Show, false));
    assert_eq!(first.text.as_deref(), Some("but soft"));
    assert!(first.receipt > 0);
    assert_eq!(juliet.storage().commits(), before + 1, "content and step are one commit");
    for restarts in [false, true, true] {
        if restarts {
            // The client crashed before it had stored the text.
            juliet.restart();
        }
        let (commits, records) = (juliet.storage().commits(), juliet.storage().all());
        assert_eq!(juliet.read(ROMEO, &stanza), again(&first));
        assert_eq!(juliet.unacknowledged(0), Ok(again(&first)));
        assert_eq!(juliet.unacknowledged(first.receipt), Err(Status::NotFound));
        assert_eq!(juliet.storage().commits(), commits, "nothing is committed");
        assert!(juliet.storage().all() == records);
    }
    assert_eq!(juliet.acknowledge(first.receipt), Status::Ok);
    for receipt in [first.receipt, 0, first.receipt + 1, u64::MAX] {
        assert_eq!(juliet.acknowledge(receipt), Status::NotFound);
    }
    assert_eq!(juliet.unacknowledged(0), Err(Status::NotFound));
    let after = juliet.read(ROMEO, &stanza);
    assert_eq!((after.status, after.action, after.receipt), (Status::Duplicate, Action::Hide, 0));
    assert!(!after.repeated);
    juliet.connect().ok();
    romeo.say(JULIET, "what light");
    assert_eq!(juliet.texts(), ["what light"]);
}

fn without_the_option_nothing_is_kept<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    let stanza = sealed(&romeo, "but soft");
    let first = juliet.read(ROMEO, &stanza);
    assert_eq!((first.action, first.receipt, first.repeated), (Action::Show, 0, false));
    assert_eq!(juliet.unacknowledged(0), Err(Status::NotFound));
    assert_eq!(juliet.acknowledge(1), Status::NotFound);
    assert_eq!(juliet.read(ROMEO, &stanza).status, Status::Duplicate);
    assert!(!juliet.storage().all().keys().any(|key| key.starts_with("v1/kept")));
}

fn all_that_was_not_acknowledged_is_listed_in_order<D: Device>(ns: &'static str) {
    let (_world, romeo, mut juliet) = friends::<D>(ns);
    let texts: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    let stanzas: Vec<String> = texts.iter().map(|text| sealed(&romeo, text)).collect();
    // They come in another order.
    let receipts: Vec<u64> = stanzas.iter().rev().map(|xml| juliet.read(ROMEO, xml).receipt).collect();
    assert!(receipts.is_sorted_by(|a, b| a < b));
    let listed = |of: &[u64]| -> Vec<(u64, Option<String>)> {
        let text = |receipt: &u64| texts[19 - receipts.iter().position(|r| r == receipt).unwrap()].clone();
        of.iter().map(|receipt| (*receipt, Some(text(receipt)))).collect()
    };
    assert_eq!(kept_texts(&juliet), listed(&receipts));
    let (gone, left): (Vec<u64>, Vec<u64>) = receipts.iter().partition(|receipt| *receipt % 3 == 0);
    for receipt in gone {
        assert_eq!(juliet.acknowledge(receipt), Status::Ok);
    }
    juliet.restart();
    assert_eq!(kept_texts(&juliet), listed(&left));
    // While the list is walked, what was given last is acknowledged.
    for receipt in &left {
        assert_eq!(juliet.unacknowledged(0).unwrap().receipt, *receipt);
        assert_eq!(juliet.acknowledge(*receipt), Status::Ok);
    }
    assert_eq!(kept_texts(&juliet), []);
    assert!(kept_records(&juliet).is_empty());
}

fn what_differs_in_anything_is_a_duplicate<D: Device>(ns: &'static str) {
    let (_world, romeo, juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let first = juliet.read(ROMEO, &stanza);
    let in_room = juliet.decrypt(Some(ROMEO), Some(ROOM), &stanza).unwrap();
    assert_eq!((in_room.status, in_room.text, in_room.receipt), (Status::Duplicate, None, 0));
    let start = stanza.find("<payload>").unwrap() + "<payload>".len();
    let mut other = stanza.clone();
    let digit = if &stanza[start..=start] == "A" { "B" } else { "A" };
    other.replace_range(start..=start, digit);
    let forged = juliet.read(ROMEO, &other);
    assert_eq!((forged.status, forged.text, forged.receipt), (Status::Duplicate, None, 0));
    let somebody = juliet.read("tybalt@capulet.lit", &stanza);
    assert!(somebody.status != Status::Ok && somebody.text.is_none() && somebody.receipt == 0);
    assert_eq!(juliet.read(ROMEO, &stanza), again(&first));
}

fn a_copy_in_a_carbon_or_an_archive_is_the_same_content<D: Device>(ns: &'static str) {
    let (_world, romeo, juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let first = juliet.read(ROMEO, &stanza);
    // Around the same <encrypted/> there stands what a server adds.
    let start = stanza.find("<encrypted").unwrap();
    let end = stanza.rfind("</encrypted>").unwrap() + "</encrypted>".len();
    let delayed = format!(
        "<message xmlns='jabber:client' type='chat'>{}<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>",
        &stanza[start..end]
    );
    assert_eq!(juliet.read(ROMEO, &delayed), again(&first));
    // A room that hides its members gives the name of the one whose key it is, and later that name with the message.
    let stanza = sealed(&romeo, "in a room");
    let first = juliet.decrypt(None, Some(ROOM), &stanza).unwrap();
    assert_eq!((first.text.as_deref(), first.room.as_deref()), (Some("in a room"), Some(ROOM)));
    assert_eq!(first.from.as_deref(), Some(ROMEO));
    assert_eq!(juliet.decrypt(Some(ROMEO), Some(ROOM), &stanza), Ok(again(&first)));
    assert_eq!(juliet.decrypt(None, Some(ROOM), &stanza), Ok(again(&first)));
    assert_eq!(juliet.unacknowledged(first.receipt - 1), Ok(again(&first)));
}

fn a_sender_who_is_distrusted_by_now_is_withheld<D: Device>(ns: &'static str) {
    let (_world, romeo, mut juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let first = juliet.read(ROMEO, &stanza);
    let key = first.key.expect("the key is known");
    assert_eq!(juliet.set_trust(ROMEO, &key, "distrusted"), Status::Ok);
    for read in [juliet.read(ROMEO, &stanza), juliet.unacknowledged(0).unwrap()] {
        assert_eq!((read.status, read.action), (Status::SenderDistrusted, Action::Warn));
        assert_eq!((read.text, read.key, read.core_trust), (None, None, CoreTrust::Distrusted));
        assert_eq!((read.receipt, read.from.as_deref()), (first.receipt, Some(ROMEO)));
    }
    juliet.restart();
    assert_eq!(juliet.set_trust(ROMEO, &key, "undecided"), Status::Ok);
    let read = juliet.read(ROMEO, &stanza);
    assert_eq!((read.text.as_deref(), read.core_trust), (Some("but soft"), CoreTrust::Undecided));
    assert_eq!(juliet.set_trust(ROMEO, &key, "distrusted"), Status::Ok);
    assert_eq!(juliet.acknowledge(first.receipt), Status::Ok);
    assert_eq!(kept_texts(&juliet), []);
}

fn a_session_that_was_replaced_and_a_device_that_left_change_nothing<D: Device>(ns: &'static str) {
    let (world, romeo, juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let first = juliet.read(ROMEO, &stanza);
    juliet.replace_sessions(Some(ROMEO), 0).ok();
    assert_eq!(juliet.read(ROMEO, &stanza), again(&first));
    let list = if ns == NS_2 { "<devices" } else { "<list" };
    let list = format!("{list} xmlns='{}'/>", world.namespace());
    assert_eq!(juliet.update_device_list(ROMEO, &list), Status::Ok);
    assert_eq!(juliet.find(ROMEO, romeo.own_id()).map(|known| known.active), Some(false));
    assert_eq!(juliet.read(ROMEO, &stanza), again(&first));
    assert_eq!(juliet.unacknowledged(0), Ok(again(&first)));
}

fn what_was_kept_stays_when_the_option_is_switched_off<D: Device>(ns: &'static str) {
    let (world, romeo, juliet) = friends::<D>(ns);
    let (stanza, next) = (sealed(&romeo, "but soft"), sealed(&romeo, "what light"));
    let first = juliet.read(ROMEO, &stanza);
    let storage = juliet.storage().clone();
    drop(juliet);
    let juliet = D::open(&world, JULIET, Options { storage, ..Options::of(&world) });
    assert_eq!(juliet.read(ROMEO, &stanza), again(&first));
    let direct = juliet.read(ROMEO, &next);
    assert_eq!((direct.text.as_deref(), direct.receipt), (Some("what light"), 0));
    assert_eq!(kept_texts(&juliet), [(first.receipt, Some("but soft".to_owned()))]);
    assert_eq!(juliet.acknowledge(first.receipt), Status::Ok);
    assert_eq!(kept_texts(&juliet), []);
}

fn a_purged_jid_takes_its_content_along<D: Device>(ns: &'static str) {
    let (world, romeo, juliet) = friends::<D>(ns);
    let nurse = D::online(&world, "nurse@capulet.lit");
    let kept = juliet.read("nurse@capulet.lit", &nurse.seal(JULIET, "madam"));
    let first = juliet.read(ROMEO, &sealed(&romeo, "but soft"));
    assert_eq!(juliet.purge_jid(ROMEO), Status::Ok);
    assert_eq!(juliet.acknowledge(first.receipt), Status::NotFound);
    assert_eq!(kept_texts(&juliet), [(kept.receipt, Some("madam".to_owned()))]);
    assert_eq!(kept_records(&juliet).len(), 2, "one content and its part of the index");
}

fn a_store_that_fails_moves_nothing<D: Device>(ns: &'static str) {
    let (_world, romeo, mut juliet) = friends::<D>(ns);
    let stanza = sealed(&romeo, "but soft");
    let all = juliet.storage().all();
    juliet.storage().fail(1, Fault::Nothing);
    assert_eq!(juliet.decrypt(Some(ROMEO), None, &stanza), Err(Status::Storage));
    assert!(juliet.storage().all() == all);
    assert_eq!(kept_texts(&juliet), []);
    // The commit happened, although it was said to have failed: without what is kept the text would be lost.
    juliet.storage().fail(1, Fault::Everything);
    assert_eq!(juliet.decrypt(Some(ROMEO), None, &stanza), Err(Status::Storage));
    let first = juliet.read(ROMEO, &stanza);
    assert_eq!((first.text.as_deref(), first.repeated), (Some("but soft"), true));
    juliet.storage().fail(1, Fault::Nothing);
    assert_eq!(juliet.acknowledge(first.receipt), Status::Storage);
    assert_eq!(juliet.unacknowledged(0), Ok(first.clone()));
    juliet.storage().fail(1, Fault::Everything);
    assert_eq!(juliet.acknowledge(first.receipt), Status::Storage);
    assert_eq!(juliet.acknowledge(first.receipt), Status::NotFound);
    assert_eq!(juliet.read(ROMEO, &stanza).status, Status::Duplicate);
    juliet.restart();
    assert_eq!(kept_texts(&juliet), []);
}

fn receipts_are_never_given_again<D: Device>(ns: &'static str) {
    let (world, romeo, mut juliet) = friends::<D>(ns);
    let stanzas: Vec<String> = (0..6).map(|n| sealed(&romeo, &format!("text {n}"))).collect();
    let copy = juliet.storage().all();
    let mut seen = vec![juliet.read(ROMEO, &stanzas[0]).receipt];
    for xml in &stanzas[1..4] {
        juliet.acknowledge(seen[seen.len() - 1]);
        juliet.restart();
        // The clock was set back.
        world.clock().step_wall(-3_600_000);
        seen.push(juliet.read(ROMEO, xml).receipt);
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    // A store that is an older copy gives others than those that this client has seen, once its clock has passed them.
    world.advance(4 * 3_600_000);
    juliet.restart_on(copy);
    for xml in &stanzas {
        let receipt = juliet.read(ROMEO, xml).receipt;
        assert!(receipt > 0 && !seen.contains(&receipt));
    }
}

fn no_plaintext_is_left_after_it_was_acknowledged<D: Device>(ns: &'static str) {
    let (_world, romeo, juliet) = friends::<D>(ns);
    let text = "a thousand times good night";
    let holds = |records: &Records| {
        records.values().any(|value| value.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    let first = juliet.read(ROMEO, &sealed(&romeo, text));
    assert!(holds(&juliet.storage().all()), "it is kept");
    juliet.acknowledge(first.receipt);
    assert!(!holds(&juliet.storage().all()));
    assert!(kept_records(&juliet).is_empty());
}

fn nothing_but_a_part_of_the_index_is_written_again<D: Device>(ns: &'static str) {
    let (_world, romeo, juliet) = friends::<D>(ns);
    let mut written = Vec::new();
    for n in 0..300 {
        let stanza = sealed(&romeo, "again and again");
        let before = juliet.storage().written.load(std::sync::atomic::Ordering::SeqCst);
        assert!(juliet.read(ROMEO, &stanza).receipt > 0, "message {n}");
        written.push(juliet.storage().written.load(std::sync::atomic::Ordering::SeqCst) - before);
    }
    let most = written[1..].iter().max().unwrap();
    assert!(*most < 4_096, "a message writes {most} bytes: {written:?}");
}
