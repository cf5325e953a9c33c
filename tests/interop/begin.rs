//! With other implementations: how conversations begin, and who takes part in them.
//!
//! The seed of a run decides every draw of the peer, the order and delay of answers, and what overtakes what.

use crate::support::peer::{Heard, Kind, Record};
use crate::support::scene::{Column, JULIET, ROMEO, Scene};
use crate::support::{Client, Peer, World, seeds, settle};

columns![
    begun_by_us,
    begun_by_them,
    both_begin_at_once,
    both_begin_at_once_again_and_again,
    second_devices_come_later,
    two_mixed_accounts,
    pre_key_0,
    pre_key_2147483647,
];

fn begun_by_us(column: Column) {
    column.each("begun by us", 2, 2, |scene| {
        scene.we_say(0, "But, soft! what light through yonder window breaks?");
        scene.they_say(0, "Ay me!");
        scene.we_say(1, "She speaks.");
        scene.they_say(1, "O Romeo, Romeo!");
        scene.we_say(0, "Shall I hear more, or shall I speak at this?");
    });
}

fn begun_by_them(column: Column) {
    column.each("begun by them", 2, 2, |scene| {
        scene.they_say(0, "What man art thou that thus bescreen'd in night?");
        scene.we_say(1, "By a name I know not how to tell thee who I am.");
        scene.they_say(1, "Art thou not Romeo and a Montague?");
        scene.we_say(0, "Neither, fair saint.");
    });
}

fn both_begin_at_once(column: Column) {
    column.each("both begin at once", 1, 1, cross);
}

fn both_begin_at_once_again_and_again(column: Column) {
    column.each("both begin at once with several messages", 1, 1, |scene| {
        let (ours, theirs) = (scene.we_seal("ours", 3), scene.they_seal("theirs", 3));
        assert!(ours.iter().chain(&theirs).all(|sealed| sealed.is_key_exchange()));
        // Each side gets all that the other said before anything is answered.
        let we_first = scene.world.dice(2) == 0;
        for ours_now in [we_first, !we_first] {
            if ours_now {
                theirs.iter().for_each(|sealed| drop(scene.we_read(0, sealed)));
            } else {
                ours.iter().for_each(|sealed| scene.they_read(0, sealed));
            }
        }
        scene.exchange();
        for round in 0..3 {
            scene.they_say(0, &format!("theirs {round}"));
            scene.we_say(0, &format!("ours {round}"));
        }
    });
}

/// Two key exchanges cross, and the conversation goes on.
fn cross(scene: &mut Scene<'_>) {
    let (ours, theirs) = (scene.we_seal("ours", 1).remove(0), scene.they_seal("theirs", 1).remove(0));
    assert!(ours.is_key_exchange() && theirs.is_key_exchange());
    // Who reads first is the seed's; the session of either side is replaced while the other is in flight.
    if scene.world.dice(2) == 0 {
        scene.they_read(0, &ours);
        scene.we_read(0, &theirs);
    } else {
        scene.we_read(0, &theirs);
        scene.they_read(0, &ours);
    }
    // Answers to the key exchanges may be for a session that a peer with one session has lost. From then on everything
    // must be read.
    scene.exchange();
    for round in 0..3 {
        scene.we_say(0, &format!("ours {round}"));
        scene.they_say(0, &format!("theirs {round}"));
    }
}

fn second_devices_come_later(column: Column) {
    column.each("second devices come later", 1, 1, |scene| {
        scene.acquaint();
        for ours_now in [scene.seed.is_multiple_of(3), !scene.seed.is_multiple_of(3)] {
            if ours_now {
                scene.add_ours(column.setup());
            } else {
                scene.add_theirs();
                scene.peer.learn("j2", ROMEO);
                scene.peer.learn("j2", JULIET);
            }
            scene.quiet();
            scene.we_say(0, "to all of you");
            scene.they_say(0, "and to all of you");
        }
        scene.we_say(1, "I am new");
        scene.they_say(1, "so am I");
        scene.we_say(0, "welcome");
        scene.they_say(0, "welcome");
    });
}

fn two_mixed_accounts(column: Column) {
    let mut peer = Peer::start(column.peer);
    seeds::at_most(&format!("two mixed accounts ({})", column.name), 6, |seed| {
        // Each account has one device of ours and one of the peer's.
        let world = World::new(seed);
        peer.begin(&world, seed);
        let ours = |jid| {
            let client = Client::with(&world, jid, column.setup());
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

fn pre_key_0(column: Column) {
    match column.peer {
        Kind::OmemoDr => refused_pre_key_0(column),
        _ => with_pre_key(column, 0),
    }
}

/// omemo-dr takes the id 0 for no pre key at all. It never offers that id itself; what is begun with it is refused, and
/// the session that omemo-dr begins then serves both sides.
fn refused_pre_key_0(column: Column) {
    column.each("pre key 0 is refused", 1, 1, |scene| {
        offer_only(scene, 0);
        let refused = scene.we_seal("refused", 1).remove(0);
        assert!(refused.is_key_exchange());
        let heard = scene.peer.decrypt("j1", ROMEO, &refused.stanza);
        assert!(matches!(&heard, Heard::Failed { class, .. } if class == "DecryptionFailed"), "{heard:?}");
        scene.they_say(0, "then I begin");
        scene.we_say(0, "then I answer");
        scene.they_say(0, "so it goes on");
    });
}

fn pre_key_2147483647(column: Column) {
    with_pre_key(column, 2_147_483_647);
}

/// The only pre key that Juliet offers has this id.
fn offer_only(scene: &mut Scene<'_>, id: u32) {
    let ns = scene.column.ours[0];
    scene.peer.must(Record::new("number").with("name", "j1").with("ns", ns).with("id", id));
}

fn with_pre_key(column: Column, id: u32) {
    column.each("an unusual pre key id", 1, 1, |scene| {
        offer_only(scene, id);
        scene.we_say(0, "with the key you offer");
        scene.they_say(0, "that one was good");
        scene.we_say(0, "so it goes on");
    });
}
