//! With other implementations: long conversations, late, lost and repeated messages, restarts.

use crate::support::peer::Heard;
use crate::support::scene::{Column, JULIET, ROMEO, Scene, Sealed};
use crate::support::{abi, settle};

const DUPLICATE: i32 = -501;

columns![
    ping_pong_of_100,
    restarts_in_the_middle,
    out_of_order_across_chains,
    last_of_a_chain_comes_late,
    lost_first_reply_to_us,
    lost_first_reply_to_them,
    repeated_key_exchange_to_us,
    repeated_key_exchange_to_them,
];
manager_columns![session_made_anew_by_them, messages_of_a_replaced_session];

fn ping_pong_of_100(column: Column) {
    column.heavy("ping-pong of 100", |scene| {
        let we_begin = scene.seed.is_multiple_of(2);
        for round in 0..100 {
            if (round % 2 == 0) == we_begin {
                scene.we_say(0, &format!("ping {round}"));
            } else {
                scene.they_say(0, &format!("pong {round}"));
            }
        }
    });
}

fn restarts_in_the_middle(column: Column) {
    column.each("restarts", 2, 2, |scene| {
        for round in 0..4 {
            scene.we_say(scene.world.dice(2), &format!("ours {round}"));
            let index = scene.world.dice(2);
            scene.ours[index].restart();
            scene.ours[index].connect().ok();
            scene.they_say(scene.world.dice(2), &format!("theirs {round}"));
            let index = scene.world.dice(2);
            scene.peer.restart(scene.theirs[index]);
        }
    });
}

// ------------------------------------------------------------------------------------------------ order

fn out_of_order_across_chains(column: Column) {
    column.each("out of order", 1, 1, |scene| {
        // Several key exchanges to begin with, of which any may come first.
        let mut to_them = scene.we_seal("ours", 6);
        let first = to_them.remove(scene.world.dice(6));
        scene.they_read(0, &first);
        scene.exchange();
        // Then three chains a side; of each some messages are late, up to the last one, and come in any order in the end.
        let mut to_us = Vec::new();
        for chain in 0..3 {
            to_them.extend(scene.we_seal(&format!("ours {chain}"), 6));
            to_us.extend(scene.they_seal(&format!("theirs {chain}"), 6));
            for _ in 0..3 {
                let sealed = to_them.remove(scene.world.dice(to_them.len()));
                scene.they_read(0, &sealed);
                let sealed = to_us.remove(scene.world.dice(to_us.len()));
                scene.we_read(0, &sealed);
            }
            scene.exchange();
        }
        scene.world.shuffle(&mut to_us);
        scene.world.shuffle(&mut to_them);
        assert!(to_us.len() > 5 && to_them.len() > 5);
        for sealed in to_us {
            scene.we_read(0, &sealed);
        }
        for sealed in to_them {
            scene.they_read(0, &sealed);
        }
    });
}

/// Libsignal's children tell the length of the chain before as one too small, so that its last message is not among
/// what a reader expects to be late.
fn last_of_a_chain_comes_late(column: Column) {
    column.each("last of a chain comes late", 1, 1, |scene| {
        scene.acquaint();
        // Keys for that are kept of the last five chains, by them as by us.
        for length in 1..=4 {
            let to_them = late_last(scene, true, length);
            let to_us = late_last(scene, false, length);
            scene.we_read(0, &to_us.expect("a last one"));
            scene.they_read(0, &to_them.expect("a last one"));
        }
        scene.we_say(0, "nothing is lost");
        scene.they_say(0, "nothing at all");
    });
}

/// A chain of ours or theirs on a new ratchet key. What is read of it is less than its last message, which is returned.
fn late_last(scene: &mut Scene<'_>, ours: bool, length: usize) -> Option<Sealed> {
    let name = format!("{length}, {}", if ours { "ours" } else { "theirs" });
    let mut chain = if ours { scene.we_seal(&name, length + 1) } else { scene.they_seal(&name, length + 1) };
    let last = chain.pop();
    for sealed in &chain {
        if ours { scene.they_read(0, sealed) } else { drop(scene.we_read(0, sealed)) }
    }
    // The reader answers, the writer goes on with a new chain, and the reader learns of that.
    if ours {
        scene.they_say(0, &format!("{name}: answer"));
        scene.we_say(0, &format!("{name}: go on"));
    } else {
        scene.we_say(0, &format!("{name}: answer"));
        scene.they_say(0, &format!("{name}: go on"));
    }
    last
}

// ------------------------------------------------------------------------------------------------ loss

fn lost_first_reply_to_us(column: Column) {
    column.each("lost first reply to us", 1, 1, |scene| {
        // Both an answer to the key exchange and the first reply get lost: the key exchange is repeated.
        let first = scene.we_seal("first", 1).remove(0);
        assert!(first.is_key_exchange());
        scene.they_read(0, &first);
        drop(scene.they_seal("lost", 1));
        scene.lose_to_us();
        let second = scene.we_seal("second", 1).remove(0);
        assert!(second.is_key_exchange(), "nothing was heard yet");
        scene.they_read(0, &second);
        scene.lose_to_us();
        let reply = scene.they_seal("reply", 1).remove(0);
        scene.we_read(0, &reply);
        let third = scene.we_seal("third", 1).remove(0);
        assert!(!third.is_key_exchange(), "the session is confirmed");
        scene.they_read(0, &third);
        scene.they_say(0, "fourth");
    });
}

fn lost_first_reply_to_them(column: Column) {
    column.each("lost first reply to them", 1, 1, |scene| {
        let first = scene.they_seal("first", 1).remove(0);
        scene.we_read(0, &first);
        settle(&[&scene.ours[0]]);
        let answers = scene.world.take_stanzas(scene.peer.endpoint("j1"));
        assert_eq!(answers.len(), 1, "one answer to one key exchange, and it is lost");
        drop(scene.we_seal("lost", 1));
        let second = scene.they_seal("second", 1).remove(0);
        assert!(second.is_key_exchange(), "the peer has heard nothing");
        scene.we_read(0, &second);
        scene.lose_to_them();
        let reply = scene.we_seal("reply", 1).remove(0);
        scene.they_read(0, &reply);
        let third = scene.they_seal("third", 1).remove(0);
        assert!(!third.is_key_exchange());
        scene.we_read(0, &third);
        scene.we_say(0, "fourth");
    });
}

// ------------------------------------------------------------------------------------------------ repetition

fn repeated_key_exchange_to_us(column: Column) {
    column.each("repeated key exchange to us", 1, 1, |scene| {
        // Ten key exchanges of one session, in any order, each twice.
        let mut theirs = scene.they_seal("theirs", 10);
        assert!(theirs.iter().all(Sealed::is_key_exchange));
        scene.world.shuffle(&mut theirs);
        for (index, sealed) in theirs.iter().enumerate() {
            let read = scene.we_read(0, sealed);
            assert_eq!(read.flags & abi::NEW_SESSION != 0, index == 0, "one session");
            let again = scene.ours[0].decrypt(JULIET, &sealed.stanza).unwrap();
            assert_eq!((again.status, again.action), (DUPLICATE, abi::ACTION_HIDE));
            assert_eq!(again.body, None);
        }
        settle(&[&scene.ours[0]]);
        scene.exchange();
        scene.we_say(0, "enough");
        scene.they_say(0, "I am heard");
    });
}

fn repeated_key_exchange_to_them(column: Column) {
    column.each("repeated key exchange to them", 1, 1, |scene| {
        let mut ours = scene.we_seal("ours", 10);
        assert!(ours.iter().all(Sealed::is_key_exchange));
        scene.world.shuffle(&mut ours);
        for sealed in &ours {
            scene.they_read(0, sealed);
            let again = scene.peer.decrypt("j1", ROMEO, &sealed.stanza);
            assert!(
                matches!(&again, Heard::Failed { cause, .. } if cause == "DuplicateMessageException"),
                "{again:?}"
            );
        }
        // Python answers each of the ten; all answers are one chain of one session.
        scene.quiet();
        scene.they_say(0, "enough");
        scene.we_say(0, "I am heard");
    });
}

/// Python makes a session anew by an empty message, we answer, and it goes on there.
fn session_made_anew_by_them(column: Column) {
    column.each("session made anew by them", 1, 1, |scene| {
        scene.acquaint();
        let device = scene.ours[0].id();
        scene.peer.replace("j1", ROMEO, device);
        let heard = scene.exchange();
        assert!(heard.ours[0].iter().any(|one| one.flags & abi::NEW_SESSION != 0 && one.body.is_none()));
        assert_eq!(heard.empty_ones(), 1, "our answer, decrypted by python");
        scene.we_say(0, "on the new session");
        scene.they_say(0, "so do I");
    });
}

fn messages_of_a_replaced_session(column: Column) {
    column.each("messages of a replaced session", 1, 1, |scene| {
        scene.acquaint();
        // In flight while python replaces the session: we still read them (python could not).
        let mut all = scene.they_seal("late", 5);
        let device = scene.ours[0].id();
        scene.peer.replace("j1", ROMEO, device);
        scene.quiet();
        all.extend(scene.they_seal("fresh", 1));
        scene.world.shuffle(&mut all);
        for sealed in all {
            scene.we_read(0, &sealed);
        }
        // What came last may have been of the old session, which python has no more; its next word tells us so.
        scene.they_say(0, "this is where I am");
        scene.we_say(0, "and I am with you");
    });
}
