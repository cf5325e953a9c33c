//! The payload of a message, and the key that travels through the ratchets to every device.

use super::namespace::Namespace;
use super::profile::PayloadCipher;
use crate::crypto::aead::{self, CbcHmacKeys, GCM_TAG};
use crate::crypto::rng::{Rng, draw};
use crate::crypto::silent::silent;
use crate::error::{Error, Result, Status};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of the truncated HMAC of an omemo:2 payload.
const HMAC_TAG: usize = 16;
/// Bytes of the IV that is written.
const IV: usize = 12;

/// An encrypted payload, or just its key.
pub struct EncryptedPayload {
    /// What stands in the message; `None` if it transports the key alone.
    pub payload: Option<Vec<u8>>,
    /// The IV beside it, where the namespace has one.
    pub iv: Option<Vec<u8>>,
    /// Key and tag, to be encrypted for each device.
    pub key: Zeroizing<Vec<u8>>,
}

/// The key of a message in its parts, as the other side's client gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyParts {
    /// The key itself.
    pub key: Zeroizing<Vec<u8>>,
    /// What authenticates the payload, if that came with the key.
    pub tag: Option<Zeroizing<Vec<u8>>>,
    /// What stood in the message as its IV.
    pub iv: Option<Vec<u8>>,
}

silent! { KeyParts }

/// Encrypts a plaintext under a fresh key. An empty one is refused: in the legacy namespace it could not be told from
/// a key transport.
pub fn encrypt(namespace: Namespace, plaintext: &[u8], rng: &mut dyn Rng) -> Result<EncryptedPayload> {
    if plaintext.is_empty() {
        return Err(Status::Plaintext.into());
    }
    match namespace.profile().payload {
        PayloadCipher::CbcHmac { info } => {
            let key = draw::<32>(rng)?;
            let keys = CbcHmacKeys::derive(&*key, info.as_bytes())?;
            let payload = keys.encrypt(plaintext);
            let tag = keys.mac::<HMAC_TAG>(&[&payload])?;
            let key = Zeroizing::new([key.as_slice(), &tag].concat());
            Ok(EncryptedPayload { payload: Some(payload), iv: None, key })
        }
        PayloadCipher::Gcm => {
            let (key, iv) = (draw::<16>(rng)?, draw::<IV>(rng)?);
            let (payload, tag) = aead::gcm_encrypt(&key, &iv, plaintext)?;
            let key = Zeroizing::new([key.as_slice(), &tag].concat());
            Ok(EncryptedPayload { payload: Some(payload), iv: Some(iv.to_vec()), key })
        }
    }
}

/// What travels through the ratchets in a message without payload.
pub fn empty_key(namespace: Namespace, rng: &mut dyn Rng) -> Result<Zeroizing<Vec<u8>>> {
    Ok(match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => Zeroizing::new(vec![0; 32]),
        PayloadCipher::Gcm => Zeroizing::new(draw::<16>(rng)?.to_vec()),
    })
}

/// What stands as IV in a message without payload: some clients drop a legacy message that has none.
pub fn empty_iv(namespace: Namespace, rng: &mut dyn Rng) -> Result<Option<Vec<u8>>> {
    Ok(match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => None,
        PayloadCipher::Gcm => Some(draw::<IV>(rng)?.to_vec()),
    })
}

/// How long that is.
pub fn empty_iv_bytes(namespace: Namespace) -> usize {
    match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => 0,
        PayloadCipher::Gcm => IV,
    }
}

/// A fresh key that travels for its own sake. It goes without a tag: there is nothing that a tag could be of, and
/// clients that take all that they get for the key get the key.
pub fn key_transport(namespace: Namespace, rng: &mut dyn Rng) -> Result<EncryptedPayload> {
    check_transport(namespace)?;
    Ok(EncryptedPayload { payload: None, key: empty_key(namespace, rng)?, iv: empty_iv(namespace, rng)? })
}

/// Whether a namespace knows key transport.
pub fn check_transport(namespace: Namespace) -> Result<()> {
    if namespace.profile().key_transport {
        Ok(())
    } else {
        Err(Error::new(Status::Plaintext, "This namespace has no key transport."))
    }
}

/// Takes apart what came through the ratchet. `None`: it is no key, as in the empty messages of omemo:2, and in what is
/// too short for one.
pub fn key_parts(namespace: Namespace, key: &[u8], iv: Option<&[u8]>) -> Option<KeyParts> {
    let ((key, tag), tag_bytes) = match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => (key.split_at_checked(32)?, HMAC_TAG),
        PayloadCipher::Gcm => (key.split_at_checked(16)?, GCM_TAG),
    };
    if !namespace.profile().key_transport && tag.is_empty() && bool::from(key.ct_eq(&[0; 32])) {
        return None;
    }
    let tag = (tag.len() == tag_bytes).then(|| Zeroizing::new(tag.to_vec()));
    let iv = iv.filter(|iv| !iv.is_empty()).map(<[u8]>::to_vec);
    Some(KeyParts { key: Zeroizing::new(key.to_vec()), tag, iv })
}

/// Whether the tag of a payload stands in it, and not with the key: what old clients do.
pub fn is_tag_in_payload(namespace: Namespace, key: &[u8]) -> bool {
    match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => false,
        PayloadCipher::Gcm => key.len() == 16,
    }
}

/// Decrypts a payload with what came through the ratchet.
pub fn decrypt(
    namespace: Namespace,
    key: &[u8],
    payload: &[u8],
    iv: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>> {
    match namespace.profile().payload {
        PayloadCipher::CbcHmac { info } => {
            let (key, tag) = split::<32>(key)?;
            if tag.len() != HMAC_TAG {
                return Err(wrong_length());
            }
            let keys = CbcHmacKeys::derive(key, info.as_bytes())?;
            keys.verify::<HMAC_TAG>(&[payload], tag)?;
            keys.decrypt(payload)
        }
        PayloadCipher::Gcm => {
            let (key, tag) = split::<16>(key)?;
            let iv = iv.ok_or(Error::new(Status::Malformed, "The IV of a payload is missing."))?;
            // Old senders put the tag at the end of the payload, where it is authentic all the same.
            let (ciphertext, tag) = if tag.is_empty() {
                let split = payload.len().checked_sub(GCM_TAG);
                split.and_then(|split| payload.split_at_checked(split)).ok_or_else(wrong_length)?
            } else {
                (payload, tag)
            };
            let tag = tag.try_into().map_err(|_| wrong_length())?;
            aead::gcm_decrypt(key, iv, ciphertext, tag)
        }
    }
}

fn split<const N: usize>(key: &[u8]) -> Result<(&[u8; N], &[u8])> {
    key.split_first_chunk::<N>().ok_or_else(wrong_length)
}

fn wrong_length() -> Error {
    Error::new(Status::Malformed, "The key of a payload has the wrong length.")
}
