//! Bytes to bytes: keys, signatures, key derivation, authenticated encryption. Knows no OMEMO.

pub mod aead;
pub mod convert;
mod curve;
pub mod fingerprint;
pub mod identity;
pub mod kdf;
pub mod keys;
pub mod passphrase;
pub mod rng;
pub(crate) mod silent;
#[cfg(test)]
mod vectors;
pub mod xeddsa;
