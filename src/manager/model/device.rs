//! One device of a JID: where it is announced, in which namespace it is served, and that it left omemo:2.

use super::identity::Identity;
use super::namespaces::NamespaceSet;
use crate::error::Status;
use crate::protocol::label::SignedLabel;
use crate::protocol::namespace::Namespace;
use std::sync::Arc;

/// What is known of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct KnownDevice {
    pub(in crate::manager) id: u32,
    /// Where the JID's own list names it now.
    pub(in crate::manager) active: NamespaceSet,
    pub(in crate::manager) identity: Identity,
    /// The namespace in which it is served whatever the order says.
    pub(in crate::manager) preferred: Option<Namespace>,
    /// It was announced in omemo:2 since the client last set its namespace.
    pub(in crate::manager) had_omemo2: bool,
    /// It left omemo:2 and was served by legacy since then.
    pub(in crate::manager) downgraded: bool,
    /// When its session was last replaced by itself, in wall-clock milliseconds; 0: never.
    pub(in crate::manager) healed_ms: i64,
    /// Its label as the JID's own list announces it, not verified.
    pub(in crate::manager) label: Option<Arc<SignedLabel>>,
}

impl KnownDevice {
    pub(in crate::manager) fn new(id: u32) -> KnownDevice {
        KnownDevice { id, ..KnownDevice::default() }
    }

    pub(in crate::manager) fn is_active(&self, namespace: Namespace) -> bool {
        self.active.contains(namespace)
    }

    /// Returns why nothing may be sent to it in a namespace until the client accepts the key that it shows.
    pub(in crate::manager) fn blocks_sending(&self, namespace: Namespace) -> Option<Status> {
        self.identity.blocks_sending(namespace, self.active)
    }

    /// Returns where to look whether it shows its own key again: in the namespace of the conflict, if that matters
    /// for sending in this one.
    pub(in crate::manager) fn bundle_namespace(&self, namespace: Namespace) -> Namespace {
        self.identity.blocked_by(namespace, self.active).unwrap_or(namespace)
    }

    /// Returns the namespace that serves it: the first of these in which it is announced, unless the client prefers
    /// one.
    pub(in crate::manager) fn delivery_namespace(&self, order: &[Namespace]) -> Option<Namespace> {
        let preferred = self.preferred.filter(|preferred| order.contains(preferred));
        let order = preferred.into_iter().chain(order.iter().copied());
        order.into_iter().find(|namespace| self.is_active(*namespace))
    }

    /// Returns whether nothing would be lost if it were forgotten.
    pub(in crate::manager) fn is_forgettable(&self) -> bool {
        self.active.is_empty() && self.identity == Identity::Unknown && self.preferred.is_none()
    }

    /// The client sets the namespace in which it is served.
    pub(in crate::manager) fn prefer(&mut self, namespace: Option<Namespace>) {
        self.preferred = namespace;
        self.downgraded = false;
        self.had_omemo2 = self.is_active(Namespace::Omemo2);
    }

    /// Notes that it left omemo:2 for legacy. True: for the first time since the client set its namespace.
    pub(in crate::manager) fn note_downgrade(&mut self, order: &[Namespace]) -> bool {
        self.had_omemo2 |= self.is_active(Namespace::Omemo2);
        let left = self.had_omemo2 && self.delivery_namespace(order) == Some(Namespace::Legacy);
        let news = left && !self.downgraded && self.prefers_omemo2(order);
        self.downgraded |= news;
        news
    }

    /// Returns whether omemo:2 is where it is served when it announces both.
    fn prefers_omemo2(&self, order: &[Namespace]) -> bool {
        let mut active = NamespaceSet::default();
        Namespace::ALL.into_iter().for_each(|namespace| active.insert(namespace));
        let both = KnownDevice { active, ..self.clone() };
        both.delivery_namespace(order) == Some(Namespace::Omemo2)
    }

    /// The account does not serve a namespace any more.
    pub(in crate::manager) fn purge_namespace(&mut self, namespace: Namespace) {
        self.active.remove(namespace);
        self.identity.purge_namespace(namespace);
        self.had_omemo2 &= namespace != Namespace::Omemo2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Namespace::{Legacy, Omemo2};

    const OMEMO2_FIRST: [Namespace; 2] = [Omemo2, Legacy];
    const LEGACY_FIRST: [Namespace; 2] = [Legacy, Omemo2];

    fn device(active: &[Namespace]) -> KnownDevice {
        let mut device = KnownDevice::new(7);
        active.iter().for_each(|namespace| device.active.insert(*namespace));
        device
    }

    #[test]
    fn a_device_is_served_where_it_is_active_in_the_order_of_preference() {
        assert_eq!(device(&[Omemo2, Legacy]).delivery_namespace(&OMEMO2_FIRST), Some(Omemo2));
        assert_eq!(device(&[Omemo2, Legacy]).delivery_namespace(&LEGACY_FIRST), Some(Legacy));
        assert_eq!(device(&[Legacy]).delivery_namespace(&OMEMO2_FIRST), Some(Legacy));
        assert_eq!(device(&[Legacy]).delivery_namespace(&[Omemo2]), None);
        assert_eq!(device(&[]).delivery_namespace(&OMEMO2_FIRST), None);
        let mut preferring = device(&[Omemo2, Legacy]);
        preferring.prefer(Some(Legacy));
        assert_eq!(preferring.delivery_namespace(&OMEMO2_FIRST), Some(Legacy));
        assert_eq!(
            preferring.delivery_namespace(&[Omemo2]),
            Some(Omemo2),
            "what is not served is not preferred"
        );
        preferring.active.remove(Legacy);
        assert_eq!(preferring.delivery_namespace(&OMEMO2_FIRST), Some(Omemo2));
    }

    #[test]
    fn only_a_device_without_key_list_and_preference_is_forgotten() {
        assert!(device(&[]).is_forgettable() && !device(&[Legacy]).is_forgettable());
        let mut preferring = device(&[]);
        preferring.prefer(Some(Legacy));
        assert!(!preferring.is_forgettable());
        let mut with_key = device(&[]);
        with_key.identity.see_exchange(&[9; 32], None);
        assert!(!with_key.is_forgettable());
    }

    #[test]
    fn a_device_that_leaves_omemo_2_for_legacy_is_told_once() {
        let mut left = device(&[Omemo2, Legacy]);
        assert!(!left.note_downgrade(&OMEMO2_FIRST));
        left.active.remove(Omemo2);
        assert!(left.note_downgrade(&OMEMO2_FIRST) && left.downgraded);
        assert!(!left.note_downgrade(&OMEMO2_FIRST));
        // The client has chosen: it begins from here.
        left.prefer(None);
        assert!(!left.downgraded && !left.had_omemo2 && !left.note_downgrade(&OMEMO2_FIRST));
        left.active.insert(Omemo2);
        left.prefer(None);
        assert!(left.had_omemo2);
    }

    #[test]
    fn a_device_that_is_served_in_legacy_anyway_or_nowhere_is_no_downgrade() {
        for (active, order, preferred) in [
            ([Legacy].as_slice(), LEGACY_FIRST.as_slice(), None),
            (&[Legacy], &OMEMO2_FIRST, Some(Legacy)),
            (&[Legacy], &[Legacy], None),
            (&[Omemo2, Legacy], &OMEMO2_FIRST, None),
            (&[], &OMEMO2_FIRST, None),
        ] {
            let mut left = device(active);
            (left.had_omemo2, left.preferred) = (true, preferred);
            assert!(!left.note_downgrade(order) && !left.downgraded, "{active:?} {order:?}");
        }
        assert!(!device(&[Legacy]).note_downgrade(&OMEMO2_FIRST), "it was never seen in omemo:2");
    }

    #[test]
    fn a_purged_namespace_leaves_no_trace_of_itself_alone() {
        for (purged, left) in [(Omemo2, Legacy), (Legacy, Omemo2)] {
            let mut both = device(&[Omemo2, Legacy]);
            both.had_omemo2 = true;
            both.purge_namespace(purged);
            assert!(!both.is_active(purged) && both.is_active(left));
            assert_eq!(both.had_omemo2, purged == Legacy);
        }
    }
}
