//! Section 10 of the header, bundles: as structure and as XML.

use super::super::boundary::{args, guard, handles, returns};
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::protocol::bundle::{self, Bundle, PublicPreKey};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::stanza;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// Bundle of a device: the public keys that it publishes, as in `<bundle/>`, so that others can begin sessions with
/// it.
///
/// Most clients need only omemo_bundle_xml, to write the bundle of a publish_bundle request, and answer
/// fetch_bundle with omemo_request_resolve_xml. Clients with a parser of their own build a bundle with
/// omemo_bundle_new and omemo_bundle_append_pre_key. Free a bundle from omemo_bundle_new or omemo_bundle_parse with
/// omemo_bundle_free; a bundle that a callback receives lives until the callback returns.
pub struct omemo_bundle {
    bundle: Bundle,
    /// Identity key and signature as the namespace publishes them, made when somebody asks.
    published: OnceCell<(Vec<u8>, [u8; 64])>,
    xml: OnceCell<CString>,
}

impl omemo_bundle {
    pub(in crate::ffi) fn new(bundle: Bundle) -> omemo_bundle {
        omemo_bundle { bundle, published: OnceCell::new(), xml: OnceCell::new() }
    }

    pub(in crate::ffi) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    fn published(bundle: Option<&omemo_bundle>) -> Option<&(Vec<u8>, [u8; 64])> {
        let omemo_bundle { bundle, published, .. } = bundle?;
        let write = || -> Result<_> { Ok((bundle.published_identity_key()?, bundle.published_signature())) };
        published.get_or_try_init(write).ok()
    }
}

/// A pre key of 32 bytes, or in `OMEMO_NS_LEGACY` in its wire form, which is one byte longer.
///
/// # Safety
/// `key` must be NULL or point to `len` readable bytes, unless `len` is neither 32 nor 33.
unsafe fn pre_key(namespace: Namespace, key: *const u8, len: usize) -> Result<[u8; 32]> {
    // SAFETY: the same promise.
    let key = unsafe { args::bytes(key, len, limits::WIRE_KEY_BYTES) }?;
    bundle::read_pre_key(namespace, key).ok_or(Error::new(Status::Argument, "A pre key has 32 bytes."))
}

/// Creates a bundle from its parts, without pre keys. Nothing is verified before the bundle is used.
///
/// The length of a key says which form it has. A key of 32 bytes has no type byte: identity keys are in Ed25519
/// form, pre keys in Curve25519 form, as everywhere in this header. A key of 33 bytes is in the wire form of
/// OMEMO_NS_LEGACY, as in the XML: the type byte 0x05 and the key in Curve25519 form. That form lacks the sign of
/// an identity key, which is the highest bit of the last byte of the signature.
///
/// Parameters:
/// - ns: the namespace in which the bundle is published.
/// - identity_key: 32 bytes in Ed25519 form, or in OMEMO_NS_LEGACY 33 bytes in wire form.
/// - identity_key_len: 32 or 33.
/// - signed_pre_key_id: id of the signed pre key.
/// - signed_pre_key: 32 bytes in Curve25519 form, or in OMEMO_NS_LEGACY 33 bytes in wire form.
/// - signed_pre_key_len: 32 or 33.
/// - signature: signature of the signed pre key, with or without the sign bit of OMEMO_NS_LEGACY: a sign bit is
///   moved to the identity key.
/// - signature_len: 64.
/// Returns: the bundle; NULL if the namespace is not known, a pointer is NULL, a length or a type byte is wrong, or
///   the identity key is no point of the curve.
/// Memory: free it with omemo_bundle_free.
/// Since: 0.1.0 (XEP-0384 0.3 4.3, 5.3.2)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_bundle_new(
    ns: *const c_char,
    identity_key: *const u8,
    identity_key_len: usize,
    signed_pre_key_id: u32,
    signed_pre_key: *const u8,
    signed_pre_key_len: usize,
    signature: *const u8,
    signature_len: usize,
) -> *mut omemo_bundle {
    guard::call(std::ptr::null_mut(), || {
        let bundle = || {
            // SAFETY: the client gives a C string, and as many bytes as it says, or NULL.
            let (namespace, identity_key, signed_pre_key, mut signature) = unsafe {
                let namespace = args::namespace(ns)?;
                (
                    namespace,
                    args::bytes(identity_key, identity_key_len, limits::WIRE_KEY_BYTES)?,
                    pre_key(namespace, signed_pre_key, signed_pre_key_len)?,
                    args::signature(signature, signature_len)?,
                )
            };
            let identity_key =
                bundle::read_identity(namespace, identity_key, &mut signature).ok_or(Error::new(
                    Status::Argument,
                    "The identity key is no key of this namespace, or no point of the curve.",
                ))?;
            let pre_keys = Vec::new();
            Ok(omemo_bundle::new(Bundle {
                namespace,
                identity_key,
                signed_pre_key_id,
                signed_pre_key,
                signature,
                pre_keys,
            }))
        };
        let made: Result<omemo_bundle> = bundle();
        made.map_or(std::ptr::null_mut(), handles::into_handle)
    })
}

/// Parses a bundle. Pre keys that cannot be read are skipped, and so are those after the first 1,000.
/// Parameters:
/// - xml: `<bundle/>`, alone or in an `<item>` or `<items>`.
/// - len: bytes of xml, without a NUL.
/// - bundle: receives the bundle.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT,
///   OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it with omemo_bundle_free.
/// Since: 0.1.0 (XEP-0384 5.3.2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_bundle_parse(
    xml: *const c_char,
    len: usize,
    bundle: Option<&mut MaybeUninit<*mut omemo_bundle>>,
) -> omemo_status {
    let read = |xml: &[u8]| stanza::bundle::parse(xml, None).map(omemo_bundle::new);
    // SAFETY: the client gives len bytes or NULL.
    guard::status(|| unsafe { handles::parse(xml, len, bundle, read) })
}

/// Adds a pre key to a bundle.
/// Parameters:
/// - id: id of the pre key, which is not in the bundle.
/// - key: 32 bytes in Curve25519 form, or in OMEMO_NS_LEGACY 33 bytes in wire form.
/// - key_len: 32 or 33.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (id, length or type byte), OMEMO_ERR_LIMIT (length, or
///   1,000 pre keys).
/// Since: 0.1.0 (XEP-0384 5.3.2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_bundle_append_pre_key(
    bundle: Option<&mut omemo_bundle>,
    id: u32,
    key: *const u8,
    key_len: usize,
) -> omemo_status {
    guard::status(|| {
        let bundle = args::required(bundle)?;
        // SAFETY: the client gives key_len bytes or NULL.
        let key = unsafe { pre_key(bundle.bundle.namespace, key, key_len) }?;
        if bundle.bundle.pre_keys.len() >= limits::PRE_KEYS_PER_BUNDLE {
            return Err(Status::Limit.into());
        }
        if bundle.bundle.pre_keys.iter().any(|pre_key| pre_key.id == id) {
            return Err(Error::new(Status::Argument, "The bundle already has a pre key with this id."));
        }
        bundle.bundle.pre_keys.push(PublicPreKey { id, key });
        bundle.xml.take();
        Ok(())
    })
}

/// Returns the namespace of a bundle.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_namespace(bundle: Option<&omemo_bundle>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::namespace_or_null(bundle.map(|bundle| bundle.bundle.namespace)))
}

/// Returns the identity key of a bundle in Ed25519 form.
/// Parameters:
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form, in both namespaces; NULL for NULL.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_identity_key(
    bundle: Option<&omemo_bundle>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || bundle.map(|bundle| bundle.bundle.identity_key.as_slice()))
}

/// Returns the identity key of a bundle as in the XML.
/// Parameters:
/// - len: receives 32, in OMEMO_NS_LEGACY 33; may be NULL.
/// Returns: 32 bytes in Ed25519 form, in OMEMO_NS_LEGACY 0x05 and 32 bytes in Curve25519 form; NULL for NULL, and
///   if the key is no point of the curve.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0 (XEP-0384 0.3 4.3, 5.3.2)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_wire_identity_key(
    bundle: Option<&omemo_bundle>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || Some(omemo_bundle::published(bundle)?.0.as_slice()))
}

/// Returns the signature of the signed pre key of a bundle as in the XML.
/// Parameters:
/// - len: receives 64; may be NULL.
/// Returns: 64 bytes, in OMEMO_NS_LEGACY with the sign of the identity key in the highest bit of the last one; NULL
///   for NULL, and if the key is no point of the curve.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0 (XEP-0384 0.3 4.3, 5.3.2)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_wire_signature(
    bundle: Option<&omemo_bundle>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || Some(omemo_bundle::published(bundle)?.1.as_slice()))
}

/// Returns the signed pre key of a bundle.
/// Parameters:
/// - id: receives the id of the signed pre key; may be NULL.
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Curve25519 form; NULL for NULL.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_signed_pre_key(
    bundle: Option<&omemo_bundle>,
    id: Option<&mut MaybeUninit<u32>>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let Some(bundle) = bundle else { return std::ptr::null() };
        if let Some(id) = id {
            id.write(bundle.bundle.signed_pre_key_id);
        }
        returns::give_bytes(Some(&bundle.bundle.signed_pre_key), len)
    })
}

/// Returns the signature of the signed pre key of a bundle, without a sign bit.
/// Parameters:
/// - len: receives 64; may be NULL.
/// Returns: 64 bytes, without the sign bit of OMEMO_NS_LEGACY; NULL for NULL.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_signature(
    bundle: Option<&omemo_bundle>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || bundle.map(|bundle| bundle.bundle.signature.as_slice()))
}

/// Returns the number of pre keys in a bundle.
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_pre_key_count(bundle: Option<&omemo_bundle>) -> usize {
    guard::call(0, || bundle.map_or(0, |bundle| bundle.bundle.pre_keys.len()))
}

/// Returns a pre key of a bundle.
/// Parameters:
/// - index: position of the pre key, from 0.
/// - id: receives the id of the pre key; may be NULL.
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Curve25519 form; NULL if there is no such pre key.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_pre_key(
    bundle: Option<&omemo_bundle>,
    index: usize,
    id: Option<&mut MaybeUninit<u32>>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let pre_key = bundle.and_then(|bundle| bundle.bundle.pre_keys.get(index));
        if let (Some(id), Some(pre_key)) = (id, pre_key) {
            id.write(pre_key.id);
        }
        returns::give_bytes(pre_key.map(|pre_key| pre_key.key.as_slice()), len)
    })
}

/// Returns a bundle as XML.
/// Parameters:
/// - len: receives the number of bytes, without the NUL; may be NULL.
/// Returns: `<bundle/>`; NULL for NULL, and if a key is invalid.
/// Memory: borrowed from bundle until it changes.
/// Since: 0.1.0 (XEP-0384 5.3.2)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_bundle_xml(
    bundle: Option<&omemo_bundle>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let Some(bundle) = bundle else { return std::ptr::null() };
        let write = || stanza::bundle::write(&bundle.bundle).map(|xml| returns::c_string(&xml));
        bundle.xml.get_or_try_init(write).map_or(std::ptr::null(), |xml| returns::give_text(xml, len))
    })
}

/// Frees a bundle from omemo_bundle_new or omemo_bundle_parse; not a bundle that a callback receives.
/// Parameters:
/// - bundle: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_bundle_free(bundle: *mut omemo_bundle) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(bundle) });
}
