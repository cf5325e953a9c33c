//! Many threads at one manager, over one file: no change is lost, whoever else changes the same record, and nobody waits for
//! ever.

use super::stage::{Room, seeded};
use omemo::crypto::rng::SystemRng;
use omemo::error::{Result, Status};
use omemo::manager::api::device::{CoreTrust, Device};
use omemo::manager::api::services::{LogLevel, Services};
use omemo::manager::config::{Healing, StartMark};
use omemo::manager::{Config, Manager};
use omemo::protocol::address::{BareJid, DeviceId};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace;
use rand::RngExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const THREADS: u32 = 16;
const CALLS: usize = 100_000;
const SHARED: &str = "everybody@verona.example";

struct Plain(Instant);

impl Services for Plain {
    fn evaluate_trust(&self, _: &Device) -> Result<CoreTrust> {
        Ok(CoreTrust::Undecided)
    }

    fn wall_clock(&self) -> i64 {
        1_700_000_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    fn steady_clock(&self) -> Option<u64> {
        u64::try_from(self.0.elapsed().as_millis()).ok()
    }

    fn wakeup(&self) {}

    fn log(&self, level: LogLevel, _: &'static str, line: &str) {
        assert!(level > LogLevel::Error, "{line}");
    }
}

fn open(room: &Room) -> Manager {
    let config = Config {
        jid: BareJid::from_normalized("romeo@montague.example"),
        namespaces: vec![Namespace::Legacy, Namespace::Omemo2],
        default_trust_level_name: "undecided".to_owned(),
        request_timeout_ms: 60_000,
        max_open_fetches: 32,
        skipped_per_session: 1_000,
        skipped_per_message: 1_000,
        healing: Healing::Manual,
        start_mark: StartMark::None,
        max_unanswered_messages: None,
        signed_pre_key_period_ms: 604_800_000,
        pre_key_threshold: 99,
        delivery: Default::default(),
        habits: Default::default(),
    };
    Manager::open(config, Arc::new(room.open()), Arc::new(Plain(Instant::now())), Box::new(SystemRng))
        .unwrap()
}

fn list(ids: impl Iterator<Item = u32>) -> DeviceList {
    DeviceList::of(Namespace::Omemo2, ids.map(ListedDevice::new).collect())
}

fn own_jid(thread: u32) -> BareJid {
    BareJid::from_normalized(&format!("friend{thread}@verona.example"))
}

/// What a thread has done last to what is its own: how many devices its JID announces, and the namespace that its device of
/// the shared JID prefers.
#[derive(Clone, Copy, Default)]
struct Last {
    devices: u32,
    preferred: Option<Namespace>,
}

fn shared_id(thread: u32) -> u32 {
    1_000 + thread
}

/// Whether the manager knows what this thread has done last.
fn check(manager: &Manager, thread: u32, last: Last) {
    let active = manager.devices(Some(&own_jid(thread))).unwrap();
    let active = active.iter().filter(|device| !device.active.is_empty()).count();
    assert_eq!(active, last.devices as usize, "the devices of thread {thread}");
    let shared = manager.devices(Some(&BareJid::from_normalized(SHARED))).unwrap();
    let ours = shared.iter().find(|device| device.id == shared_id(thread)).unwrap();
    assert_eq!(ours.preferred, last.preferred, "the preference of thread {thread}");
}

fn work(manager: &Manager, thread: u32, calls: usize) -> Last {
    let mut random = seeded(u64::from(thread));
    let mut last = Last::default();
    let shared = BareJid::from_normalized(SHARED);
    for _ in 0..calls {
        match random.random_range(0..6) {
            0 => {
                last.devices = random.random_range(0..8);
                manager.update_device_list(&own_jid(thread), &list(1..=last.devices)).unwrap();
            }
            1 | 2 => {
                last.preferred =
                    [None, Some(Namespace::Omemo2), Some(Namespace::Legacy)][random.random_range(0..3)];
                let device = DeviceId::new(shared_id(thread)).unwrap();
                manager.prefer_namespace(&shared, device, last.preferred).unwrap();
            }
            3 => check(manager, thread, last),
            4 => assert!(manager.jids().unwrap().len() <= THREADS as usize + 2),
            _ => while manager.next_event().is_some() {},
        }
    }
    last
}

#[test]
fn sixteen_threads_at_one_manager_lose_no_change() {
    let room = Room::new();
    let manager = open(&room);
    let shared = BareJid::from_normalized(SHARED);
    manager.update_device_list(&shared, &list((0..THREADS).map(shared_id))).unwrap();
    let calls = CALLS / THREADS as usize;
    let (start, finished) = (Instant::now(), AtomicUsize::new(0));
    let ends: Vec<Last> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (manager, finished) = (&manager, &finished);
                scope.spawn(move || {
                    let last = work(manager, thread, calls);
                    finished.fetch_add(1, SeqCst);
                    last
                })
            })
            .collect();
        // Somebody who waits for ever would keep the whole test.
        while finished.load(SeqCst) < THREADS as usize && !threads.iter().all(|thread| thread.is_finished()) {
            assert!(start.elapsed() < Duration::from_secs(600), "a thread waits for ever");
            std::thread::sleep(Duration::from_millis(5));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // A second manager cannot get at the file.
    assert_eq!(room.try_open().err().map(|error| error.status()), Some(Status::StorageLocked));
    ends.iter().zip(0..).for_each(|(last, thread)| check(&manager, thread, *last));
    manager.close();
    drop(manager);
    let manager = open(&room);
    ends.iter().zip(0..).for_each(|(last, thread)| check(&manager, thread, *last));
    println!("threads: {} calls by {THREADS} threads", calls * THREADS as usize);
}
