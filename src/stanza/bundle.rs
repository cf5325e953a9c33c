//! `<bundle/>` (XEP-0384 5.3.2).
//!
//! Reads loosely what does not concern us (order, unknown children, white space) and strictly what does: every key
//! has its exact length. Keys of 33 bytes with a leading 05, which old QXmpp published in omemo:2, are refused: what
//! their signatures cover is not told, and those clients are long updated. Nothing is verified here.

use super::binary;
use super::pep::{self, Found};
use super::writer::Writer;
use super::xml::{Element, Ns, Reader, malformed};
use crate::crypto::convert;
use crate::error::{Error, Result, Status};
use crate::protocol::bundle::{Bundle, PublicPreKey};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;

/// Reads a bundle, alone or in an item, items, event, pubsub, message or iq. Of several items the one of the wanted
/// device counts; in legacy, whose nodes belong to one device, the one with the id `current`, else the last.
pub fn parse(xml: &[u8], wanted: Option<u32>) -> Result<Bundle> {
    match find(xml, None, wanted)? {
        Found::Thing(bundle) => bundle,
        _ => Err(malformed("There is no bundle in it.")),
    }
}

/// Finds a bundle, of one namespace or of any.
pub(super) fn find(xml: &[u8], namespace: Option<Namespace>, wanted: Option<u32>) -> Result<Found<Bundle>> {
    let target = |element: &Element<'_>| {
        let Ns::Omemo(found) = element.ns() else { return None };
        (element.name() == "bundle" && namespace.is_none_or(|wanted| wanted == found)).then_some(found)
    };
    pep::find(xml, wanted, target, read)
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

fn read(reader: &mut Reader<'_>, bundle: &Element<'_>, namespace: Namespace) -> Result<Bundle> {
    let (names, ns) = (names(namespace), Ns::Omemo(namespace));
    let (mut signed_pre_key, mut signature, mut identity_key) = (None, None, None);
    let mut pre_keys = Vec::new();
    while let Some(child) = reader.child(bundle.level())? {
        if child.ns() != ns {
            continue;
        }
        match child.name() {
            name if name == names.signed_pre_key => {
                let id = child.number(names.signed_pre_key_id);
                let id = id.ok_or_else(|| malformed("The signed pre key of a bundle has no id."))?;
                signed_pre_key = Some((id, read_key(reader, &child, namespace)?));
            }
            name if name == names.signature => {
                signature = Some(binary::read_array::<64>(reader, &child)?.ok_or_else(bad_key)?)
            }
            name if name == names.identity_key => identity_key = Some(read_key(reader, &child, namespace)?),
            "prekeys" => read_pre_keys(reader, &child, namespace, &mut pre_keys)?,
            _ => {}
        }
    }
    let (signed_pre_key_id, signed_pre_key) =
        signed_pre_key.ok_or_else(|| malformed("The bundle has no signed pre key."))?;
    let mut signature = signature.ok_or_else(|| malformed("The bundle has no signature."))?;
    let mut identity_key = identity_key.ok_or_else(|| malformed("The bundle has no identity key."))?;
    if namespace == Namespace::Legacy {
        let sign = take_sign(&mut signature);
        identity_key = to_edwards(identity_key, sign)
            .ok_or_else(|| malformed("The identity key of a bundle is no point of the curve."))?;
    }
    Ok(Bundle { namespace, identity_key, signed_pre_key_id, signed_pre_key, signature, pre_keys })
}

fn read_pre_keys(
    reader: &mut Reader<'_>,
    element: &Element<'_>,
    namespace: Namespace,
    pre_keys: &mut Vec<PublicPreKey>,
) -> Result<()> {
    let names = names(namespace);
    while let Some(child) = reader.child(element.level())? {
        if !child.is(Ns::Omemo(namespace), names.pre_key) {
            continue;
        }
        if pre_keys.len() >= limits::PRE_KEYS_PER_BUNDLE {
            return Err(Error::new(Status::Limit, "The bundle has too many pre keys."));
        }
        let id =
            child.number(names.pre_key_id).ok_or_else(|| malformed("A pre key of a bundle has no id."))?;
        let key = read_key(reader, &child, namespace)?;
        // Which of two keys with one id is meant cannot be told; the first is as good as the second.
        if pre_keys.iter().all(|other| other.id != id) {
            pre_keys.push(PublicPreKey { id, key });
        }
    }
    Ok(())
}

fn read_key(reader: &mut Reader<'_>, element: &Element<'_>, namespace: Namespace) -> Result<[u8; 32]> {
    match namespace {
        Namespace::Omemo2 => binary::read_array::<32>(reader, element)?,
        Namespace::Legacy => binary::read_array::<33>(reader, element)?
            .and_then(|key| key.strip_prefix(&[LEGACY_KEY_TYPE]).and_then(|key| key.try_into().ok())),
    }
    .ok_or_else(bad_key)
}

/// What legacy puts before every public key.
const LEGACY_KEY_TYPE: u8 = 5;

fn bad_key() -> Error {
    malformed("A key or the signature of a bundle is no base64, or has the wrong length.")
}

/// Legacy publishes identity keys in Curve25519 form, and the sign that they lose thereby in a bit of the signature
/// that Ed25519 never sets.
fn take_sign(signature: &mut [u8; 64]) -> u8 {
    let [.., last] = signature;
    let sign = *last >> 7;
    *last &= 0x7f;
    sign
}

fn put_sign(signature: &mut [u8; 64], identity_key: &[u8; 32]) {
    let ([.., last], [.., top]) = (signature, identity_key);
    *last |= top & 0x80;
}

fn to_edwards(key: [u8; 32], sign: u8) -> Option<[u8; 32]> {
    convert::mont_to_ed(&key, sign != 0)
}

fn to_montgomery(key: [u8; 32]) -> Option<[u8; 32]> {
    convert::ed_to_mont(&key)
}

/// The element. Fails if an identity key that is to be published in legacy is no point of the curve.
pub fn write(bundle: &Bundle) -> Result<String> {
    let names = names(bundle.namespace);
    let (mut signature, mut identity_key) = (bundle.signature, bundle.identity_key);
    if bundle.namespace == Namespace::Legacy {
        put_sign(&mut signature, &identity_key);
        identity_key = to_montgomery(identity_key).ok_or_else(|| {
            Error::new(Status::Argument, "The identity key of a bundle is no point of the curve.")
        })?;
    }
    let mut writer = Writer::with_capacity(bundle.pre_keys.len().saturating_mul(96).saturating_add(512));
    writer.open("bundle").attribute("xmlns", bundle.namespace.uri());
    writer.open(names.signed_pre_key).number(names.signed_pre_key_id, bundle.signed_pre_key_id);
    writer.text(&write_key(&bundle.signed_pre_key, bundle.namespace)).close(names.signed_pre_key);
    writer.leaf(names.signature, &binary::write(&signature));
    writer.leaf(names.identity_key, &write_key(&identity_key, bundle.namespace));
    writer.open("prekeys");
    for pre_key in &bundle.pre_keys {
        writer.open(names.pre_key).number(names.pre_key_id, pre_key.id);
        writer.text(&write_key(&pre_key.key, bundle.namespace)).close(names.pre_key);
    }
    writer.close("prekeys").close("bundle");
    Ok(writer.finish())
}

fn write_key(key: &[u8; 32], namespace: Namespace) -> String {
    match namespace {
        Namespace::Omemo2 => binary::write(key),
        Namespace::Legacy => {
            let mut bytes = vec![LEGACY_KEY_TYPE];
            bytes.extend_from_slice(key);
            binary::write(&bytes)
        }
    }
}
