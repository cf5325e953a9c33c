//! All that is known of a JID: whether the client has named it, its lists, its devices, and the trust in its keys.
//!
//! Only a list from the JID's own node makes a device active. Devices with a key are not forgotten: one that left keeps
//! its key and its trust.

use super::super::policy;
use super::device::KnownDevice;
use super::identity::{DeviceKey, Identity};
use super::namespaces::NamespaceSet;
use super::standing::Standing;
use super::trust::TrustLevels;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct Contact {
    pub(in crate::manager) jid: BareJid,
    pub(in crate::manager) standing: Standing,
    /// Where its own list was seen at least once.
    pub(in crate::manager) listed: NamespaceSet,
    /// In the order in which they appeared.
    pub(in crate::manager) devices: Vec<KnownDevice>,
    pub(in crate::manager) trust: TrustLevels,
}

/// What a list has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct ListChange {
    /// A device appeared or vanished.
    pub(in crate::manager) devices: bool,
    /// Devices that left omemo:2 for legacy.
    pub(in crate::manager) downgraded: Vec<u32>,
}

impl Contact {
    pub(in crate::manager) fn new(jid: &BareJid) -> Contact {
        Contact {
            jid: jid.clone(),
            standing: Standing::Stranger,
            listed: NamespaceSet::default(),
            devices: Vec::new(),
            trust: TrustLevels::default(),
        }
    }

    /// Returns whether its own list was ever seen in a namespace.
    pub(in crate::manager) fn is_listed(&self, namespace: Namespace) -> bool {
        self.listed.contains(namespace)
    }

    pub(in crate::manager) fn device(&self, id: DeviceId) -> Option<&KnownDevice> {
        self.devices.iter().find(|device| device.id == id.get())
    }

    pub(in crate::manager) fn device_mut(&mut self, id: DeviceId) -> Option<&mut KnownDevice> {
        self.devices.iter_mut().find(|device| device.id == id.get())
    }

    /// Returns the device, which is made if it is not known.
    pub(in crate::manager) fn device_or_new(&mut self, id: DeviceId) -> Result<&mut KnownDevice> {
        if self.device(id).is_none() {
            self.make_room(1)?;
            self.devices.push(KnownDevice::new(id.get()));
        }
        self.device_mut(id).ok_or(Status::Internal.into())
    }

    /// Forgets devices of which nothing is known until so many have room: those without key first, then those whose
    /// key nobody vouches for, the oldest first.
    fn make_room(&mut self, wanted: usize) -> Result<()> {
        let most = limits::KNOWN_DEVICES_PER_JID.saturating_sub(wanted);
        let mut surplus = self.devices.len().saturating_sub(most);
        self.devices.retain(|device| {
            let forget = surplus > 0 && device.is_forgettable();
            surplus = surplus.saturating_sub(forget.into());
            !forget
        });
        match surplus {
            0 => Ok(()),
            _ => Err(Error::new(Status::Limit, "A JID has announced too many devices.")),
        }
    }

    /// Takes over the ids of a list that came from the JID's own node; `this` is our own id on our own list.
    pub(in crate::manager) fn apply_list(
        &mut self,
        namespace: Namespace,
        announced: &BTreeSet<u32>,
        order: &[Namespace],
        this: Option<DeviceId>,
    ) -> Result<ListChange> {
        if announced.len() > limits::DEVICES_PER_JID {
            return Err(Error::new(Status::Limit, "A device list names too many devices."));
        }
        let mut change = ListChange::default();
        self.listed.insert(namespace);
        for device in &mut self.devices {
            let active = announced.contains(&device.id);
            if active != device.is_active(namespace) {
                change.devices = true;
                if active { device.active.insert(namespace) } else { device.active.remove(namespace) }
            }
        }
        if self.standing == Standing::Stranger {
            // Of a stranger's devices that vanished nothing is kept.
            self.devices.retain(|device| !device.is_forgettable());
        }
        let known: HashSet<u32> = self.devices.iter().map(|device| device.id).collect();
        let fresh: Vec<u32> = announced.iter().copied().filter(|id| !known.contains(id)).collect();
        change.devices |= !fresh.is_empty();
        self.make_room(fresh.len())?;
        let active = NamespaceSet::of(namespace);
        self.devices.extend(fresh.into_iter().map(|id| KnownDevice { active, ..KnownDevice::new(id) }));
        for device in &mut self.devices {
            if this.is_none_or(|this| this.get() != device.id) && device.note_downgrade(order) {
                change.downgraded.push(device.id);
            }
        }
        Ok(change)
    }

    /// Takes over the labels of a list that came from the JID's own node. True: one has changed.
    pub(in crate::manager) fn apply_labels(&mut self, list: &DeviceList) -> bool {
        if !list.namespace.has_labels() {
            return false;
        }
        let announced: HashMap<u32, &ListedDevice> =
            list.devices.iter().map(|device| (device.id, device)).collect();
        let mut changed = false;
        for device in &mut self.devices {
            // One that left keeps the name by which people know it, if its key is known.
            let Some(listed) = announced.get(&device.id) else {
                device.label = device.label.take().filter(|_| !device.is_forgettable());
                continue;
            };
            let label = listed.signed_label().filter(|label| label.text.len() <= limits::STORED_LABEL_BYTES);
            let key = device.identity.key().map(DeviceKey::ed);
            if let (Some(label), Some(ed)) = (&label, key)
                && device.label.as_deref() != Some(label)
                && !label.is_signed_by(ed)
            {
                // Whoever has spoilt it has not the last word.
                continue;
            }
            if device.label.as_deref() != label.as_ref() {
                device.label = label.map(Arc::new);
                changed = true;
            }
        }
        changed
    }

    /// Returns the devices that only key exchanges vouch for and that stand on no list, the oldest first.
    pub(in crate::manager) fn unlisted_provisional(&self) -> Vec<DeviceId> {
        let provisional =
            |device: &&KnownDevice| device.identity.is_provisional() && device.active.is_empty();
        self.devices.iter().filter(provisional).filter_map(|device| DeviceId::new(device.id)).collect()
    }

    /// Returns whether one more such device has room.
    pub(in crate::manager) fn has_provisional_room(&self) -> bool {
        self.unlisted_provisional().len() < policy::PROVISIONAL_DEVICES
    }

    /// Returns the name of the level of a device's key.
    pub(in crate::manager) fn level_of<'a>(&'a self, identity: &Identity, default: &'a str) -> &'a str {
        identity.key().and_then(|key| self.trust.get(key.mont())).unwrap_or(default)
    }

    /// Returns about how many bytes it takes in memory.
    pub(in crate::manager) fn bytes(&self) -> usize {
        let device = size_of::<KnownDevice>();
        let trust: usize = self.trust.iter().map(|(_, level)| level.len().saturating_add(64)).sum();
        let labels = self.devices.iter().filter_map(|device| device.label.as_ref());
        let labels: usize = labels.map(|label| label.text.len().saturating_add(128)).sum();
        let all = self.devices.len().saturating_mul(device).saturating_add(trust).saturating_add(labels);
        all.saturating_add(512)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use Namespace::{Legacy, Omemo2};

    const ORDER: [Namespace; 2] = Namespace::ALL;

    fn id(number: u32) -> DeviceId {
        DeviceId::new(number).unwrap()
    }

    fn contact(standing: Standing) -> Contact {
        Contact { standing, ..Contact::new(&BareJid::from_normalized("romeo@montague.lit")) }
    }

    fn announce(contact: &mut Contact, namespace: Namespace, ids: &[u32]) -> Result<ListChange> {
        contact.apply_list(namespace, &ids.iter().copied().collect(), &ORDER, None)
    }

    fn ids(contact: &Contact) -> Vec<u32> {
        contact.devices.iter().map(|device| device.id).collect()
    }

    #[test]
    fn a_list_makes_devices_active_in_its_namespace_and_says_whether_any_changed() {
        let mut romeo = contact(Standing::Known);
        assert!(announce(&mut romeo, Omemo2, &[1, 2]).unwrap().devices);
        assert!(romeo.is_listed(Omemo2) && !romeo.is_listed(Legacy));
        assert!(!announce(&mut romeo, Omemo2, &[2, 1]).unwrap().devices);
        assert!(announce(&mut romeo, Legacy, &[1]).unwrap().devices);
        let active = |romeo: &Contact, number| {
            let device = romeo.device(id(number)).unwrap();
            (device.is_active(Omemo2), device.is_active(Legacy))
        };
        assert_eq!((active(&romeo, 1), active(&romeo, 2)), ((true, true), (true, false)));
        assert!(announce(&mut romeo, Omemo2, &[2]).unwrap().devices);
        assert_eq!((active(&romeo, 1), active(&romeo, 2)), ((false, true), (true, false)));
        assert!(!announce(&mut romeo, Omemo2, &[2]).unwrap().devices);
    }

    #[test]
    fn of_a_strangers_devices_that_vanish_nothing_is_kept() {
        for (standing, left) in [(Standing::Known, vec![1, 2]), (Standing::Stranger, vec![2])] {
            let mut romeo = contact(standing);
            announce(&mut romeo, Omemo2, &[1, 2]).unwrap();
            announce(&mut romeo, Omemo2, &[2]).unwrap();
            assert_eq!(ids(&romeo), left);
        }
    }

    #[test]
    fn a_list_that_names_too_many_devices_is_refused() {
        let many: Vec<u32> = (1..=u32::try_from(limits::DEVICES_PER_JID).unwrap() + 1).collect();
        let mut romeo = contact(Standing::Known);
        assert_eq!(announce(&mut romeo, Omemo2, &many).unwrap_err().status(), Status::Limit);
        assert!(romeo.devices.is_empty() && !romeo.is_listed(Omemo2));
        assert!(announce(&mut romeo, Omemo2, &many[1..]).is_ok());
    }

    #[test]
    fn devices_that_left_make_room_the_oldest_first_and_only_as_many_as_needed() {
        let most = u32::try_from(limits::KNOWN_DEVICES_PER_JID).unwrap();
        let mut romeo = contact(Standing::Known);
        romeo.devices.extend((1..=most).map(KnownDevice::new));
        // The oldest one has a key.
        romeo.device_mut(id(1)).unwrap().identity.see_exchange(&[9; 32], None);
        assert_eq!(romeo.device_or_new(id(most)).unwrap().id, most);
        assert_eq!(romeo.devices.len(), limits::KNOWN_DEVICES_PER_JID, "it was there already");
        assert_eq!(romeo.device_or_new(id(5_000)).unwrap().id, 5_000);
        assert_eq!(romeo.devices.len(), limits::KNOWN_DEVICES_PER_JID);
        assert!(
            romeo.device(id(1)).is_some() && romeo.device(id(2)).is_none() && romeo.device(id(3)).is_some()
        );

        romeo.devices.iter_mut().for_each(|device| device.active.insert(Omemo2));
        assert_eq!(romeo.device_or_new(id(6_000)).unwrap_err().status(), Status::Limit);
    }

    #[test]
    fn devices_without_list_and_confirmed_key_have_room_for_sixteen() {
        let mut romeo = contact(Standing::Known);
        announce(&mut romeo, Legacy, &[100]).unwrap();
        romeo.device_mut(id(100)).unwrap().identity.see_exchange(&[9; 32], None);
        for number in 1..=16 {
            assert!(romeo.has_provisional_room(), "{number}");
            romeo.device_or_new(id(number)).unwrap().identity.see_exchange(&[9; 32], None);
            assert_eq!(romeo.unlisted_provisional().last(), Some(&id(number)));
        }
        assert!(!romeo.has_provisional_room());
        assert_eq!(romeo.unlisted_provisional().len(), policy::PROVISIONAL_DEVICES);
    }

    #[test]
    fn a_downgrade_is_told_of_the_devices_of_others() {
        for (this, told) in [(None, vec![1, 2]), (Some(id(1)), vec![2])] {
            let mut romeo = contact(Standing::Known);
            for namespace in Namespace::ALL {
                assert!(announce(&mut romeo, namespace, &[1, 2]).unwrap().downgraded.is_empty());
            }
            let change = romeo.apply_list(Omemo2, &BTreeSet::new(), &ORDER, this).unwrap();
            assert_eq!(change.downgraded, told);
        }
    }

    #[test]
    fn the_size_in_memory_counts_devices_and_levels() {
        let mut romeo = contact(Standing::Known);
        let empty = romeo.bytes();
        assert!(empty >= size_of::<Contact>());
        romeo.trust.set(&[1; 32], "trusted").unwrap();
        let judged = romeo.bytes();
        assert!(judged >= empty + 32 + "trusted".len());
        announce(&mut romeo, Omemo2, &[1, 2]).unwrap();
        assert!(romeo.bytes() >= judged + 2 * size_of::<KnownDevice>());
    }

    #[test]
    fn a_key_that_nobody_judged_has_the_default_level() {
        let mut romeo = contact(Standing::Known);
        let mut identity = Identity::Unknown;
        assert_eq!(romeo.level_of(&identity, "default"), "default");
        identity.see_exchange(&[9; 32], None);
        assert_eq!(romeo.level_of(&identity, "default"), "default");
        romeo.trust.set(&[9; 32], "judged").unwrap();
        assert_eq!(romeo.level_of(&identity, "default"), "judged");
    }
}
