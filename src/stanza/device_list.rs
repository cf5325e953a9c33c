//! `<devices/>` of omemo:2 and `<list/>` of legacy (XEP-0384 5.3.1).
//!
//! Reads what concerns us and keeps the rest, so that a list which is published again loses nothing of what other
//! clients wrote. A list is either understood or an error: what looks empty because its children have unknown names
//! would be overwritten. Nothing is verified here.

use super::base64;
use super::foreign::{self, Budget};
use super::pep::{self, Found, Query};
use super::xml::writer::Writer;
use super::xml::{self, Event, Ns, Reader, is_space, malformed};
use crate::error::{Error, Result, Status};
use crate::protocol::device_list::{Child, DeviceList, Entry, ListedDevice, OtherDevice};
use crate::protocol::foreign::{Attribute, Element, Name, Node};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use std::sync::Arc;

/// Reads a device list, alone or in an item, items, event, pubsub, message or iq. Of several items the one with the
/// id `current` counts, else the last.
pub fn parse(xml: &[u8]) -> Result<DeviceList> {
    match find(xml, None, &Query::any())? {
        Found::Thing(list) => list,
        _ => Err(malformed("There is no device list in it.")),
    }
}

/// Finds a device list, of one namespace or of any.
pub(super) fn find(
    xml: &[u8],
    namespace: Option<Namespace>,
    query: &Query<'_, DeviceList>,
) -> Result<Found<DeviceList>> {
    let target = |element: &xml::Element<'_>| {
        let Ns::Omemo(found) = element.ns() else { return None };
        (element.name() == name(found) && namespace.is_none_or(|wanted| wanted == found)).then_some(found)
    };
    pep::find(xml, query, target, read)
}

fn name(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Omemo2 => "devices",
        Namespace::Legacy => "list",
    }
}

/// What is gathered of a list.
struct Gathered {
    list: DeviceList,
    /// Everything in order.
    children: Vec<Child>,
    /// Whether there is anything but devices, whose order needs no notes.
    mixed: bool,
    /// Whether any device with a number was there.
    understood: bool,
    budget: Budget,
}

fn read(reader: &mut Reader<'_>, element: &xml::Element<'_>, namespace: Namespace) -> Result<DeviceList> {
    let mut budget = Budget::new();
    let mut list = DeviceList::new(namespace);
    list.others.attributes = foreign::attributes(reader, element, &mut budget)?;
    let mut gathered = Gathered { list, children: Vec::new(), mixed: false, understood: false, budget };
    let level = element.level();
    while reader.level() >= level {
        match reader.next()? {
            Event::Start(child) => gathered.take(reader, &child)?,
            Event::Text(text) if text.chars().all(is_space) => {}
            Event::Char(c) if is_space(c) => {}
            Event::Text(_) | Event::Char(_) => return Err(malformed("The device list holds text.")),
            Event::End => {}
            Event::Eof => break,
        }
    }
    let Gathered { mut list, children, mixed, understood, .. } = gathered;
    if mixed {
        if !understood {
            return Err(malformed("The device list holds elements, but no device."));
        }
        list.others.children = children;
    }
    Ok(list)
}

impl Gathered {
    fn take(&mut self, reader: &mut Reader<'_>, child: &xml::Element<'_>) -> Result<()> {
        let namespace = self.list.namespace;
        let ours = child.ns() == Ns::Omemo(namespace);
        if child.name() != "device" || !(ours || child.is_unqualified()) {
            if ours {
                return Err(malformed("The device list holds an element that is no device."));
            }
            let kept = foreign::read(reader, child, namespace.uri(), &mut self.budget)?;
            self.mixed = true;
            self.children.push(Child::Foreign(kept));
            return Ok(());
        }
        let (id, label) = (child.number("id"), label(child, namespace));
        // One device without a number is left alone; a list of nothing else is not understood.
        self.understood |= id.is_some() || is_number(child);
        let odd = if is_number(child) { OtherDevice::OutOfRange } else { OtherDevice::NoNumber };
        // Charged only if it has to be kept.
        let mut budget = Budget::new();
        let read = foreign::read(reader, child, namespace.uri(), &mut budget)?;
        let kind = match id {
            None => odd,
            Some(id) if self.list.contains(id) => OtherDevice::Repeated(id),
            Some(id) => return self.device(id, label, read, budget.used()),
        };
        self.budget.take(budget.used())?;
        self.mixed = true;
        self.children.push(Child::Other(kind, read));
        Ok(())
    }

    fn device(
        &mut self,
        id: u32,
        label: Option<(String, [u8; 64])>,
        read: Element,
        bytes: usize,
    ) -> Result<()> {
        if self.list.devices.len() >= limits::DEVICES_PER_JID {
            return Err(Error::new(Status::Limit, "The device list has too many devices."));
        }
        let mut device = match label {
            Some((label, signature)) => ListedDevice::labelled(id, label, signature),
            None => ListedDevice::new(id),
        };
        if !same(&read, &plain(&device, self.list.namespace)) {
            self.budget.take(bytes)?;
            device.as_read = Some(Box::new(read));
        }
        self.children.push(Child::Device(id));
        self.list.devices.push(device);
        Ok(())
    }
}

/// Whether the id of a device is a number, in range or not.
fn is_number(device: &xml::Element<'_>) -> bool {
    device.attribute("id").is_some_and(|id| {
        let id = id.trim_matches(is_space);
        let digits = id.strip_prefix(['-', '+']).unwrap_or(id);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A label and its signature. One without the other is worth nothing; legacy has no labels.
fn label(device: &xml::Element<'_>, namespace: Namespace) -> Option<(String, [u8; 64])> {
    if namespace == Namespace::Legacy {
        return None;
    }
    let label = device.attribute("label").filter(|label| label.chars().nth(limits::LABEL_CHARS).is_none())?;
    let signature = base64::array_of::<64>(&device.attribute("labelsig")?)?;
    Some((label.into_owned(), signature))
}

/// The entry as it is written where there is nothing to keep. Labels are written with their signature or not at all.
fn plain(device: &ListedDevice, namespace: Namespace) -> Element {
    let attribute = |local: &str, value: String| Attribute {
        name: Name { namespace: Arc::from(""), local: local.into() },
        value,
    };
    let mut attributes = vec![attribute("id", device.id.to_string())];
    if let (Namespace::Omemo2, Some(label), Some(signature)) =
        (namespace, &device.label, &device.label_signature)
    {
        attributes.push(attribute("label", label.clone()));
        attributes.push(attribute("labelsig", base64::write(signature)));
    }
    let name = Name { namespace: Arc::from(namespace.uri()), local: "device".into() };
    Element { name, attributes, children: Vec::new() }
}

/// Whether two elements say the same. Attributes have no order, and white space between tags says nothing here.
fn same(read: &Element, plain: &Element) -> bool {
    let blank = |node: &Node| matches!(node, Node::Text(text) if text.chars().all(is_space));
    read.name == plain.name
        && read.children.iter().all(blank)
        && read.attributes.len() == plain.attributes.len()
        && read.attributes.iter().all(|attribute| plain.attributes.contains(attribute))
}

/// The element: what was read stands in it as it was read.
pub fn write(list: &DeviceList) -> String {
    let name = name(list.namespace);
    let mut writer = Writer::with_capacity(list.devices.len().saturating_mul(32).saturating_add(64));
    writer.open(name).attribute("xmlns", list.namespace.uri());
    foreign::write_attributes(&mut writer, &list.others.attributes);
    for entry in list.in_order() {
        match entry {
            Entry::Device(device) => write_device(&mut writer, device, list.namespace),
            Entry::Element(element) => foreign::write(&mut writer, element, list.namespace.uri()),
        }
    }
    writer.close(name);
    writer.finish()
}

fn write_device(writer: &mut Writer, device: &ListedDevice, namespace: Namespace) {
    match &device.as_read {
        Some(read) => foreign::write(writer, read, namespace.uri()),
        None => foreign::write(writer, &plain(device, namespace), namespace.uri()),
    }
}

/// Checks that a list made of several holds no more than one that is read.
pub(super) fn check_size(list: &DeviceList) -> Result<()> {
    let mut budget = Budget::new();
    let mut writer = Writer::with_capacity(0);
    foreign::write_attributes(&mut writer, &list.others.attributes);
    for entry in list.in_order() {
        match entry {
            Entry::Device(ListedDevice { as_read: Some(element), .. }) => {
                foreign::write(&mut writer, element, list.namespace.uri())
            }
            Entry::Device(_) => {}
            Entry::Element(element) => foreign::write(&mut writer, element, list.namespace.uri()),
        }
    }
    budget.take(writer.finish().len())
}

/// The entry of a device as an element of its own, where it says more than an id and a sound label.
pub fn write_entry(device: &ListedDevice) -> Option<String> {
    let read = device.as_read.as_ref()?;
    let mut writer = Writer::with_capacity(256);
    foreign::write(&mut writer, read, "");
    Some(writer.finish())
}
