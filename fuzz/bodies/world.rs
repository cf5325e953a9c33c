//! What the targets over `Manager` share: a seeded generator, a store in memory that can be copied and compared, clocks
//! that stand still, and an account that has been online.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub use super::storage::{FaultyStorage, Records};
use omemo::crypto::rng::Rng;
use omemo::error::{Result, Status};
use omemo::manager::api::device::{CoreTrust, Device};
use omemo::manager::api::event::Event;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::manager::api::services::{LogLevel, Services};
use omemo::manager::{Config, Manager};
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::device_list::DeviceList;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;

/// A generator for tests: SplitMix64. The same seed gives the same keys, so that a corpus keeps its meaning.
pub struct Seeded(pub u64);

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (word ^ word >> 31).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// Clocks that a test sets, and trust in every level but two.
pub struct Clock(pub AtomicU64);

impl Services for Clock {
    fn evaluate_trust(&self, device: &Device) -> Result<CoreTrust> {
        match device.trust_level_name.as_str() {
            "distrusted" => Ok(CoreTrust::Distrusted),
            "unknown" => Err(Status::UnknownTrustLevel.into()),
            _ => Ok(CoreTrust::Trusted),
        }
    }

    fn wall_clock(&self) -> i64 {
        1_700_000_000_000_i64 + i64::try_from(self.0.load(SeqCst)).unwrap()
    }

    fn steady_clock(&self) -> Option<u64> {
        Some(self.0.load(SeqCst))
    }

    fn wakeup(&self) {}

    fn log(&self, _: LogLevel, _: &'static str, line: &str) {
        assert!(!line.contains('@'), "a JID in the log");
    }
}

pub const ROMEO: &str = "romeo@montague.example";
pub const JULIET: &str = "juliet@capulet.example";
pub const MERCUTIO: &str = "mercutio@verona.example";
pub const ROOM: &str = "orchard@rooms.example";

pub fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

/// What a PEP service holds.
#[derive(Default)]
pub struct Server {
    pub lists: BTreeMap<(u32, String), DeviceList>,
    pub bundles: BTreeMap<(u32, String, u32), Bundle>,
}

impl Server {
    /// Answers a request of the account `own`.
    pub fn answer(&mut self, own: &str, request: &Request) -> Answer {
        let missing = Answer::Rejected(Reason::NotFound);
        match request.clone() {
            Request::FetchDeviceList { namespace, jid } => {
                let list = self.lists.get(&(namespace.code(), jid.as_str().to_owned()));
                list.map_or(missing, |list| Answer::DeviceList(list.clone()))
            }
            Request::FetchBundle { namespace, jid, device } => {
                let at = (namespace.code(), jid.as_str().to_owned(), device.get());
                self.bundles.get(&at).map_or(missing, |bundle| Answer::Bundle(bundle.clone()))
            }
            Request::PublishDeviceList { list } => {
                self.lists.insert((list.namespace.code(), own.to_owned()), list);
                Answer::Done
            }
            Request::PublishBundle { device, bundle } => {
                self.bundles.insert((bundle.namespace.code(), own.to_owned(), device.get()), bundle);
                Answer::Done
            }
            _ => Answer::Done,
        }
    }
}

/// One manager over a storage, with all that belongs to it.
pub struct Account {
    pub manager: Manager,
    pub clock: Arc<Clock>,
    pub storage: Arc<FaultyStorage>,
    own: String,
}

impl Account {
    /// Opens an account that serves both namespaces.
    pub fn open(own: &str, storage: Arc<FaultyStorage>, seed: u64) -> Result<Account> {
        let config = Config {
            jid: jid(own),
            namespaces: Namespace::ALL.to_vec(),
            default_trust_level_name: "trusted".to_owned(),
            request_timeout_ms: 60_000,
            max_open_fetches: 32,
            skipped_per_session: 1_000,
            skipped_per_message: 1_000,
            healing: omemo::manager::config::Healing::Manual,
            start_mark: Default::default(),
            max_unanswered_messages: None,
            signed_pre_key_period_ms: 604_800_000,
            pre_key_threshold: 99,
            habits: Default::default(),
            delivery: Default::default(),
        };
        let clock = Arc::new(Clock(AtomicU64::new(1_000)));
        let manager = Manager::open(config, storage.clone(), clock.clone(), Box::new(Seeded(seed)))?;
        Ok(Account { manager, clock, storage, own: own.to_owned() })
    }

    /// Runs until nothing more happens, and returns the ends of operations. Fails if that never comes.
    pub fn run(&self, mut answer: impl FnMut(&Request) -> Option<Answer>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for _ in 0..2_000 {
            match self.manager.next_event() {
                Some(Event::Request(request_id, request)) => {
                    if let Some(answer) = answer(&request) {
                        self.manager.answer(request_id, answer).unwrap();
                    }
                }
                Some(Event::Done(_, outcome)) => outcomes.push(outcome),
                Some(_) => (),
                None => return outcomes,
            }
        }
        panic!("events without end");
    }

    /// Runs with a server that answers everything.
    pub fn settle(&self, server: &mut Server) -> Vec<Outcome> {
        self.run(|request| Some(server.answer(&self.own, request)))
    }

    /// Connects, and runs with a server until nothing more happens.
    pub fn connect(&self, server: &mut Server) {
        self.manager.connected(next_number(), omemo::manager::api::catch_up::CatchUp::None).unwrap();
        let outcomes = self.settle(server);
        assert!(outcomes.iter().all(|outcome| outcome.status() == Status::Ok), "{outcomes:?}");
    }

    pub fn advance(&self, ms: u64) {
        self.clock.0.fetch_add(ms, SeqCst);
    }
}

impl Drop for Account {
    /// Ends the account: its worker keeps what is dropped without this.
    fn drop(&mut self) {
        self.manager.shut();
        self.manager.close();
        while self.manager.next_event().is_some() {}
    }
}
