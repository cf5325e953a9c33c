//! With other implementations: the store of either side is set back to an older copy, and the conversation works again.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO};
use crate::support::peer::Heard;
use crate::support::{Peer, Setup, abi, seeds, settle};

with_peers![our_older_store_is_healed_by_itself, our_older_store_is_found_out_at_login];
with_python![their_older_store_is_mended_by_either_side, their_older_store_is_healed_by_us];

/// OMEMO_OPTION_HEALING.
const HEALING: i32 = 5;

/// Runs a case with a device of ours that replaces broken sessions by itself, and one of theirs.
fn with_healing(config: PeerConfig, case: &str, run: impl Fn(&mut InteropRun<'_>)) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("{case} ({})", config.name), 6, |seed| {
        let setup = Setup { options: vec![(HEALING, 1)], ..config.setup() };
        run(&mut InteropRun::with(&mut peer, config, seed, vec![setup], 1));
    });
}

fn converse(run: &mut InteropRun<'_>, topic: &str) {
    for round in 0..3 {
        run.they_say(0, &format!("theirs {topic} {round}"));
        run.we_say(0, &format!("ours {topic} {round}"));
    }
}

/// What Juliet says until a new session of ours has come to her; how many texts were lost.
fn lost_until_healed(run: &mut InteropRun<'_>) -> usize {
    let mut lost = 0;
    for number in 0..8 {
        let text = format!("can you read this? {number}");
        run.peer.say("j1", &[ROMEO], &text);
        let heard = run.exchange();
        let is_read = heard.ours[0].iter().any(|decrypted| decrypted.body.as_ref() == Some(&text));
        lost += usize::from(!is_read);
        if heard.empty_ones() > 0 {
            return lost;
        }
    }
    panic!("no session was replaced");
}

fn their_older_store_is_mended_by_either_side(config: PeerConfig) {
    config.each("their store set back", 2, 1, |run| {
        run.acquaint();
        run.peer.save("j1");
        converse(run, "before");
        run.peer.set_back("j1");
        // Neither reads the other: what they encrypt has been decrypted before, or is of a chain that is over.
        let (theirs, ours) = (run.they_seal("lost", 1).remove(0), run.we_seal("lost", 1).remove(0));
        assert_eq!(run.ours[0].decrypt(JULIET, &theirs.stanza).unwrap().body, None);
        let heard = run.peer.decrypt("j1", ROMEO, &ours.stanza);
        assert!(matches!(&heard, Heard::Failed { class, .. } if class == "DecryptionFailed"), "{heard:?}");
        run.exchange();
        let devices: Vec<u32> = run.ours.iter().map(|client| client.id()).collect();
        if run.seed.is_multiple_of(2) {
            devices.into_iter().for_each(|device| run.peer.replace("j1", ROMEO, device));
        } else {
            for client in &run.ours {
                let operation = client.start_replace_sessions(Some(JULIET), 0).expect("it starts");
                assert_eq!(client.finish(operation).ok().rows.len(), 1);
            }
        }
        run.quiet();
        converse(run, "after");
        run.we_say(1, "and I");
        run.they_say(0, "and you");
    });
}

fn their_older_store_is_healed_by_us(config: PeerConfig) {
    with_healing(config, "their store set back, healed by us", |run| {
        run.acquaint();
        run.peer.save("j1");
        converse(run, "before");
        run.peer.set_back("j1");
        // A message under a number that was decrypted looks like a duplicate and is no evidence; two others are.
        let lost = lost_until_healed(run);
        assert!((2..=4).contains(&lost), "{lost} were lost");
        converse(run, "after");
    });
}

fn our_older_store_is_healed_by_itself(config: PeerConfig) {
    with_healing(config.with_records(), "our store set back, healed", |run| {
        run.acquaint();
        let before = run.ours[0].store.all();
        converse(run, "before");
        run.ours[0].store.put_back(before);
        run.ours[0].restart();
        run.ours[0].connect().ok();
        let lost = lost_until_healed(run);
        assert_eq!(lost, 2, "two that cannot be decrypted replace the session");
        converse(run, "after");
    });
}

fn our_older_store_is_found_out_at_login(config: PeerConfig) {
    config.with_records().each("our older store is found out", 1, 1, |run| {
        run.acquaint();
        let before = run.ours[0].store.all();
        converse(run, "before");
        // A new device takes one of our pre keys, so that the bundle changes.
        run.add_theirs();
        run.peer.learn("j2", ROMEO);
        run.peer.learn("j2", JULIET);
        run.quiet();
        run.they_say(1, "I am new");
        run.world.advance(2 * 3_600_000);
        run.quiet();
        run.ours[0].store.put_back(before);
        run.ours[0].restart();
        assert_eq!(log_in(run), 1, "the store is an older copy");
        run.ours[0].refresh(JULIET).ok();
        mend(run);
        run.they_say(1, "with both of us");
        run.they_say(0, "it works");
        converse(run, "after");
        run.ours[0].restart();
        assert_eq!(log_in(run), 0, "it is the newest one now");
        run.we_say(0, "and goes on");
    });
}

/// Connects, and returns how often it was said that the store is an older copy.
fn log_in(run: &InteropRun<'_>) -> usize {
    let client = &run.ours[0];
    client.notices();
    client.connect().ok();
    settle(&[client]);
    client.notices().iter().filter(|notice| notice.0 == abi::NOTICE_ROLLED_BACK).count()
}

/// Everybody's sessions are replaced at once, or each when something is encrypted for its device; what they say before
/// that is lost.
fn mend(run: &mut InteropRun<'_>) {
    match run.seed % 3 {
        0 => {
            let operation = run.ours[0].start_replace_sessions(None, 0).expect("it starts");
            assert_eq!(run.ours[0].finish(operation).ok().rows.len(), 1);
            run.quiet();
            run.they_say(0, "it works");
            // The older store has no session with the new device, whose next message begins one.
            run.peer.say("j2", &[ROMEO], "lost");
            assert!(run.exchange().ours[0].iter().all(|decrypted| decrypted.body.is_none()));
        }
        1 => run.we_say(0, "to both"),
        _ => {
            let lost = run.they_seal("lost", 1).remove(0);
            assert_eq!(run.ours[0].decrypt(JULIET, &lost.stanza).unwrap().body, None);
            run.exchange();
            run.we_say(0, "to both");
        }
    }
}
