//! The ready-made trust policies, on both faces of the library: whose keys are trusted without a question, about whose the
//! user is asked, and what stays of it.

use crate::support::world::device::{Device, Known, Options, Policy, settle};
use crate::support::world::raw::RawDevice;
use crate::support::world::storage::FaultyStorage;
use crate::support::{Answer, JULIET, Kind, ROMEO, TYBALT, World};
use Policy::{Ask, Btbv, Tofu};
use omemo::error::Status;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy::{All, Now, Wait};
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::namespace::Namespace;
use std::sync::Arc;

in_both_namespaces_and_faces! {
    the_first_keys_are_trusted_and_it_is_told_once,
    ask_asks_about_every_key,
    a_later_key_is_asked_about_by_tofu_and_trusted_by_btbv,
    once_the_user_has_decided_both_ask,
    what_is_distrusted_gets_nothing,
    decisions_outlive_a_restart,
    another_policy_reads_the_levels_of_the_one_before,
    own_devices_are_judged_like_others,
    a_device_that_joins_an_old_account_is_not_its_first,
    a_key_that_only_a_message_shows_does_not_count,
    a_key_in_conflict_is_not_trusted,
    an_accepted_key_is_a_later_one,
    ten_devices_are_trusted_at_once,
    in_a_room_each_jid_is_judged_by_itself,
    under_now_a_policy_decides_and_nobody_is_asked,
    under_all_a_policy_decides_too,
    what_the_client_says_meanwhile_counts_more,
    a_message_that_reaches_nobody_trusts_nobody,
    a_message_that_is_not_stored_trusts_nobody,
}

const BLIND: &str = "blindly-trusted";

fn namespace(ns: &'static str) -> Namespace {
    Namespace::from_uri(ns).unwrap()
}

/// A device with this policy, on this storage.
fn stored<D: Device>(world: &World, policy: Policy, storage: &Arc<FaultyStorage>) -> D {
    let options = Options {
        default_level: "undecided",
        policy: Some(policy),
        storage: storage.clone(),
        ..Options::of(world)
    };
    let device = D::open(world, ROMEO, options);
    device.connect().ok();
    device.go_on();
    device
}

fn with_policy<D: Device>(world: &World, policy: Policy) -> D {
    stored(world, policy, &Arc::default())
}

/// A new device of a JID, of which everybody here has heard.
fn joins<D: Device>(world: &World, jid: &str, present: &[&D]) -> D {
    let device = D::online(world, jid);
    settle(present);
    device
}

/// Whom a policy has trusted since the last call.
fn blindly_trusted<D: Device>(romeo: &D) -> Vec<String> {
    told(romeo, NoticeKind::BlindlyTrusted)
}

fn told<D: Device>(romeo: &D, kind: NoticeKind) -> Vec<String> {
    let news = romeo.news().into_iter().filter(|news| news.kind == kind);
    news.map(|news| news.jid.unwrap()).collect()
}

#[track_caller]
fn known<D: Device>(romeo: &D, jid: &str, id: u32) -> Known {
    romeo.find(jid, id).expect("the device is known")
}

#[track_caller]
fn level<D: Device>(romeo: &D, jid: &str, id: u32) -> (String, CoreTrust) {
    let known = known(romeo, jid, id);
    (known.level, known.core_trust)
}

#[track_caller]
fn is_blind<D: Device>(romeo: &D, jid: &str, id: u32) -> bool {
    level(romeo, jid, id) == (BLIND.to_owned(), CoreTrust::Trusted)
}

/// Encrypts, which must need no user.
#[track_caller]
fn says_unasked<D: Device>(romeo: &D, to: &[&str]) -> Vec<u32> {
    let report = romeo.encrypt(to, "hello", Wait).ok();
    assert!(romeo.prompts().is_empty());
    served(&report)
}

fn served(report: &crate::support::world::device::Report) -> Vec<u32> {
    let rows = report.rows.iter().filter(|row| row.status == Status::Ok && row.device != 0);
    let mut served: Vec<u32> = rows.map(|row| row.device).collect();
    served.sort_unstable();
    served
}

/// Encrypts; the user is asked about these devices and gives them a level.
#[track_caller]
fn says_asked<D: Device>(romeo: &D, to: &[&str], about: &[(&str, u32)], level: &str) -> Vec<u32> {
    let operation = romeo.begin_encrypt(to, "hello", Wait).unwrap();
    romeo.go_on();
    let prompts = romeo.prompts();
    assert_eq!(prompts.len(), 1, "one question");
    let asked: Vec<(&str, u32)> = prompts[0].devices.iter().map(|(jid, id)| (jid.as_str(), *id)).collect();
    assert_eq!(asked, about);
    for index in 0..about.len() {
        assert_eq!(romeo.decide(prompts[0].request_id, index, level), Status::Ok);
    }
    assert_eq!(romeo.give(prompts[0].request_id, &Answer::Done), Status::Ok);
    let report = romeo.finish(operation);
    assert!(romeo.prompts().is_empty());
    served(&report)
}

fn sorted<const N: usize>(mut ids: [u32; N]) -> Vec<u32> {
    ids.sort_unstable();
    ids.to_vec()
}

fn the_first_keys_are_trusted_and_it_is_told_once<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let (juliet, tybalt) = (D::online(&world, JULIET), D::online(&world, TYBALT));
        let romeo: D = with_policy(&world, policy);
        for jid in [JULIET, TYBALT] {
            romeo.refresh(jid).ok();
        }
        assert_eq!(level(&romeo, JULIET, juliet.own_id()), ("undecided".to_owned(), CoreTrust::Undecided));
        assert_eq!(blindly_trusted(&romeo), [""; 0], "nothing is encrypted yet");
        assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
        assert_eq!(blindly_trusted(&romeo), [JULIET]);
        assert!(is_blind(&romeo, JULIET, juliet.own_id()));
        assert!(!is_blind(&romeo, TYBALT, tybalt.own_id()), "of others nothing follows");
        romeo.say(JULIET, "and again");
        assert_eq!(juliet.texts(), ["and again"]);
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
    }
}

fn ask_asks_about_every_key<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let juliet = D::online(&world, JULIET);
    let romeo: D = with_policy(&world, Ask);
    let first = juliet.own_id();
    assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, first)], "trusted"), [first]);
    let tablet = joins(&world, JULIET, &[&romeo]).own_id();
    // A level that a policy would give is none where there is no such policy.
    assert!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], BLIND) == [first]);
    assert_eq!(level(&romeo, JULIET, tablet), (BLIND.to_owned(), CoreTrust::Undecided));
    assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], "trusted"), sorted([first, tablet]));
    assert_eq!(blindly_trusted(&romeo), [""; 0]);
}

fn a_later_key_is_asked_about_by_tofu_and_trusted_by_btbv<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let juliet = D::online(&world, JULIET);
        let romeo: D = with_policy(&world, policy);
        let first = juliet.own_id();
        assert_eq!(says_unasked(&romeo, &[JULIET]), [first]);
        let tablet = joins(&world, JULIET, &[&romeo]).own_id();
        blindly_trusted(&romeo);
        if policy == Btbv {
            assert_eq!(says_unasked(&romeo, &[JULIET]), sorted([first, tablet]));
            assert_eq!(blindly_trusted(&romeo), [JULIET]);
            continue;
        }
        // Left open, it is asked about again.
        assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], "undecided"), [first]);
        assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], "trusted"), sorted([first, tablet]));
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
        assert_eq!(level(&romeo, JULIET, tablet).0, "trusted");
        assert!(is_blind(&romeo, JULIET, first), "that was not asked about");
    }
}

fn once_the_user_has_decided_both_ask<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        for decided in ["trusted", "distrusted"] {
            let world = World::speaking(ns, 1);
            let juliet = D::online(&world, JULIET);
            let romeo: D = with_policy(&world, policy);
            let first = juliet.own_id();
            says_unasked(&romeo, &[JULIET]);
            assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), decided), Status::Ok);
            let tablet = joins(&world, JULIET, &[&romeo]).own_id();
            let both = if decided == "trusted" { sorted([first, tablet]) } else { vec![tablet] };
            assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], "trusted"), both);
            // A decision that is taken back is asked for again: there is one about another key.
            assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), "undecided"), Status::Ok);
            assert!(says_asked(&romeo, &[JULIET], &[(JULIET, first)], "trusted").contains(&first));
        }
    }
}

fn what_is_distrusted_gets_nothing<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let (juliet, tablet) = (D::online(&world, JULIET), D::online(&world, JULIET));
        let romeo: D = with_policy(&world, policy);
        assert_eq!(says_unasked(&romeo, &[JULIET]), sorted([juliet.own_id(), tablet.own_id()]));
        assert_eq!(romeo.set_trust(JULIET, &tablet.own_key(), "distrusted"), Status::Ok);
        let report = romeo.encrypt(&[JULIET], "hello", Wait).ok();
        assert_eq!(served(&report), [juliet.own_id()]);
        assert_eq!(report.row(JULIET, tablet.own_id()), Some(Status::Distrusted));
        tablet.say(ROMEO, "a word");
        assert!(romeo.receive().iter().any(|read| read.status == Status::SenderDistrusted));
    }
}

fn decisions_outlive_a_restart<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let juliet = D::online(&world, JULIET);
        let mut romeo: D = with_policy(&world, policy);
        says_unasked(&romeo, &[JULIET]);
        romeo.restart();
        romeo.connect().ok();
        romeo.news();
        assert!(is_blind(&romeo, JULIET, juliet.own_id()));
        assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
    }
}

fn another_policy_reads_the_levels_of_the_one_before<D: Device>(ns: &'static str) {
    // What is made of the first key, and whether a second one is asked about.
    for (before, then, first_is_trusted, second_is_trusted) in [
        (Btbv, Ask, false, false),
        (Tofu, Ask, false, false),
        (Btbv, Tofu, true, false),
        (Tofu, Btbv, true, true),
    ] {
        let (world, storage) = (World::speaking(ns, 1), Arc::default());
        let juliet = D::online(&world, JULIET);
        let first = juliet.own_id();
        let romeo: D = stored(&world, before, &storage);
        assert_eq!(says_unasked(&romeo, &[JULIET]), [first]);
        drop(romeo);
        let romeo: D = stored(&world, then, &storage);
        let trust = if first_is_trusted { CoreTrust::Trusted } else { CoreTrust::Undecided };
        assert_eq!(level(&romeo, JULIET, first), (BLIND.to_owned(), trust));
        if !first_is_trusted {
            assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, first)], "trusted"), [first]);
        }
        let tablet = joins(&world, JULIET, &[&romeo]).own_id();
        let both = sorted([first, tablet]);
        if second_is_trusted {
            assert_eq!(says_unasked(&romeo, &[JULIET]), both);
        } else {
            assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, tablet)], "trusted"), both);
        }
    }
}

fn own_devices_are_judged_like_others<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let (juliet, desktop) = (D::online(&world, JULIET), D::online(&world, ROMEO));
        let romeo: D = with_policy(&world, policy);
        let (first, second) = (juliet.own_id(), desktop.own_id());
        assert_eq!(says_unasked(&romeo, &[JULIET]), sorted([first, second]));
        assert_eq!(blindly_trusted(&romeo), [JULIET, ROMEO]);
        assert!(is_blind(&romeo, ROMEO, second));
        let third = joins(&world, ROMEO, &[&romeo, &desktop]).own_id();
        let all = sorted([first, second, third]);
        match policy {
            Btbv => assert_eq!(says_unasked(&romeo, &[JULIET]), all),
            _ => assert_eq!(says_asked(&romeo, &[JULIET], &[(ROMEO, third)], "trusted"), all),
        }
    }
}

fn a_device_that_joins_an_old_account_is_not_its_first<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let juliet = D::online(&world, JULIET);
        let romeo: D = with_policy(&world, policy);
        assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
        assert_eq!(blindly_trusted(&romeo), [JULIET], "this device's own key is no news");
        let second = joins(&world, ROMEO, &[&romeo]).own_id();
        let both = sorted([juliet.own_id(), second]);
        match policy {
            Btbv => assert_eq!(says_unasked(&romeo, &[JULIET]), both),
            _ => assert_eq!(says_asked(&romeo, &[JULIET], &[(ROMEO, second)], "trusted"), both),
        }
    }
}

fn a_key_that_only_a_message_shows_does_not_count<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let romeo: D = with_policy(&world, policy);
        // Somebody whom a room relays in Juliet's name: no list names the device, and it has no bundle.
        let mut relayed = RawDevice::of(namespace(ns), JULIET, 77);
        relayed.begin(&world, ROMEO, romeo.own_id());
        let read = romeo.read(JULIET, &relayed.say((ROMEO, romeo.own_id()), "it is me"));
        assert_eq!((read.status, read.core_trust), (Status::Ok, CoreTrust::Undecided));
        let juliet = joins(&world, JULIET, &[&romeo]);
        assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
        assert!(is_blind(&romeo, JULIET, juliet.own_id()));
        assert_eq!(level(&romeo, JULIET, 77), ("undecided".to_owned(), CoreTrust::Undecided));
        // Listed, but with a bundle that cannot be had: nobody vouches for the key.
        relayed.announce_list(&world);
        settle(&[&romeo, &juliet]);
        let report = romeo.encrypt(&[JULIET], "hello", Wait).ok();
        assert_eq!((served(&report), romeo.prompts().len()), (vec![juliet.own_id()], 0));
        assert_eq!(level(&romeo, JULIET, 77), ("undecided".to_owned(), CoreTrust::Undecided));
    }
}

fn a_key_in_conflict_is_not_trusted<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let romeo: D = with_policy(&world, policy);
        let devices = [RawDevice::of(namespace(ns), JULIET, 5), RawDevice::of(namespace(ns), JULIET, 6)];
        devices.iter().for_each(|device| device.announce(&world));
        settle(&[&romeo]);
        romeo.refresh(JULIET).ok();
        // Its key is known, nobody has decided about it, and then its bundle shows another one.
        let other = RawDevice::of(namespace(ns), JULIET, 6);
        other.announce_bundle(&world);
        let conflict = || romeo.find(JULIET, 6).unwrap().conflicting_key.is_some();
        let _ = romeo.begin_replace_sessions(Some(JULIET), 6).map(|operation| romeo.finish(operation));
        assert!(conflict());
        let report = romeo.encrypt(&[JULIET], "hello", Wait).ok();
        assert_eq!((served(&report), report.row(JULIET, 6)), (vec![5], Some(Status::IdentityChanged)));
        assert!(romeo.prompts().is_empty());
        assert_eq!(level(&romeo, JULIET, 6).0, "undecided");
        // Accepted, it is one like others.
        assert_eq!(romeo.accept_identity(JULIET, 6, &other.key()), Status::Ok);
        match policy {
            Btbv => assert_eq!(says_unasked(&romeo, &[JULIET]), [5, 6]),
            _ => assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, 6)], "trusted"), [5, 6]),
        }
    }
}

fn an_accepted_key_is_a_later_one<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let romeo: D = with_policy(&world, policy);
        RawDevice::of(namespace(ns), JULIET, 6).announce(&world);
        assert_eq!(says_unasked(&romeo, &[JULIET]), [6]);
        let other = RawDevice::of(namespace(ns), JULIET, 6);
        other.announce_bundle(&world);
        romeo.replace_sessions(Some(JULIET), 6);
        assert!(is_blind(&romeo, JULIET, 6) && known(&romeo, JULIET, 6).conflicting_key.is_some());
        assert_eq!(romeo.encrypt(&[JULIET], "hello", Wait).status, Status::NoEligibleDevices);
        assert_eq!(romeo.accept_identity(JULIET, 6, &other.key()), Status::Ok);
        assert_eq!(level(&romeo, JULIET, 6).0, "undecided");
        match policy {
            Btbv => assert_eq!(says_unasked(&romeo, &[JULIET]), [6]),
            _ => assert_eq!(says_asked(&romeo, &[JULIET], &[(JULIET, 6)], "trusted"), [6]),
        }
    }
}

fn ten_devices_are_trusted_at_once<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        for id in 1..=10 {
            RawDevice::of(namespace(ns), JULIET, id).announce(&world);
        }
        let romeo: D = with_policy(&world, policy);
        assert_eq!(says_unasked(&romeo, &[JULIET]), (1..=10).collect::<Vec<_>>());
        assert_eq!(blindly_trusted(&romeo), [JULIET]);
        assert!((1..=10).all(|id| is_blind(&romeo, JULIET, id)));
    }
}

fn in_a_room_each_jid_is_judged_by_itself<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let (juliet, tybalt) = (D::online(&world, JULIET), D::online(&world, TYBALT));
        let romeo: D = with_policy(&world, policy);
        says_unasked(&romeo, &[JULIET]);
        romeo.set_trust(JULIET, &juliet.own_key(), "trusted");
        let tablet = joins(&world, JULIET, &[&romeo]).own_id();
        romeo.news();
        // The dialog is closed: nothing is encrypted, and nobody is trusted for it.
        let room = [TYBALT, JULIET];
        let operation = romeo.begin_encrypt(&room, "hello", Wait).unwrap();
        romeo.go_on();
        let prompt = romeo.prompts().remove(0);
        assert_eq!(romeo.give(prompt.request_id, &Answer::Reject(5)), Status::Ok);
        assert_eq!(romeo.finish(operation).status, Status::TrustDecisionFailed);
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
        assert!(!is_blind(&romeo, TYBALT, tybalt.own_id()));

        let all = sorted([juliet.own_id(), tablet, tybalt.own_id()]);
        assert_eq!(says_asked(&romeo, &room, &[(JULIET, tablet)], "trusted"), all);
        assert_eq!(blindly_trusted(&romeo), [TYBALT]);
        assert!(is_blind(&romeo, TYBALT, tybalt.own_id()));
    }
}

fn under_now_a_policy_decides_and_nobody_is_asked<D: Device>(ns: &'static str) {
    for policy in [Ask, Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let romeo: D = with_policy(&world, policy);
        let (juliet, tablet) = (D::online(&world, JULIET), D::online(&world, JULIET));
        juliet.refresh(ROMEO).ok();
        juliet.say(ROMEO, "hello");
        settle(&[&romeo]);
        romeo.refresh(JULIET).ok();
        romeo.news();
        // Both keys are known, and there is a session with one of the two devices.
        let report = romeo.encrypt(&[JULIET], "hello", Now);
        assert!(romeo.prompts().is_empty());
        if policy == Ask {
            assert_eq!(report.status, Status::NoEligibleDevices);
            assert_eq!(report.row(JULIET, juliet.own_id()), Some(Status::Undecided));
            assert_eq!(told(&romeo, NoticeKind::Undecided), [JULIET]);
            continue;
        }
        assert_eq!(served(&report.ok()), [juliet.own_id()]);
        assert_eq!(blindly_trusted(&romeo), [JULIET]);
        assert!(is_blind(&romeo, JULIET, tablet.own_id()), "all that were known are the first ones");

        let phone = joins(&world, JULIET, &[&romeo]);
        phone.say(ROMEO, "hello");
        settle(&[&romeo]);
        romeo.refresh(JULIET).ok();
        romeo.news();
        let report = romeo.encrypt(&[JULIET], "hello", Now).ok();
        let (expected, undecided) =
            if policy == Btbv { (Status::Ok, vec![]) } else { (Status::Undecided, vec![JULIET]) };
        assert_eq!(report.row(JULIET, phone.own_id()), Some(expected));
        assert_eq!(told(&romeo, NoticeKind::Undecided), undecided);
        assert!(romeo.prompts().is_empty());
    }
}

fn under_all_a_policy_decides_too<D: Device>(ns: &'static str) {
    for policy in [Tofu, Btbv] {
        let world = World::speaking(ns, 1);
        let (juliet, desktop) = (D::online(&world, JULIET), D::online(&world, ROMEO));
        let romeo: D = with_policy(&world, policy);
        let report = romeo.encrypt(&[JULIET], "hello", All).ok();
        assert_eq!(served(&report), sorted([juliet.own_id(), desktop.own_id()]));
        assert_eq!(blindly_trusted(&romeo), [JULIET, ROMEO]);
        romeo.set_trust(JULIET, &juliet.own_key(), "trusted");
        joins(&world, JULIET, &[&romeo]);
        romeo.news();
        let operation = romeo.begin_encrypt(&[JULIET], "hello", All).unwrap();
        romeo.go_on();
        let prompt = romeo.prompts().remove(0);
        romeo.give(prompt.request_id, &Answer::Done);
        assert_eq!(romeo.finish(operation).status, Status::StillUndecided);
        assert_eq!(told(&romeo, NoticeKind::Undecided), [""; 0], "the user was asked");
    }
}

fn what_the_client_says_meanwhile_counts_more<D: Device>(ns: &'static str) {
    for (said, expected) in [("distrusted", Status::NoEligibleDevices), ("trusted", Status::Ok)] {
        let world = World::speaking(ns, 1);
        let juliet = D::online(&world, JULIET);
        let romeo: D = with_policy(&world, Btbv);
        romeo.refresh(JULIET).ok();
        romeo.news();
        // The bundle to begin the session on is on its way.
        world.set_latency(JULIET, 1_000);
        let operation = romeo.begin_encrypt(&[JULIET], "hello", Wait).unwrap();
        romeo.go_on();
        assert!(romeo.report(operation).is_none());
        assert_eq!(level(&romeo, JULIET, juliet.own_id()).0, "undecided", "nothing is encrypted yet");
        assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), said), Status::Ok);
        assert_eq!(romeo.finish(operation).status, expected);
        assert_eq!(level(&romeo, JULIET, juliet.own_id()).0, said);
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
    }
}

fn a_message_that_reaches_nobody_trusts_nobody<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let juliet = D::online(&world, JULIET);
    let romeo: D = with_policy(&world, Tofu);
    // Tybalt has no devices.
    let report = romeo.encrypt(&[JULIET, TYBALT], "hello", Wait);
    assert_eq!(report.status, Status::NoEligibleDevices);
    assert!(world.count(Kind::FetchBundle) > 0);
    assert_eq!(blindly_trusted(&romeo), [""; 0]);
    assert_eq!(level(&romeo, JULIET, juliet.own_id()).0, "undecided");
    assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
    assert_eq!(blindly_trusted(&romeo), [JULIET]);
}

fn a_message_that_is_not_stored_trusts_nobody<D: Device>(ns: &'static str) {
    for commit in 1..20 {
        let world = World::speaking(ns, 1);
        let juliet = D::online(&world, JULIET);
        let romeo: D = with_policy(&world, Btbv);
        romeo.storage().fail_commit(commit, false);
        let report = romeo.encrypt(&[JULIET], "hello", Wait);
        if report.status == Status::Ok {
            assert_eq!(blindly_trusted(&romeo), [JULIET]);
            assert!(commit > 2, "the first commits are of lists and bundles, the last one is the message's");
            return;
        }
        assert_eq!(report.status, Status::Storage);
        assert_eq!(blindly_trusted(&romeo), [""; 0]);
        let known = romeo.find(JULIET, juliet.own_id());
        assert!(known.is_none_or(|known| known.level == "undecided"));
        assert_eq!(says_unasked(&romeo, &[JULIET]), [juliet.own_id()]);
        assert_eq!(blindly_trusted(&romeo), [JULIET]);
    }
    panic!("no commit is the last one");
}
