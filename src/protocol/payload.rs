//! The payload of a message, and the key that travels through the ratchets to every device.

use super::namespace::Namespace;
use super::profile::PayloadCipher;
use crate::crypto::aead::{self, CbcHmacKeys, GCM_TAG};
use crate::crypto::rng::{Rng, draw};
use crate::error::{Error, Result, Status};
use zeroize::Zeroizing;

/// Bytes of the truncated HMAC of an omemo:2 payload.
const HMAC_TAG: usize = 16;

/// An encrypted payload.
pub struct Sealed {
    /// What stands in the message.
    pub payload: Vec<u8>,
    /// The IV beside it, where the namespace has one.
    pub iv: Option<Vec<u8>>,
    /// Key and tag, to be encrypted for each device.
    pub key: Zeroizing<Vec<u8>>,
}

/// Encrypts a plaintext under a fresh key.
pub fn encrypt(namespace: Namespace, plaintext: &[u8], rng: &mut dyn Rng) -> Result<Sealed> {
    match namespace.profile().payload {
        PayloadCipher::CbcHmac { info } => {
            let key = draw::<32>(rng)?;
            let keys = CbcHmacKeys::derive(&*key, info.as_bytes())?;
            let payload = keys.encrypt(plaintext);
            let tag = keys.mac::<HMAC_TAG>(&[&payload])?;
            Ok(Sealed { payload, iv: None, key: Zeroizing::new([key.as_slice(), &tag].concat()) })
        }
        PayloadCipher::Gcm => {
            let (key, iv) = (draw::<16>(rng)?, draw::<12>(rng)?);
            let (payload, tag) = aead::gcm_encrypt(&key, &iv, plaintext)?;
            Ok(Sealed {
                payload,
                iv: Some(iv.to_vec()),
                key: Zeroizing::new([key.as_slice(), &tag].concat()),
            })
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

/// The IV beside the keys of a message without payload: legacy readers want one, though nothing is encrypted with it.
pub fn empty_iv(namespace: Namespace, rng: &mut dyn Rng) -> Result<Option<Vec<u8>>> {
    Ok(match namespace.profile().payload {
        PayloadCipher::CbcHmac { .. } => None,
        PayloadCipher::Gcm => Some(draw::<12>(rng)?.to_vec()),
    })
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
            let (ciphertext, tag) = match tag.is_empty() {
                true => {
                    let split = payload.len().checked_sub(GCM_TAG);
                    split.and_then(|split| payload.split_at_checked(split)).ok_or_else(wrong_length)?
                }
                false => (payload, tag),
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
