//! `<bundle/>` (XEP-0384 5.3.2).
//!
//! Reads loosely what does not concern us (order, unknown children, white space, single pre keys that cannot be read) and
//! strictly what does: every key has its exact length. Keys of 33 bytes with a leading 05, which old QXmpp published in omemo:2, are refused: what
//! their signatures cover is not told, and those clients are long updated. Nothing is verified here.

use super::base64;
use super::pep::{self, Found, Query};
use super::xml::writer::Writer;
use super::xml::{Element, Ns, Reader, malformed};
use crate::error::{Error, Result};
use crate::protocol::bundle::{self, Bundle, PublicPreKey};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use std::collections::HashSet;

/// Reads a bundle, alone or in an item, items, event, pubsub, message or iq. Of several items the one of the wanted
/// device counts; in legacy, whose nodes belong to one device, the one with the id `current`, else the last.
pub fn parse(xml: &[u8], wanted: Option<u32>) -> Result<Bundle> {
    match find(xml, None, &Query { wanted, ..Query::any() })? {
        Found::Thing(bundle) => bundle,
        _ => Err(malformed("There is no bundle in it.")),
    }
}

/// Finds a bundle, of one namespace or of any.
pub(super) fn find(
    xml: &[u8],
    namespace: Option<Namespace>,
    query: &Query<'_, Bundle>,
) -> Result<Found<Bundle>> {
    let target = |element: &Element<'_>| {
        let Ns::Omemo(found) = element.ns() else { return None };
        (element.name() == "bundle" && namespace.is_none_or(|wanted| wanted == found)).then_some(found)
    };
    pep::find(xml, query, target, read)
}

/// How the two namespaces name the same things.
struct Names {
    signed_pre_key: &'static str,
    signed_pre_key_id: &'static str,
    signature: &'static str,
    identity_key: &'static str,
    pre_key: &'static str,
    pre_key_id: &'static str,
}

const OMEMO2: Names = Names {
    signed_pre_key: "spk",
    signed_pre_key_id: "id",
    signature: "spks",
    identity_key: "ik",
    pre_key: "pk",
    pre_key_id: "id",
};

const LEGACY: Names = Names {
    signed_pre_key: "signedPreKeyPublic",
    signed_pre_key_id: "signedPreKeyId",
    signature: "signedPreKeySignature",
    identity_key: "identityKey",
    pre_key: "preKeyPublic",
    pre_key_id: "preKeyId",
};

fn names(namespace: Namespace) -> &'static Names {
    match namespace {
        Namespace::Omemo2 => &OMEMO2,
        Namespace::Legacy => &LEGACY,
    }
}

/// Whether a child belongs to the bundle. Some writers give a prefix to the bundle and none to its children, which
/// leaves these in no namespace, or in that of the stanza; keys that do not belong together do not verify.
fn is_part(child: &Element<'_>, namespace: Namespace) -> bool {
    child.ns() == Ns::Omemo(namespace) || child.is_unqualified()
}

fn read(reader: &mut Reader<'_>, element: &Element<'_>, namespace: Namespace) -> Result<Bundle> {
    let names = names(namespace);
    let (mut signed_pre_key, mut signature, mut identity_key) = (None, None, None);
    let mut pre_keys = PreKeys::default();
    while let Some(child) = reader.child(element.level())? {
        if !is_part(&child, namespace) {
            continue;
        }
        match child.name() {
            name if name == names.signed_pre_key => {
                let id = child.number(names.signed_pre_key_id);
                let id = id.ok_or_else(|| malformed("The signed pre key of a bundle has no id."))?;
                signed_pre_key = Some((id, read_key(reader, &child, namespace)?.ok_or_else(bad_key)?));
            }
            name if name == names.signature => {
                signature = Some(base64::read_array::<64>(reader, &child)?.ok_or_else(bad_key)?)
            }
            name if name == names.identity_key => {
                let key = base64::read(reader, &child, limits::MESSAGE_KEY_BYTES)?;
                let expected = bundle::published_key(namespace, &[0; 32]).len();
                identity_key = Some(key.filter(|key| key.len() == expected).ok_or_else(bad_key)?)
            }
            "prekeys" => pre_keys.read(reader, &child, namespace)?,
            _ => {}
        }
    }
    let (signed_pre_key_id, signed_pre_key) =
        signed_pre_key.ok_or_else(|| malformed("The bundle has no signed pre key."))?;
    let mut signature = signature.ok_or_else(|| malformed("The bundle has no signature."))?;
    let identity_key = identity_key.ok_or_else(|| malformed("The bundle has no identity key."))?;
    let identity_key = bundle::read_identity(namespace, &identity_key, &mut signature)
        .ok_or_else(|| malformed("The identity key of a bundle is no key, or no point of the curve."))?;
    if pre_keys.keys.is_empty() && pre_keys.unreadable {
        return Err(malformed("No pre key of the bundle can be read."));
    }
    let pre_keys = pre_keys.keys;
    Ok(Bundle { namespace, identity_key, signed_pre_key_id, signed_pre_key, signature, pre_keys })
}

/// The pre keys that can be read, up to the limit: any of them will do, so the others are passed over.
#[derive(Default)]
struct PreKeys {
    keys: Vec<PublicPreKey>,
    ids: HashSet<u32>,
    unreadable: bool,
}

impl PreKeys {
    fn read(&mut self, reader: &mut Reader<'_>, element: &Element<'_>, namespace: Namespace) -> Result<()> {
        let names = names(namespace);
        while self.keys.len() < limits::PRE_KEYS_PER_BUNDLE {
            let Some(child) = reader.child(element.level())? else { break };
            if child.name() != names.pre_key || !is_part(&child, namespace) {
                continue;
            }
            // Too much base64 is one more key that cannot be read. XML that cannot be read fails again at the next child.
            let key = read_key(reader, &child, namespace).ok().flatten();
            let (Some(id), Some(key)) = (child.number(names.pre_key_id), key) else {
                self.unreadable = true;
                continue;
            };
            // Which of two keys with one id is meant cannot be told; the first is as good as the second.
            if self.ids.insert(id) {
                self.keys.push(PublicPreKey { id, key });
            }
        }
        Ok(())
    }
}

/// A Curve25519 key; `None` if it cannot be read.
fn read_key(
    reader: &mut Reader<'_>,
    element: &Element<'_>,
    namespace: Namespace,
) -> Result<Option<[u8; 32]>> {
    let bytes = base64::read(reader, element, limits::MESSAGE_KEY_BYTES)?;
    Ok(bytes.and_then(|bytes| bundle::read_published_key(namespace, &bytes)))
}

fn bad_key() -> Error {
    malformed("A key or the signature of a bundle is no base64, or has the wrong length.")
}

/// The element. Fails if an identity key that is to be published in legacy is no point of the curve.
pub fn write(bundle: &Bundle) -> Result<String> {
    let names = names(bundle.namespace);
    let identity_key = bundle.published_identity_key()?;
    let mut writer = Writer::with_capacity(bundle.pre_keys.len().saturating_mul(96).saturating_add(512));
    writer.open("bundle").attribute("xmlns", bundle.namespace.uri());
    writer.open(names.signed_pre_key).number(names.signed_pre_key_id, bundle.signed_pre_key_id);
    writer.text(&write_key(&bundle.signed_pre_key, bundle.namespace)).close(names.signed_pre_key);
    writer.leaf(names.signature, &base64::write(&bundle.published_signature()));
    writer.leaf(names.identity_key, &base64::write(&identity_key));
    writer.open("prekeys");
    for pre_key in &bundle.pre_keys {
        writer.open(names.pre_key).number(names.pre_key_id, pre_key.id);
        writer.text(&write_key(&pre_key.key, bundle.namespace)).close(names.pre_key);
    }
    writer.close("prekeys").close("bundle");
    Ok(writer.finish())
}

fn write_key(key: &[u8; 32], namespace: Namespace) -> String {
    base64::write(&bundle::published_key(namespace, key))
}
