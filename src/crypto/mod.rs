//! Bytes to bytes: keys, signatures, key derivation, authenticated encryption. Knows no OMEMO.

pub mod rng;
