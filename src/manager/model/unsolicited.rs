//! Jobs that messages cause which nobody has authenticated: in memory only, each JID with a quota of its own, strangers
//! with one in all and one for each domain, and none of them again before its time.

use super::super::policy;
use super::bounded::ByStanding;
use super::job::Job;
use super::standing::Standing;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeMap;

/// See the module.
pub(in crate::manager) struct Unsolicited {
    /// When each was last caused, in aged milliseconds. Repairs of a device are one, whatever the namespace.
    caused_ms: ByStanding<Job, u64>,
    /// Those that have not begun, and whose they are.
    waiting: BTreeMap<Job, Standing>,
}

impl Default for Unsolicited {
    fn default() -> Unsolicited {
        let (known, strangers) = (policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS);
        Unsolicited { caused_ms: ByStanding::new(known, strangers), waiting: BTreeMap::new() }
    }
}

fn domain(jid: &BareJid) -> &str {
    jid.as_str().rsplit_once('@').map_or(jid.as_str(), |(_, domain)| domain)
}

/// Returns what a job counts as.
fn limited_as(job: &Job) -> Job {
    match job {
        Job::Repair(at) => Job::Repair(at.in_namespace(Namespace::Omemo2)),
        job => job.clone(),
    }
}

impl Unsolicited {
    /// Notes a job, unless it was caused lately or its quota is full. True: it is new.
    pub(in crate::manager) fn cause(&mut self, job: Job, standing: Standing, aged_ms: u64) -> bool {
        let again_ms = match job {
            Job::Repair(_) => policy::REPAIR_AGAIN_MS,
            Job::FetchBundle(_) => policy::BUNDLE_LOOK_AGAIN_MS,
            _ => policy::UNSOLICITED_AGAIN_MS,
        };
        let limited = limited_as(&job);
        if self.caused_ms.get(&limited).is_some_and(|at| aged_ms.saturating_sub(*at) < again_ms)
            || !self.has_room(&job, standing)
        {
            return false;
        }
        self.caused_ms.insert(standing, limited, aged_ms);
        self.waiting.insert(job, standing);
        true
    }

    fn has_room(&self, job: &Job, standing: Standing) -> bool {
        let Some(jid) = job.jid() else { return true };
        let count = |which: &dyn Fn(&BareJid, Standing) -> bool| {
            let waiting = self.waiting.iter();
            waiting.filter(|(job, of)| job.jid().is_some_and(|jid| which(jid, **of))).count()
        };
        let same_standing = |_: &BareJid, of: Standing| of == standing;
        let same_domain =
            |other: &BareJid, of: Standing| of == Standing::Stranger && domain(other) == domain(jid);
        count(&same_standing) < policy::UNSOLICITED
            && count(&|other, _| other == jid) < policy::UNSOLICITED_PER_JID
            && (standing.is_known() || count(&same_domain) < policy::UNSOLICITED_PER_DOMAIN)
    }

    /// Returns whether a job was caused so lately that it would not be caused again.
    pub(in crate::manager) fn waits(&self, job: &Job) -> bool {
        self.waiting.contains_key(job)
    }

    /// Returns the jobs that have not begun, those of known JIDs first.
    pub(in crate::manager) fn waiting(&self) -> impl Iterator<Item = &Job> {
        let of = |wanted| self.waiting.iter().filter(move |(_, of)| **of == wanted).map(|(job, _)| job);
        of(Standing::Known).chain(of(Standing::Stranger))
    }

    /// Nothing is done for a JID any more; a job that is being done is not tried again.
    pub(in crate::manager) fn drop_jid(&mut self, jid: &BareJid) {
        self.waiting.retain(|job, _| job.jid() != Some(jid));
        self.caused_ms.retain(|job, _| job.jid() != Some(jid));
    }

    /// A job was not needed after all: it may be caused again at once.
    pub(in crate::manager) fn forget(&mut self, job: &Job) {
        self.waiting.remove(job);
        self.caused_ms.remove(&limited_as(job));
    }

    /// A job that has begun was cut short, and is to be done again.
    pub(in crate::manager) fn again(&mut self, job: &Job) {
        if let Some(standing) = self.caused_ms.standing(&limited_as(job)) {
            self.waiting.insert(job.clone(), standing);
        }
    }

    /// A job has begun: it is not done again, whatever comes of it.
    pub(in crate::manager) fn begin(&mut self, job: &Job) {
        self.waiting.remove(job);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use crate::protocol::namespace::Namespace::Omemo2;

    fn look(name: &str) -> Job {
        Job::FetchList(Omemo2, BareJid::from_normalized(name))
    }

    #[test]
    fn strangers_use_up_neither_a_friends_room_nor_another_domains() {
        let mut jobs = Unsolicited::default();
        for n in 0..1_000 {
            jobs.cause(look(&format!("s{n}@evil.example")), Standing::Stranger, 0);
        }
        assert_eq!(jobs.waiting().count(), policy::UNSOLICITED_PER_DOMAIN);
        assert!(jobs.cause(look("nurse@capulet.lit"), Standing::Stranger, 0));
        assert!(jobs.cause(look("juliet@capulet.lit"), Standing::Known, 0));
        assert_eq!(jobs.waiting().next(), Some(&look("juliet@capulet.lit")), "known JIDs come first");
    }

    #[test]
    fn the_same_job_comes_again_when_its_time_has_passed() {
        let mut jobs = Unsolicited::default();
        let job = look("juliet@capulet.lit");
        assert!(jobs.cause(job.clone(), Standing::Known, 5) && !jobs.cause(job.clone(), Standing::Known, 5));
        jobs.begin(&job);
        assert!(!jobs.cause(job.clone(), Standing::Known, 5 + policy::UNSOLICITED_AGAIN_MS - 1));
        assert!(jobs.cause(job, Standing::Known, 5 + policy::UNSOLICITED_AGAIN_MS));
    }
    #[test]
    fn a_device_is_repaired_once_a_day_in_all_namespaces() {
        use super::super::address::SessionAddress;
        use crate::protocol::address::DeviceId;
        let mut jobs = Unsolicited::default();
        let (jid, device) = (BareJid::from_normalized("juliet@capulet.lit"), DeviceId::new(7).unwrap());
        let at = SessionAddress { jid, device, namespace: Namespace::Legacy };
        assert!(jobs.cause(Job::Repair(at.clone()), Standing::Known, 5));
        assert!(!jobs.cause(Job::Repair(at.in_namespace(Omemo2)), Standing::Known, 6));
        jobs.begin(&Job::Repair(at.clone()));
        jobs.again(&Job::Repair(at.clone()));
        assert_eq!(jobs.waiting().next(), Some(&Job::Repair(at.clone())));
        assert!(jobs.cause(
            Job::Repair(at.in_namespace(Omemo2)),
            Standing::Known,
            5 + policy::REPAIR_AGAIN_MS
        ));
    }

    #[test]
    fn one_jid_and_one_class_have_so_many_jobs_and_no_more() {
        let [known, stranger] = Standing::ALL;
        for (standing, other) in [(known, stranger), (stranger, known)] {
            let mut jobs = Unsolicited::default();
            let repair = |n: u32| {
                use super::super::address::SessionAddress;
                let device = crate::protocol::address::DeviceId::new(n).unwrap();
                let jid = BareJid::from_normalized("juliet@capulet.lit");
                Job::Repair(SessionAddress { jid, device, namespace: Omemo2 })
            };
            let taken = (1..100).filter(|n| jobs.cause(repair(*n), standing, 0)).count();
            assert_eq!(
                (taken, jobs.waiting().count()),
                (policy::UNSOLICITED_PER_JID, policy::UNSOLICITED_PER_JID)
            );
            assert!(jobs.waits(&repair(1)) && !jobs.waits(&repair(99)));
            let others =
                (0..1_000).filter(|n| jobs.cause(look(&format!("x@{n}.example")), standing, 0)).count();
            assert_eq!(others, policy::UNSOLICITED - policy::UNSOLICITED_PER_JID);
            assert!(jobs.cause(look("y@z"), other, 0), "the other class has its own room");
        }
    }

    #[test]
    fn a_job_of_nobody_has_room_whatever_waits() {
        let mut jobs = Unsolicited::default();
        for n in 0..1_000 {
            jobs.cause(look(&format!("x@{n}.example")), Standing::Known, 0);
        }
        assert!(
            jobs.cause(Job::Reconcile, Standing::Known, 0) && !jobs.cause(Job::Reconcile, Standing::Known, 1)
        );
    }

    #[test]
    fn each_kind_comes_again_after_its_own_time() {
        use super::super::address::SessionAddress;
        let device = crate::protocol::address::DeviceId::new(7).unwrap();
        let at = SessionAddress { jid: BareJid::from_normalized("a@b"), device, namespace: Omemo2 };
        for (job, again) in [
            (Job::Repair(at.clone()), policy::REPAIR_AGAIN_MS),
            (Job::FetchBundle(at), policy::BUNDLE_LOOK_AGAIN_MS),
            (look("a@b"), policy::UNSOLICITED_AGAIN_MS),
        ] {
            let mut jobs = Unsolicited::default();
            assert!(jobs.cause(job.clone(), Standing::Stranger, 5));
            jobs.begin(&job);
            assert!(
                !jobs.waits(&job) && !jobs.cause(job.clone(), Standing::Stranger, 5 + again - 1),
                "{job:?}"
            );
            assert!(jobs.cause(job.clone(), Standing::Stranger, 5 + again), "{job:?}");
        }
    }

    #[test]
    fn what_was_cut_short_waits_again_in_its_class() {
        for standing in Standing::ALL {
            let mut jobs = Unsolicited::default();
            let job = look("romeo@montague.lit");
            jobs.again(&job);
            assert!(!jobs.waits(&job), "it was never caused");
            jobs.cause(job.clone(), standing, 0);
            jobs.begin(&job);
            jobs.again(&job);
            jobs.cause(look("tybalt@capulet.lit"), Standing::Known, 0);
            let first = jobs.waiting().next().unwrap();
            assert_eq!(*first == job, standing.is_known(), "known JIDs come first, then by name");
            assert_eq!(jobs.waiting().count(), 2);
        }
    }
}
