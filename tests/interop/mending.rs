//! With other implementations: sessions that we replace, stores of ours that were set back, archives that we read, signed pre
//! keys that were rotated.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO};
use crate::support::{Kind, World, abi, settle};
use omemo::protocol::namespace::Namespace;

with_peers![session_replaced_by_us, our_store_set_back, answers_of_a_catch_up, signed_pre_key_rotated_by_us,];

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
    config.each("our store set back", 1, 1, |run| {
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

fn signed_pre_key_rotated_by_us(config: PeerConfig) {
    config.each("signed pre key rotated by us", 1, 1, |run| {
        // A bundle that they have read before the rotation opens a session after it.
        run.theirs.iter().for_each(|name| run.peer.learn(name, ROMEO));
        let device = run.ours[0].devices("")[0].id;
        let bundles =
            |world: &World| Namespace::ALL.map(|namespace| world.bundle(namespace.uri(), ROMEO, device));
        let before = bundles(&run.world);
        for _ in 0..8 {
            for _ in 0..48 {
                run.world.advance(1_800_000);
                settle(&run.ours.iter().collect::<Vec<_>>());
            }
            run.quiet();
        }
        assert!(bundles(&run.world) != before, "nothing was rotated");
        run.they_say(0, "on whichever bundle");
        run.we_say(0, "welcome");
        run.they_say(0, "well");
    });
}
