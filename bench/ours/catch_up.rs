//! A catch-up, measured in the simulated world: 1,000 messages of 50 senders that waited on the server, each read with a
//! commit of its own, and the answers at the end.

use crate::print;
use crate::support::world::server::Server;
use crate::support::world::{RawDevice, RustDevice};
use omemo::manager::api::catch_up::CatchUp;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::Omemo2;
use omemo::runtime::next_number;
use std::time::Instant;

const SENDERS: usize = 50;
const MESSAGES: usize = 1_000;

/// What waited on the server for a device: all senders write in turns, each begins a session of its own.
fn queued(device: &RustDevice, server: &Server) -> Vec<(usize, Message)> {
    let mut senders: Vec<RawDevice> =
        (1..=SENDERS).map(|n| RawDevice::of(Omemo2, &format!("friend{n}@capulet.lit"), n as u32)).collect();
    let (to, id) = (device.jid.clone(), device.id());
    let mut sessions = Vec::new();
    let mut messages = Vec::new();
    for (n, sender) in senders.iter_mut().enumerate() {
        // No two of them take the same pre key.
        let mut bundle = server.bundle(device);
        bundle.pre_keys = vec![bundle.pre_keys[n].clone()];
        sessions.push(sender.initiate(&bundle));
    }
    for n in 0..MESSAGES {
        let sender = n % SENDERS;
        messages.push((sender, senders[sender].write(&mut sessions[sender], (&to, id), "text")));
    }
    messages
}

pub fn run() {
    let mut server = Server::of(Omemo2);
    let device = RustDevice::new("romeo@montague.lit", &mut server);
    let messages = queued(&device, &server);
    let senders: Vec<_> = (1..=SENDERS)
        .map(|n| crate::support::world::server::jid(&format!("friend{n}@capulet.lit")))
        .collect();
    device.restart();
    device.manager().connected(next_number(), CatchUp::Expected).unwrap();
    device.run(&mut server);
    let (commits, begun) = (device.storage.commits(), Instant::now());
    for (sender, message) in &messages {
        let read = device.manager().decrypt(Some(&senders[*sender]), None, message).unwrap();
        assert!(read.plaintext.is_some(), "{:?}", read.error);
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64;
    print("catch_up_1000_us_each", each, 1_000.0);
    print("catch_up_1000_commits_each", (device.storage.commits() - commits) as f64 / MESSAGES as f64, 1.0);
    let (sent, begun) = (device.sent.borrow().len(), Instant::now());
    let operation = next_number();
    device.manager().catch_up_end(operation).unwrap();
    device.run(&mut server);
    print("catch_up_1000_end_ms", begun.elapsed().as_secs_f64() * 1e3, 100.0);
    device.take(operation);
    print("catch_up_1000_answers", (device.sent.borrow().len() - sent) as f64, SENDERS as f64);
}
