//! With python-omemo and omemo-dr: trust, device lists, fingerprints, heartbeats.

use crate::support;

use crate::support::interop_run::{InteropRun, JULIET, PeerConfig, ROMEO, SentStanza};
use crate::support::peer::{Heard, Record, hex};
use crate::support::{Client, Peer, Setup, Trust, abi, seeds, settle};

with_managing_peers![
    a_long_monologue_is_answered_by_heartbeats,
    trust_decides_who_reads_and_who_is_read,
    a_request_of_trust_waits_for_its_answer,
    both_sides_know_the_same_devices_and_fingerprints,
];

fn a_long_monologue_is_answered_by_heartbeats(config: PeerConfig) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("{} ({})", "heartbeats", config.name), 4, |seed| {
        // Nobody answers by hand: our heartbeat keeps their chain short, and python's keeps ours.
        let mut run = InteropRun::with(&mut peer, config, seed, (0..1).map(|_| config.setup()).collect(), 1);
        let device = run.ours[0].id();
        for round in 0..120 {
            run.they_say(0, &format!("theirs {round}"));
        }
        let chain = run.peer.sending_chain("j1", ROMEO, device).expect("a session");
        assert!(chain <= 60, "the peer's chain is {chain} long");
        for round in 0..120 {
            run.we_say(0, &format!("ours {round}"));
        }
    });
}

fn trust_decides_who_reads_and_who_is_read(config: PeerConfig) {
    let config = config.with_records();
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("{} ({})", "trust", config.name), 4, |seed| {
        let judge = Trust::Ask(Box::new(|device| (device.jid == ROMEO).then_some("trusted")));
        let setup = vec![Setup { trust: judge, ..config.setup() }, config.setup()];
        let mut run = InteropRun::with(&mut peer, config, seed, setup, 2);
        let romeo = &run.ours[0];
        // Nobody has judged Juliet: nothing is sent to her, and everybody is reported.
        let refused = romeo.encrypt(&[JULIET], "to nobody");
        assert_ne!(refused.status, abi::OK);
        assert!(refused.messages.is_empty());
        // One of hers is trusted, one is not.
        let devices = romeo.devices(JULIET);
        assert_eq!(devices.len(), 2);
        let good = run.world.dice(2);
        for (index, device) in devices.iter().enumerate() {
            let level = if index == good { "trusted" } else { "distrusted" };
            assert_eq!(romeo.set_trust(JULIET, device.identity.as_ref().unwrap(), level), abi::OK);
        }
        let outcome = romeo.encrypt(&[JULIET], "for one").ok();
        assert_eq!(outcome.row(JULIET, devices[good].id), Some(abi::OK));
        assert_eq!(outcome.row(JULIET, devices[1 - good].id), Some(abi::ERR_DISTRUSTED));
        let bad = &devices[1 - good];
        let (mut readers, mut deaf) = (Vec::new(), Vec::new());
        for name in run.theirs.clone() {
            match run.peer.decrypt(name, ROMEO, &outcome.messages[0]) {
                Heard::Text { text, .. } if text == "for one" => readers.push(name),
                Heard::Failed { class, .. } if class == "MessageNotForUs" => deaf.push(name),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((readers.len(), deaf.len()), (1, 1));
        // What the distrusted one says is refused before anything changes, and can be read once it is trusted.
        let stanza = run.peer.seal(deaf[0], &[ROMEO], "hear me");
        let sealed = SentStanza { stanza: stanza.clone(), text: "hear me".to_owned() };
        let romeo = &run.ours[0];
        let before = romeo.store.all();
        let refused = romeo.decrypt(JULIET, &stanza).unwrap();
        assert_eq!((refused.status, refused.body), (abi::ERR_SENDER_DISTRUSTED, None));
        assert_eq!(romeo.store.all(), before);
        let key = bad.identity.as_ref().unwrap();
        assert_eq!(romeo.set_trust(JULIET, key, "trusted"), abi::OK);
        let read = run.we_read(0, &sealed);
        assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_TRUSTED, Some("trusted")));
        assert_eq!(read.identity.as_ref(), Some(key));
        assert_eq!(read.device, bad.id);
        run.exchange();
        run.we_say(0, "for both");
    });
}

fn a_request_of_trust_waits_for_its_answer(config: PeerConfig) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("{} ({})", "a question of trust", config.name), 4, |seed| {
        let setup = Setup { trust: Trust::Hold, ..config.setup() };
        let mut run = InteropRun::with(&mut peer, config, seed, vec![setup], 2);
        // An undecided sender is read, and shown as such.
        let stanza = run.peer.seal("j1", &[ROMEO], "do you know me?");
        let sealed = SentStanza { stanza, text: "do you know me?".to_owned() };
        let read = run.we_read(0, &sealed);
        assert_eq!((read.trust, read.level.as_deref()), (abi::CORE_UNDECIDED, Some("undecided")));
        run.exchange();
        let op = run.ours[0].start_encrypt(&[JULIET], "not yet", abi::ENCRYPT_WAIT).unwrap();
        settle(&[&run.ours[0]]);
        assert_eq!(run.ours[0].outcome(op), None, "the dialog is open");
        let held = run.ours[0].held();
        assert_eq!(held.len(), 1, "one question for all devices");
        let (request_id, devices) = &held[0];
        assert_eq!(devices.len(), 2);
        for device in devices {
            let identity = device.identity.as_ref().expect("asked about a key");
            assert_eq!(
                (device.jid.as_str(), device.trust, identity.len()),
                (JULIET, abi::CORE_UNDECIDED, 32)
            );
        }
        assert_eq!(support::client::decide(*request_id, &["trusted", "trusted"]), abi::OK);
        let outcome = run.ours[0].finish(op).ok();
        for index in 0..2 {
            let sealed = SentStanza { stanza: outcome.messages[0].clone(), text: "not yet".to_owned() };
            run.they_read(index, &sealed);
        }
    });
}

fn both_sides_know_the_same_devices_and_fingerprints(config: PeerConfig) {
    let mut peer = Peer::start(config.kind);
    seeds::at_most(&format!("{} ({})", "devices and fingerprints", config.name), 4, |seed| {
        let mut run = InteropRun::with(&mut peer, config, seed, (0..2).map(|_| config.setup()).collect(), 2);
        // Some peers know a device only when they have heard of it.
        run.we_say(0, "who are we?");
        run.we_say(1, "and who am I?");
        for name in run.theirs.clone() {
            let known = run.peer.known(name, ROMEO);
            assert_eq!(known.len(), run.ours.len());
            for (id, identity) in known {
                let client = run.ours.iter().find(|client| client.id() == id).expect("a device of ours");
                assert!(own_key(client).contains(&identity), "{identity} is another key");
            }
        }
        let mut seen = Vec::new();
        for device in run.ours[0].devices(JULIET) {
            assert!(device.active);
            seen.extend(device.fingerprint);
        }
        let mut shown: Vec<String> = Vec::new();
        for name in run.theirs.clone() {
            let answer = run.peer.must(Record::new("fingerprint").with("name", name));
            shown.push(answer.text("fingerprint").to_owned());
        }
        seen.sort();
        shown.sort();
        assert_eq!(seen, shown);
    });
}

/// The identity key of a client of ours, in the Ed25519 form and in that of Curve25519, by which some peers know it.
fn own_key(client: &Client) -> [String; 2] {
    let device = client.devices("").swap_remove(0);
    [hex(&client.identity()), device.fingerprint.unwrap_or_default().replace(' ', "")]
}
