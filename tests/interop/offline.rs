//! With other implementations: messages that wait while both sides are offline, and are read in a catch-up of each.

use crate::support::interop_run::{InteropRun, JULIET, Mailbag, PeerConfig, ROMEO};
use crate::support::{Kind, edit, settle};

with_peers![two_of_them_begin_on_one_pre_key_of_ours];
with_python![both_sides_catch_up_on_their_sessions, both_sides_catch_up_on_crossing_key_exchanges,];

/// Who reads: a device of ours, or one of theirs.
type Reader = (bool, usize);

/// All devices in the seed's order.
fn everybody(run: &InteropRun<'_>) -> Vec<Reader> {
    let ours = (0..run.ours.len()).map(|index| (true, index));
    let mut all: Vec<Reader> = ours.chain((0..run.theirs.len()).map(|index| (false, index))).collect();
    run.world.shuffle(&mut all);
    all
}

/// All say something that nobody reads yet.
fn all_say(run: &mut InteropRun<'_>, topic: &str, count: usize) -> Vec<(Reader, String)> {
    let mut said = Vec::new();
    for number in 0..count {
        for (ours, index) in everybody(run) {
            let text = format!("{topic} {number} of {} {index}", if ours { "ours" } else { "theirs" });
            if ours {
                run.ours[index].say(&[JULIET], &text);
            } else {
                run.peer.say(run.theirs[index], &[ROMEO], &text);
            }
            said.push(((ours, index), text));
        }
    }
    said
}

/// Everybody reads what waits, each text of the others once, and nobody sends anything.
#[track_caller]
fn all_read(run: &mut InteropRun<'_>, said: &[(Reader, String)]) {
    run.world.clear_journal();
    let mut heard =
        Mailbag { ours: vec![Vec::new(); run.ours.len()], theirs: vec![Vec::new(); run.theirs.len()] };
    for (ours, index) in everybody(run) {
        if ours {
            heard.ours[index] = run.ours[index].receive();
            settle(&[&run.ours[index]]);
        } else {
            heard.theirs[index] = run.peer.receive(run.theirs[index]);
        }
    }
    let (ours, theirs) = heard.texts();
    let ours = ours.iter().enumerate().map(|(index, texts)| ((true, index), texts));
    let all = ours.chain(theirs.iter().enumerate().map(|(index, texts)| ((false, index), texts)));
    for (reader, texts) in all {
        let meant: Vec<&String> =
            said.iter().filter(|(speaker, _)| *speaker != reader).map(|(_, text)| text).collect();
        let mut texts: Vec<&String> = texts.iter().collect();
        texts.sort_by_key(|text| meant.iter().position(|other| other == text));
        assert_eq!(texts, meant, "(ours, index): {reader:?}");
    }
    assert_eq!(run.world.count(Kind::SendMessage), 0, "an answer of ours before the end");
    let inboxes = run.ours.iter().map(|client| client.endpoint);
    let inboxes: Vec<usize> = inboxes.chain(run.theirs.iter().map(|name| run.peer.endpoint(name))).collect();
    assert!(
        inboxes.into_iter().all(|inbox| run.world.take_stanzas(inbox).is_empty()),
        "an answer before the end"
    );
}

/// Both write while nobody reads, go, and come back to a catch-up in which they read it all.
fn read_what_waits(run: &mut InteropRun<'_>) {
    let said = all_say(run, "waiting", 2);
    for client in &mut run.ours {
        client.restart();
        client.connect_to_catch_up().ok();
    }
    for name in &run.theirs {
        run.peer.restart_in_history(name);
    }
    all_read(run, &said);
}

fn end_catch_up(run: &mut InteropRun<'_>) {
    for (ours, index) in everybody(run) {
        if ours {
            let client = &run.ours[index];
            client.finish(client.finish_catch_up().expect("it starts")).ok();
        } else {
            run.peer.live(run.theirs[index]);
        }
    }
}

fn converse(run: &mut InteropRun<'_>) {
    for round in 0..2 {
        for index in 0..run.ours.len() {
            run.we_say(index, &format!("ours {index} in round {round}"));
        }
        for index in 0..run.theirs.len() {
            run.they_say(index, &format!("theirs {index} in round {round}"));
        }
    }
}

fn both_sides_catch_up_on_their_sessions(config: PeerConfig) {
    config.each("both sides catch up", 2, 2, |run| {
        converse(run);
        read_what_waits(run);
        let said = all_say(run, "meanwhile", 1);
        all_read(run, &said);
        end_catch_up(run);
        run.quiet();
        converse(run);
    });
}

fn both_sides_catch_up_on_crossing_key_exchanges(config: PeerConfig) {
    config.each("both sides catch up, key exchanges cross", 1, 1, |run| {
        read_what_waits(run);
        end_catch_up(run);
        // Python has lost the session that it began, for which it gets an answer; see `begin::both_begin_at_once`.
        run.exchange();
        converse(run);
    });
}

/// A bundle with its first pre key alone.
fn with_one_pre_key(bundle: &str, ns: &str) -> String {
    let name = edit::names(ns).pre_key;
    let end = format!("</{name}>");
    let first = bundle.find(&end).expect("a pre key") + end.len();
    let last = bundle.rfind(&end).expect("a pre key") + end.len();
    let one = format!("{}{}", &bundle[..first], &bundle[last..]);
    assert_eq!(edit::count(&one, name), 1);
    one
}

fn two_of_them_begin_on_one_pre_key_of_ours(config: PeerConfig) {
    config.each("two begin on one pre key of ours", 1, 2, |run| {
        let device = run.ours[0].id();
        run.ours[0].disconnect();
        for ns in config.ours {
            let bundle = run.world.bundle(ns, ROMEO, device).expect("a bundle");
            run.world.publish_bundle(ns, ROMEO, device, &with_one_pre_key(&bundle, ns));
        }
        for (index, text) in ["the first", "the second"].into_iter().enumerate() {
            run.peer.say(run.theirs[index], &[ROMEO], text);
            // Python's own devices must not begin with each other at once.
            run.peer.read(run.theirs[1 - index]);
        }
        run.ours[0].restart();
        run.ours[0].connect_to_catch_up().ok();
        let heard = run.exchange();
        assert_eq!(heard.texts().0, [["the first", "the second"]]);
        let client = &run.ours[0];
        client.finish(client.finish_catch_up().expect("it starts")).ok();
        run.quiet();
        converse(run);
    });
}
