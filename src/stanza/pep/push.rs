//! What a server tells by itself about device lists (XEP-0060 7.1, 8.4, 8.5; XEP-0163): a new list, or that there is none
//! any more; and whether it tells it late.

use super::super::delay::is_delay;
use super::super::device_list;
use super::super::xml::{Element, Ns, Reader, malformed};
use crate::error::Result;
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;

/// What a push says of the device list of whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is this one now.
    List(DeviceList),
    /// The item was retracted, or its node purged or deleted. What is left of several items only a fetch tells.
    Gone(Namespace),
}

/// A push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// What it says.
    pub pushed: Pushed,
    /// Whether it was delayed (XEP-0203), and may be older than what is known.
    pub delayed: bool,
}

/// What is found on the way through a push.
#[derive(Default)]
struct Seen {
    gone: Option<Namespace>,
    item: bool,
    delayed: bool,
}

/// Reads a push: a `<message>`, its `<event>`, or what that holds. Who sent it is for the caller to check, and that the
/// message was neither forwarded nor carbon-copied, which this does not look into.
pub fn parse(xml: &[u8]) -> Result<Push> {
    let seen = see(xml)?;
    let pushed = match seen.gone {
        // A server may retract an old item in the push that brings a new one.
        Some(namespace) if !seen.item => Pushed::Gone(namespace),
        _ => Pushed::List(device_list::parse(xml)?),
    };
    Ok(Push { pushed, delayed: seen.delayed })
}

/// Tells whether a message was delayed; anything but a message was not.
pub fn is_delayed(xml: &[u8]) -> bool {
    see(xml).is_ok_and(|seen| seen.delayed)
}

fn see(xml: &[u8]) -> Result<Seen> {
    let mut reader = Reader::new(xml)?;
    let mut seen = Seen::default();
    let root = reader.child(0)?.ok_or_else(|| malformed("The XML is empty."))?;
    let is_message = matches!(root.ns(), Ns::Stream | Ns::None) && root.name() == "message";
    if is_message && root.attribute("type").as_deref() != Some("error") {
        while let Some(child) = reader.child(root.level())? {
            seen.delayed |= is_delay(&reader, &child);
            seen.event(&mut reader, &child)?;
        }
    } else {
        seen.event(&mut reader, &root)?;
    }
    reader.child(0)?;
    Ok(seen)
}

impl Seen {
    fn event(&mut self, reader: &mut Reader<'_>, element: &Element<'_>) -> Result<()> {
        if !element.is(Ns::PubsubEvent, "event") {
            return self.news(reader, element);
        }
        while let Some(child) = reader.child(element.level())? {
            self.news(reader, &child)?;
        }
        Ok(())
    }

    fn news(&mut self, reader: &mut Reader<'_>, element: &Element<'_>) -> Result<()> {
        if !matches!(element.ns(), Ns::PubsubEvent | Ns::None) {
            return Ok(());
        }
        let node = element.attribute("node");
        let namespace = node.as_deref().and_then(Namespace::from_device_list_node);
        match element.name() {
            "purge" | "delete" => self.gone = self.gone.or(namespace),
            "items" => {
                while let Some(child) = reader.child(element.level())? {
                    if !matches!(child.ns(), Ns::PubsubEvent | Ns::None) {
                        continue;
                    }
                    match child.name() {
                        "retract" => self.gone = self.gone.or(namespace),
                        "item" => self.item |= namespace.is_some() || node.is_none(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
