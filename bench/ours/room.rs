//! Rooms, measured in the simulated world: how often a message to 200 members waits for the network when all lists are
//! outdated, and what a message costs in a room that hides who wrote it, with 10,000 known JIDs in the store.

use crate::print;
use crate::support::world::rust::config;
use crate::support::world::server::{Server, jid};
use crate::support::world::{RawDevice, RustDevice};
use omemo::manager::api::draft::Draft;
use omemo::manager::api::request::Request;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::{Legacy, Omemo2};
use std::time::Instant;
use zeroize::Zeroizing;

/// Members of the room whose lists are outdated.
const MEMBERS: u32 = 200;
/// One way there and back.
const ROUND_TRIP_MS: u64 = 50;
/// JIDs that the account has named itself.
const KNOWN: u32 = 10_000;
/// Messages that are timed.
const MESSAGES: usize = 200;

fn announce(member: &RawDevice, server: &mut Server) {
    for namespace in [Legacy, Omemo2] {
        member.in_namespace(namespace).publish(server);
        // `publish` replaces the list; a second device stands on it beside the first.
        let ids: &[u32] = if member.id > 10_000 { &[member.id - 10_000, member.id] } else { &[member.id] };
        let devices = ids.iter().map(|id| ListedDevice::new(*id)).collect();
        server.lists.insert((namespace, member.jid.clone()), DeviceList::of(namespace, devices));
    }
}

/// Encrypts to all members; returns how often it waited for lists, and for bundles alone.
fn encrypt(device: &RustDevice, server: &mut Server, operation: u64) -> (u32, u32) {
    let recipients = (1..=MEMBERS).map(|n| jid(&format!("member{n}@montague.lit"))).collect();
    let plaintexts = [Legacy, Omemo2].map(|namespace| (namespace, Zeroizing::new(b"text".to_vec())));
    let draft = Draft { recipients, plaintexts: plaintexts.into(), ..Draft::default() };
    device.manager().encrypt(operation, draft).unwrap();
    let (mut lists, mut bundles) = (0, 0);
    while !device.is_done(operation) {
        let asked = device.step();
        if asked.is_empty() {
            continue;
        }
        device.advance(ROUND_TRIP_MS);
        let of_lists = asked.iter().any(|(_, request)| matches!(request, Request::FetchDeviceList { .. }));
        *(if of_lists { &mut lists } else { &mut bundles }) += 1;
        for (request_id, request) in asked {
            let answer = server.answer(device, &request);
            device.manager().answer(request_id, answer).unwrap();
        }
    }
    (lists, bundles)
}

fn outdated_lists() {
    let mut server = Server::of(Omemo2);
    let mut config = config(Legacy, "romeo@montague.lit", "trusted");
    config.namespaces = vec![Legacy, Omemo2];
    let device = RustDevice::with(config, &mut server);
    let name = |n: u32| format!("member{n}@montague.lit");
    (1..=MEMBERS).for_each(|n| announce(&RawDevice::of(Omemo2, &name(n), n), &mut server));
    encrypt(&device, &mut server, 1_000_001);
    assert_eq!(keys(&device, 1_000_001), MEMBERS as usize);
    // Hours later every member has another device, and nobody has pushed that.
    device.advance(2 * 3_600_000);
    (1..=MEMBERS).for_each(|n| announce(&RawDevice::of(Omemo2, &name(n), n + 10_000), &mut server));
    let (lists, bundles) = encrypt(&device, &mut server, 1_000_002);
    assert_eq!(keys(&device, 1_000_002), 2 * MEMBERS as usize);
    print("room_200_round_trips_for_lists", f64::from(lists), 14.0);
    print("room_200_round_trips_for_bundles_alone", f64::from(bundles), 7.0);
}

fn keys(device: &RustDevice, operation: u64) -> usize {
    device.take(operation).messages.iter().map(|message| message.keys.len()).sum()
}

fn semi_anonymous() {
    let mut server = Server::of(Omemo2);
    let device = RustDevice::new("romeo@montague.lit", &mut server);
    let key = RawDevice::of(Omemo2, "somebody@capulet.lit", 1).key();
    for n in 0..KNOWN {
        let known = jid(&format!("known{n}@capulet.lit"));
        device.manager().set_trust(&known, &key, "trusted").unwrap();
        let list = DeviceList::of(Omemo2, vec![ListedDevice::new(100_000 + n)]);
        device.manager().update_device_list(&known, &list).unwrap();
    }
    let (room, mut friend) = (jid("room@rooms.lit"), RawDevice::of(Omemo2, "juliet@capulet.lit", 77));
    friend.publish(&mut server);
    device.refresh(&friend.jid.clone(), &mut server);
    let (mut session, hello) = friend.greet(&device, &server, "hello");
    device.read(&friend.jid, &hello);
    device.run(&mut server);
    let to = (device.jid.clone(), device.id());
    let messages: Vec<_> =
        (0..MESSAGES).map(|n| friend.write(&mut session, (&to.0, to.1), &n.to_string())).collect();
    // Nothing is in memory.
    device.restart();
    let (mut times, mut loads) = (Vec::new(), Vec::new());
    for message in &messages {
        let (before, begun) = (device.storage.loads(), Instant::now());
        let decrypted = device.manager().decrypt(None, Some(&room), message).unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        loads.push(device.storage.loads() - before);
        assert!(decrypted.plaintext.is_some(), "{:?}", decrypted.error);
    }
    print("room_10000_known_first_decrypt_us", times[0], 1_000.0);
    print("room_10000_known_first_decrypt_loads", loads[0] as f64, 50.0);
    times.sort_by(f64::total_cmp);
    print("room_10000_known_decrypt_us", times[MESSAGES / 2], 1_000.0);
    print("room_10000_known_decrypt_loads", *loads[1..].iter().max().unwrap() as f64, 50.0);
    // Somebody whom nobody knows.
    let (_, unknown) = RawDevice::of(Omemo2, "paris@verona.lit", 78).greet(&device, &server, "hello");
    let (before, begun) = (device.storage.loads(), Instant::now());
    device.manager().decrypt(None, Some(&room), &unknown).unwrap();
    print("room_10000_known_unknown_sender_us", begun.elapsed().as_secs_f64() * 1e6, 1_000.0);
    print("room_10000_known_unknown_sender_loads", (device.storage.loads() - before) as f64, 50.0);
}

pub fn run() {
    outdated_lists();
    semi_anonymous();
}
