//! With other implementations: sessions that we replace, stores of ours that were set back, archives that we read, signed pre
//! keys that were rotated.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO};
use crate::support::peer::Heard;
use crate::support::{Kind, abi, edit, settle};

with_peers![
    session_replaced_by_us,
    our_store_set_back,
    answers_of_a_catch_up,
    signed_pre_key_rotated_by_us,
    key_exchange_after_two_rotations_of_ours,
];
with_python![signed_pre_key_rotated_by_them, key_exchange_after_two_rotations_of_theirs];

/// Our device begins new sessions with all of theirs, which read the empty message.
fn replace(run: &mut InteropRun<'_>) {
    let devices = run.theirs.len();
    let ours = &run.ours[0];
    let op = ours.start_replace_sessions(Some(JULIET), 0).expect("replace_sessions");
    let outcome = ours.finish(op);
    assert_eq!(outcome.status, abi::OK, "{}", outcome.text);
    assert_eq!(outcome.rows.len(), devices);
    run.quiet();
}

fn session_replaced_by_us(config: PeerConfig) {
    config.each("session replaced by us", 1, 2, |run| {
        run.acquaint();
        run.they_say(0, "on the old session");
        let late = run.they_seal("late", 1).remove(0);
        replace(run);
        run.we_say(0, "on the new one");
        run.they_say(0, "on the new one");
        // The old one still reads what was on its way.
        run.we_read(0, &late);
        run.they_say(1, "on the new one");
        replace(run);
        run.they_say(0, "after another one");
        run.we_say(0, "after another one");
    });
}

fn our_store_set_back(config: PeerConfig) {
    config.with_records().each("our store set back", 1, 1, |run| {
        run.acquaint();
        run.we_say(0, "before");
        let before = run.ours[0].store.all();
        for round in 0..3 {
            run.they_say(0, &format!("theirs {round}"));
            run.we_say(0, &format!("ours {round}"));
        }
        run.ours[0].store.put_back(before);
        run.ours[0].restart();
        run.ours[0].connect().ok();
        run.ours[0].refresh(JULIET).ok();
        replace(run);
        for round in 0..3 {
            run.they_say(0, &format!("theirs again {round}"));
            run.we_say(0, &format!("ours again {round}"));
        }
    });
}

fn answers_of_a_catch_up(config: PeerConfig) {
    config.each("answers of a catch-up", 1, 1, |run| {
        let ours = &run.ours[0];
        assert_eq!(ours.start_catch_up(), abi::OK);
        for number in 0..5 {
            run.they_say(0, &format!("{number}"));
        }
        let (sent, ours) = (run.world.count(Kind::SendMessage), &run.ours[0]);
        assert_eq!(sent, 0, "an answer before the end");
        let outcome = ours.finish(ours.finish_catch_up().expect("catch_up_end"));
        assert_eq!(outcome.status, abi::OK, "{}", outcome.text);
        assert_eq!(run.world.count(Kind::SendMessage), 1);
        run.quiet();
        run.they_say(0, "after the answer");
        run.we_say(0, "welcome");
    });
}

/// Days pass for our devices, which do what is due.
fn pass_days(run: &mut InteropRun<'_>, days: usize) {
    for _ in 0..days {
        for _ in 0..48 {
            run.world.advance(1_800_000);
            settle(&run.ours.iter().collect::<Vec<_>>());
        }
        run.quiet();
    }
}

/// The signed pre keys of a device, of each namespace that it speaks.
fn signed_pre_keys(run: &InteropRun<'_>, jid: &str, device: u32) -> Vec<String> {
    let key = |ns: &&str| {
        let bundle = run.world.bundle(ns, jid, device).expect("a bundle");
        // Whatever the prefix of the element is.
        let (_, element) =
            bundle.split_once(&format!("{} ", edit::names(ns).signed_pre_key)).expect("such an element");
        let (_, text) = element.split_once('>').expect("its text");
        text.split('<').next().unwrap_or_default().to_owned()
    };
    run.config.ours.iter().map(key).collect()
}

fn signed_pre_key_rotated_by_us(config: PeerConfig) {
    config.each("signed pre key rotated by us", 1, 2, |run| {
        // A bundle that they have read before the rotation opens a session after it.
        run.theirs.iter().for_each(|name| run.peer.learn(name, ROMEO));
        let device = run.ours[0].id();
        let early = run.they_seal("begun before", 1).remove(0);
        let before = signed_pre_keys(run, ROMEO, device);
        pass_days(run, 8);
        let after = signed_pre_keys(run, ROMEO, device);
        assert!(before.iter().all(|key| !after.contains(key)), "nothing was rotated");
        run.we_read(0, &early);
        run.quiet();
        run.they_say(1, "on the new bundle");
        run.we_say(0, "welcome");
        run.they_say(0, "well");
    });
}

fn key_exchange_after_two_rotations_of_ours(config: PeerConfig) {
    config.each("two rotations of ours", 1, 1, |run| {
        let late = run.they_seal("too late", 1).remove(0);
        assert!(late.is_key_exchange());
        pass_days(run, 16);
        // Only for devices that are announced a session is begun by the library itself.
        run.ours[0].refresh(JULIET).ok();
        let refused = run.ours[0].decrypt(JULIET, &late.stanza).expect("the stanza is dealt with");
        assert_eq!((refused.status, refused.body), (abi::ERR_PRE_KEY_UNKNOWN, None));
        let heard = run.exchange();
        assert_eq!(heard.empty_ones(), 1);
        run.they_say(0, "on the session that you have begun");
        run.we_say(0, "welcome");
    });
}

fn signed_pre_key_rotated_by_them(config: PeerConfig) {
    config.each("signed pre key rotated by them", 2, 1, |run| {
        run.ours.iter().for_each(|client| drop(client.refresh(JULIET).ok()));
        let device = run.ours[0].devices(JULIET)[0].id;
        let early = run.we_seal("begun before", 1).remove(0);
        let before = signed_pre_keys(run, JULIET, device);
        run.peer.start_days_later("j1", 8);
        let after = signed_pre_keys(run, JULIET, device);
        assert!(before.iter().all(|key| !after.contains(key)), "nothing was rotated");
        run.they_read(0, &early);
        run.quiet();
        run.we_say(1, "on the new bundle");
        run.they_say(0, "welcome");
        run.we_say(0, "well");
        // Sessions outlive whatever became of the keys that they were begun with.
        run.peer.start_days_later("j1", 8);
        run.peer.start_days_later("j1", 8);
        run.they_say(0, "still here");
        run.we_say(0, "so am I");
        run.we_say(1, "and I");
    });
}

fn key_exchange_after_two_rotations_of_theirs(config: PeerConfig) {
    config.each("two rotations of theirs", 1, 1, |run| {
        let late = run.we_seal("too late", 1).remove(0);
        assert!(late.is_key_exchange());
        run.peer.start_days_later("j1", 8);
        run.peer.start_days_later("j1", 8);
        let heard = run.peer.decrypt("j1", ROMEO, &late.stanza);
        assert!(matches!(&heard, Heard::Failed { class, .. } if class == "KeyExchangeFailed"), "{heard:?}");
        // They begin, or we begin again when we are asked to.
        if run.seed.is_multiple_of(2) {
            replace(run);
            run.we_say(0, "on a new one");
        }
        run.they_say(0, "on a new one");
        run.we_say(0, "welcome");
    });
}
