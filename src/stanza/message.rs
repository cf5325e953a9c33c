//! `<encrypted/>` of both namespaces (XEP-0384 5.5 and 0.3 4.4).
//!
//! Reads loosely: only what concerns everybody must be sound, a broken key of somebody else harms nobody. Writes the
//! strictest common form: keys before the IV, header before the payload, booleans as `true` or not at all.

use std::collections::HashMap;

use super::base64;
use super::delay::is_delay;
use super::jid;
use super::xml::writer::Writer;
use super::xml::{Element, Event, Ns, Reader, malformed};
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::messages::key_exchange::holds_exchange;
use crate::protocol::namespace::Namespace;

/// Reads an `<encrypted/>`, alone or right below a `<message/>`. If a message holds several, the first one of omemo:2
/// counts that can be read, else the first one of legacy.
pub fn parse(xml: &[u8]) -> Result<Message> {
    candidates(xml)?.into_first()
}

/// Reads the first `<encrypted/>` of one namespace that can be read, where there is one of that namespace.
pub fn parse_in(xml: &[u8], namespace: Namespace) -> Result<Option<Message>> {
    let mut all: Vec<_> =
        read_all(xml)?.messages.into_iter().filter(|(found, _)| *found == namespace).collect();
    let readable = all.iter().position(|(_, message)| message.is_ok()).unwrap_or_default();
    if readable < all.len() { all.swap_remove(readable).1.map(Some) } else { Ok(None) }
}

/// The messages of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// In the order in which a recipient tries them.
    pub messages: Vec<Message>,
    /// The stanza says that it was delayed (XEP-0203).
    pub delayed: bool,
}

impl Received {
    /// Returns the message that comes first.
    pub fn into_first(self) -> Result<Message> {
        self.messages.into_iter().next().ok_or_else(|| malformed("There is no OMEMO message in it."))
    }
}

/// Reads every `<encrypted/>` of a stanza that can be read, in the order in which a recipient tries them: those of
/// omemo:2 first. Empty if the stanza is an error, or holds none at all. Fails if it has some and none can be read, and if
/// one stands only where none is looked for.
pub fn candidates(xml: &[u8]) -> Result<Received> {
    let Found { messages, elsewhere, delayed } = read_all(xml)?;
    let (omemo2, legacy): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|(namespace, _)| *namespace == Namespace::Omemo2);
    let (mut readable, mut failure) = (Vec::new(), None);
    for (_, message) in omemo2.into_iter().chain(legacy) {
        match message {
            Ok(message) => readable.push(message),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if readable.is_empty() => Err(error),
        None if readable.is_empty() && elsewhere => Err(malformed(
            "The message is not where it is looked for: pass in what the carbon or result holds.",
        )),
        _ => Ok(Received { messages: readable, delayed }),
    }
}

/// What a stanza holds.
#[derive(Default)]
struct Found {
    /// Everything that is an `<encrypted/>`, in the order of the stanza.
    messages: Vec<(Namespace, Result<Message>)>,
    /// There may be a message where none is looked for: inside of a carbon, or of another version of OMEMO.
    elsewhere: bool,
    delayed: bool,
}

fn read_all(xml: &[u8]) -> Result<Found> {
    let mut reader = Reader::new(xml)?;
    let mut found = Found::default();
    let root = reader.child(0)?.ok_or_else(|| malformed("The XML is empty."))?;
    if !take(&mut found.messages, &mut reader, &root)? {
        let is_message = matches!(root.ns(), Ns::Stream | Ns::None) && root.name() == "message";
        // What comes back as an error is a message of ours that nobody got.
        let is_error = is_message && root.attribute("type").as_deref() == Some("error");
        found.elsewhere = !is_message;
        while let Some(child) = reader.child(root.level())? {
            if is_message && !is_error && !take(&mut found.messages, &mut reader, &child)? {
                found.delayed |= is_delay(&reader, &child);
                found.elsewhere |= holds_encrypted(&mut reader, &child)?;
            }
        }
    }
    reader.child(0)?;
    Ok(found)
}

/// Returns whether an element is an `<encrypted/>` of whatever namespace, or has one in it at any depth.
fn holds_encrypted(reader: &mut Reader<'_>, element: &Element<'_>) -> Result<bool> {
    let mut found = element.name() == "encrypted";
    while reader.level() >= element.level() {
        match reader.next()? {
            Event::Start(inner) => found |= inner.name() == "encrypted",
            Event::Eof => break,
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the element if it is an `<encrypted/>`, and one of the first.
fn take(
    all: &mut Vec<(Namespace, Result<Message>)>,
    reader: &mut Reader<'_>,
    element: &Element<'_>,
) -> Result<bool> {
    let Ns::Omemo(namespace) = element.ns() else { return Ok(false) };
    if element.name() != "encrypted" || all.len() >= limits::MESSAGES_PER_STANZA {
        return Ok(false);
    }
    all.push((namespace, read(reader, element, namespace)));
    reader.leave(element.level())?;
    Ok(true)
}

fn read(reader: &mut Reader<'_>, encrypted: &Element<'_>, namespace: Namespace) -> Result<Message> {
    let mut header: Option<Header> = None;
    let mut payload = None;
    while let Some(child) = reader.child(encrypted.level())? {
        if child.is(Ns::Omemo(namespace), "header") && header.is_none() {
            header = Some(Header::read(reader, &child, namespace)?);
        } else if child.is(Ns::Omemo(namespace), "payload") && payload.is_none() {
            let bytes = base64::read(reader, &child, limits::STANZA_BYTES)?;
            payload = Some(bytes.ok_or_else(|| malformed("The payload is no base64."))?);
        }
    }
    let header = header.ok_or_else(|| malformed("The message has no header."))?;
    // AES-CBC has no empty ciphertext: an empty payload can only mean none. AES-GCM has one.
    let payload = payload.filter(|bytes| namespace == Namespace::Legacy || !bytes.is_empty());
    Ok(Message { namespace, sender_device: header.sid, keys: header.keys, payload, iv: header.iv })
}

/// The attribute that marks a key exchange.
fn flag(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Omemo2 => "kex",
        Namespace::Legacy => "prekey",
    }
}

struct Header {
    sid: u32,
    keys: Vec<MessageKey>,
    iv: Option<Vec<u8>>,
    jid_bytes: usize,
}

impl Header {
    fn read(reader: &mut Reader<'_>, element: &Element<'_>, namespace: Namespace) -> Result<Header> {
        let sid = element
            .number("sid")
            .ok_or_else(|| malformed("The message does not say which device sent it."))?;
        let mut header = Header { sid, keys: Vec::new(), iv: None, jid_bytes: 0 };
        let ns = Ns::Omemo(namespace);
        while let Some(child) = reader.child(element.level())? {
            match namespace {
                Namespace::Omemo2 if child.is(ns, "keys") => header.read_keys(reader, &child)?,
                Namespace::Legacy if child.is(ns, "key") => {
                    header.read_key(reader, &child, None, namespace)?
                }
                Namespace::Legacy if child.is(ns, "iv") && header.iv.is_none() => {
                    let iv = base64::read(reader, &child, limits::MESSAGE_IV_BYTES)?;
                    header.iv = Some(iv.ok_or_else(|| malformed("The IV is no base64."))?);
                }
                _ => {}
            }
        }
        Ok(header)
    }

    /// The keys of one JID. Keys of no readable JID are nobody's.
    fn read_keys(&mut self, reader: &mut Reader<'_>, keys: &Element<'_>) -> Result<()> {
        let Some(jid) = keys.attribute("jid").and_then(|jid| jid::bare(&jid).ok()) else { return Ok(()) };
        self.jid_bytes = self.jid_bytes.saturating_add(jid.as_str().len());
        if self.jid_bytes > limits::MESSAGE_JIDS_BYTES {
            return Err(Error::new(Status::Limit, "The message names too many JIDs."));
        }
        while let Some(child) = reader.child(keys.level())? {
            if child.is(keys.ns(), "key") {
                self.read_key(reader, &child, Some(&jid), Namespace::Omemo2)?;
            }
        }
        Ok(())
    }

    fn read_key(
        &mut self,
        reader: &mut Reader<'_>,
        key: &Element<'_>,
        jid: Option<&BareJid>,
        namespace: Namespace,
    ) -> Result<()> {
        let Some(device) = key.number("rid") else { return Ok(()) };
        if self.keys.len() >= limits::KEYS_PER_MESSAGE {
            return Err(Error::new(Status::Limit, "The message has too many keys."));
        }
        let marked = key.flag(flag(namespace)).unwrap_or_default();
        let bytes = base64::read(reader, key, limits::MESSAGE_KEY_BYTES)?;
        let held = bytes.as_ref().and_then(|bytes| holds_exchange(namespace, bytes));
        // The mark is written in many ways, and wrongly; the bytes tell. Where they are neither, nobody reads them.
        let key_exchange = held.unwrap_or(marked);
        self.keys.push(MessageKey { jid: jid.cloned(), device, key_exchange, bytes });
        Ok(())
    }
}

/// The element. Keys that could not be decoded, and for omemo:2 those without a JID, are left out.
pub fn write(message: &Message) -> String {
    let payload = message.payload.as_deref();
    let bytes = message.keys.iter().filter_map(|key| key.bytes.as_ref()).map(Vec::len).sum::<usize>();
    let bytes = bytes.saturating_add(payload.map_or(0, <[u8]>::len)).saturating_mul(4).div_ceil(3);
    let mut writer = Writer::with_capacity(
        message.keys.len().saturating_mul(64).saturating_add(bytes).saturating_add(256),
    );
    writer.open("encrypted").attribute("xmlns", message.namespace.uri());
    writer.open("header").number("sid", message.sender_device);
    match message.namespace {
        Namespace::Omemo2 => {
            for (jid, keys) in by_jid(&message.keys) {
                writer.open("keys").attribute("jid", jid.as_str());
                for key in keys {
                    write_key(&mut writer, key, message.namespace);
                }
                writer.close("keys");
            }
        }
        Namespace::Legacy => {
            for key in &message.keys {
                write_key(&mut writer, key, message.namespace);
            }
            if let Some(iv) = &message.iv {
                writer.leaf("iv", &base64::write(iv));
            }
        }
    }
    writer.close("header");
    if let Some(payload) = payload {
        writer.leaf("payload", &base64::write(payload));
    }
    writer.close("encrypted");
    writer.finish()
}

fn write_key(writer: &mut Writer, key: &MessageKey, namespace: Namespace) {
    let Some(bytes) = &key.bytes else { return };
    writer.open("key").number("rid", key.device);
    if key.key_exchange {
        writer.attribute(flag(namespace), "true");
    }
    writer.text(&base64::write(bytes)).close("key");
}

/// The keys of each JID together, in the order in which the JIDs first appear.
fn by_jid(keys: &[MessageKey]) -> Vec<(&BareJid, Vec<&MessageKey>)> {
    let mut groups: Vec<(&BareJid, Vec<&MessageKey>)> = Vec::new();
    let mut places: HashMap<&BareJid, usize> = HashMap::new();
    for key in keys.iter().filter(|key| key.bytes.is_some()) {
        let Some(jid) = &key.jid else { continue };
        let place = *places.entry(jid).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(key),
            None => groups.push((jid, vec![key])),
        }
    }
    groups
}
