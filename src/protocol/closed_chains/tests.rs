//! Pages of closed chains: what they remember, what they forget first, and which bytes they refuse.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::*;
use crate::test_support::Pages;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn key(number: u32) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

/// A chain of which these messages are missing.
fn chain(next: u32, missing: &[u32]) -> ChainRecord {
    let mut ranges = Ranges::default();
    missing.iter().for_each(|n| ranges.add_index(*n));
    ChainRecord::new(next, &ranges)
}

fn decrypted(record: &ChainRecord, end: u32) -> Vec<u32> {
    (0..end).filter(|n| record.is_decrypted(*n)).collect()
}

#[test]
fn a_record_knows_what_was_decrypted() {
    assert!(decrypted(&chain(0, &[]), 9).is_empty());
    assert_eq!(chain(5, &[]), ChainRecord { below: 5, above: Ranges::default() });
    assert_eq!(decrypted(&chain(5, &[]), 9), [0, 1, 2, 3, 4]);
    assert_eq!(decrypted(&chain(5, &[0, 3]), 9), [1, 2, 4]);
    let mut record = chain(5, &[0, 3]);
    record.add(3);
    record.add(3);
    assert_eq!(decrypted(&record, 9), [1, 2, 3, 4]);
    record.add(0);
    assert_eq!(record, chain(5, &[]));
    record.add(7);
    record.add(2);
    assert_eq!(decrypted(&record, 9), [0, 1, 2, 3, 4, 7]);
}

#[test]
fn more_ranges_than_fit_are_not_decrypted() {
    // Decrypted are 1, 3, 5, 7, 8, 10, 12, 13: the two of two messages and the first two of one are remembered.
    let record = chain(14, &[0, 2, 4, 6, 9, 11]);
    assert_eq!(decrypted(&record, 20), [1, 3, 7, 8, 12, 13]);
}

proptest! {
    #[test]
    fn nothing_is_taken_for_decrypted_that_was_not(
        next in 0_u32..40,
        missing in prop::collection::vec(0_u32..40, 0..12),
        late in prop::collection::vec(0_u32..45, 0..12),
    ) {
        let mut record = chain(next, &missing);
        let mut model: BTreeSet<u32> = (0..next).filter(|n| !missing.contains(n)).collect();
        let mut exact = true;
        for n in std::iter::once(None).chain(late.into_iter().map(Some)) {
            if let Some(n) = n {
                record.add(n);
                model.insert(n);
            }
            let known: BTreeSet<u32> = decrypted(&record, 50).into_iter().collect();
            prop_assert!(known.is_subset(&model));
            let ranges = model.iter().filter(|n| **n != 0 && !model.contains(&(**n - 1))).count();
            exact = exact && ranges <= limits::CLOSED_CHAIN_RANGES;
            if exact {
                prop_assert_eq!(&known, &model);
            }
            let numbers: Vec<u32> = record.to_numbers().collect();
            prop_assert_eq!(ChainRecord::from_numbers(&mut numbers.into_iter()), Some(record.clone()));
        }
    }

    #[test]
    fn bytes_of_chance_are_refused_or_read_as_they_are_written(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<usize>(),
        byte in any::<u8>(),
    ) {
        let _ = Page::decode(&bytes);
        let mut page = Page::default();
        for number in 0..4 {
            page.put(Tag::of(&key(number)), chain(20, &[3, number + 6, 15]), 64);
        }
        let mut bytes = page.encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(page) = Page::decode(&bytes) {
            prop_assert_eq!(&Page::decode(&page.encode()).unwrap(), &page);
        }
    }
}

#[test]
fn a_known_device_keeps_the_last_thousand_and_a_stranger_32() {
    for (quota, count) in [(Quota::Known, 1_000), (Quota::Stranger, 32)] {
        let mut pages = Pages::default();
        for number in 0..4_000 {
            pages.note(Some(&ChainEvent::Closed(key(number), chain(3, &[1]))), quota);
        }
        let remembered = |number: u32| pages.find(&key(number)).unwrap();
        for number in 4_000 - count..4_000 {
            assert_eq!(remembered(number), Some(chain(3, &[1])), "{number}");
        }
        assert_eq!(remembered(0), None);
        let most = if quota == Quota::Known { 2_048 } else { 32 };
        assert!((0..4_000).filter(|number| remembered(*number).is_some()).count() <= most);
        assert!(pages.0.keys().all(|number| super::pages().any(|page| page == *number)));
        assert!(pages.0.values().all(|bytes| bytes.len() <= 2_048));
    }
}

#[test]
fn a_page_has_at_most_two_kilobytes_also_when_each_chain_is_as_large_as_it_can_be() {
    let mut above = Ranges::default();
    (1..5).for_each(|n| above.add(n * 900_000_000..n * 900_000_000 + 600_000_000));
    let large = ChainRecord { below: 700_000_000, above };
    let mut page = Page::default();
    for number in 0..200 {
        page.put(Tag::of(&key(number)), large.clone(), limits::CLOSED_CHAINS_PER_PAGE);
        let bytes = page.encode();
        assert!(bytes.len() <= 2_048);
        assert_eq!(Page::decode(&bytes).unwrap(), page);
        assert_eq!(page.record(Tag::of(&key(number))), Some(&large));
    }
    assert!(page.0.len() >= 35, "{}", page.0.len());
}

/// A page of 128 chains that takes exactly as many bytes as a page may.
fn full_page() -> Page {
    let with_gap = |below: u32| chain(below + 2, &[below]);
    let mut page = Page((0..128).map(|number| (Tag::of(&key(number)), with_gap(1))).collect());
    for at in (0..4 * 128).map(|n| n % 128) {
        if page.encode().len() < 2_048 {
            // Seven bits more are a byte more.
            page.0[at].1 = with_gap((page.0[at].1.below << 7) | 1);
        }
    }
    page
}

#[test]
fn a_page_may_take_all_its_bytes() {
    let page = full_page();
    let bytes = page.encode();
    assert_eq!(bytes.len(), 2_048);
    assert_eq!(Page::decode(&bytes).unwrap(), page);
    let mut again = page.clone();
    let (tag, record) = page.0[127].clone();
    again.put(tag, record, limits::CLOSED_CHAINS_PER_PAGE);
    assert_eq!(again, page);
}

#[test]
fn all_pages_of_a_device_can_be_deleted() {
    let mut pages = Pages::default();
    for number in 0..300 {
        pages.note(Some(&ChainEvent::Closed(key(number), chain(1, &[]))), Quota::Known);
        pages.note(Some(&ChainEvent::Closed(key(number + 300), chain(1, &[]))), Quota::Stranger);
    }
    let written: Vec<u8> = pages.0.keys().copied().collect();
    assert_eq!(written, super::pages().collect::<Vec<_>>(), "300 chains come to each of 16 pages");
}

#[test]
fn a_late_message_is_noted_where_its_chain_is() {
    let mut pages = Pages::default();
    pages.note(Some(&ChainEvent::Closed(key(1), chain(4, &[2, 3]))), Quota::Stranger);
    // The client has named the JID since.
    pages.note(Some(&ChainEvent::Closed(key(2), chain(4, &[0]))), Quota::Known);
    pages.note(Some(&ChainEvent::Late(key(1), 3)), Quota::Known);
    pages.note(Some(&ChainEvent::Late(key(2), 0)), Quota::Known);
    assert_eq!(pages.find(&key(1)).unwrap(), Some(chain(4, &[2])));
    assert_eq!(pages.find(&key(2)).unwrap(), Some(chain(4, &[])));
    assert_eq!(pages.0.len(), 2);
    // Of a chain that is forgotten nothing is known but this.
    pages.note(Some(&ChainEvent::Late(key(3), 5)), Quota::Known);
    assert_eq!(decrypted(&pages.find(&key(3)).unwrap().unwrap(), 9), [5]);
    assert_eq!(pages.find(&key(4)).unwrap(), None);
}

#[test]
fn a_look_loads_two_pages_at_most_and_a_note_changes_one() {
    let mut pages = Pages::default();
    for number in 0..1_000 {
        pages.note(Some(&ChainEvent::Closed(key(number), chain(1, &[]))), Quota::Known);
    }
    for number in 900..1_100 {
        let mut loads = 0;
        let mut load = |number| {
            loads += 1;
            pages.load(number)
        };
        assert_eq!(find(&key(number), &mut load).unwrap().is_some(), number < 1_000);
        assert!(loads <= 2);
        loads = 0;
        let mut load = |number| {
            loads += 1;
            pages.load(number)
        };
        note(&ChainEvent::Late(key(number), 9), Quota::Known, &mut load).unwrap();
        assert!(loads <= 3);
    }
}

#[test]
fn pages_that_contradict_themselves_are_refused() {
    let read = |version, tags: &[u8], numbers: &[u32]| {
        let record = PageRecord { version, tags: tags.to_vec(), numbers: numbers.to_vec() };
        Page::decode(&record.encode_to_vec()).map(|page| page.0.len()).map_err(|error| error.status())
    };
    let two: Vec<u8> = (0..16).collect();
    assert_eq!(read(1, &two, &[3, 0, 0, 1, 1, 2]), Ok(2));
    assert_eq!(read(2, &two, &[3, 0, 0, 1, 1, 2]), Err(Status::StorageVersion));
    for (version, tags, numbers) in [
        (0, two.as_slice(), [3, 0, 0, 1, 1, 2].as_slice()), // no version
        (1, &two[..15], &[3, 0, 0, 1, 1, 2]),               // half a hash
        (1, &[], &[]),                                      // nothing
        (1, &two, &[3, 0]),                                 // numbers for one
        (1, &two, &[3, 0, 0, 1, 1]),                        // half a range
        (1, &two, &[3, 0, 0, 0, 1]),                        // a number too many
        (1, &[9; 16], &[3, 0, 4, 0]),                       // a chain twice
        (1, &two, &[3, 0, 0, 1, 1, 0]),                     // an empty range
        (1, &two, &[3, 0, 0, 1, 0, 2]),                     // a range that begins where everything ends
        (1, &two, &[3, 0, 5, 2, 1, 1, 0, 2]),               // ranges that touch
        (1, &two, &[3, 0, 0, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), // five ranges
        (1, &two, &[3, 0, u32::MAX, 1, 1, 1]),              // beyond the largest index
        (1, &two, &[3, 0, 9, u32::MAX]),                    // a number of ranges out of all proportion
    ] {
        assert_eq!(read(version, tags, numbers), Err(Status::StorageCorrupt), "{numbers:?}");
    }
    let many: Vec<u8> = (0..129_u64).flat_map(u64::to_be_bytes).collect();
    assert_eq!(read(1, &many[8..], &[1, 0].repeat(128)), Ok(128));
    assert_eq!(read(1, &many, &[1, 0].repeat(129)), Err(Status::StorageCorrupt));
    // What is longer than a page is refused before it is decoded.
    let mut long = Page(vec![(Tag([1; 8]), chain(1, &[]))]).encode();
    long.resize(2_048, 0);
    assert_eq!(Page::decode(&[long, vec![0]].concat()).unwrap_err().status(), Status::StorageCorrupt);
}
