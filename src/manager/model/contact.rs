//! All that is known of a JID: whether the client has named it, its lists, its devices, and the trust in its keys.
//!
//! Only a list from the JID's own node makes a device active. Devices with a key are not forgotten: one that left keeps
//! its key and its trust.

use super::super::policy;
use super::device::KnownDevice;
use super::identity::Identity;
use super::namespaces::NamespaceSet;
use super::trust::TrustLevels;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use std::collections::{BTreeSet, HashSet};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct Contact {
    pub(in crate::manager) jid: BareJid,
    /// The client itself has named it: content was encrypted to it, or one of its keys was judged.
    pub(in crate::manager) known: bool,
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
            known: false,
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
        if !self.known {
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
        self.devices.len().saturating_mul(device).saturating_add(trust).saturating_add(512)
    }
}
