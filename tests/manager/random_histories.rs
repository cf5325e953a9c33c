//! Both namespaces under events in any order, drawn from seeds: what must never happen does not, and in the end all is as
//! it should be.

use super::leaving::*;
use super::namespaces::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::x3dh::ResponderKeys;
use omemo::runtime::next_number;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

const BOTH: [Namespace; 2] = [Legacy, Omemo2];

/// A program that speaks both namespaces with one identity, under the id 5 of Juliet's.
struct Program {
    devices: [RawDevice; 2],
    sessions: Vec<Session>,
}

impl Program {
    fn new() -> Program {
        let legacy = RawDevice::of(Legacy, JULIET, 5);
        let omemo2 = legacy.in_namespace(Omemo2);
        Program { devices: [legacy, omemo2], sessions: Vec::new() }
    }

    fn key(&self) -> [u8; 32] {
        unsigned(self.devices[0].key())
    }

    /// Whether it can read what was encrypted for its id.
    fn reads(&mut self, namespace: Namespace, key: &MessageKey) -> bool {
        let device = self.devices.iter_mut().find(|device| device.namespace == namespace).unwrap();
        let (bytes, mut budget) = (key.bytes.as_ref().unwrap(), ChainBudget::new(SkipLimits::default()));
        if key.key_exchange {
            let exchange = KeyExchange::parse(namespace, bytes).unwrap();
            let pre_key = device.pre_keys.iter().find(|(id, _)| *id == exchange.id().pre_key_id);
            let (_, pair) = pre_key.unwrap();
            let (signed, rng) = (&device.signed.pair, &mut device.rng);
            Session::accept(&ResponderKeys::new(&device.identity, signed, pair), &exchange, &mut budget, rng)
                .is_ok()
        } else {
            let message = RatchetMessage::parse(namespace, bytes).unwrap();
            let mut sessions = self.sessions.iter_mut().filter(|session| session.namespace() == namespace);
            sessions.any(|session| {
                let step = session.decrypt(&message, None, &mut |_| Ok(None), &mut budget, &mut device.rng);
                step.map(|step| *session = step.session).is_ok()
            })
        }
    }
}

/// An identity key without its sign.
fn unsigned(mut key: [u8; 32]) -> [u8; 32] {
    key[31] &= 0x7f;
    key
}

/// Which of the programs can read a message.
fn readers(programs: &mut [Program; 2], message: &Message) -> Vec<usize> {
    let key = message.keys.iter().find(|key| key.device == 5).unwrap();
    let programs = programs.iter_mut().enumerate();
    programs.filter_map(|(who, program)| program.reads(message.namespace, key).then_some(who)).collect()
}

fn happen(rng: &mut StdRng, romeo: &RustDevice, server: &mut Server, programs: &mut [Program; 2]) {
    let (program, which) = (&mut programs[rng.random_range(0..2usize)], rng.random_range(0..2usize));
    let namespace = BOTH[which];
    let known = romeo.device(&jid(JULIET), 5);
    let is_listed = server.lists.contains_key(&(namespace, jid(JULIET)));
    match rng.random_range(0..8) {
        0 | 1 => program.devices[which].publish(server),
        2 | 3 if is_listed => {
            if rng.random_bool(0.5) {
                unlist(server, namespace, 5);
            }
            push(romeo, server, namespace);
        }
        4 => {
            let bundle = server.bundles[&(namespace, romeo.jid.clone(), romeo.id())].clone();
            let mut session = program.devices[which].initiate(&bundle);
            let message = program.devices[which].write(&mut session, (&romeo.jid, romeo.id()), "x");
            let status = romeo.read(&jid(JULIET), &message).error.status();
            assert!(matches!(status, Status::Ok | Status::PublicDataInconsistency), "{status:?}");
            if status == Status::Ok {
                program.sessions.push(session);
            }
            romeo.run(server);
            for (_, message) in std::mem::take(&mut *romeo.sent.borrow_mut()) {
                readers(programs, &message); // the answer moves the ratchet on
            }
        }
        5 => {
            if let Some(shown) = known.and_then(|device| device.conflicting_key) {
                romeo.manager().accept_identity(&jid(JULIET), id(5), &shown).unwrap();
            }
        }
        6 if known.is_some() => {
            let preferred = rng.random_bool(0.5).then_some(namespace);
            romeo.manager().prefer_namespace(&jid(JULIET), id(5), preferred).unwrap();
        }
        7 => {
            romeo.advance(301_000);
            romeo.run(server);
            match rng.random_range(0..3) {
                0 => drop(romeo.refresh(&jid(JULIET), server)),
                1 => {
                    romeo.restart();
                    assert_eq!(romeo.connect(server).status(), Status::Ok);
                }
                _ => (),
            }
        }
        _ => (),
    }
}

fn encrypt(
    romeo: &RustDevice,
    server: &mut Server,
    order: Option<Vec<Namespace>>,
) -> (Vec<Message>, Option<Status>) {
    let operation = next_number();
    romeo.manager().encrypt(operation, content(&[JULIET], order)).unwrap();
    romeo.run(server);
    let outcome = romeo.take(operation);
    let status = row(&outcome, &jid(JULIET), 5);
    (outcome.messages, status)
}

#[test]
fn whatever_happens_only_the_known_key_is_served_and_it_is_served_again_in_the_end() {
    let mut served = [0; 2];
    for seed in 0..80 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut server = Server::of(Legacy);
        let order = if seed % 2 == 0 { BOTH } else { [Omemo2, Legacy] };
        let romeo = RustDevice::with(both(order, ROMEO), &mut server);
        let mut programs = [Program::new(), Program::new()];
        for _ in 0..25 {
            happen(&mut rng, &romeo, &mut server, &mut programs);
            let order = [None, Some(vec![Legacy]), Some(vec![Omemo2])][rng.random_range(0..3usize)].clone();
            for message in encrypt(&romeo, &mut server, order).0 {
                let device = romeo.device(&jid(JULIET), 5).unwrap();
                assert!(device.active.contains(&message.namespace), "seed {seed}");
                let [reader] = readers(&mut programs, &message)[..] else {
                    panic!("seed {seed}: one reads it")
                };
                let known = device.identity_key.map(unsigned);
                assert_eq!(known, Some(programs[reader].key()), "seed {seed}: the wrong key");
                served[reader] += 1;
            }
        }
        let last = &programs[rng.random_range(0..2usize)];
        for namespace in BOTH {
            last.devices.iter().for_each(|device| device.publish(&mut server));
            push(&romeo, &server, namespace);
        }
        romeo.advance(301_000);
        romeo.run(&mut server);
        let known = romeo.device(&jid(JULIET), 5).unwrap().identity_key.map(unsigned) == Some(last.key());
        for namespace in BOTH {
            let mut status = None;
            for _ in 0..3 {
                // Who shows the known key again needs nobody's help.
                if !known {
                    romeo.refresh(&jid(JULIET), &mut server);
                    if let Some(shown) = romeo.device(&jid(JULIET), 5).unwrap().conflicting_key {
                        romeo.manager().accept_identity(&jid(JULIET), id(5), &shown).unwrap();
                    }
                }
                status = encrypt(&romeo, &mut server, Some(vec![namespace])).1;
                if status == Some(Status::Ok) {
                    break;
                }
                romeo.advance(301_000);
                romeo.run(&mut server);
            }
            assert_eq!(status, Some(Status::Ok), "seed {seed}: not served again in {namespace:?}");
        }
    }
    assert!(served.iter().all(|count| *count > 200), "{served:?}");
}

/// A stream during which something goes wrong after some answers. It must end the operation.
fn troubled_stream(rng: &mut StdRng, romeo: &RustDevice, server: &mut Server) {
    let operation = romeo.begin_connect();
    let (trouble, mut left) = (rng.random_range(0..5), rng.random_range(0..14usize));
    if trouble == 4 {
        let fault = if left % 2 == 0 { Fault::Nothing } else { Fault::Everything };
        romeo.storage.fail(1 + left / 3, fault);
    }
    let reason = if rng.random_bool(0.5) { Reason::Failed } else { Reason::Timeout };
    let open = romeo.run_with(|request| {
        let due = left == 0;
        left = left.saturating_sub(1);
        match (trouble, due) {
            (1, true) => {
                left = 0; // from here on no answer comes
                None
            }
            (2, true) => {
                left = 100; // one is refused
                Some(Answer::Rejected(reason))
            }
            (3, true) => Some(Answer::Rejected(reason)), // all are, from here on
            _ => Some(server.answer(romeo, request)),
        }
    });
    *romeo.storage.fault.lock().unwrap() = None;
    if !open.is_empty() {
        if rng.random_bool(0.5) {
            let _ = romeo.manager().cancel(operation); // it may be over already
        }
        for (request_id, request) in open {
            let _ = romeo.manager().answer(request_id, server.answer(romeo, &request)); // it may be withdrawn
        }
        romeo.run(server);
    }
    romeo.run_later(server);
    assert!(romeo.is_done(operation), "it never ended");
}

/// Opens the account anew; sometimes the store fails meanwhile.
fn reopened_somehow(rng: &mut StdRng, romeo: &RustDevice, namespaces: &[Namespace]) -> RustDevice {
    if rng.random_bool(0.6) {
        return reopened(romeo, namespaces);
    }
    romeo.manager.replace(None);
    let config = Config { namespaces: namespaces.to_vec(), ..romeo.config.clone() };
    let again = RustDevice::closed(config, romeo.storage.clone());
    again.storage.fail(1, if rng.random_bool(0.5) { Fault::Nothing } else { Fault::Everything });
    if again.open().is_err() {
        again.open().unwrap();
    }
    *again.storage.fault.lock().unwrap() = None;
    again
}

#[test]
fn namespaces_that_come_and_go_leave_the_server_in_order_and_foreign_devices_alone() {
    let (mut foreigners, mut new_ids) = (0, 0);
    for seed in 0..120 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut server = Server::of(Omemo2);
        let mut romeo = RustDevice::with(both(BOTH, ROMEO), &mut server);
        let first_id = romeo.id();
        let mut foreign: Option<RawDevice> = None;
        for _ in 0..12 {
            match rng.random_range(0..9) {
                0..3 => {
                    let sets: [&[Namespace]; 4] = [&[Legacy], &[Omemo2], &[Omemo2, Legacy], &BOTH];
                    let set = sets[rng.random_range(0..4usize)];
                    romeo = reopened_somehow(&mut rng, &romeo, set);
                }
                3..7 => troubled_stream(&mut rng, &romeo, &mut server),
                7 => {
                    romeo.manager().disconnected().unwrap();
                    romeo.run(&mut server);
                }
                _ => {
                    let namespace = BOTH[rng.random_range(0..2usize)];
                    if foreign.is_none() && !has_bundle(&server, namespace, &romeo) {
                        let stranger = RawDevice::of(namespace, ROMEO, romeo.id());
                        stranger.publish(&mut server);
                        foreign = Some(stranger);
                        foreigners += 1;
                    }
                }
            }
            let harmed = foreign.as_ref().is_some_and(|foreign| {
                let at = (foreign.namespace, foreign.jid.clone(), foreign.id);
                server.bundles.get(&at) != Some(&foreign.bundle())
            });
            assert!(!harmed, "seed {seed}");
        }
        let _ = romeo.manager().disconnected();
        romeo.run(&mut server);
        romeo.connect(&mut server);
        romeo.run_later(&mut server);
        new_ids += usize::from(romeo.id() != first_id);
        for namespace in BOTH {
            let is_foreign = |id: u32| {
                foreign.as_ref().is_some_and(|foreign| foreign.namespace == namespace && foreign.id == id)
            };
            let list = server.lists.get(&(namespace, romeo.jid.clone()));
            let ids = list.iter().flat_map(|list| list.devices.iter().map(|device| device.id));
            let ours: Vec<u32> = ids.filter(|id| !is_foreign(*id)).collect();
            if romeo.config.namespaces.contains(&namespace) {
                assert_eq!(ours, [romeo.id()], "seed {seed}");
                let mut stranger = RawDevice::of(namespace, "benvolio@montague.lit", 12);
                let bundle = &server.bundles[&(namespace, romeo.jid.clone(), romeo.id())];
                let mut session = stranger.initiate(bundle);
                let message = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
                assert_eq!(text(&romeo.read(&stranger.jid, &message)), "x", "seed {seed}");
            } else {
                assert_eq!(ours, [0; 0], "seed {seed}");
                assert!(records_of(&romeo, namespace).is_empty(), "seed {seed}");
                assert!(is_foreign(romeo.id()) || !has_bundle(&server, namespace, &romeo), "seed {seed}");
            }
        }
    }
    assert!(foreigners > 10 && new_ids > 5, "{foreigners} {new_ids}");
}
