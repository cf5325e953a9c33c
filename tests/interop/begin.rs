//! With other implementations: how conversations begin, and who takes part in them.
//!
//! The seed of a run decides every draw of the peer, the order and delay of answers, and what overtakes what.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO};
use crate::support::peer::{Heard, Kind, Record};
use crate::support::{Client, Peer, World, seeds, settle};

with_peers![
    begun_by_us,
    begun_by_them,
    both_begin_at_once,
    both_begin_at_once_again_and_again,
    second_devices_come_later,
    two_mixed_accounts,
    pre_key_0,
    pre_key_2147483647,
];

fn begun_by_us(config: PeerConfig) {
    config.each("begun by us", 2, 2, |run| {
        run.we_say(0, "But, soft! what light through yonder window breaks?");
        run.they_say(0, "Ay me!");
        run.we_say(1, "She speaks.");
        run.they_say(1, "O Romeo, Romeo!");
        run.we_say(0, "Shall I hear more, or shall I speak at this?");
    });
}

fn begun_by_them(config: PeerConfig) {
    config.each("begun by them", 2, 2, |run| {
        run.they_say(0, "What man art thou that thus bescreen'd in night?");
        run.we_say(1, "By a name I know not how to tell thee who I am.");
        run.they_say(1, "Art thou not Romeo and a Montague?");
        run.we_say(0, "Neither, fair saint.");
    });
}

fn both_begin_at_once(config: PeerConfig) {
    config.each("both begin at once", 1, 1, cross);
}

fn both_begin_at_once_again_and_again(config: PeerConfig) {
    config.each("both begin at once with several messages", 1, 1, |run| {
        let (ours, theirs) = (run.we_seal("ours", 3), run.they_seal("theirs", 3));
        assert!(ours.iter().chain(&theirs).all(|sealed| sealed.is_key_exchange()));
        // Each side gets all that the other said before anything is answered.
        let we_first = run.world.dice(2) == 0;
        for ours_now in [we_first, !we_first] {
            if ours_now {
                theirs.iter().for_each(|sealed| drop(run.we_read(0, sealed)));
            } else {
                ours.iter().for_each(|sealed| run.they_read(0, sealed));
            }
        }
        run.exchange();
        for round in 0..3 {
            run.they_say(0, &format!("theirs {round}"));
            run.we_say(0, &format!("ours {round}"));
        }
    });
}

/// Two key exchanges cross, and the conversation goes on.
fn cross(run: &mut InteropRun<'_>) {
    let (ours, theirs) = (run.we_seal("ours", 1).remove(0), run.they_seal("theirs", 1).remove(0));
    assert!(ours.is_key_exchange() && theirs.is_key_exchange());
    // Who reads first is the seed's; the session of either side is replaced while the other is in flight.
    if run.world.dice(2) == 0 {
        run.they_read(0, &ours);
        run.we_read(0, &theirs);
    } else {
        run.we_read(0, &theirs);
        run.they_read(0, &ours);
    }
    // Answers to the key exchanges may be for a session that a peer with one session has lost. From then on everything
    // must be read.
    run.exchange();
    for round in 0..3 {
        run.we_say(0, &format!("ours {round}"));
        run.they_say(0, &format!("theirs {round}"));
    }
}

fn second_devices_come_later(config: PeerConfig) {
    config.each("second devices come later", 1, 1, |run| {
        run.acquaint();
        for ours_now in [run.seed.is_multiple_of(3), !run.seed.is_multiple_of(3)] {
            if ours_now {
                run.add_ours(config.setup());
            } else {
                run.add_theirs();
                run.peer.learn("j2", ROMEO);
                run.peer.learn("j2", JULIET);
            }
            run.quiet();
            run.we_say(0, "to all of you");
            run.they_say(0, "and to all of you");
        }
        run.we_say(1, "I am new");
        run.they_say(1, "so am I");
        run.we_say(0, "welcome");
        run.they_say(0, "welcome");
    });
}

fn two_mixed_accounts(config: PeerConfig) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("two mixed accounts ({})", config.name), 6, |seed| {
        // Each account has one device of ours and one of the peer's.
        let world = World::new(seed);
        peer.begin(&world, seed);
        let ours = |jid| {
            let client = Client::with(&world, jid, config.setup());
            client.connect().ok();
            client
        };
        let romeo = ours(ROMEO);
        peer.device("r2", ROMEO);
        peer.device("j1", JULIET);
        let juliet = ours(JULIET);
        for name in ["r2", "j1"] {
            peer.learn(name, ROMEO);
            peer.learn(name, JULIET);
        }
        let mut order = vec![0, 1, 2, 3, 0, 1, 2, 3];
        world.shuffle(&mut order);
        for (round, speaker) in order.into_iter().enumerate() {
            for _ in 0..3 {
                romeo.receive();
                juliet.receive();
                peer.receive("r2");
                peer.receive("j1");
                settle(&[&romeo, &juliet]);
            }
            let text = format!("{speaker} in round {round}");
            match speaker {
                0 => romeo.say(&[JULIET], &text),
                1 => peer.say("r2", &[JULIET], &text),
                2 => peer.say("j1", &[ROMEO], &text),
                _ => juliet.say(&[ROMEO], &text),
            };
            let expect = |index| if index == speaker { Vec::new() } else { vec![text.clone()] };
            assert_eq!(romeo.read(), expect(0));
            assert_eq!(peer.read("r2"), expect(1));
            assert_eq!(peer.read("j1"), expect(2));
            assert_eq!(juliet.read(), expect(3));
        }
    });
}

fn pre_key_0(config: PeerConfig) {
    match config.kind {
        Kind::OmemoDr => refused_pre_key_0(config),
        _ => with_pre_key(config, 0),
    }
}

/// omemo-dr takes the id 0 for no pre key at all. It never offers that id itself; what is begun with it is refused, and
/// the session that omemo-dr begins then serves both sides.
fn refused_pre_key_0(config: PeerConfig) {
    config.each("pre key 0 is refused", 1, 1, |run| {
        offer_only(run, 0);
        let refused = run.we_seal("refused", 1).remove(0);
        assert!(refused.is_key_exchange());
        let heard = run.peer.decrypt("j1", ROMEO, &refused.stanza);
        assert!(matches!(&heard, Heard::Failed { class, .. } if class == "DecryptionFailed"), "{heard:?}");
        run.they_say(0, "then I begin");
        run.we_say(0, "then I answer");
        run.they_say(0, "so it goes on");
    });
}

fn pre_key_2147483647(config: PeerConfig) {
    with_pre_key(config, 2_147_483_647);
}

/// The only pre key that Juliet offers has this id.
fn offer_only(run: &mut InteropRun<'_>, id: u32) {
    let ns = run.config.ours[0];
    run.peer.must(Record::new("number").with("name", "j1").with("ns", ns).with("id", id));
}

fn with_pre_key(config: PeerConfig, id: u32) {
    config.each("an unusual pre key id", 1, 1, |run| {
        offer_only(run, id);
        run.we_say(0, "with the key you offer");
        run.they_say(0, "that one was good");
        run.we_say(0, "so it goes on");
    });
}
