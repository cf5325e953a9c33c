//! What an account announces: the ids of its devices, their labels, and all that other clients wrote beside them.
//!
//! Several clients share one list, and each publishes it whole. So what is not understood is kept, in its place, and
//! written again: only the client that wrote it knows what it is good for.

use super::address::DeviceId;
use super::foreign::{self, Attribute, Element};
use super::label::SignedLabel;
use super::limits;
use super::namespace::Namespace;
use crate::error::{Error, Result, Status};
use std::collections::{HashMap, HashSet};

/// No entry that is kept is written with fewer bytes.
const SHORTEST_ENTRY: usize = 8;

/// One device of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// Its id as announced, which may lie outside of the valid range.
    pub id: u32,
    /// Its label as announced, not verified. Only a label of sound length with a signature of 64 bytes counts.
    pub label: Option<String>,
    /// The signature of the label.
    pub label_signature: Option<[u8; 64]>,
    /// The entry as it was read, where it says more, or says it otherwise, than the three fields above: it is written
    /// again instead of them. `None` in entries of our own making.
    pub as_read: Option<Box<Element>>,
}

impl ListedDevice {
    /// An entry with nothing but an id.
    pub fn new(id: u32) -> ListedDevice {
        ListedDevice { id, label: None, label_signature: None, as_read: None }
    }

    /// An entry with a label and its signature.
    pub fn labelled(id: u32, label: String, signature: [u8; 64]) -> ListedDevice {
        ListedDevice { id, label: Some(label), label_signature: Some(signature), as_read: None }
    }

    /// Returns the label with its signature, which is not verified; `None`: one of the two is missing.
    pub fn signed_label(&self) -> Option<SignedLabel> {
        Some(SignedLabel { text: self.label.clone()?, signature: self.label_signature? })
    }
}

/// Why the entry of a device is not one of [`DeviceList::devices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherDevice {
    /// An entry before it has the same id.
    Repeated(u32),
    /// Its id is a number that does not fit into 32 bits, or a negative one.
    OutOfRange,
    /// Its id is no number, or missing.
    NoNumber,
}

/// An announced device that can never be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserveable {
    /// Its id is 0 or greater than 2^31-1.
    Id(u32),
    /// Its id is a number that does not fit into 32 bits, or a negative one.
    OutOfRange,
    /// Its id is no number, or missing.
    NoNumber,
}

/// What stands in a list, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// The place of the device with this id, as long as it is in the list.
    Device(u32),
    /// An entry of a device that is none of `devices`.
    Other(OtherDevice, Element),
    /// An element of another namespace.
    Foreign(Element),
}

/// What a list holds beside its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The attributes of the list itself.
    pub(crate) attributes: Vec<Attribute>,
    /// Empty where the list holds nothing but devices.
    pub(crate) children: Vec<Child>,
}

/// A device list (XEP-0384 5.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    /// Which namespace it was published in.
    pub namespace: Namespace,
    /// Its devices, each id once, in the order in which they were announced.
    pub devices: Vec<ListedDevice>,
    /// What else stands in it; only reading fills this.
    pub others: Others,
}

impl DeviceList {
    /// An empty list.
    pub fn new(namespace: Namespace) -> DeviceList {
        DeviceList::of(namespace, Vec::new())
    }

    /// A list of these devices.
    pub fn of(namespace: Namespace, devices: Vec<ListedDevice>) -> DeviceList {
        DeviceList { namespace, devices, others: Others::default() }
    }

    /// Returns the ids that can be served.
    pub fn ids(&self) -> impl Iterator<Item = DeviceId> {
        self.devices.iter().filter_map(|device| DeviceId::new(device.id))
    }

    /// Returns the devices that are announced and can never be served.
    pub fn unserveable(&self) -> impl Iterator<Item = Unserveable> {
        let listed = self.devices.iter().map(|device| device.id);
        let listed = listed.filter(|id| DeviceId::new(*id).is_none()).map(Unserveable::Id);
        listed.chain(self.others.children.iter().filter_map(|child| match child {
            Child::Other(OtherDevice::OutOfRange, _) => Some(Unserveable::OutOfRange),
            Child::Other(OtherDevice::NoNumber, _) => Some(Unserveable::NoNumber),
            _ => None,
        }))
    }

    /// Tells whether a device is in the list.
    pub fn contains(&self, id: u32) -> bool {
        self.devices.iter().any(|device| device.id == id)
    }

    /// Appends a device. [`Status::Limit`]: the list would be longer than what is read; [`Status::Argument`]: it is in
    /// the list already.
    pub fn add(&mut self, device: ListedDevice) -> Result<()> {
        if self.devices.len() >= limits::DEVICES_PER_JID {
            return Err(Error::new(Status::Limit, "The device list has no room for another device."));
        }
        if self.contains(device.id) {
            return Err(Error::new(Status::Argument, "The list already has this device."));
        }
        self.devices.push(device);
        Ok(())
    }

    /// Puts a device on the list, in the place of the entry that it has there. [`Status::Limit`]: there is no room.
    pub fn set(&mut self, device: ListedDevice) -> Result<()> {
        match self.devices.iter_mut().find(|other| other.id == device.id) {
            Some(entry) => {
                *entry = device;
                Ok(())
            }
            None => self.add(device),
        }
    }

    /// Tells whether another list is written with the same entries in the same order. The order of attributes means
    /// nothing: servers may change it.
    pub fn says_the_same(&self, other: &DeviceList) -> bool {
        let entries = |list: &'_ DeviceList| list.in_order().count();
        self.namespace == other.namespace
            && foreign::same_attributes(&self.others.attributes, &other.others.attributes)
            && entries(self) == entries(other)
            && self.in_order().zip(other.in_order()).all(|(one, other)| one.says_the_same(&other))
    }

    /// Takes every entry of a device off the list. Returns whether there was one.
    pub fn remove(&mut self, id: u32) -> bool {
        let before = self.devices.len();
        self.devices.retain(|device| device.id != id);
        self.others.children.retain(|child| match child {
            Child::Device(other) | Child::Other(OtherDevice::Repeated(other), _) => *other != id,
            _ => true,
        });
        self.devices.len() != before
    }

    /// Appends what stands in another list and not in this one. [`Status::Limit`]: together they are too long.
    pub fn merge(&mut self, other: &DeviceList) -> Result<()> {
        for device in &other.devices {
            if !self.contains(device.id) {
                self.add(device.clone())?;
            }
        }
        let has = |children: &[Child], child: &Child| children.contains(child);
        for child in &other.others.children {
            if matches!(child, Child::Device(_)) || has(&self.others.children, child) {
                continue;
            }
            self.pin_order();
            if self.others.children.len() >= limits::FOREIGN_BYTES / SHORTEST_ENTRY {
                return Err(Error::new(
                    Status::Limit,
                    "The old and the new device list together contain too much data.",
                ));
            }
            self.others.children.push(child.clone());
        }
        for attribute in &other.others.attributes {
            if self.others.attributes.iter().all(|own| own.name != attribute.name) {
                self.others.attributes.push(attribute.clone());
            }
        }
        Ok(())
    }

    /// Notes the places of all devices, so that what is appended to the slots comes behind them.
    fn pin_order(&mut self) {
        let placed: HashSet<u32> = self.placed().collect();
        let missing = self.devices.iter().map(|device| device.id).filter(|id| !placed.contains(id));
        let missing: Vec<Child> = missing.map(Child::Device).collect();
        self.others.children.extend(missing);
    }

    fn placed(&self) -> impl Iterator<Item = u32> {
        self.others.children.iter().filter_map(|child| match child {
            Child::Device(id) => Some(*id),
            _ => None,
        })
    }

    /// Returns everything in the list in the order in which it is written; devices that were added come last.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Entry<'_>> {
        let by_id: HashMap<u32, &ListedDevice> =
            self.devices.iter().map(|device| (device.id, device)).collect();
        let placed: HashSet<u32> = self.placed().collect();
        let kept = self.others.children.iter().filter_map(move |child| match child {
            Child::Device(id) => by_id.get(id).map(|device| Entry::Device(device)),
            Child::Other(_, element) | Child::Foreign(element) => Some(Entry::Element(element)),
        });
        let added = self.devices.iter().filter(move |device| !placed.contains(&device.id));
        kept.chain(added.map(Entry::Device))
    }
}

/// What is written into a list.
pub(crate) enum Entry<'a> {
    /// A device.
    Device(&'a ListedDevice),
    /// An element as it was read.
    Element(&'a Element),
}

impl Entry<'_> {
    fn says_the_same(&self, other: &Entry<'_>) -> bool {
        match (self, other) {
            (Entry::Element(one), Entry::Element(other)) => one.says_the_same(other),
            (Entry::Device(one), Entry::Device(other)) => match (&one.as_read, &other.as_read) {
                (Some(one), Some(other)) => one.says_the_same(other),
                _ => one == other,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
