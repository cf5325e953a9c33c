//! Our devices with one another in the simulated world: how many round trips, and that nothing delivered is lost.

use crate::support::world::device::Device;
use crate::support::{Client, JULIET, Kind, Mail, ROMEO, World, abi, seeds};
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::support::client::{settle, status_name};
use crate::support::world::{Answering, Wire};

in_both_namespaces_and_faces! {
    first_message_to_a_hundred_new_devices_needs_five_round_trips,
}
in_both_namespaces! {
    f31_whatever_is_delivered_is_read_once,
    the_contract_holds_meanwhile,
}

fn first_message_to_a_hundred_new_devices_needs_five_round_trips<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    world.set_push(false);
    let juliets: Vec<D> = (0..100).map(|_| D::online(&world, JULIET)).collect();
    let romeo = D::online(&world, ROMEO);
    world.set_answering(Answering::Later { least_ms: 50, most_ms: 50 });
    world.clear_journal();
    let start = world.now_ms();
    let outcome = romeo.encrypt(&[JULIET], "to all of you", EncryptPolicy::Wait).ok();
    let round_trips = (world.now_ms() - start) / 50;
    println!("100 new devices: {round_trips} round trips, {} questions open at most", world.open_most());
    assert_eq!(world.count(Kind::FetchList), 1);
    assert_eq!(world.count(Kind::FetchBundle), 100);
    assert!(round_trips <= 5, "{round_trips} round trips");
    assert!(world.open_most() <= 32, "{} questions open", world.open_most());
    assert_eq!(outcome.rows.iter().filter(|row| row.status == Status::Ok).count(), 100);
    // The second needs none.
    let start = world.now_ms();
    romeo.encrypt(&[JULIET], "once more", EncryptPolicy::Wait).ok();
    assert_eq!(world.now_ms(), start);
    // And it is no empty promise: they read it.
    for juliet in &juliets {
        let read = juliet.read(ROMEO, &outcome.messages[0]);
        assert_eq!(read.text.as_deref(), Some("to all of you"), "{:?}", read.status);
    }
}

fn f31_whatever_is_delivered_is_read_once(ns: &'static str) {
    let sum = RefCell::new([0; 6]);
    seeds::each("delivered is read once", |seed| {
        let world = World::speaking(ns, seed);
        let mut clients: Vec<Client> =
            [ROMEO, ROMEO, JULIET, JULIET].iter().map(|jid| Client::online(&world, jid)).collect();
        for client in &clients {
            client.receive();
        }
        settle(&clients.iter().collect::<Vec<_>>());
        if seed.is_multiple_of(2) {
            world.set_answering(Answering::Later { least_ms: 1, most_ms: 500 });
        }
        world.set_wire(Wire { loss: 5, twice: 10, reorder: 20 });
        let mut texts = BTreeMap::new();
        let mut read = vec![BTreeSet::new(); clients.len()];
        let (mut once, mut twice, mut forgotten, mut excused, mut restarts) = (0, 0, 0, 0, 0);
        for round in 0..80 {
            let speaker = world.dice(clients.len());
            let (to, text) =
                (if speaker < 2 { JULIET } else { ROMEO }, format!("{speaker} in round {round}"));
            let stanza = clients[speaker].seal(&[to], &text);
            world.post(clients[speaker].endpoint, &[to], &stanza);
            texts.insert(stanza, text);
            if world.dice(10) == 0 {
                let index = world.dice(clients.len());
                clients[index].restart();
                clients[index].connect().ok();
                restarts += 1;
            }
            // Some take some of their mail; in the end all take all.
            for (index, client) in clients.iter().enumerate() {
                let patience = if round == 79 { usize::MAX } else { world.dice(6) };
                for _ in 0..patience {
                    let Some(mail) = world.take(client.endpoint) else { break };
                    let Mail::Stanza { from, xml } = mail else { continue };
                    let heard = client.decrypt(&from, &xml).expect("a stanza is dealt with");
                    let again = !read[index].insert(xml.clone());
                    match (texts.get(&xml), heard.status) {
                        (Some(text), abi::OK) if !again => {
                            assert_eq!(heard.body.as_ref(), Some(text));
                            once += 1;
                        }
                        (_, abi::ERR_DUPLICATE) if again => twice += 1,
                        // A chain that was closed long ago is forgotten, and what comes of it again looks forged.
                        (_, abi::ERR_DECRYPTION_FAILED) if again => forgotten += 1,
                        (None, abi::OK | abi::ERR_NOT_FOR_US) => assert_eq!(heard.body, None),
                        (_, abi::ERR_PRE_KEY_UNKNOWN) => excused += 1,
                        (text, status) => panic!(
                            "{text:?} {} (given before: {again}) at device {index}: {}",
                            status_name(status),
                            heard.text
                        ),
                    }
                    client.run();
                }
            }
            settle(&clients.iter().collect::<Vec<_>>());
        }
        println!("seed {seed}: {once} read, {twice} duplicates, {excused} excused, {restarts} restarts");
        assert!(once > 100, "the run was no test: {once} read");
        let mut sum = sum.borrow_mut();
        *sum = [
            sum[0] + once,
            sum[1] + twice,
            sum[2] + excused,
            sum[3] + restarts,
            sum[4] + 1,
            sum[5] + forgotten,
        ];
    });
    // Chance decides a single run; all together they must have been a test.
    let [once, twice, excused, restarts, runs, forgotten] = *sum.borrow();
    assert!(
        twice > 10 * runs && restarts > runs,
        "{twice} duplicates and {restarts} restarts in {runs} runs"
    );
    assert!(forgotten <= runs, "{forgotten} duplicates in {runs} runs were not known as such");
    assert!(excused * 100 <= once, "{excused} of {once} on a pre key that another device used");
}

fn the_contract_holds_meanwhile(ns: &'static str) {
    let world = World::speaking(ns, 3);
    let mut romeo = Client::online(&world, ROMEO);
    let juliet = Client::online(&world, JULIET);
    for round in 0..5 {
        romeo.say(&[JULIET], &format!("{round}"));
        settle(&[&romeo, &juliet]);
        assert_eq!(juliet.read(), [format!("{round}")]);
        settle(&[&romeo, &juliet]);
        romeo.receive();
    }
    romeo.restart();
    romeo.connect().ok();
    romeo.close();
    assert_eq!(romeo.events_outside_run(), 0, "events come inside run only");
    assert_eq!(romeo.destroyed(), 4, "callbacks and log, of two managers");
    assert_eq!(romeo.store.destroyed(), 2);
    assert!(romeo.wakeups() > 0);
    for line in romeo.log() {
        assert!(!line.contains(ROMEO) && !line.contains(JULIET), "a JID in the log: {line}");
    }
}
