//! Authenticated encryption: AES-256-CBC with a truncated HMAC-SHA-256, AES-128-GCM, and AES-256-GCM.

use super::kdf;
use crate::error::{Error, Result, Status};
use aes::{Aes128, Aes256};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::cipher::consts::{U12, U16};
use aes_gcm::{AesGcm, Nonce};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of the tag of AES-GCM.
pub const GCM_TAG: usize = 16;

/// AES-256-CBC with PKCS#7 padding.
pub fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], plaintext: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_padded_vec::<Pkcs7>(plaintext)
}

/// The reverse of [`cbc_encrypt`]. Unpadding tells an enemy something about the plaintext: only for what was
/// authenticated before.
pub fn cbc_decrypt(key: &[u8; 32], iv: &[u8; 16], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    cbc::Decryptor::<Aes256>::new(key.into(), iv.into())
        .decrypt_padded_vec::<Pkcs7>(ciphertext)
        .map(Zeroizing::new)
        .map_err(|_| Error::new(Status::DecryptionFailed, "The padding is wrong."))
}

/// The three keys that one message key is stretched to.
pub struct CbcHmacKeys {
    encryption: Zeroizing<[u8; 32]>,
    authentication: Zeroizing<[u8; 32]>,
    iv: [u8; 16],
}

impl CbcHmacKeys {
    /// Derives them (wire: HKDF with a salt of 32 zero bytes, 80 bytes).
    pub fn derive(key: &[u8], info: &[u8]) -> Result<CbcHmacKeys> {
        let okm = kdf::hkdf::<80>(&[], &[key], info)?;
        let mut keys = CbcHmacKeys {
            encryption: Zeroizing::new([0; 32]),
            authentication: Zeroizing::new([0; 32]),
            iv: [0; 16],
        };
        let parts =
            keys.encryption.iter_mut().chain(keys.authentication.iter_mut()).chain(keys.iv.iter_mut());
        parts.zip(okm.iter()).for_each(|(out, byte)| *out = *byte);
        Ok(keys)
    }

    /// Encrypts.
    pub fn encrypt(&self, plaintext: &[u8]) -> Vec<u8> {
        cbc_encrypt(&self.encryption, &self.iv, plaintext)
    }

    /// The first `N` bytes of the HMAC over the parts.
    pub fn mac<const N: usize>(&self, message: &[&[u8]]) -> Result<[u8; N]> {
        let full = kdf::hmac(&*self.authentication, message)?;
        let mut mac = [0; N];
        mac.iter_mut().zip(full.iter()).for_each(|(out, byte)| *out = *byte);
        Ok(mac)
    }

    /// Checks a MAC of `N` bytes in constant time.
    pub fn verify<const N: usize>(&self, message: &[&[u8]], mac: &[u8]) -> Result<()> {
        let expected = self.mac::<N>(message)?;
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("mac-prefix-compared") {
            let same = expected.starts_with(mac.get(..1).unwrap_or_default());
            return same.then_some(()).ok_or(Status::DecryptionFailed.into());
        }
        if bool::from(expected.ct_eq(mac)) { Ok(()) } else { Err(Status::DecryptionFailed.into()) }
    }

    /// Decrypts what `verify` has let pass.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        cbc_decrypt(&self.encryption, &self.iv, ciphertext)
    }
}

/// AES-128-GCM with an IV of 12 bytes: the ciphertext and its tag.
pub fn gcm_encrypt(key: &[u8; 16], iv: &[u8; 12], plaintext: &[u8]) -> Result<(Vec<u8>, [u8; GCM_TAG])> {
    let mut buffer = plaintext.to_vec();
    let cipher = AesGcm::<Aes128, U12>::new(key.into());
    let tag = cipher
        .encrypt_inout_detached(&Nonce::<U12>::from(*iv), &[], buffer.as_mut_slice().into())
        .map_err(|_| Error::from(Status::Limit))?;
    Ok((buffer, tag.into()))
}

/// The reverse, with an IV of 12 bytes, or of 16 as old clients send.
pub fn gcm_decrypt(
    key: &[u8; 16],
    iv: &[u8],
    ciphertext: &[u8],
    tag: &[u8; GCM_TAG],
) -> Result<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let (data, tag) = (buffer.as_mut_slice().into(), (*tag).into());
    let opened = if let Ok(iv) = <[u8; 12]>::try_from(iv) {
        AesGcm::<Aes128, U12>::new(key.into()).decrypt_inout_detached(&iv.into(), &[], data, &tag)
    } else if let Ok(iv) = <[u8; 16]>::try_from(iv) {
        AesGcm::<Aes128, U16>::new(key.into()).decrypt_inout_detached(&iv.into(), &[], data, &tag)
    } else {
        return Err(Error::new(Status::Malformed, "The IV has neither 12 nor 16 bytes."));
    };
    opened.map_err(|_| Error::from(Status::DecryptionFailed))?;
    Ok(buffer)
}

/// AES-256-GCM with an IV of 12 bytes and associated data: the ciphertext, and its tag behind it.
pub fn gcm256_encrypt(key: &[u8; 32], iv: &[u8; 12], data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(GCM_TAG));
    buffer.extend_from_slice(plaintext);
    let cipher = AesGcm::<Aes256, U12>::new(key.into());
    let tag = cipher
        .encrypt_inout_detached(&Nonce::<U12>::from(*iv), data, buffer.as_mut_slice().into())
        .map_err(|_| Error::from(Status::Limit))?;
    buffer.extend_from_slice(&tag);
    Ok(buffer)
}

/// The reverse of [`gcm256_encrypt`].
pub fn gcm256_decrypt(
    key: &[u8; 32],
    iv: &[u8; 12],
    data: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let (text, tag) =
        ciphertext.split_last_chunk::<GCM_TAG>().ok_or(Error::from(Status::DecryptionFailed))?;
    let mut buffer = Zeroizing::new(text.to_vec());
    AesGcm::<Aes256, U12>::new(key.into())
        .decrypt_inout_detached(&(*iv).into(), data, buffer.as_mut_slice().into(), &(*tag).into())
        .map_err(|_| Error::from(Status::DecryptionFailed))?;
    Ok(buffer)
}
