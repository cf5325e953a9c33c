//! Key derivation: HKDF and HMAC with SHA-256.

use crate::error::{Error, Result, Status};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HKDF (RFC 5869); an empty salt stands for 32 zero bytes. `N` is at most 8,160.
pub fn hkdf<const N: usize>(salt: &[u8], ikm: &[&[u8]], info: &[u8]) -> Result<Zeroizing<[u8; N]>> {
    let mut extract = hkdf::HkdfExtract::<Sha256>::new((!salt.is_empty()).then_some(salt));
    for part in ikm {
        extract.input_ikm(part);
    }
    let (_, kdf): (_, Hkdf<Sha256>) = extract.finalize();
    let mut out = Zeroizing::new([0; N]);
    kdf.expand(info, &mut *out)
        .map_err(|_| Error::new(Status::Internal, "HKDF cannot derive this many bytes."))?;
    Ok(out)
}

/// HMAC (RFC 2104) over the parts of a message.
pub fn hmac(key: &[u8], message: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>> {
    let mut mac = keyed(key)?;
    for part in message {
        mac.update(part);
    }
    Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
}

/// Two HMACs under one key, which is set up once.
pub fn hmac_pair(key: &[u8], first: &[u8], second: &[u8]) -> Result<[Zeroizing<[u8; 32]>; 2]> {
    let mut a = keyed(key)?;
    let mut b = a.clone();
    a.update(first);
    b.update(second);
    Ok([Zeroizing::new(a.finalize().into_bytes().into()), Zeroizing::new(b.finalize().into_bytes().into())])
}

fn keyed(key: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::from(Status::Internal))
}
