//! The seal of a store: its data key, wrapped by a key of the client or by a passphrase. One record, of which a new key
//! makes a new one.

use crate::crypto::passphrase::{self, Cost};
use crate::crypto::rng::{Rng, draw};
use crate::crypto::silent::silent;
use crate::crypto::{aead, kdf};
use crate::error::{Error, Result, Status};
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const VERSION: u32 = 1;
const BY_KEY: u32 = 1;
const BY_PASSPHRASE: u32 = 2;
const INFO: &[u8] = b"omemo sealed store: seal";
/// Bytes of a hash behind the record, so that damage is not taken for a wrong key. It protects from nobody.
const CHECK: usize = 8;

/// What a store is sealed with.
pub enum Secret {
    /// A key of the client.
    Key(Zeroizing<[u8; 32]>),
    /// A passphrase, and what a guess costs where a new seal is made; an old one says so itself.
    Passphrase(Zeroizing<Vec<u8>>, Cost),
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SealRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// 1: a key, 2: a passphrase.
    #[prost(uint32, tag = "2")]
    method: u32,
    /// 32 random bytes.
    #[prost(bytes = "vec", tag = "3")]
    salt: Vec<u8>,
    #[prost(uint32, tag = "4")]
    memory_kib: u32,
    #[prost(uint32, tag = "5")]
    passes: u32,
    #[prost(uint32, tag = "6")]
    lanes: u32,
    /// The data key, encrypted.
    #[prost(bytes = "vec", tag = "7")]
    wrapped: Vec<u8>,
}

silent! { SealRecord }

fn corrupt(what: &str) -> Error {
    Error::new(Status::StorageCorrupt, format!("The seal of the store {what}."))
}

fn check(record: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.iter_mut().zip(Sha256::digest(record)).for_each(|(out, byte)| *out = byte);
    check
}

impl SealRecord {
    /// All but the data key: what its encryption authenticates.
    fn data(&self) -> Vec<u8> {
        SealRecord { wrapped: Vec::new(), ..self.clone() }.encode_to_vec()
    }

    /// The key and the IV that wrap the data key. The salt is new with each seal, and so are they.
    fn wrapping(&self, secret: &Secret) -> Result<Wrapping> {
        let salt = self.salt.as_slice().try_into().map_err(|_| corrupt("has no salt"))?;
        let stretched = match (secret, self.method) {
            (Secret::Key(key), BY_KEY) => key.clone(),
            (Secret::Passphrase(passphrase, _), BY_PASSPHRASE) => {
                let cost = Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes };
                if !cost.is_bearable() {
                    return Err(corrupt("asks for more memory or time than is allowed"));
                }
                passphrase::derive(passphrase, salt, cost)?
            }
            (Secret::Passphrase(..), BY_KEY) => {
                return Err(Error::new(
                    Status::StorageKey,
                    "The store is sealed with a key, not with a passphrase.",
                ));
            }
            (Secret::Key(_), BY_PASSPHRASE) => {
                return Err(Error::new(
                    Status::StorageKey,
                    "The store is sealed with a passphrase, not with a key.",
                ));
            }
            _ => return Err(corrupt("names an unknown method")),
        };
        Wrapping::derive(salt, &stretched, INFO)
    }
}

/// A key and an IV that encrypt one thing.
pub(super) struct Wrapping {
    key: Zeroizing<[u8; 32]>,
    iv: [u8; 12],
}

impl Wrapping {
    pub(super) fn derive(salt: &[u8], key: &[u8; 32], info: &[u8]) -> Result<Wrapping> {
        let okm = kdf::hkdf::<44>(salt, &[key], info)?;
        let mut wrapping = Wrapping { key: Zeroizing::new([0; 32]), iv: [0; 12] };
        wrapping
            .key
            .iter_mut()
            .chain(wrapping.iv.iter_mut())
            .zip(okm.iter())
            .for_each(|(out, byte)| *out = *byte);
        Ok(wrapping)
    }

    pub(super) fn encrypt(&self, data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        aead::gcm256_encrypt(&self.key, &self.iv, data, plaintext)
    }

    pub(super) fn decrypt(&self, data: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        aead::gcm256_decrypt(&self.key, &self.iv, data, ciphertext)
    }
}

/// Makes the seal of a data key.
pub(super) fn wrap(data_key: &[u8; 32], secret: &Secret, rng: &mut dyn Rng) -> Result<Vec<u8>> {
    let mut record = SealRecord { version: VERSION, method: BY_KEY, ..SealRecord::default() };
    if let Secret::Passphrase(_, cost) = secret {
        record.method = BY_PASSPHRASE;
        (record.memory_kib, record.passes, record.lanes) = (cost.memory_kib, cost.passes, cost.lanes);
    }
    record.salt = draw::<32>(rng)?.to_vec();
    record.wrapped = record.wrapping(secret)?.encrypt(&record.data(), data_key)?;
    let mut bytes = record.encode_to_vec();
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    Ok(bytes)
}

/// Opens a seal. [`Status::StorageKey`]: this is not what it was sealed with.
pub(super) fn unwrap(bytes: &[u8], secret: &Secret) -> Result<Zeroizing<[u8; 32]>> {
    let (record, expected) = bytes.split_last_chunk::<CHECK>().ok_or_else(|| corrupt("is cut"))?;
    if check(record) != *expected {
        return Err(corrupt("is damaged"));
    }
    let record = SealRecord::decode(record).map_err(|_| corrupt("cannot be read"))?;
    match record.version {
        0 => return Err(corrupt("has no version")),
        VERSION => (),
        _ => return Err(Status::StorageVersion.into()),
    }
    let opened = record.wrapping(secret)?.decrypt(&record.data(), &record.wrapped);
    let opened =
        opened.map_err(|_| Error::new(Status::StorageKey, "The key or passphrase of the store is wrong."))?;
    let mut data_key = Zeroizing::new([0; 32]);
    if opened.len() != data_key.len() {
        return Err(corrupt("holds a key of the wrong length"));
    }
    data_key.copy_from_slice(&opened);
    Ok(data_key)
}
