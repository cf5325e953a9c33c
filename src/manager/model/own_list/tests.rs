use super::*;
use crate::protocol::device_list::ListedDevice;
use crate::protocol::namespace::Namespace::Omemo2;
use Arrival::{Fetched, Pushed};

fn list(ids: &[u32]) -> DeviceList {
    DeviceList::of(Omemo2, ids.iter().copied().map(ListedDevice::new).collect())
}

fn publish(own: &mut OwnList, list: &DeviceList) {
    let (built_on, _) = own.newest().unwrap();
    assert!(own.publishing(list, built_on));
}

fn at(number: u64) -> Stamp {
    Stamp(number)
}

#[test]
fn an_older_list_never_replaces_a_newer_one() {
    let mut own = OwnList::default();
    assert!(own.see(&list(&[1]), at(2), Pushed));
    assert!(!own.see(&list(&[2]), at(1), Pushed));
    assert_eq!(own.seen(), Some(&list(&[1])));
}

#[test]
fn a_push_that_crosses_our_publication_is_built_upon_in_both_orders() {
    // The echo of ours comes behind the answer, before the answer, and not at all.
    for echo in [Some(5), Some(3), None] {
        let mut own = OwnList::default();
        own.see(&list(&[17]), at(1), Pushed);
        publish(&mut own, &list(&[17, 9]));
        assert!(own.see(&list(&[17, 18]), at(2), Pushed));
        if echo == Some(3) {
            assert!(!own.see(&list(&[17, 9]), at(3), Pushed));
        }
        assert!(!own.published(at(4)));
        if echo == Some(5) {
            assert!(!own.see(&list(&[17, 9]), at(5), Pushed));
        }
        assert!(own.must_redo());
        assert_eq!(own.seen(), Some(&list(&[17, 18])));
    }
}

#[test]
fn a_crossing_that_the_stream_interrupts_is_redone_where_ours_stands_on_the_server() {
    for (answered, broken, found, redo) in [
        (false, 1, &[17, 9][..], true),
        (true, 1, &[17, 9], true),
        (false, 2, &[17, 9], true),
        (false, 1, &[17, 18], false),
        (false, 1, &[18, 9], false),
    ] {
        let mut own = OwnList::default();
        own.see(&list(&[17]), at(1), Pushed);
        publish(&mut own, &list(&[17, 9]));
        own.see(&list(&[17, 18]), at(2), Pushed);
        if answered {
            own.published(at(3));
        }
        (0..broken).for_each(|_| own.new_stream());
        assert!(own.see(&list(found), at(4), Pushed));
        assert_eq!(own.must_redo(), redo, "{answered} {broken} {found:?}");
        let expected = if redo { list(&[17, 18]) } else { list(found) };
        assert_eq!(own.seen(), Some(&expected));
    }
}

#[test]
fn what_was_to_restore_a_crossing_is_published_again_if_the_stream_has_swallowed_it() {
    for (found, redo) in [(&[17, 9][..], true), (&[17, 18, 9], false), (&[18], false)] {
        let mut own = OwnList::default();
        own.see(&list(&[17]), at(1), Pushed);
        publish(&mut own, &list(&[17, 9]));
        own.see(&list(&[17, 18]), at(2), Pushed);
        own.published(at(3));
        publish(&mut own, &list(&[17, 18, 9]));
        own.new_stream();
        own.see(&list(found), at(4), Fetched);
        let expected = if redo { list(&[17, 18, 9]) } else { list(found) };
        assert_eq!((own.must_redo(), own.seen()), (redo, Some(&expected)));
    }
}

#[test]
fn a_list_is_published_only_from_the_newest_one() {
    let mut own = OwnList::default();
    own.see(&list(&[17]), at(1), Pushed);
    own.see(&list(&[17, 18]), at(2), Pushed);
    assert!(!own.publishing(&list(&[17, 9]), at(1)));
    assert!(own.publishing(&list(&[17, 18, 9]), at(2)));
}

#[test]
fn a_list_that_looks_like_an_old_one_of_ours_is_taken_as_it_is() {
    for stream_breaks in [false, true] {
        let mut own = OwnList::default();
        own.see(&list(&[17]), at(1), Pushed);
        publish(&mut own, &list(&[17, 9]));
        own.published(at(2));
        // 18 joins, and throws us off; we come back; then 17 takes 18 off.
        own.see(&list(&[17, 18, 9]), at(3), Pushed);
        own.see(&list(&[17, 18]), at(4), Pushed);
        publish(&mut own, &list(&[17, 18, 9]));
        if stream_breaks {
            own.new_stream();
        }
        assert!(own.see(&list(&[17, 9]), at(5), Pushed));
        assert_eq!(own.seen(), Some(&list(&[17, 9])));
        // In one stream it crossed our publication, and is made again; nobody is put back by it.
        assert!(!own.must_redo());
        own.published(at(6));
        assert_eq!((own.must_redo(), own.seen()), (!stream_breaks, Some(&list(&[17, 9]))));
    }
}

#[test]
fn our_own_list_that_comes_before_its_answer_is_taken() {
    let mut own = OwnList::default();
    own.see(&list(&[17]), at(1), Pushed);
    publish(&mut own, &list(&[17, 9]));
    assert!(own.see(&list(&[17, 9]), at(2), Pushed));
    assert!(own.published(at(3)) && !own.must_redo());
}

#[test]
fn a_push_behind_the_answer_counts() {
    let mut own = OwnList::default();
    own.see(&list(&[1]), at(1), Pushed);
    publish(&mut own, &list(&[1, 9]));
    assert!(own.published(at(2)));
    assert!(own.see(&list(&[1, 300]), at(3), Pushed));
    assert_eq!((own.seen(), own.must_redo()), (Some(&list(&[1, 300])), false));
}

#[test]
fn a_push_noted_behind_the_answer_but_taken_over_before_it_counts_too() {
    let mut own = OwnList::default();
    own.see(&list(&[1]), at(1), Pushed);
    publish(&mut own, &list(&[1, 9]));
    // The answer has stamp 2 and is applied late; the push has stamp 3.
    assert!(own.see(&list(&[1, 300]), at(3), Pushed));
    assert!(!own.published(at(2)));
    assert_eq!(own.seen(), Some(&list(&[1, 300])));
}

#[test]
fn a_push_across_a_publication_that_failed_is_restored_if_that_was_taken_all_the_same() {
    let mut own = OwnList::default();
    own.see(&list(&[17]), at(1), Pushed);
    publish(&mut own, &list(&[17, 9]));
    own.publication_failed();
    assert!(own.see(&list(&[17, 18]), at(2), Pushed));
    assert!(!own.see(&list(&[17, 9]), at(3), Pushed), "the server has taken ours behind it");
    assert_eq!((own.seen(), own.must_redo()), (Some(&list(&[17, 18])), true));
    // What is fetched behind the failure is what stands there.
    publish(&mut own, &list(&[17, 18, 9]));
    own.publication_failed();
    assert!(own.see(&list(&[17, 18]), at(4), Fetched));
    assert!(!own.must_redo());
}

#[test]
fn ours_comes_back_once_and_what_is_pushed_again_is_somebody_else_s() {
    let mut own = OwnList::default();
    own.see(&list(&[9]), at(1), Pushed);
    publish(&mut own, &list(&[9]));
    assert!(own.see(&list(&[9, 18]), at(2), Pushed));
    own.publication_failed();
    assert!(!own.see(&list(&[9]), at(3), Pushed) && !own.see(&list(&[9]), at(4), Fetched));
    assert!(own.must_redo() && own.see(&list(&[9]), at(5), Pushed) && !own.must_redo());
}

#[test]
fn the_push_of_the_publication_before_tells_nothing() {
    let mut own = OwnList::default();
    own.see(&list(&[17]), at(1), Pushed);
    publish(&mut own, &list(&[17, 9]));
    own.see(&list(&[18]), at(2), Pushed);
    assert!(!own.published(at(3)));
    publish(&mut own, &list(&[18, 9]));
    assert!(!own.see(&list(&[17, 9]), at(4), Pushed));
    assert!(own.published(at(5)));
    assert_eq!((own.seen(), own.must_redo()), (Some(&list(&[18, 9])), false));
}

#[test]
fn what_became_of_a_publication_that_failed_is_not_assumed() {
    let mut own = OwnList::default();
    own.see(&list(&[1]), at(1), Pushed);
    publish(&mut own, &list(&[1, 9]));
    own.publication_failed();
    assert_eq!(own.seen(), None);
}

#[test]
fn the_same_stamp_tells_nothing_new() {
    let mut own = OwnList::default();
    assert!(own.see(&list(&[1]), at(2), Pushed));
    assert!(!own.see(&list(&[2]), at(2), Fetched));
    assert_eq!(own.newest(), Some((at(2), list(&[1]))));
    publish(&mut own, &list(&[1, 9]));
    assert!(own.published(at(2)), "what was seen is not newer than the answer");
    assert_eq!(own.newest(), Some((at(2), list(&[1, 9]))));
    assert!(!own.published(at(3)), "an answer counts once");
    own.gone();
    assert!(own.seen().is_none());
    assert!(!own.publishing(&list(&[1]), at(2)));
}

#[test]
fn a_push_after_a_failed_publication_counts_as_crossing_and_a_fetch_does_not() {
    for arrival in [Pushed, Fetched] {
        let mut own = OwnList::default();
        own.see(&list(&[17]), at(1), Pushed);
        publish(&mut own, &list(&[17, 9]));
        own.publication_failed();
        own.publication_failed();
        assert!(own.see(&list(&[17, 18]), at(2), arrival));
        assert_eq!(own.must_redo(), arrival == Pushed);
    }
}
