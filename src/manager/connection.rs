//! What holds for one stream only: which lists are fresh, which fetches failed, what a follow-up waits for.
//!
//! Nothing in here is stored, and nothing in here that comes from strangers grows without bound.

use super::layout::SessionKey;
use crate::error::Status;
use crate::protocol::address::BareJid;
use crate::protocol::device_list::DeviceList;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// A list without a push is fetched again after this.
const FRESH_MS: u64 = 3_600_000;
/// A bundle that is missing or bad is not fetched again before this.
const MISSING_MS: u64 = 300_000;
/// A bundle whose fetch failed for another reason is not fetched again before this.
const FAILED_MS: u64 = 60_000;
/// Publishing to one node is held to this many in a minute, or two clients would undo each other for ever.
const PUBLISHES_PER_MINUTE: usize = 3;
/// The first wait after a failure; doubled each time.
const BACK_OFF_MS: u64 = 1_000;
/// The longest wait after a failure.
const BACK_OFF_LIMIT_MS: u64 = 300_000;

/// Something that a worker does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Job {
    /// Replace the own bundle.
    PublishBundle(Namespace),
    /// Put this device on the own list.
    PublishList(Namespace),
    /// Take this device off the own list, and delete its bundle.
    Leave(Namespace),
    /// Send the empty message with this number.
    Send(u64),
    /// Fetch the list of somebody whose device is not on it.
    FetchList(Namespace, BareJid),
    /// Begin a session with a device that uses one we do not have.
    Repair(SessionKey),
}

#[derive(Default)]
struct Delay {
    failures: u32,
    not_before: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Connection {
    fresh: HashMap<(Namespace, BareJid), u64>,
    failed_bundles: HashMap<SessionKey, (u64, Status)>,
    delays: BTreeMap<Job, Delay>,
    published: HashMap<Job, VecDeque<u64>>,
    /// When it was noted, and whether it was begun.
    unasked: BTreeMap<Job, (u64, bool)>,
    told: HashSet<SessionKey>,
    /// How many streams there were.
    pub(super) stream: u64,
    /// Bundles may be published and deleted: what lies on the server under our id was looked at, or cannot be.
    pub(super) own_compared: bool,
    /// Where it was looked at, in this stream.
    pub(super) own_looked_at: BTreeSet<Namespace>,
    /// The own list as it was last seen, with everybody's labels.
    pub(super) own_lists: BTreeMap<Namespace, DeviceList>,
    /// How often publishing failed, and how at last; by namespace.
    pub(super) publish_failures: BTreeMap<Namespace, (u64, Status)>,
}

impl Connection {
    /// A new stream: nothing is fresh, and what failed may be tried again.
    pub(super) fn begin(&mut self) {
        self.forget();
        self.delays.clear();
        self.stream = self.stream.wrapping_add(1);
        self.own_compared = false;
    }

    /// Nothing that was fetched is relied on any more.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
        self.failed_bundles.clear();
        self.own_lists.clear();
        self.own_looked_at.clear();
    }

    /// A list came in.
    pub(super) fn list_seen(&mut self, namespace: Namespace, jid: &BareJid, now: u64) {
        self.fresh.insert((namespace, jid.clone()), now);
        self.failed_bundles.retain(|key, _| key.jid != *jid || key.namespace != namespace);
    }

    /// Whether the list of a JID needs no fetch.
    pub(super) fn is_fresh(&self, namespace: Namespace, jid: &BareJid, now: u64) -> bool {
        let seen = self.fresh.get(&(namespace, jid.clone()));
        seen.is_some_and(|seen| now.saturating_sub(*seen) < FRESH_MS)
    }

    /// A bundle could not be had.
    pub(super) fn bundle_failed(&mut self, key: SessionKey, status: Status, now: u64) {
        if self.failed_bundles.len() >= limits::REMEMBERED_FAILURES {
            self.failed_bundles.clear();
        }
        let wait = match status {
            Status::BundleNotFound
            | Status::BundleBad
            | Status::IdentityChanged
            | Status::IdentityMismatch => MISSING_MS,
            _ => FAILED_MS,
        };
        self.failed_bundles.insert(key, (now.saturating_add(wait), status));
    }

    /// A bundle may be fetched again: what was wrong with it is right now.
    pub(super) fn forgive(&mut self, key: &SessionKey) {
        self.failed_bundles.remove(key);
        self.told.remove(key);
    }

    /// Why a bundle is not to be fetched now.
    pub(super) fn bundle_failure(&self, key: &SessionKey, now: u64) -> Option<Status> {
        self.failed_bundles.get(key).filter(|(until, _)| *until > now).map(|(_, status)| *status)
    }

    /// When a job may be done; 0: at once.
    pub(super) fn not_before(&self, job: &Job) -> u64 {
        let delay = self.delays.get(job).map_or(0, |delay| delay.not_before);
        let times = self.published.get(job);
        let full = times.filter(|times| times.len() >= PUBLISHES_PER_MINUTE).and_then(|times| times.front());
        delay.max(full.map_or(0, |first| first.saturating_add(60_000)))
    }

    /// A job failed.
    pub(super) fn job_failed(&mut self, job: &Job, now: u64) {
        let delay = self.delays.entry(job.clone()).or_default();
        let wait =
            BACK_OFF_MS.checked_shl(delay.failures).unwrap_or(BACK_OFF_LIMIT_MS).min(BACK_OFF_LIMIT_MS);
        delay.failures = delay.failures.saturating_add(1).min(16);
        delay.not_before = now.saturating_add(wait);
    }

    /// A job is done.
    pub(super) fn job_done(&mut self, job: &Job) {
        self.delays.remove(job);
    }

    /// Something is about to be published.
    pub(super) fn publishing(&mut self, job: &Job, now: u64) {
        let times = self.published.entry(job.clone()).or_default();
        times.retain(|time| now.saturating_sub(*time) < 60_000);
        times.push_back(now);
    }

    /// Notes a job that something unauthenticated caused: once an hour for the same, and not for ever more.
    pub(super) fn suggest(&mut self, job: Job, now: u64) -> bool {
        let recent = self.unasked.get(&job).is_some_and(|(at, _)| now.saturating_sub(*at) < 3_600_000);
        if recent {
            return false;
        }
        if self.unasked.len() >= limits::UNASKED_FOLLOW_UPS {
            self.unasked.retain(|_, (at, _)| now.saturating_sub(*at) < 3_600_000);
        }
        if self.unasked.len() >= limits::UNASKED_FOLLOW_UPS {
            return false;
        }
        self.unasked.insert(job, (now, false));
        true
    }

    /// The jobs of `suggest` that were not begun.
    pub(super) fn suggested(&self) -> Vec<Job> {
        self.unasked.iter().filter(|(_, (_, begun))| !begun).map(|(job, _)| job.clone()).collect()
    }

    /// A suggested job was begun: it is not done again, whatever comes of it.
    pub(super) fn begun(&mut self, job: &Job) {
        if let Some((_, begun)) = self.unasked.get_mut(job) {
            *begun = true;
        }
    }

    /// Whether something was told of a device in this run.
    pub(super) fn was_told(&self, key: &SessionKey) -> bool {
        self.told.contains(key)
    }

    /// Whether this is the first time in this run that something is told of a device.
    pub(super) fn first_time(&mut self, key: &SessionKey) -> bool {
        if self.told.len() >= limits::REMEMBERED_FAILURES {
            self.told.clear();
        }
        self.told.insert(key.clone())
    }
}
