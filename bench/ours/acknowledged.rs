//! Acknowledged delivery, measured in the simulated world: 1,000 messages of one sender, read as without it, kept and
//! acknowledged one by one, and read while 9,000 others are kept. The store is in memory: what is compared is the work and
//! the bytes, a disk adds its time for each commit.

use crate::print;
use crate::support::world::rust::config;
use crate::support::world::server::{Server, jid};
use crate::support::world::{RawDevice, RustDevice};
use omemo::manager::Config;
use omemo::manager::config::Delivery;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::Omemo2;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

const MESSAGES: usize = 1_000;
const KEPT: usize = 9_000;

/// What becomes of a message that was read.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Acknowledged,
    LeftBesideMany,
}

fn measure(name: &str, delivery: Delivery, then: Then, limits: [f64; 3]) {
    let mut server = Server::of(Omemo2);
    let settings = Config { delivery, ..config(Omemo2, "romeo@montague.lit", "trusted") };
    let device = RustDevice::with(settings, &mut server);
    let mut sender = RawDevice::of(Omemo2, "juliet@capulet.lit", 7);
    let mut session = sender.initiate(&server.bundle(&device));
    let (from, to) = (jid("juliet@capulet.lit"), (&device.jid, device.id()));
    let before = if then == Then::LeftBesideMany { KEPT } else { 1 };
    let mut written_by_her = |count: usize| -> Vec<Message> {
        (0..count).map(|_| sender.write(&mut session, to, "text")).collect()
    };
    let read = |message: &Message| {
        let read = device.manager().decrypt(Some(&from), None, message).unwrap();
        assert!(read.plaintext.is_some() && (read.receipt != 0) == (delivery == Delivery::Acknowledged));
        read.receipt
    };
    written_by_her(before).iter().for_each(|message| {
        read(message);
    });
    let messages = written_by_her(MESSAGES);
    let (commits, written, begun) =
        (device.storage.commits(), device.storage.written.load(SeqCst), Instant::now());
    for message in &messages {
        let receipt = read(message);
        if then == Then::Acknowledged {
            device.manager().acknowledge(receipt).unwrap();
        }
    }
    let each = |of: usize| of as f64 / MESSAGES as f64;
    print(&format!("{name}_us_each"), begun.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64, limits[0]);
    print(&format!("{name}_commits_each"), each(device.storage.commits() - commits), limits[1]);
    print(&format!("{name}_bytes_each"), each(device.storage.written.load(SeqCst) - written), limits[2]);
}

pub fn run() {
    measure("read_direct", Delivery::Direct, Then::Nothing, [1_000.0, 1.0, 1_024.0]);
    measure("read_acknowledged", Delivery::Acknowledged, Then::Acknowledged, [2_000.0, 2.0, 2_048.0]);
    measure("read_beside_9000_kept", Delivery::Acknowledged, Then::LeftBesideMany, [2_000.0, 1.0, 6_144.0]);
}
