//! With other implementations: long conversations, late, lost and repeated messages, restarts.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO, SentStanza};
use crate::support::peer::Heard;
use crate::support::{abi, settle};

with_peers![
    ping_pong_of_100,
    restarts_in_the_middle,
    out_of_order_across_chains,
    last_of_a_chain_comes_late,
    lost_first_reply_to_us,
    lost_first_reply_to_them,
    repeated_key_exchange_to_us,
    repeated_key_exchange_to_them,
];
with_managing_peers![session_made_anew_by_them, messages_of_a_replaced_session];

fn ping_pong_of_100(config: PeerConfig) {
    config.heavy("ping-pong of 100", |run| {
        let we_begin = run.seed.is_multiple_of(2);
        for round in 0..100 {
            if (round % 2 == 0) == we_begin {
                run.we_say(0, &format!("ping {round}"));
            } else {
                run.they_say(0, &format!("pong {round}"));
            }
        }
    });
}

fn restarts_in_the_middle(config: PeerConfig) {
    config.each("restarts", 2, 2, |run| {
        for round in 0..4 {
            run.we_say(run.world.dice(2), &format!("ours {round}"));
            let index = run.world.dice(2);
            run.ours[index].restart();
            run.ours[index].connect().ok();
            run.they_say(run.world.dice(2), &format!("theirs {round}"));
            let index = run.world.dice(2);
            run.peer.restart(run.theirs[index]);
        }
    });
}

// ------------------------------------------------------------------------------------------------ order

fn out_of_order_across_chains(config: PeerConfig) {
    config.each("out of order", 1, 1, |run| {
        // Several key exchanges to begin with, of which any may come first.
        let mut to_them = run.we_seal("ours", 6);
        let first = to_them.remove(run.world.dice(6));
        run.they_read(0, &first);
        run.exchange();
        // Then three chains a side; of each some messages are late, up to the last one, and come in any order in the end.
        let mut to_us = Vec::new();
        for chain in 0..3 {
            to_them.extend(run.we_seal(&format!("ours {chain}"), 6));
            to_us.extend(run.they_seal(&format!("theirs {chain}"), 6));
            for _ in 0..3 {
                let sealed = to_them.remove(run.world.dice(to_them.len()));
                run.they_read(0, &sealed);
                let sealed = to_us.remove(run.world.dice(to_us.len()));
                run.we_read(0, &sealed);
            }
            run.exchange();
        }
        run.world.shuffle(&mut to_us);
        run.world.shuffle(&mut to_them);
        assert!(to_us.len() > 5 && to_them.len() > 5);
        for sealed in to_us {
            run.we_read(0, &sealed);
        }
        for sealed in to_them {
            run.they_read(0, &sealed);
        }
    });
}

/// Libsignal's children tell the length of the chain before as one too small, so that its last message is not among
/// what a reader expects to be late.
fn last_of_a_chain_comes_late(config: PeerConfig) {
    config.each("last of a chain comes late", 1, 1, |run| {
        run.acquaint();
        // Keys for that are kept of the last five chains, by them as by us.
        for length in 1..=4 {
            let to_them = late_last(run, true, length);
            let to_us = late_last(run, false, length);
            run.we_read(0, &to_us.expect("a last one"));
            run.they_read(0, &to_them.expect("a last one"));
        }
        run.we_say(0, "nothing is lost");
        run.they_say(0, "nothing at all");
    });
}

/// A chain of ours or theirs on a new ratchet key. What is read of it is less than its last message, which is returned.
fn late_last(run: &mut InteropRun<'_>, ours: bool, length: usize) -> Option<SentStanza> {
    let name = format!("{length}, {}", if ours { "ours" } else { "theirs" });
    let mut chain = if ours { run.we_seal(&name, length + 1) } else { run.they_seal(&name, length + 1) };
    let last = chain.pop();
    for sealed in &chain {
        if ours { run.they_read(0, sealed) } else { drop(run.we_read(0, sealed)) }
    }
    // The reader answers, the writer goes on with a new chain, and the reader learns of that.
    if ours {
        run.they_say(0, &format!("{name}: answer"));
        run.we_say(0, &format!("{name}: go on"));
    } else {
        run.we_say(0, &format!("{name}: answer"));
        run.they_say(0, &format!("{name}: go on"));
    }
    last
}

// ------------------------------------------------------------------------------------------------ loss

fn lost_first_reply_to_us(config: PeerConfig) {
    config.each("lost first reply to us", 1, 1, |run| {
        // Both an answer to the key exchange and the first reply get lost: the key exchange is repeated.
        let first = run.we_seal("first", 1).remove(0);
        assert!(first.is_key_exchange());
        run.they_read(0, &first);
        drop(run.they_seal("lost", 1));
        run.lose_to_us();
        let second = run.we_seal("second", 1).remove(0);
        assert!(second.is_key_exchange(), "nothing was heard yet");
        run.they_read(0, &second);
        run.lose_to_us();
        let reply = run.they_seal("reply", 1).remove(0);
        run.we_read(0, &reply);
        let third = run.we_seal("third", 1).remove(0);
        assert!(!third.is_key_exchange(), "the session is confirmed");
        run.they_read(0, &third);
        run.they_say(0, "fourth");
    });
}

fn lost_first_reply_to_them(config: PeerConfig) {
    config.each("lost first reply to them", 1, 1, |run| {
        let first = run.they_seal("first", 1).remove(0);
        run.we_read(0, &first);
        settle(&[&run.ours[0]]);
        let answers = run.world.take_stanzas(run.peer.endpoint("j1"));
        assert_eq!(answers.len(), 1, "one answer to one key exchange, and it is lost");
        drop(run.we_seal("lost", 1));
        let second = run.they_seal("second", 1).remove(0);
        assert!(second.is_key_exchange(), "the peer has heard nothing");
        run.we_read(0, &second);
        run.lose_to_them();
        let reply = run.we_seal("reply", 1).remove(0);
        run.they_read(0, &reply);
        let third = run.they_seal("third", 1).remove(0);
        assert!(!third.is_key_exchange());
        run.we_read(0, &third);
        run.we_say(0, "fourth");
    });
}

// ------------------------------------------------------------------------------------------------ repetition

fn repeated_key_exchange_to_us(config: PeerConfig) {
    config.each("repeated key exchange to us", 1, 1, |run| {
        // Ten key exchanges of one session, in any order, each twice.
        let mut theirs = run.they_seal("theirs", 10);
        assert!(theirs.iter().all(SentStanza::is_key_exchange));
        run.world.shuffle(&mut theirs);
        for (index, sealed) in theirs.iter().enumerate() {
            let read = run.we_read(0, sealed);
            assert_eq!(read.flags & abi::DECRYPTED_NEW_SESSION != 0, index == 0, "one session");
            let again = run.ours[0].decrypt(JULIET, &sealed.stanza).unwrap();
            assert_eq!((again.status, again.action), (abi::ERR_DUPLICATE, abi::ACTION_HIDE));
            assert_eq!(again.body, None);
        }
        settle(&[&run.ours[0]]);
        run.exchange();
        run.we_say(0, "enough");
        run.they_say(0, "I am heard");
    });
}

fn repeated_key_exchange_to_them(config: PeerConfig) {
    config.each("repeated key exchange to them", 1, 1, |run| {
        let mut ours = run.we_seal("ours", 10);
        assert!(ours.iter().all(SentStanza::is_key_exchange));
        run.world.shuffle(&mut ours);
        for sealed in &ours {
            run.they_read(0, sealed);
            let again = run.peer.decrypt("j1", ROMEO, &sealed.stanza);
            assert!(
                matches!(&again, Heard::Failed { cause, .. } if cause == "DuplicateMessageException"),
                "{again:?}"
            );
        }
        // Python answers each of the ten; all answers are one chain of one session.
        run.quiet();
        run.they_say(0, "enough");
        run.we_say(0, "I am heard");
    });
}

/// Python makes a session anew by an empty message, we answer, and it goes on there.
fn session_made_anew_by_them(config: PeerConfig) {
    config.each("session made anew by them", 1, 1, |run| {
        run.acquaint();
        let device = run.ours[0].id();
        run.peer.replace("j1", ROMEO, device);
        let heard = run.exchange();
        assert!(
            heard.ours[0].iter().any(|one| one.flags & abi::DECRYPTED_NEW_SESSION != 0 && one.body.is_none())
        );
        assert_eq!(heard.empty_ones(), 1, "our answer, decrypted by python");
        run.we_say(0, "on the new session");
        run.they_say(0, "so do I");
    });
}

fn messages_of_a_replaced_session(config: PeerConfig) {
    config.each("messages of a replaced session", 1, 1, |run| {
        run.acquaint();
        // In flight while python replaces the session: we still read them (python could not).
        let mut all = run.they_seal("late", 5);
        let device = run.ours[0].id();
        run.peer.replace("j1", ROMEO, device);
        run.quiet();
        all.extend(run.they_seal("fresh", 1));
        run.world.shuffle(&mut all);
        for sealed in all {
            run.we_read(0, &sealed);
        }
        // What came last may have been of the old session, which python has no more; its next word tells us so.
        run.they_say(0, "this is where I am");
        run.we_say(0, "and I am with you");
    });
}
