//! What is known and not stored: when lists and bundles were looked at, what messages caused, what is being published,
//! and which facts are the newest. It changes only after the commit that it belongs to.

use super::super::api::event::OperationId;
use super::super::api::request::Stamp;
use super::super::policy;
use super::address::SessionAddress;
use super::backoff::Backoff;
use super::bucket::{Bucket, BucketLimits};
use super::bundle_looks::BundleLooks;
use super::catch_up::CatchUpState;
use super::expiry::ExpiryLook;
use super::failed_messages::FailedMessages;
use super::job::Job;
use super::list_looks::ListLooks;
use super::namespaces::NamespaceSet;
use super::own_list::OwnList;
use super::stamps::NewestStamps;
use super::unsolicited::Unsolicited;
use crate::error::Error;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeMap;

/// How publishing in a namespace failed, and how often since the start.
#[derive(Clone, Default)]
pub(in crate::manager) struct PublishFailures {
    pub(in crate::manager) count: u64,
    pub(in crate::manager) last: Option<Error>,
}

/// See the module.
pub(in crate::manager) struct Memory {
    pub(in crate::manager) online: bool,
    /// The newest fact about the stream.
    pub(in crate::manager) stream_stamp: Stamp,
    pub(in crate::manager) lists: ListLooks,
    pub(in crate::manager) bundles: BundleLooks,
    pub(in crate::manager) list_stamps: NewestStamps<(Namespace, BareJid)>,
    pub(in crate::manager) key_stamps: NewestStamps<SessionAddress>,
    pub(in crate::manager) level_stamps: NewestStamps<(BareJid, [u8; 32])>,
    pub(in crate::manager) unsolicited: Unsolicited,
    pub(in crate::manager) failed_messages: FailedMessages,
    pub(in crate::manager) catch_up: CatchUpState,
    pub(in crate::manager) expiry: ExpiryLook,
    /// This account's lists, by namespace.
    pub(in crate::manager) own_lists: BTreeMap<Namespace, OwnList>,
    /// Where it was looked, in this stream, whose bundle stands under our id, or nobody can have one there.
    pub(in crate::manager) verified_in: NamespaceSet,
    /// What stands on the server of this device was compared with the store since the program began, or that was tried:
    /// before, the store may be an older copy, whose sessions must not send.
    pub(in crate::manager) compared: bool,
    /// The comparison with the server that `connected` began has failed, and is to be tried again.
    pub(in crate::manager) reconcile_again: bool,
    /// Where the client wants this account's list cleared, and it was not done yet.
    pub(in crate::manager) lists_to_clear: NamespaceSet,
    /// The operation that deletes the account: nothing is announced meanwhile.
    pub(in crate::manager) deleting_account: Option<OperationId>,
    /// How removing an id from the server has failed last, and how often.
    pub(in crate::manager) purge_failures: BTreeMap<(Namespace, u32), PublishFailures>,
    /// Comparisons with the server in which a bundle of this device could not be looked at.
    pub(in crate::manager) blind_comparisons: u32,
    /// Publications that a limit delays, until when by the steady clock.
    pub(in crate::manager) delayed_until_ms: BTreeMap<Job, u64>,
    pub(in crate::manager) backoff: Backoff<Job>,
    pub(in crate::manager) publish_failures: BTreeMap<Namespace, PublishFailures>,
    buckets: BTreeMap<Job, Bucket>,
}

impl Default for Memory {
    fn default() -> Memory {
        let (known, strangers) = (policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS);
        Memory {
            online: false,
            stream_stamp: Stamp::default(),
            lists: ListLooks::default(),
            bundles: BundleLooks::default(),
            list_stamps: NewestStamps::new(known, strangers),
            key_stamps: NewestStamps::new(known, strangers),
            level_stamps: NewestStamps::new(known, strangers),
            unsolicited: Unsolicited::default(),
            failed_messages: FailedMessages::default(),
            catch_up: CatchUpState::default(),
            expiry: ExpiryLook::default(),
            own_lists: BTreeMap::new(),
            verified_in: NamespaceSet::default(),
            compared: false,
            reconcile_again: false,
            lists_to_clear: NamespaceSet::default(),
            deleting_account: None,
            purge_failures: BTreeMap::new(),
            blind_comparisons: 0,
            delayed_until_ms: BTreeMap::new(),
            backoff: Backoff::new(policy::REMEMBERED_LOOKS),
            publish_failures: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// A new stream: nothing is fresh, and what failed may be tried again.
    pub(in crate::manager) fn new_stream(&mut self) {
        self.online = true;
        self.lists.new_stream();
        self.bundles.new_stream();
        self.own_lists.values_mut().for_each(OwnList::new_stream);
        self.verified_in = NamespaceSet::default();
        self.backoff.clear_all();
    }

    pub(in crate::manager) fn own_list(&mut self, namespace: Namespace) -> &mut OwnList {
        self.own_lists.entry(namespace).or_default()
    }

    /// Returns the bucket of a node that is published to.
    pub(in crate::manager) fn bucket(&mut self, job: Job) -> &mut Bucket {
        self.buckets.entry(job).or_insert_with(|| {
            Bucket::new(BucketLimits {
                capacity: policy::PUBLISH_BUCKET,
                refill_ms: policy::PUBLISH_REFILL_MS,
                per_minute: policy::PUBLISHES_PER_MINUTE,
            })
        })
    }

    /// Notes that removing an id from the server failed.
    pub(in crate::manager) fn purge_failed(&mut self, at: (Namespace, u32), error: &Error) {
        let failures = self.purge_failures.entry(at).or_default();
        failures.count = failures.count.saturating_add(1);
        failures.last = Some(error.clone());
    }

    /// Notes that an id needs no removing from the server any more.
    pub(in crate::manager) fn purged(&mut self, at: (Namespace, u32)) {
        self.purge_failures.remove(&at);
    }

    /// Notes that publishing in a namespace failed.
    pub(in crate::manager) fn publish_failed(&mut self, namespace: Namespace, error: &Error) {
        let failures = self.publish_failures.entry(namespace).or_default();
        failures.count = failures.count.saturating_add(1);
        failures.last = Some(error.clone());
    }

    /// Forgets a JID.
    pub(in crate::manager) fn forget(&mut self, jid: &BareJid) {
        self.lists.forget(jid);
        self.bundles.forget(jid);
        self.failed_messages.forget(jid);
        self.unsolicited.drop_jid(jid);
    }

    /// Forgets what failed of a device, in all namespaces.
    pub(in crate::manager) fn clear_bundle_failures(&mut self, at: &SessionAddress) {
        Namespace::ALL.into_iter().for_each(|namespace| self.bundles.clear(&at.in_namespace(namespace)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::engine::Now;
    use super::super::list_looks::Source;
    use super::super::standing::Standing;
    use super::*;
    use crate::error::Status;
    use crate::protocol::device_list::DeviceList;
    use Namespace::{Legacy, Omemo2};

    fn romeo() -> SessionAddress {
        SessionAddress::example("romeo@montague.lit", Omemo2)
    }

    #[test]
    fn a_new_stream_relies_on_nothing_of_the_one_before() {
        let (mut memory, at) = (Memory::default(), romeo());
        memory.lists.seen(
            Standing::Known,
            &(Omemo2, at.jid.clone()),
            Source::Pushed { empty: false },
            [].into(),
            0,
        );
        memory.bundles.failed(Standing::Known, &at, Status::Timeout.into(), 0);
        memory.own_list(Omemo2).see(
            &DeviceList::new(Omemo2),
            Stamp(1),
            super::super::own_list::Arrival::Pushed,
        );
        memory.verified_in.insert(Legacy);
        memory.backoff.fail(&Job::Reconcile, super::super::backoff::Delays::RETRY, 0);
        assert!(!memory.online && memory.lists.is_fresh(Omemo2, &at.jid, 0));
        memory.new_stream();
        assert!(memory.online && !memory.lists.is_fresh(Omemo2, &at.jid, 0));
        assert!(memory.bundles.failure(&at, 0).is_none() && memory.own_list(Omemo2).seen().is_none());
        assert!(memory.verified_in.is_empty());
        assert_eq!(memory.backoff.failures(&Job::Reconcile), 0);
    }

    #[test]
    fn each_publication_has_a_bucket_of_its_own() {
        let mut memory = Memory::default();
        let now = Now::default();
        let (list, bundle) = (Job::PublishList(Omemo2), Job::PublishBundle(Omemo2));
        for _ in 0..policy::PUBLISHES_PER_MINUTE {
            assert!(memory.bucket(list.clone()).try_take(now).is_ok());
        }
        assert!(memory.bucket(list).try_take(now).is_err() && memory.bucket(bundle).try_take(now).is_ok());
    }

    #[test]
    fn failed_publications_are_counted_and_the_last_error_is_kept() {
        let mut memory = Memory::default();
        for status in [Status::Timeout, Status::Limit] {
            memory.publish_failed(Legacy, &status.into());
        }
        let failures = &memory.publish_failures[&Legacy];
        assert_eq!((failures.count, failures.last.as_ref().map(Error::status)), (2, Some(Status::Limit)));
        assert!(!memory.publish_failures.contains_key(&Omemo2));
    }

    #[test]
    fn how_removing_an_id_has_failed_is_forgotten_when_it_is_done() {
        let mut memory = Memory::default();
        for at in [(Legacy, 7), (Legacy, 8), (Omemo2, 7)] {
            memory.purge_failed(at, &Status::Timeout.into());
        }
        memory.purged((Legacy, 7));
        assert!(!memory.purge_failures.contains_key(&(Legacy, 7)) && memory.purge_failures.len() == 2);
    }

    #[test]
    fn a_device_is_forgiven_in_all_namespaces() {
        let mut memory = Memory::default();
        for namespace in Namespace::ALL {
            memory.bundles.failed(
                Standing::Known,
                &romeo().in_namespace(namespace),
                Status::Timeout.into(),
                0,
            );
        }
        memory.clear_bundle_failures(&romeo());
        for namespace in Namespace::ALL {
            assert!(memory.bundles.failure(&romeo().in_namespace(namespace), 0).is_none());
        }
    }
}
