//! With python-omemo: labels that one side sets are verified and shown by the other, and lost by no list of either.
//!
//! Python speaks omemo:2 alone here: with the legacy backend beside it, it refuses to have a label.

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO};
use crate::support::{Client, NS_2, Peer, World, seeds, settle};
use std::collections::BTreeMap;

case_tests!(each_side_shows_the_labels_of_the_other: python_omemo_2 PYTHON_2, python_omemo_2_of_both PYTHON_2_OF_BOTH);
case_tests!(a_spoilt_label_is_shown_by_neither: python_omemo_2 PYTHON_2, python_omemo_2_of_both PYTHON_2_OF_BOTH);
case_tests!(no_list_of_either_loses_a_label_of_the_account: python_omemo_2 PYTHON_2, python_omemo_2_of_both PYTHON_2_OF_BOTH);

/// The verified labels of a JID's devices, as a client of ours shows them.
fn labels(client: &Client, jid: &str) -> BTreeMap<u32, String> {
    client.devices(jid).into_iter().filter_map(|device| Some((device.id, device.label?))).collect()
}

/// Lists are published once a minute at most.
fn set(world: &World, client: &Client, label: Option<&str>) {
    world.advance(61_000);
    client.set_label(label).ok();
}

/// A device of python that is created with a label.
fn add_labelled(run: &mut InteropRun<'_>, label: &str) -> u32 {
    let id = run.peer.device_with("j1", JULIET, run.config.kind.namespaces(), &[("label", label)]);
    run.theirs.push("j1");
    id
}

fn each_side_shows_the_labels_of_the_other(config: PeerConfig) {
    config.each("labels", 1, 0, |run| {
        let theirs = add_labelled(run, "first label");
        run.peer.learn("j1", ROMEO);
        run.quiet();
        run.acquaint();
        let ours = run.ours[0].id();
        assert_eq!(labels(&run.ours[0], JULIET), BTreeMap::from([(theirs, "first label".to_owned())]));
        // The longest of ours, and one that is longer than ours may be; none; what is an attribute's own.
        let (longest, longer) = ("\u{1f339}".repeat(52), "y".repeat(200));
        for (we, they) in [
            (Some("Romeo's phone"), Some("Juliet's balcony")),
            (Some("\u{e9}\u{4e2d} <&'\"> phone"), Some("\u{f6}\u{1f339} <&'\"> balcony")),
            (Some(longest.as_str()), Some(longer.as_str())),
            (None, None),
            (Some("phone"), Some("balcony")),
        ] {
            set(&run.world, &run.ours[0], we);
            run.peer.set_label("j1", they);
            run.quiet();
            for restarted in [false, true] {
                let expected = |id: u32, label: Option<&str>| label.map(|label| (id, label.to_owned()));
                assert_eq!(run.peer.labels("j1", ROMEO), expected(ours, we).into_iter().collect());
                assert_eq!(labels(&run.ours[0], JULIET), expected(theirs, they).into_iter().collect());
                if !restarted {
                    run.peer.restart("j1");
                    run.ours[0].restart();
                    run.ours[0].connect().ok();
                    run.quiet();
                }
            }
        }
        run.we_say(0, "what's in a name?");
        run.they_say(0, "a rose");
    });
}

/// One letter of the only signature of a list changed, whose bits all count.
fn spoil_signature(world: &World, list: &str) -> String {
    let start = list.find("labelsig=").expect("a signature") + "labelsig='".len();
    let place = start + world.dice(85);
    let letter = if list.as_bytes()[place] == b'A' { "B" } else { "A" };
    format!("{}{letter}{}", &list[..place], &list[place + 1..])
}

/// Lists with a label that its device has not signed.
fn spoilt_lists(world: &World, list: &str) -> Vec<String> {
    let mut lists: Vec<String> = (0..8).map(|_| spoil_signature(world, list)).collect();
    assert_eq!(list.matches("genuine").count(), 1);
    lists.push(list.replace("genuine", "genuinf"));
    lists
}

fn a_spoilt_label_is_shown_by_neither(config: PeerConfig) {
    config.each("spoilt labels", 1, 0, |run| {
        set(&run.world, &run.ours[0], Some("genuine phone"));
        run.quiet();
        let theirs = add_labelled(run, "genuine balcony");
        run.lose_to_us();
        let list_of = |jid| run.world.list(NS_2, jid).expect("a list");
        let (our_list, their_list) = (list_of(ROMEO), list_of(JULIET));
        // Neither has ever seen the right one; both know the key.
        let spoilt = spoilt_lists(&run.world, &their_list);
        run.ours[0].push(JULIET, &spoilt[0]);
        let first = run.we_seal("first", 1).remove(0);
        assert_eq!(labels(&run.ours[0], JULIET), BTreeMap::new());
        run.peer.push("j1", NS_2, ROMEO, &spoilt_lists(&run.world, &our_list)[0]);
        run.they_read(0, &first);
        for list in spoilt_lists(&run.world, &our_list) {
            run.peer.push("j1", NS_2, ROMEO, &list);
            assert_eq!(run.peer.labels("j1", ROMEO), BTreeMap::new(), "{list}");
        }
        // What was shown before stays: who spoils a label has not the last word.
        let mut shown = BTreeMap::new();
        for list in spoilt {
            run.ours[0].push(JULIET, &list);
            assert_eq!(labels(&run.ours[0], JULIET), shown, "{list}");
            run.ours[0].push(JULIET, &their_list);
            assert_eq!(labels(&run.ours[0], JULIET)[&theirs], "genuine balcony");
            shown = labels(&run.ours[0], JULIET);
        }
        run.peer.push("j1", NS_2, ROMEO, &our_list);
        assert_eq!(run.peer.labels("j1", ROMEO)[&run.ours[0].id()], "genuine phone");
        run.exchange();
        run.they_say(0, "a rose");
        run.we_say(0, "by any other name");
    });
}

// ------------------------------------------------------------------------------------------------ one account

/// Romeo has a device of ours and one of python, Juliet as well.
struct Account<'p> {
    world: World,
    peer: &'p mut Peer,
    romeo: Client,
    juliet: Client,
    second: u32,
    expected: BTreeMap<u32, String>,
}

impl<'p> Account<'p> {
    fn new(peer: &'p mut Peer, config: PeerConfig, seed: u64) -> Self {
        let world = World::new(seed);
        peer.begin(&world, seed);
        let ours = |jid| {
            let client = Client::with(&world, jid, config.setup());
            client.connect().ok();
            client
        };
        let (romeo, juliet) = (ours(ROMEO), ours(JULIET));
        let second = peer.device("r2", ROMEO);
        peer.device("j1", JULIET);
        for (name, jid) in [("r2", ROMEO), ("r2", JULIET), ("j1", ROMEO), ("j1", JULIET)] {
            peer.learn(name, jid);
        }
        let mut account = Self { world, peer, romeo, juliet, second, expected: BTreeMap::new() };
        account.deliver();
        // Labels are shown of devices whose keys are known.
        account.romeo.say(&[JULIET], "hello");
        account.deliver();
        account.juliet.say(&[ROMEO], "hello yourself");
        account.deliver();
        account
    }

    fn deliver(&mut self) {
        for _ in 0..4 {
            self.world.advance(61_000);
            settle(&[&self.romeo, &self.juliet]);
            self.romeo.receive();
            self.juliet.receive();
            self.peer.receive("r2");
            self.peer.receive("j1");
        }
    }

    /// The labels of Romeo's devices as each of the four devices shows them.
    fn shown(&mut self) -> [BTreeMap<u32, String>; 4] {
        self.deliver();
        let (own, foreign) = (labels(&self.romeo, ""), labels(&self.juliet, ROMEO));
        [own, foreign, self.peer.labels("r2", ROMEO), self.peer.labels("j1", ROMEO)]
    }

    /// Somebody's client publishes the list with the element of one device changed.
    fn publish_with(&mut self, id: u32, change: impl Fn(&str) -> String) {
        let list = self.world.list(NS_2, ROMEO).expect("a list");
        let at = ['\'', '"'].iter().find_map(|quote| list.find(&format!("id={quote}{id}{quote}")));
        let at = at.expect("the device is listed");
        let start = list[..at].rfind('<').expect("its element");
        let end = at + list[at..].find("/>").expect("its end") + "/>".len();
        let changed = format!("{}{}{}", &list[..start], change(&list[start..end]), &list[end..]);
        self.world.publish_list(NS_2, ROMEO, &changed);
    }

    fn step(&mut self, step: usize, round: usize) {
        let first = self.romeo.id();
        match step {
            0 => {
                let label = format!("ours in round {round}");
                set(&self.world, &self.romeo, Some(&label));
                self.expected.insert(first, label);
            }
            1 => {
                let label = format!("python's in round {round}");
                self.peer.set_label("r2", Some(&label));
                self.expected.insert(self.second, label);
            }
            // The device publishes itself again, and what stands beside it.
            2 => self.publish_with(first, |_| String::new()),
            3 => self.publish_with(self.second, |_| String::new()),
            // A client that knows no labels has written the list.
            4 => self.publish_with(first, |device| {
                device.split_once(" label=").map_or(device.to_owned(), |(id, _)| format!("{id}/>"))
            }),
            5 => {
                self.romeo.restart();
                self.romeo.connect().ok();
            }
            _ => self.peer.restart("r2"),
        }
    }
}

fn no_list_of_either_loses_a_label_of_the_account(config: PeerConfig) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("labels of one account ({})", config.name), 6, |seed| {
        let mut account = Account::new(&mut peer, config, seed);
        for round in 0..3 {
            let mut steps = [0, 1, 2, 3, 4, 5, 6];
            account.world.shuffle(&mut steps);
            for step in steps {
                account.step(step, round);
                for (place, shown) in account.shown().into_iter().enumerate() {
                    assert_eq!(shown, account.expected, "device {place} after step {step} of {steps:?}");
                }
            }
        }
        assert_eq!(account.expected.len(), 2);
    });
}
