//! The chains of the Double Ratchet: the root chain and the symmetric chains it begets.

use super::profile::Profile;
use crate::crypto::kdf;
use crate::error::{Error, Result, Status};
use zeroize::Zeroizing;

/// A secret of 32 bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// KDF_RK: the next root key and a new chain key (Double Ratchet 2.2).
pub fn step_root(profile: &Profile, root: &Secret, agreement: &Secret) -> Result<(Secret, Secret)> {
    let okm = kdf::hkdf::<64>(&**root, &[&**agreement], profile.root_info.as_bytes())?;
    let (mut next, mut chain) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    next.iter_mut().chain(chain.iter_mut()).zip(okm.iter()).for_each(|(out, byte)| *out = *byte);
    Ok((next, chain))
}

/// A sending or receiving chain.
#[derive(Clone)]
pub struct Chain {
    key: Secret,
    length: u32,
}

impl Chain {
    /// A chain of which no message key was taken yet.
    pub fn new(key: Secret) -> Chain {
        Chain { key, length: 0 }
    }

    /// A chain as it was stored.
    pub fn from_stored(key: Secret, length: u32) -> Chain {
        Chain { key, length }
    }

    /// How many message keys were taken: the index of the next one.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The chain key, to be stored.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// KDF_CK: takes the next message key.
    pub fn step(&mut self) -> Result<Secret> {
        let length = self.length.checked_add(1);
        #[cfg(omemo_planted)]
        let length = match length {
            Some(next) if crate::planted::is_planted("counter-of-31-bits") => {
                i32::try_from(next).map(|_| next).ok()
            }
            length => length,
        };
        let length = length.ok_or(Error::new(Status::Limit, "A chain cannot become longer."))?;
        let [message_key, next] = kdf::hmac_pair(&*self.key, &[1], &[2])?;
        (self.key, self.length) = (next, length);
        Ok(message_key)
    }
}
