//! Finds an element in what PEP answers and tells (XEP-0060, XEP-0163).
//!
//! Owns the way in: the element alone, or inside of an item, items, pubsub, event, iq or message; which item counts when
//! a server sends more than one; and whether an answer is one to what was asked. Carbons, forwarded stanzas and unknown
//! elements are not looked into: who sent what they hold is not known here. Knows no device lists and no bundles.

use super::super::jid;
use super::super::xml::{Element, Event, Ns, Reader, push_text};
use crate::error::{Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::{Condition, StanzaError, TEXT_CHARS, clean_text};

/// What was found.
#[derive(Debug)]
pub(in crate::stanza) enum Found<T> {
    /// The thing, or why it cannot be read.
    Thing(Result<T>),
    /// Items without an item, or without the item that was wanted.
    Empty,
    /// A stanza that ends well and holds nothing.
    Done,
    /// A stanza of the type error.
    Refused(StanzaError),
    /// From somebody else, or about something else.
    Wrong,
    /// None of this.
    Nothing,
}

/// What was asked, which an answer must be about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// This account.
    pub account: &'a BareJid,
    /// Whose node was asked, or to whom something was sent.
    pub jid: &'a BareJid,
    /// The node; `None`: a message was sent.
    pub node: Option<&'a str>,
    /// The id of the item, where the node has one for each device.
    pub item: Option<&'a str>,
}

impl Asked<'_> {
    /// Whether this `from` is that of an answer (RFC 6120 8.1.2.1): the server answers for the account itself, and then
    /// may leave it out; anybody else's node answers by the bare JID that was asked.
    fn is_from(&self, from: Option<&str>) -> bool {
        let Some(from) = from else { return self.jid == self.account || self.node.is_none() };
        let Ok((bare, full)) = jid::bare_of(from) else { return false };
        if self.node.is_some() {
            return bare == *self.jid && (!full || self.jid == self.account);
        }
        // A message comes back from where it went, or from the server that refused it.
        let domain =
            |jid: &BareJid| jid.as_str().rsplit_once('@').map_or(jid.as_str(), |(_, d)| d).to_owned();
        bare == *self.jid
            || bare == *self.account
            || !full && [self.jid, self.account].into_iter().any(|jid| bare.as_str() == domain(jid))
    }

    fn is_node(&self, node: Option<&str>) -> bool {
        node.is_none_or(|node| self.node.is_none_or(|asked| asked == node))
    }

    /// Whether a request, repeated in the answer to it, is the one that was made; what it does not tell is right.
    fn is_request(&self, reader: &mut Reader<'_>, request: &Element<'_>) -> Result<bool> {
        let mut same = self.is_node(request.attribute("node").as_deref());
        while let Some(child) = reader.child(request.level())? {
            if let ("item", Some(id), Some(asked)) = (child.name(), child.attribute("id"), self.item) {
                same &= id == asked;
            }
        }
        Ok(same)
    }
}

/// What is looked for.
pub(in crate::stanza) struct Query<'a, T> {
    /// The device whose bundle it should be.
    pub(in crate::stanza) wanted: Option<u32>,
    /// What was asked, if this is an answer.
    pub(in crate::stanza) asked: Option<&'a Asked<'a>>,
    /// Makes one thing of two, the newer one first, where all items count and not only the newest.
    pub(in crate::stanza) merge: Option<fn(&mut T, &T) -> Result<()>>,
}

impl<T> Query<'_, T> {
    /// Whatever there is.
    pub(in crate::stanza) fn any() -> Self {
        Query { wanted: None, asked: None, merge: None }
    }
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

impl Item {
    fn of(element: &Element<'_>, wanted: Option<u32>) -> Item {
        match element.attribute("id").as_deref() {
            None => Item::Unnamed,
            Some("current") => Item::Current,
            Some(id) if wanted.is_some_and(|wanted| id == wanted.to_string()) => Item::Wanted,
            Some(_) => Item::Other,
        }
    }
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

/// What was seen on the way.
struct State<'a, T> {
    query: &'a Query<'a, T>,
    best: Option<(u8, Result<T>)>,
    item: Item,
    items: bool,
    some_item: bool,
    misfit: bool,
    done: bool,
}

/// What to do with an element that is not the one.
enum Step<T> {
    Enter,
    Pass,
    Over(Found<T>),
}

/// Finds the element that `target` names, and reads it with `parse`. Of several items the best fitting counts, of
/// equals the last: XEP-0060 has items in chronological order, and so do Prosody and ejabberd send them.
pub(in crate::stanza) fn find<T>(
    xml: &[u8],
    query: &Query<'_, T>,
    target: impl Fn(&Element<'_>) -> Option<Namespace>,
    mut parse: impl FnMut(&mut Reader<'_>, &Element<'_>, Namespace) -> Result<T>,
) -> Result<Found<T>> {
    let mut reader = Reader::new(xml)?;
    let mut state = State {
        query,
        best: None,
        item: Item::Outside,
        items: false,
        some_item: false,
        misfit: false,
        done: false,
    };
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
            if state.counts(namespace) {
                let thing = parse(&mut reader, &element, namespace);
                state.take(namespace, thing);
                reader.leave(element.level())?;
            }
            continue;
        }
        match state.step(&mut reader, &element, level)? {
            Step::Enter => level = element.level(),
            Step::Pass => {}
            Step::Over(found) => return Ok(found),
        }
    }
    Ok(state.found())
}

impl<T> State<'_, T> {
    /// Whether the open item is at least as good as what was found; notes one that is another thing.
    fn counts(&mut self, namespace: Namespace) -> bool {
        let rank = rank(self.item, namespace, self.query.wanted);
        self.misfit |= rank.is_none();
        let merges = self.query.merge.is_some();
        rank.is_some_and(|rank| merges || self.best.as_ref().is_none_or(|(best, _)| rank >= *best))
    }

    fn take(&mut self, namespace: Namespace, thing: Result<T>) {
        let rank = rank(self.item, namespace, self.query.wanted).unwrap_or_default();
        let older = self.best.take();
        self.best = Some(match (self.query.merge, thing, older) {
            (None, thing, _) | (Some(_), thing, None) => (rank, thing),
            // Together they are too much, whatever else comes.
            (Some(_), _, Some((best, Err(error)))) if error.status() == Status::Limit => (best, Err(error)),
            (Some(merge), Ok(thing), Some((best, Ok(older)))) => {
                // The better one, or the newer of equals, comes first.
                let (mut first, second) = if rank >= best { (thing, older) } else { (older, thing) };
                (rank.max(best), merge(&mut first, &second).map(|()| first))
            }
            // An older item that cannot be read says nothing against the newer one, nor a worse one against the better.
            (Some(_), Ok(thing), Some((best, Err(_)))) if rank >= best => (rank, Ok(thing)),
            (Some(_), Err(error), Some((best, _))) if rank >= best => (rank, Err(error)),
            (Some(_), _, Some(older)) => older,
        });
    }

    fn step(&mut self, reader: &mut Reader<'_>, element: &Element<'_>, level: usize) -> Result<Step<T>> {
        let asked = self.query.asked;
        Ok(match (element.ns(), element.name()) {
            (Ns::Stream | Ns::None, name @ ("iq" | "message")) if level == 0 => {
                if asked.is_some_and(|asked| !asked.is_from(element.attribute("from").as_deref())) {
                    return Ok(Step::Over(Found::Wrong));
                }
                match element.attribute("type").as_deref() {
                    Some("error") => {
                        return refusal(reader, element.level(), asked).map(Step::Over);
                    }
                    Some("get" | "set") if asked.is_some() => Step::Over(Found::Wrong),
                    Some("get" | "set") => Step::Pass,
                    kind => {
                        self.done |= kind == Some("result") && name == "iq";
                        Step::Enter
                    }
                }
            }
            (Ns::Stream | Ns::None, "error") if level == 0 => {
                let error = error(reader, element.level())?;
                reader.child(0)?;
                Step::Over(Found::Refused(error))
            }
            (Ns::Pubsub, "pubsub") | (Ns::PubsubEvent, "event") => Step::Enter,
            (Ns::Pubsub | Ns::PubsubEvent, "publish" | "retract" | "delete" | "purge" | "create") => {
                match asked {
                    Some(asked) if !asked.is_request(reader, element)? => Step::Over(Found::Wrong),
                    _ => Step::Pass,
                }
            }
            (Ns::Pubsub | Ns::PubsubEvent | Ns::Stream | Ns::None, "items") => {
                if asked.is_some_and(|asked| !asked.is_node(element.attribute("node").as_deref())) {
                    return Ok(Step::Over(Found::Wrong));
                }
                self.items = true;
                Step::Enter
            }
            (Ns::Pubsub | Ns::PubsubEvent | Ns::Stream | Ns::None, "item") => {
                self.some_item = true;
                self.item = Item::of(element, self.query.wanted);
                Step::Enter
            }
            _ => Step::Pass,
        })
    }

    fn found(self) -> Found<T> {
        match self.best {
            Some((_, thing)) => Found::Thing(thing),
            None if self.misfit => Found::Wrong,
            None if self.items && !self.some_item => Found::Empty,
            None if self.done && !self.items && !self.some_item => Found::Done,
            None => Found::Nothing,
        }
    }
}

/// What an error stanza says. Servers repeat the request in it, which may show that it is an answer to another one.
/// Reads to the end, so that what follows cannot be malformed.
fn refusal<T>(reader: &mut Reader<'_>, stanza: usize, asked: Option<&Asked<'_>>) -> Result<Found<T>> {
    let (mut found, mut wrong) = (StanzaError::default(), false);
    while let Some(child) = reader.child(stanza)? {
        if matches!(child.ns(), Ns::Stream | Ns::None) && child.name() == "error" {
            found = error(reader, child.level())?;
        } else if let (Ns::Pubsub, Some(asked)) = (child.ns(), asked) {
            while let Some(request) = reader.child(child.level())? {
                wrong |= request.ns() == Ns::Pubsub && !asked.is_request(reader, &request)?;
            }
        }
    }
    reader.child(0)?;
    Ok(if wrong { Found::Wrong } else { Found::Refused(found) })
}

fn error(reader: &mut Reader<'_>, error: usize) -> Result<StanzaError> {
    let mut found = StanzaError::default();
    while let Some(child) = reader.child(error)? {
        if child.ns() != Ns::StanzaErrors {
            continue;
        }
        if child.name() == "text" {
            let text = error_text(reader, &child)?;
            found.text = found.text.or(text);
        } else {
            found.condition = found.condition.or(Condition::from_name(child.name()));
        }
    }
    Ok(found)
}

/// The beginning of a text, as much as is shown of it.
fn error_text(reader: &mut Reader<'_>, element: &Element<'_>) -> Result<Option<String>> {
    let mut text = String::new();
    // Four bytes are the most that a code point has.
    let enough = TEXT_CHARS.saturating_mul(4);
    while reader.level() >= element.level() {
        match reader.next()? {
            Event::Text(piece) if reader.level() == element.level() && text.len() <= enough => {
                let end = piece.char_indices().nth(TEXT_CHARS).map_or(piece.len(), |(end, _)| end);
                push_text(&mut text, piece.get(..end).unwrap_or_default());
            }
            Event::Char(c) if reader.level() == element.level() && text.len() <= enough => text.push(c),
            Event::Eof => break,
            _ => {}
        }
    }
    Ok(Some(clean_text(text.trim())).filter(|text| !text.is_empty()))
}
