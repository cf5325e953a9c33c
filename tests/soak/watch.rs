//! What the device under test publishes, against what it may: how often, which pre keys, and when the signed one changes.

use crate::support::world::{Kind, Request};
use omemo::stanza::bundle;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// Pre keys of a published bundle.
const PRE_KEYS: std::ops::RangeInclusive<usize> = 25..=100;
/// The bucket of a node, and how long one publication takes to come back.
const BUCKET: i64 = 10;
const REFILL: i64 = 72 * MINUTE;
const PER_MINUTE: usize = 3;
/// After which a signed pre key is replaced.
pub const PERIOD: i64 = 7 * DAY;
/// What a rotation may be early or late: the next run, a publication that the limit delays, and that runs between two
/// stored readings of the clock are not added up one by one.
const SLACK: i64 = 3 * HOUR;
/// What a process that ends may take back of the time that has accumulated.
const TAKEN_BACK: i64 = 6 * HOUR;

/// The publications of one node.
#[derive(Default)]
struct Node {
    lately: VecDeque<i64>,
    /// How long it takes until the bucket is full again.
    owed_until: i64,
    count: usize,
    most_a_day: usize,
    /// How often three were published in a minute.
    full_minutes: usize,
    today: VecDeque<i64>,
}

impl Node {
    fn publish(&mut self, now: i64) {
        self.count += 1;
        if self.lately.len() == PER_MINUTE {
            let fourth = self.lately.pop_front().unwrap();
            assert!(now - fourth >= MINUTE, "four publications in {} ms", now - fourth);
        }
        self.lately.push_back(now);
        let is_full = self.lately.len() == PER_MINUTE && now - self.lately[0] < MINUTE;
        self.full_minutes += usize::from(is_full);
        self.owed_until = self.owed_until.max(now) + REFILL;
        let owed = self.owed_until - now;
        assert!(owed <= BUCKET * REFILL, "{} publications are owed", owed / REFILL);
        self.today.push_back(now);
        while self.today.front().is_some_and(|at| *at <= now - DAY) {
            self.today.pop_front();
        }
        self.most_a_day = self.most_a_day.max(self.today.len());
    }
}

/// The signed pre key that stands on the server.
#[derive(Clone, Copy, Default)]
pub struct Signed {
    pub id: u32,
    since: i64,
    accumulated: i64,
    /// Processes that have ended since then.
    closed: i64,
}

pub struct Watch {
    endpoint: usize,
    list: Node,
    bundle: Node,
    published: BTreeMap<u32, [u8; 32]>,
    gone: BTreeSet<u32>,
    used: BTreeSet<u32>,
    fewest: usize,
    pub signed: Signed,
    pub rotations: usize,
    latest: i64,
    accumulated: i64,
    last_run: i64,
}

impl Watch {
    pub fn new(endpoint: usize, now: i64) -> Self {
        Self {
            endpoint,
            list: Node::default(),
            bundle: Node::default(),
            published: BTreeMap::new(),
            gone: BTreeSet::new(),
            used: BTreeSet::new(),
            fewest: usize::MAX,
            signed: Signed::default(),
            rotations: 0,
            latest: 0,
            accumulated: 0,
            last_run: now,
        }
    }

    /// The library has run.
    pub fn ran(&mut self, now: i64) {
        self.accumulated += (now - self.last_run).min(DAY);
        self.last_run = now;
    }

    /// The process has ended, and with it the memory of its limits.
    pub fn closed(&mut self) {
        self.list.owed_until = 0;
        self.bundle.owed_until = 0;
        self.signed.closed += 1;
    }

    /// A key exchange was read that used this pre key up.
    pub fn consume(&mut self, id: u32) {
        self.used.insert(id);
    }

    pub fn is_used(&self, id: u32) -> bool {
        self.used.contains(&id) || self.gone.contains(&id)
    }

    pub fn see(&mut self, request: &Request) {
        if request.endpoint != self.endpoint {
            return;
        }
        match request.kind {
            Kind::PublishList => self.list.publish(request.at_ms),
            Kind::PublishBundle => {
                self.bundle.publish(request.at_ms);
                self.see_bundle(request.xml.as_deref().unwrap(), request.at_ms);
            }
            _ => (),
        }
    }

    fn see_bundle(&mut self, xml: &str, now: i64) {
        let bundle = bundle::parse(xml.as_bytes(), None).unwrap();
        bundle.verify().unwrap();
        let count = bundle.pre_keys.len();
        assert!(PRE_KEYS.contains(&count), "{count} pre keys are published");
        self.fewest = self.fewest.min(count);
        let keys: BTreeMap<u32, [u8; 32]> = bundle.pre_keys.iter().map(|key| (key.id, key.key)).collect();
        assert_eq!(keys.len(), count, "a pre key is published twice");
        for (id, key) in &keys {
            assert!(!self.used.contains(id), "the used pre key {id} is published again");
            assert!(!self.gone.contains(id), "the pre key {id} comes back");
            assert!(
                self.published.get(id).is_none_or(|before| before == key),
                "the pre key {id} has changed"
            );
        }
        let before = std::mem::replace(&mut self.published, keys);
        self.gone.extend(before.into_keys().filter(|id| !self.published.contains_key(id)));
        if bundle.signed_pre_key_id != self.signed.id {
            self.see_signed(bundle.signed_pre_key_id, now);
        }
    }

    fn see_signed(&mut self, id: u32, now: i64) {
        let before = self.signed;
        if before.id != 0 {
            assert_eq!(id, before.id + 1, "the signed pre key {} is followed by {id}", before.id);
            let (wall, accumulated) = (now - before.since, self.accumulated - before.accumulated);
            assert!(wall >= PERIOD - SLACK, "replaced after {wall} ms");
            assert!(accumulated >= PERIOD - SLACK, "replaced after {accumulated} ms of accumulated time");
            self.rotations += 1;
            self.latest = self.latest.max(wall);
        }
        self.signed = Signed { id, since: now, accumulated: self.accumulated, closed: 0 };
    }

    /// How old the signed pre key is, by the time that has accumulated at most.
    pub fn signed_age(&self) -> i64 {
        self.accumulated - self.signed.accumulated
    }

    /// Everything is settled and online: no signed pre key is overdue.
    pub fn check_rotation(&self) {
        let age = self.signed_age() - self.signed.closed * TAKEN_BACK;
        assert!(age <= PERIOD + SLACK, "a signed pre key is {age} ms old");
    }

    /// Whether both limits of the list have held it up, and those of the bundle as well.
    pub fn reached_limits(&self) -> bool {
        self.list.most_a_day >= 20 && self.list.full_minutes > 0 && self.bundle.most_a_day >= 10
    }

    pub fn figures(&self) -> String {
        let node = |node: &Node| {
            format!(
                "{} times ({} a day at most, {} full minutes)",
                node.count, node.most_a_day, node.full_minutes
            )
        };
        format!(
            "list published {}, bundle {}, at least {} pre keys, {} used up, {} rotations, the latest after {} h",
            node(&self.list),
            node(&self.bundle),
            self.fewest,
            self.used.len(),
            self.rotations,
            self.latest / HOUR
        )
    }
}
