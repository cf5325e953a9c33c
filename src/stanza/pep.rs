//! Finds an element in what PEP answers and tells (XEP-0060, XEP-0163).
//!
//! Owns the way in: the element alone, or inside of an item, items, pubsub, event, iq or message; and which item
//! counts when a server sends more than one. Carbons, forwarded stanzas and unknown elements are not looked into:
//! who sent what they hold is not known here. Knows no device lists and no bundles.

use super::xml::{Element, Ns, Reader};
use crate::error::Result;
use crate::protocol::namespace::Namespace;

/// What was found.
pub(super) enum Found<T> {
    /// The thing, or why it cannot be read.
    Thing(Result<T>),
    /// Items without an item, or without the item that was wanted.
    Empty,
    /// A stanza that ends well and holds nothing.
    Done,
    /// A stanza of the type error; `true`: of the condition item-not-found.
    Refused(bool),
    /// None of this.
    Nothing,
}

/// The id of the item that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    /// There is none: the element came alone.
    Outside,
    /// The item has no id, as Converse.js publishes it.
    Unnamed,
    /// The id `current`.
    Current,
    /// The decimal number of the device that was asked for.
    Wanted,
    /// Any other id.
    Other,
}

/// How well an item fits; `None`: not at all. In omemo:2 an item of another id is the bundle of another device. The
/// nodes of legacy belong to one device, and their items have ids of every kind.
fn rank(item: Item, namespace: Namespace, wanted: Option<u32>) -> Option<u8> {
    match (item, namespace, wanted) {
        (Item::Wanted, ..) => Some(3),
        (Item::Current, Namespace::Legacy, _) | (Item::Current, Namespace::Omemo2, None) => Some(2),
        (Item::Outside | Item::Unnamed, ..) => Some(1),
        (Item::Current | Item::Other, Namespace::Omemo2, Some(_)) => None,
        (Item::Other, ..) => Some(1),
    }
}

/// Finds the element that `target` names, and reads it with `parse`. `wanted` is the device whose bundle it should
/// be. Of several items the best fitting counts, of equals the last.
pub(super) fn find<T>(
    xml: &[u8],
    wanted: Option<u32>,
    target: impl Fn(&Element<'_>) -> Option<Namespace>,
    mut parse: impl FnMut(&mut Reader<'_>, &Element<'_>, Namespace) -> Result<T>,
) -> Result<Found<T>> {
    let mut reader = Reader::new(xml)?;
    let mut best: Option<(u8, Result<T>)> = None;
    let (mut item, mut items, mut some_item, mut misfit, mut done) =
        (Item::Outside, false, false, false, false);
    // The innermost wrapper that is open. All above it are wrappers too.
    let mut level = 0;
    loop {
        let Some(element) = reader.child(level)? else {
            if level == 0 {
                break;
            }
            level = level.saturating_sub(1);
            continue;
        };
        if let Some(namespace) = target(&element) {
            match rank(item, namespace, wanted) {
                Some(rank) if best.as_ref().is_none_or(|(other, _)| rank >= *other) => {
                    drop(best.take());
                    best = Some((rank, parse(&mut reader, &element, namespace)));
                    reader.leave(element.level())?;
                }
                Some(_) => {}
                None => misfit = true,
            }
            continue;
        }
        let enter = match (element.ns(), element.name()) {
            (Ns::Stream | Ns::None, "iq" | "message") if level == 0 => {
                match element.attribute("type").as_deref() {
                    Some("error") => return refusal(&mut reader, element.level()).map(Found::Refused),
                    Some("get" | "set") => false,
                    Some("result") => {
                        done = true;
                        true
                    }
                    _ => true,
                }
            }
            (Ns::Stream | Ns::None, "error") if level == 0 => {
                let not_found = condition(&mut reader, element.level())?;
                reader.child(0)?;
                return Ok(Found::Refused(not_found));
            }
            (Ns::Pubsub, "pubsub") | (Ns::PubsubEvent, "event") => true,
            (Ns::Pubsub | Ns::PubsubEvent | Ns::Stream | Ns::None, "items") => {
                items = true;
                true
            }
            (Ns::Pubsub | Ns::PubsubEvent | Ns::Stream | Ns::None, "item") => {
                some_item = true;
                item = match element.attribute("id").as_deref() {
                    None => Item::Unnamed,
                    Some("current") => Item::Current,
                    Some(id) if wanted.is_some_and(|wanted| id == wanted.to_string()) => Item::Wanted,
                    Some(_) => Item::Other,
                };
                true
            }
            _ => false,
        };
        if enter {
            level = element.level();
        }
    }
    Ok(match best {
        Some((_, thing)) => Found::Thing(thing),
        None if misfit || items && !some_item => Found::Empty,
        None if done && !items && !some_item => Found::Done,
        None => Found::Nothing,
    })
}

/// Whether a stanza error says item-not-found. Reads to the end, so that what follows cannot be malformed.
fn refusal(reader: &mut Reader<'_>, stanza: usize) -> Result<bool> {
    let mut not_found = false;
    while let Some(child) = reader.child(stanza)? {
        if matches!(child.ns(), Ns::Stream | Ns::None) && child.name() == "error" {
            not_found |= condition(reader, child.level())?;
        }
    }
    reader.child(0)?;
    Ok(not_found)
}

fn condition(reader: &mut Reader<'_>, error: usize) -> Result<bool> {
    let mut not_found = false;
    while let Some(child) = reader.child(error)? {
        not_found |= child.is(Ns::StanzaErrors, "item-not-found");
    }
    Ok(not_found)
}
