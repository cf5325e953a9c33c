//! With python-omemo and Twomemo, live and in both directions, through the C functions.
//!
//! Every case is run once for each seed (20, or `OMEMO_SEEDS`); the seed decides every draw of python, the order and
//! delay of answers, and what overtakes what. A text counts as read by python only when it stands in the output of
//! python's process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod support;

use support::client::{settle, status_name};
use support::peer::{Heard, Kind, Record, hex};
use support::world::Answering;
use support::{Client, Decrypted, NS_2, Peer, Setup, Trust, World, abi, seeds};

const ROMEO: &str = "romeo@montague.lit";
const JULIET: &str = "juliet@capulet.lit";

const DUPLICATE: i32 = -501;
const TOO_MANY_SKIPPED: i32 = -502;
const SENDER_DISTRUSTED: i32 = -506;
const ROW_DISTRUSTED: i32 = -303;

/// Romeo's devices are ours, Juliet's are python's; all are online and have each other's device lists.
struct Scene<'p> {
    world: World,
    peer: &'p mut Peer,
    ours: Vec<Client>,
    theirs: Vec<&'static str>,
}

impl<'p> Scene<'p> {
    fn new(peer: &'p mut Peer, seed: u64, ours: usize, theirs: usize) -> Self {
        Self::with(peer, seed, (0..ours).map(|_| Setup::default()).collect(), theirs)
    }

    fn with(peer: &'p mut Peer, seed: u64, ours: Vec<Setup>, theirs: usize) -> Self {
        let world = World::new(seed);
        if seed.is_multiple_of(2) {
            world.set_answering(Answering::Later { least_ms: 5, most_ms: 90 });
        }
        peer.begin(&world, seed);
        let mut scene = Self { world, peer, ours: Vec::new(), theirs: Vec::new() };
        // Who comes first, and so who finds the other's list and who has it pushed, is the seed's.
        let ours_first = scene.world.dice(2) == 0;
        let mut setups = Some(ours);
        for ours_now in [ours_first, !ours_first] {
            if ours_now {
                for setup in setups.take().expect("once") {
                    let client = Client::with(&scene.world, ROMEO, setup);
                    client.connect().ok();
                    scene.ours.push(client);
                }
            } else {
                for name in ["j1", "j2", "j3"].into_iter().take(theirs) {
                    scene.peer.device(name, JULIET);
                    scene.theirs.push(name);
                }
            }
        }
        for name in scene.theirs.clone() {
            scene.peer.learn(name, ROMEO);
        }
        scene.quiet();
        scene
    }

    /// Let everybody do what there is to do, until no mail and no work is left; what is read meanwhile is returned.
    fn exchange(&mut self) -> Mailbag {
        let mut heard =
            Mailbag { ours: vec![Vec::new(); self.ours.len()], theirs: vec![Vec::new(); self.theirs.len()] };
        for _ in 0..50 {
            settle(&self.ours.iter().collect::<Vec<_>>());
            let mut mail = 0;
            for (index, client) in self.ours.iter().enumerate() {
                let all = client.receive();
                mail += all.len();
                heard.ours[index].extend(all);
            }
            for (index, name) in self.theirs.iter().enumerate() {
                let all = self.peer.receive(name);
                mail += all.len();
                heard.theirs[index].extend(all);
            }
            if mail == 0 {
                settle(&self.ours.iter().collect::<Vec<_>>());
                if self.ours.iter().all(|client| self.world.is_empty(client.endpoint)) {
                    return heard;
                }
            }
        }
        panic!("the devices never stop talking");
    }

    /// As `exchange`, when there is nothing to read.
    #[track_caller]
    fn quiet(&mut self) {
        let heard = self.exchange();
        assert_eq!(heard.texts(), (vec![Vec::new(); self.ours.len()], vec![Vec::new(); self.theirs.len()]));
    }

    /// One of our devices says something; every device of Juliet and our others must read it.
    #[track_caller]
    fn we_say(&mut self, index: usize, text: &str) {
        self.ours[index].say(&[JULIET], text);
        let heard = self.exchange();
        for (other, texts) in heard.texts().0.iter().enumerate() {
            let expected: &[String] = if other == index { &[] } else { &[text.to_owned()] };
            assert_eq!(texts, expected, "our device {other}: {:?}", heard.ours[other]);
        }
        for (name, texts) in self.theirs.iter().zip(heard.texts().1) {
            assert_eq!(texts, [text], "{name}: {:?}", heard.theirs);
        }
    }

    /// One of python's devices says something; all others must read it.
    #[track_caller]
    fn they_say(&mut self, index: usize, text: &str) {
        self.peer.say(self.theirs[index], &[ROMEO], text);
        let heard = self.exchange();
        for (ours, texts) in heard.texts().0.iter().enumerate() {
            assert_eq!(texts, &[text], "our device {ours}: {:?}", heard.ours[ours]);
        }
        for (other, texts) in heard.texts().1.iter().enumerate() {
            let expected: &[String] = if other == index { &[] } else { &[text.to_owned()] };
            assert_eq!(texts, expected, "{:?}", heard.theirs);
        }
    }

    /// A stanza of python, read by our device.
    #[track_caller]
    fn we_read(&self, index: usize, stanza: &str, text: &str) -> Decrypted {
        let decrypted = self.ours[index].decrypt(JULIET, stanza).expect("the stanza is dealt with");
        assert_eq!(
            decrypted.body.as_deref(),
            Some(text),
            "{} {}",
            status_name(decrypted.status),
            decrypted.text
        );
        assert_eq!((decrypted.status, decrypted.action), (abi::OK, abi::ACTION_SHOW));
        assert_eq!(decrypted.from.as_deref(), Some(JULIET));
        decrypted
    }

    /// A stanza of ours, read by python's device.
    #[track_caller]
    fn they_read(&mut self, index: usize, stanza: &str, text: &str) {
        let heard = self.peer.decrypt(self.theirs[index], ROMEO, stanza);
        match &heard {
            Heard::Text { text: got, identity, .. } => {
                assert_eq!(got, text);
                assert!(
                    self.ours.iter().any(|client| hex(&client.identity()) == *identity),
                    "from one of us"
                );
            }
            _ => panic!("{text:?}: {heard:?}"),
        }
    }
}

/// What everybody made of the mail of one exchange.
struct Mailbag {
    ours: Vec<Vec<Decrypted>>,
    theirs: Vec<Vec<Heard>>,
}

impl Mailbag {
    /// The texts, ours and theirs. A failure that is not "for another device" fails the test.
    #[track_caller]
    fn texts(&self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let ours = self.ours.iter().map(|all| {
            all.iter()
                .filter_map(|decrypted| {
                    assert_ne!(decrypted.action, abi::ACTION_WARN, "{decrypted:?}");
                    decrypted.body.clone()
                })
                .collect()
        });
        let theirs = self.theirs.iter().map(|all| {
            all.iter()
                .filter_map(|heard| match heard {
                    Heard::Text { text, .. } => Some(text.clone()),
                    Heard::Empty => None,
                    Heard::Failed { class, .. } if class == "MessageNotForUs" => None,
                    Heard::Failed { .. } => panic!("{heard:?}"),
                })
                .collect()
        });
        (ours.collect(), theirs.collect())
    }

    fn empty_ones(&self) -> usize {
        self.theirs.iter().flatten().filter(|heard| **heard == Heard::Empty).count()
    }
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix} {number}")).collect()
}

// ------------------------------------------------------------------------------------------------ who begins

#[test]
fn session_begun_by_us() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("session begun by us", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 2, 2);
        scene.we_say(0, "But, soft! what light through yonder window breaks?");
        scene.they_say(0, "Ay me!");
        scene.we_say(1, "She speaks.");
        scene.they_say(1, "O Romeo, Romeo!");
        scene.we_say(0, "Shall I hear more, or shall I speak at this?");
    });
}

#[test]
fn session_begun_by_them() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("session begun by them", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 2, 2);
        scene.they_say(0, "What man art thou that thus bescreen'd in night?");
        scene.we_say(1, "By a name I know not how to tell thee who I am.");
        scene.they_say(1, "Art thou not Romeo and a Montague?");
        scene.we_say(0, "Neither, fair saint.");
    });
}

#[test]
fn both_begin_at_once() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("both begin at once", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let ours = scene.ours[0].seal(&[JULIET], "ours");
        let theirs = scene.peer.seal("j1", &[ROMEO], "theirs");
        // Who reads first is the seed's; the session of either side is replaced while the other is in flight.
        if scene.world.dice(2) == 0 {
            scene.they_read(0, &ours, "ours");
            scene.we_read(0, &theirs, "theirs");
        } else {
            scene.we_read(0, &theirs, "theirs");
            scene.they_read(0, &ours, "ours");
        }
        // Both answer the other's key exchange; python keeps one session only, so its answer may be for the one it
        // lost. From then on everything must be read.
        scene.exchange();
        for round in 0..3 {
            scene.we_say(0, &format!("ours {round}"));
            scene.they_say(0, &format!("theirs {round}"));
        }
    });
}

// ------------------------------------------------------------------------------------------------ long talks

#[test]
fn ping_pong_of_50() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("ping-pong of 50", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let we_begin = seed.is_multiple_of(2);
        for round in 0..50 {
            if (round % 2 == 0) == we_begin {
                scene.we_say(0, &format!("ping {round}"));
            } else {
                scene.they_say(0, &format!("pong {round}"));
            }
        }
    });
}

#[test]
fn restarts_in_the_middle() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("restarts", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 2, 2);
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

#[test]
fn two_mixed_accounts() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("two mixed accounts", |seed| {
        // Each account has one device of ours and one of python's.
        let world = World::new(seed);
        peer.begin(&world, seed);
        let romeo = Client::online(&world, ROMEO);
        peer.device("r2", ROMEO);
        peer.device("j1", JULIET);
        let juliet = Client::online(&world, JULIET);
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

// ------------------------------------------------------------------------------------------------ order and loss

#[test]
fn out_of_order() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("out of order", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let (mut to_us, mut to_them) = (Vec::new(), Vec::new());
        // Four chains a side; of each some messages are late, up to the last one, and come in any order in the end.
        // The first chain begins with several key exchanges, the first of which may itself be late.
        for chain in 0..4 {
            for text in numbered(&format!("ours {chain}"), 6) {
                to_them.push((scene.ours[0].seal(&[JULIET], &text), text));
            }
            for text in numbered(&format!("theirs {chain}"), 6) {
                to_us.push((scene.peer.seal("j1", &[ROMEO], &text), text));
            }
            if chain == 0 {
                // One side begins, else python drops one of two sessions and with it what is late.
                let keep = scene.world.dice(6);
                let (stanza, text) = to_them.remove(keep);
                to_us.clear();
                scene.they_read(0, &stanza, &text);
                scene.exchange();
                continue;
            }
            for _ in 0..3 {
                let (stanza, text) = to_them.remove(scene.world.dice(to_them.len()));
                scene.they_read(0, &stanza, &text);
                let (stanza, text) = to_us.remove(scene.world.dice(to_us.len()));
                scene.we_read(0, &stanza, &text);
            }
            scene.exchange();
        }
        scene.world.shuffle(&mut to_us);
        scene.world.shuffle(&mut to_them);
        assert!(to_us.len() > 5 && to_them.len() > 5);
        for (stanza, text) in to_us {
            scene.we_read(0, &stanza, &text);
        }
        for (stanza, text) in to_them {
            scene.they_read(0, &stanza, &text);
        }
    });
}

#[test]
fn lost_first_reply_to_us() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("lost first reply to us", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        // Both the answer to the key exchange and the first reply get lost: the key exchange is repeated.
        scene.peer.lose("j1", 2);
        let first = scene.ours[0].seal(&[JULIET], "first");
        assert!(first.contains("kex="));
        scene.they_read(0, &first, "first");
        assert_eq!(scene.peer.encrypt("j1", &[ROMEO], "lost"), Ok(Vec::new()));
        scene.peer.lose("j1", 1);
        let second = scene.ours[0].seal(&[JULIET], "second");
        assert!(second.contains("kex="), "nothing was heard yet");
        scene.they_read(0, &second, "second");
        let reply = scene.peer.seal("j1", &[ROMEO], "reply");
        scene.we_read(0, &reply, "reply");
        let third = scene.ours[0].seal(&[JULIET], "third");
        assert!(!third.contains("kex="), "the session is confirmed");
        scene.they_read(0, &third, "third");
        scene.they_say(0, "fourth");
    });
}

#[test]
fn lost_first_reply_to_them() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("lost first reply to them", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let first = scene.peer.seal("j1", &[ROMEO], "first");
        scene.we_read(0, &first, "first");
        settle(&[&scene.ours[0]]);
        let answers = scene.world.take_stanzas(scene.peer.endpoint("j1"));
        assert_eq!(answers.len(), 1, "one answer to one key exchange, and it is lost");
        drop(scene.ours[0].seal(&[JULIET], "lost"));
        let second = scene.peer.seal("j1", &[ROMEO], "second");
        assert!(second.contains("kex="), "python has heard nothing");
        scene.we_read(0, &second, "second");
        settle(&[&scene.ours[0]]);
        scene.world.lose_inbox(scene.peer.endpoint("j1"));
        let reply = scene.ours[0].seal(&[JULIET], "reply");
        scene.they_read(0, &reply, "reply");
        let third = scene.peer.seal("j1", &[ROMEO], "third");
        assert!(!third.contains("kex="));
        scene.we_read(0, &third, "third");
        scene.we_say(0, "fourth");
    });
}

#[test]
fn repeated_key_exchange() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("repeated key exchange", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        // Ten key exchanges of one session, in any order, some twice, to either side.
        let mut theirs: Vec<_> = numbered("theirs", 10)
            .into_iter()
            .map(|text| (scene.peer.seal("j1", &[ROMEO], &text), text))
            .collect();
        scene.world.shuffle(&mut theirs);
        for (index, (stanza, text)) in theirs.iter().enumerate() {
            let read = scene.we_read(0, stanza, text);
            assert_eq!(read.flags & abi::NEW_SESSION != 0, index == 0, "one session");
            let again = scene.ours[0].decrypt(JULIET, stanza).unwrap();
            assert_eq!((again.status, again.action), (DUPLICATE, abi::ACTION_HIDE));
            assert_eq!(again.body, None);
        }
        settle(&[&scene.ours[0]]);
        scene.exchange();
        scene.we_say(0, "enough");
        // The other way: python makes a session anew by an empty message, we answer, and it goes on there.
        let device = scene.ours[0].id();
        scene.peer.replace("j1", ROMEO, device);
        let heard = scene.exchange();
        assert!(heard.ours[0].iter().any(|one| one.flags & abi::NEW_SESSION != 0 && one.body.is_none()));
        assert_eq!(heard.empty_ones(), 1, "our answer, decrypted by python");
        scene.we_say(0, "on the new session");
        scene.they_say(0, "so do I");
    });
}

#[test]
fn repeated_key_exchange_to_them() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("repeated key exchange to them", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let mut ours: Vec<_> = numbered("ours", 10)
            .into_iter()
            .map(|text| (scene.ours[0].seal(&[JULIET], &text), text))
            .collect();
        assert!(ours.iter().all(|(stanza, _)| stanza.contains("kex=")));
        scene.world.shuffle(&mut ours);
        for (stanza, text) in &ours {
            scene.they_read(0, stanza, text);
            let again = scene.peer.decrypt("j1", ROMEO, stanza);
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

#[test]
fn messages_of_a_replaced_session_are_read() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("messages of a replaced session", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        scene.they_say(0, "first");
        scene.we_say(0, "second");
        // In flight while python replaces the session: we still read them (python could not).
        let late: Vec<_> = numbered("late", 5)
            .into_iter()
            .map(|text| (scene.peer.seal("j1", &[ROMEO], &text), text))
            .collect();
        let device = scene.ours[0].id();
        scene.peer.replace("j1", ROMEO, device);
        scene.quiet();
        let fresh = scene.peer.seal("j1", &[ROMEO], "fresh");
        let mut all = late;
        all.push((fresh, "fresh".to_owned()));
        scene.world.shuffle(&mut all);
        for (stanza, text) in all {
            scene.we_read(0, &stanza, &text);
        }
    });
}

// ------------------------------------------------------------------------------------------------ limits

#[test]
fn a_thousand_skipped_by_us_and_one_more_refused() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::at_most("1,000 skipped by us", 3, |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let stanzas: Vec<_> = numbered("n", 1003)
            .into_iter()
            .map(|text| (scene.peer.seal("j1", &[ROMEO], &text), text))
            .collect();
        scene.we_read(0, &stanzas[0].0, &stanzas[0].1);
        settle(&[&scene.ours[0]]);
        let before = scene.ours[0].store.snapshot();
        let refused = scene.ours[0].decrypt(JULIET, &stanzas[1002].0).unwrap();
        assert_eq!((refused.status, refused.body), (TOO_MANY_SKIPPED, None));
        assert_eq!(scene.ours[0].store.snapshot(), before, "a refused message changes nothing");
        scene.we_read(0, &stanzas[1001].0, &stanzas[1001].1);
        for index in [1, 2, 500, 999, 1000, 1002] {
            scene.we_read(0, &stanzas[index].0, &stanzas[index].1);
        }
        scene.world.lose_inbox(scene.peer.endpoint("j1"));
        scene.we_say(0, "that was a lot");
    });
}

#[test]
fn a_thousand_skipped_by_them_and_one_more_refused() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::at_most("1,000 skipped by them", 3, |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let stanzas: Vec<_> = numbered("n", 1003)
            .into_iter()
            .map(|text| (scene.ours[0].seal(&[JULIET], &text), text))
            .collect();
        scene.they_read(0, &stanzas[0].0, &stanzas[0].1);
        let refused = scene.peer.decrypt("j1", ROMEO, &stanzas[1002].0);
        assert!(
            matches!(&refused, Heard::Failed { cause, .. } if cause == "DoSProtectionException"),
            "{refused:?}"
        );
        scene.they_read(0, &stanzas[1001].0, &stanzas[1001].1);
        for index in [1, 2, 500, 999, 1000, 1002] {
            scene.they_read(0, &stanzas[index].0, &stanzas[index].1);
        }
        scene.quiet();
        scene.they_say(0, "that was a lot");
    });
}

// ------------------------------------------------------------------------------------------------ without content

#[test]
fn messages_without_payload() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("messages without payload", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        // Theirs: python's answer to our key exchange.
        let first = scene.ours[0].seal(&[JULIET], "first");
        scene.they_read(0, &first, "first");
        let heard = scene.ours[0].receive();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].status, heard[0].action), (abi::OK, abi::ACTION_HIDE));
        assert_eq!((&heard[0].body, &heard[0].plaintext), (&None, &None));
        assert!(!scene.ours[0].seal(&[JULIET], "confirmed").contains("kex="));
        // Ours: our answer to python's key exchange, with which python confirms its session.
        let device = scene.ours[0].id();
        scene.peer.replace("j1", ROMEO, device);
        let heard = scene.ours[0].receive();
        assert_eq!((heard[0].status, heard[0].action), (abi::OK, abi::ACTION_HIDE));
        assert_ne!(heard[0].flags & abi::NEW_SESSION, 0);
        settle(&[&scene.ours[0]]);
        assert_eq!(scene.peer.receive("j1"), [Heard::Empty]);
        assert!(!scene.peer.seal("j1", &[ROMEO], "confirmed").contains("kex="));
    });
}

#[test]
fn a_long_monologue_is_answered_by_heartbeats() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::at_most("heartbeats", 5, |seed| {
        // Nobody answers by hand: each side's heartbeat keeps the other's chain short.
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let device = scene.ours[0].id();
        for round in 0..120 {
            scene.they_say(0, &format!("theirs {round}"));
        }
        let chain = scene.peer.sending_chain("j1", ROMEO, device).expect("a session");
        assert!(chain <= 60, "python's chain is {chain} long");
        for round in 0..120 {
            scene.we_say(0, &format!("ours {round}"));
        }
    });
}

// ------------------------------------------------------------------------------------------------ as strings

#[test]
fn every_text_survives_both_ways() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    let long = "wherefore ".repeat(2_000);
    let texts = [
        "x",
        "<body xmlns='jabber:client'>not markup</body> & \"quotes\" 'too' ]]> &amp; &#x41;",
        "two\nlines and a\ttab",
        "Ünïcödé, русский, 日本語, 🌹💀, e\u{301} combining, \u{202e}turned",
        "  spaces at both ends  ",
        &long,
    ];
    seeds::each("texts", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        for text in texts {
            scene.we_say(0, text);
            scene.they_say(0, text);
        }
    });
}

#[test]
fn stanzas_may_be_written_in_any_way() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("stanzas in any way", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 1, 1);
        let ways: [fn(&str) -> String; 5] = [
            // As python writes it, with prefixes.
            str::to_owned,
            // Without prefixes.
            |xml| xml.replace("ns0:", "").replace("xmlns:ns0", "xmlns"),
            // On lines, indented; base64 broken and indented as well.
            |xml| xml.replace("><ns0:", ">\n  <ns0:").replace("</ns0:payload", "\n   </ns0:payload"),
            // With attributes and children that nobody knows.
            |xml| {
                xml.replacen("<ns0:header ", "<ns0:header xmlns:f='urn:f' f:new='1' ", 1).replacen(
                    "<ns0:keys ",
                    "<unknown xmlns='urn:u'><key rid='1'/></unknown><ns0:keys ",
                    1,
                )
            },
            // Payload before header.
            |xml| {
                let (start, rest) = xml.split_once("<ns0:header").expect("a header");
                let (header, payload) = rest.split_once("<ns0:payload>").expect("a payload");
                let payload = payload.strip_suffix("</ns0:encrypted>").expect("the end");
                format!("{start}<ns0:payload>{payload}<ns0:header{header}</ns0:encrypted>")
            },
        ];
        for (number, way) in ways.iter().enumerate() {
            let text = format!("way {number}");
            let stanza = way(&scene.peer.seal("j1", &[ROMEO], &text));
            scene.we_read(0, &stanza, &text);
            let read = scene.ours[0].decrypt(JULIET, "<encrypted xmlns='urn:xmpp:omemo:2'/>").unwrap();
            assert_ne!(read.status, abi::OK, "a stanza without header is refused, and does no harm");
            scene.exchange();
            scene.we_say(0, &format!("answer {number}"));
        }
    });
}

// ------------------------------------------------------------------------------------------------ trust

#[test]
fn trust_decides_who_reads_and_who_is_read() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("trust", |seed| {
        let judge = Trust::Ask(Box::new(|device| (device.jid == ROMEO).then_some("trusted")));
        let setup = vec![Setup { trust: judge, ..Setup::default() }, Setup::default()];
        let mut scene = Scene::with(&mut peer, seed, setup, 2);
        let romeo = &scene.ours[0];
        // Nobody has judged Juliet: nothing is sent to her, and everybody is reported.
        let refused = romeo.encrypt(&[JULIET], "to nobody");
        assert_ne!(refused.status, abi::OK);
        assert!(refused.messages.is_empty());
        // One of hers is trusted, one is not.
        let devices = romeo.devices(JULIET);
        assert_eq!(devices.len(), 2);
        let good = scene.world.dice(2);
        for (index, device) in devices.iter().enumerate() {
            let level = if index == good { "trusted" } else { "distrusted" };
            assert_eq!(romeo.set_trust(JULIET, device.identity.as_ref().unwrap(), level), abi::OK);
        }
        let outcome = romeo.encrypt(&[JULIET], "for one").ok();
        assert_eq!(outcome.row(JULIET, devices[good].id), Some(abi::OK));
        assert_eq!(outcome.row(JULIET, devices[1 - good].id), Some(ROW_DISTRUSTED));
        let bad = &devices[1 - good];
        let (mut readers, mut deaf) = (Vec::new(), Vec::new());
        for name in scene.theirs.clone() {
            match scene.peer.decrypt(name, ROMEO, &outcome.messages[0]) {
                Heard::Text { text, .. } if text == "for one" => readers.push(name),
                Heard::Failed { class, .. } if class == "MessageNotForUs" => deaf.push(name),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((readers.len(), deaf.len()), (1, 1));
        // What the distrusted one says is refused before anything changes, and can be read once it is trusted.
        let stanza = scene.peer.seal(deaf[0], &[ROMEO], "hear me");
        let romeo = &scene.ours[0];
        let before = romeo.store.snapshot();
        let refused = romeo.decrypt(JULIET, &stanza).unwrap();
        assert_eq!((refused.status, refused.body), (SENDER_DISTRUSTED, None));
        assert_eq!(romeo.store.snapshot(), before);
        let key = bad.identity.as_ref().unwrap();
        assert_eq!(romeo.set_trust(JULIET, key, "trusted"), abi::OK);
        let read = scene.we_read(0, &stanza, "hear me");
        assert_eq!((read.trust, read.level.as_deref()), (abi::TRUSTED, Some("trusted")));
        assert_eq!(read.identity.as_ref(), Some(key));
        assert_eq!(read.device, bad.id);
        scene.exchange();
        scene.we_say(0, "for both");
    });
}

#[test]
fn a_question_of_trust_waits_for_its_answer() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("a question of trust", |seed| {
        let setup = Setup { trust: Trust::Hold, ..Setup::default() };
        let mut scene = Scene::with(&mut peer, seed, vec![setup], 2);
        // An undecided sender is read, and shown as such.
        let stanza = scene.peer.seal("j1", &[ROMEO], "do you know me?");
        let read = scene.we_read(0, &stanza, "do you know me?");
        assert_eq!((read.trust, read.level.as_deref()), (abi::UNDECIDED, Some("undecided")));
        scene.exchange();
        let op = scene.ours[0].start_encrypt(&[JULIET], "not yet", abi::POLICY_WAIT).unwrap();
        settle(&[&scene.ours[0]]);
        assert_eq!(scene.ours[0].outcome(op), None, "the dialog is open");
        let held = scene.ours[0].held();
        assert_eq!(held.len(), 1, "one question for all devices");
        let (request, devices) = &held[0];
        assert_eq!(devices.len(), 2);
        for device in devices {
            let identity = device.identity.as_ref().expect("asked about a key");
            assert_eq!((device.jid.as_str(), device.trust, identity.len()), (JULIET, abi::UNDECIDED, 32));
        }
        assert_eq!(support::client::decide(*request, &["trusted", "trusted"]), abi::OK);
        let outcome = scene.ours[0].finish(op).ok();
        for index in 0..2 {
            scene.they_read(index, &outcome.messages[0], "not yet");
        }
    });
}

#[test]
fn both_sides_know_the_same_devices_and_fingerprints() {
    let mut peer = Peer::start(Kind::Python(&[NS_2]));
    seeds::each("devices and fingerprints", |seed| {
        let mut scene = Scene::new(&mut peer, seed, 2, 2);
        scene.we_say(0, "who are we?");
        let ids: Vec<u32> = scene.ours.iter().map(Client::id).collect();
        let keys: Vec<String> = scene.ours.iter().map(|client| hex(&client.identity())).collect();
        for name in scene.theirs.clone() {
            let mut known = scene.peer.known(name, ROMEO);
            known.sort();
            let mut ours: Vec<_> = ids.iter().copied().zip(keys.clone()).collect();
            ours.sort();
            assert_eq!(known, ours);
        }
        for device in scene.ours[0].devices(JULIET) {
            assert!(device.active);
            let identity = hex(device.identity.as_ref().unwrap());
            let answer = scene.peer.must(Record::new("fingerprint").with("identity", identity));
            assert_eq!(device.fingerprint.as_deref(), answer.get("fingerprint"));
        }
    });
}
