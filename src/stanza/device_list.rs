//! `<devices/>` of omemo:2 and `<list/>` of legacy (XEP-0384 5.3.1).
//!
//! Reads loosely and writes strictly. Labels are kept with their signature or not at all; nothing is verified here.

use super::binary;
use super::pep::{self, Found};
use super::writer::Writer;
use super::xml::{Element, Ns, Reader, malformed};
use crate::error::{Error, Result, Status};
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;

/// Reads a device list, alone or in an item, items, event, pubsub, message or iq. Of several items the one with the
/// id `current` counts, else the last.
pub fn parse(xml: &[u8]) -> Result<DeviceList> {
    match find(xml, None)? {
        Found::Thing(list) => list,
        _ => Err(malformed("There is no device list in it.")),
    }
}

/// Finds a device list, of one namespace or of any.
pub(super) fn find(xml: &[u8], namespace: Option<Namespace>) -> Result<Found<DeviceList>> {
    let target = |element: &Element<'_>| {
        let Ns::Omemo(found) = element.ns() else { return None };
        (element.name() == name(found) && namespace.is_none_or(|wanted| wanted == found)).then_some(found)
    };
    pep::find(xml, None, target, read)
}

fn name(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Omemo2 => "devices",
        Namespace::Legacy => "list",
    }
}

fn read(reader: &mut Reader<'_>, list: &Element<'_>, namespace: Namespace) -> Result<DeviceList> {
    let mut devices: Vec<ListedDevice> = Vec::new();
    while let Some(child) = reader.child(list.level())? {
        if !child.is(Ns::Omemo(namespace), "device") {
            continue;
        }
        let Some(id) = child.number("id") else { continue };
        if devices.iter().any(|device| device.id == id) {
            continue;
        }
        if devices.len() >= limits::DEVICES_PER_JID {
            return Err(Error::new(Status::Limit, "The device list has too many devices."));
        }
        let (label, label_signature) = match label(&child, namespace) {
            Some((label, signature)) => (Some(label), Some(signature)),
            None => (None, None),
        };
        devices.push(ListedDevice { id, label, label_signature });
    }
    Ok(DeviceList { namespace, devices })
}

/// A label and its signature. One without the other is worth nothing; legacy has no labels.
fn label(device: &Element<'_>, namespace: Namespace) -> Option<(String, [u8; 64])> {
    if namespace == Namespace::Legacy {
        return None;
    }
    let label = device.attribute("label").filter(|label| label.chars().nth(limits::LABEL_CHARS).is_none())?;
    let signature = binary::array_of::<64>(&device.attribute("labelsig")?)?;
    Some((label.into_owned(), signature))
}

/// The element. Labels are written with their signature or not at all.
pub fn write(list: &DeviceList) -> String {
    let name = name(list.namespace);
    let mut writer = Writer::with_capacity(list.devices.len().saturating_mul(32).saturating_add(64));
    writer.open(name).attribute("xmlns", list.namespace.uri());
    for device in &list.devices {
        writer.open("device").number("id", device.id);
        if let (Namespace::Omemo2, Some(label), Some(signature)) =
            (list.namespace, &device.label, &device.label_signature)
        {
            writer.attribute("label", label).attribute("labelsig", &binary::write(signature));
        }
        writer.close("device");
    }
    writer.close(name);
    writer.finish()
}
