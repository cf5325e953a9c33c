//! A store that encrypts what another store keeps: values, and the names under which they lie.
//!
//! It hides what is stored, and notices when a value was changed, cut or put under another name. It does not hide how
//! many records there are, how long they are and which of them change, and it cannot notice that a value was replaced by
//! an older one of the same name, or that a record was removed.

pub use super::seal::Secret;
use super::seal::{self, Wrapping};
use super::{Batch, Storage};
use crate::crypto::kdf;
use crate::crypto::rng::{Rng, draw};
use crate::error::{Error, Result, Status};
use parking_lot::Mutex;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The seal, in the store below: that it is there says that the store is sealed.
pub const SEAL: &str = "v1/sealed";
/// Which data key the store has, without telling it: that the seal has vanished, or is another store's, is noticed.
pub const SEAL_ID: &str = "v1/sealed/id";
/// How the names of sealed records begin, in the store below.
pub const HIDDEN: &str = "s1/";
/// How much longer a sealed value is.
pub const OVERHEAD: usize = 1 + SALT + crate::crypto::aead::GCM_TAG;

/// Bytes of a value that the store below must take.
const VALUE_BYTES: usize = 1024 * 1024;
const VERSION: u8 = 1;
/// Random bytes of each value, from which with the data key its own key follows: as many as never come twice.
const SALT: usize = 24;
const NAMES: &[u8] = b"omemo sealed store: names";
const VALUES: &[u8] = b"omemo sealed store: values";
const VALUE: &[u8] = b"omemo sealed store: value";
const ID: &[u8] = b"omemo sealed store: id";

/// See the module.
pub struct SealedStorage {
    inner: Arc<dyn Storage>,
    rng: Mutex<Box<dyn Rng>>,
    data_key: Zeroizing<[u8; 32]>,
    names: Zeroizing<[u8; 32]>,
    values: Zeroizing<[u8; 32]>,
    /// Held while the seal is replaced.
    sealing: Mutex<()>,
}

impl SealedStorage {
    /// Opens a store that is sealed; `None`: it is not.
    pub fn open(
        inner: Arc<dyn Storage>,
        secret: &Secret,
        rng: Box<dyn Rng>,
    ) -> Result<Option<SealedStorage>> {
        let missing = |what| Error::new(Status::StorageCorrupt, what);
        let (seal, id) = match (inner.load(SEAL)?, inner.load(SEAL_ID)?) {
            (Some(seal), Some(id)) => (seal, id),
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(missing("The seal of the store is missing.")),
            (Some(_), None) => return Err(missing("The id of the store's seal is missing.")),
        };
        let sealed = SealedStorage::new(inner, seal::unwrap(&seal, secret)?, rng)?;
        if bool::from(sealed.id()?.ct_eq(&id)) {
            Ok(Some(sealed))
        } else {
            Err(missing("The seal of the store is that of another store."))
        }
    }

    /// Seals a store that is empty, which is for the caller to know.
    pub fn create(inner: Arc<dyn Storage>, secret: &Secret, mut rng: Box<dyn Rng>) -> Result<SealedStorage> {
        let data_key = draw(&mut *rng)?;
        let seal = seal::wrap(&data_key, secret, &mut *rng)?;
        let sealed = SealedStorage::new(inner, data_key, rng)?;
        let mut batch = Batch::default();
        batch.put(SEAL, seal);
        batch.put(SEAL_ID, sealed.id()?.to_vec());
        sealed.inner.commit(batch)?;
        Ok(sealed)
    }

    fn new(
        inner: Arc<dyn Storage>,
        data_key: Zeroizing<[u8; 32]>,
        rng: Box<dyn Rng>,
    ) -> Result<SealedStorage> {
        let names = kdf::hkdf(&[], &[&*data_key], NAMES)?;
        let values = kdf::hkdf(&[], &[&*data_key], VALUES)?;
        let (rng, sealing) = (Mutex::new(rng), Mutex::default());
        Ok(SealedStorage { inner, rng, data_key, names, values, sealing })
    }

    fn id(&self) -> Result<Zeroizing<[u8; 16]>> {
        kdf::hkdf(&[], &[&*self.data_key], ID)
    }

    /// Seals the same data key with something else, in one commit of one record. If that fails, either the one or the
    /// other opens the store: only the store below knows which.
    pub fn rekey(&self, secret: &Secret) -> Result<()> {
        let _one_at_a_time = self.sealing.lock();
        let mut salts = Drawn(draw::<32>(&mut **self.rng.lock())?);
        let mut batch = Batch::default();
        batch.put(SEAL, seal::wrap(&self.data_key, secret, &mut salts)?);
        self.inner.commit(batch)
    }

    /// Returns where the store below keeps a record.
    fn hidden(&self, name: &str) -> Result<String> {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        let mac = kdf::hmac(&*self.names, &[name.as_bytes()])?;
        Ok(HIDDEN.chars().chain(mac.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])).collect())
    }

    fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        if value.len() > VALUE_BYTES.saturating_sub(OVERHEAD) {
            return Err(Error::new(Status::Limit, "A value is too long to be sealed."));
        }
        let salt = draw::<SALT>(&mut **self.rng.lock())?;
        let sealed = Wrapping::derive(&*salt, &self.values, VALUE)?.encrypt(name.as_bytes(), value)?;
        Ok(std::iter::once(VERSION).chain(*salt).chain(sealed).collect())
    }

    fn unseal(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let corrupt = || {
            Error::new(Status::StorageCorrupt, "A sealed record was changed, cut, or put in another's place.")
        };
        let sealed = match sealed.split_first() {
            Some((&VERSION, sealed)) => sealed,
            _ => return Err(corrupt()),
        };
        let (salt, sealed) = sealed.split_first_chunk::<SALT>().ok_or_else(corrupt)?;
        Wrapping::derive(salt, &self.values, VALUE)?.decrypt(name.as_bytes(), sealed).map_err(|_| corrupt())
    }
}

impl Storage for SealedStorage {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let sealed = self.inner.load(&self.hidden(key)?)?;
        sealed.map(|sealed| self.unseal(key, &sealed)).transpose()
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let mut sealed = Batch::default();
        for (key, value) in batch.changes() {
            match value {
                Some(value) => sealed.put(self.hidden(key)?, self.seal(key, value)?),
                None => sealed.delete(self.hidden(key)?),
            }
        }
        self.inner.commit(sealed)
    }
}

/// Randomness that was drawn before, so that nobody waits for a passphrase while it is stretched.
struct Drawn(Zeroizing<[u8; 32]>);

impl Rng for Drawn {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        match out.len() {
            32 => out.copy_from_slice(&*self.0),
            _ => return Err(Status::Internal.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
