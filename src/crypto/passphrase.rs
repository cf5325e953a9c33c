//! A key from a passphrase: Argon2id (RFC 9106).

use crate::error::{Error, Result, Status};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

/// What one guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// How often it is passed through.
    pub passes: u32,
    /// Into how many lanes it is divided.
    pub lanes: u32,
}

impl Cost {
    /// What new passphrases cost: 64 MiB and three passes, the second choice of RFC 9106 on one lane. It takes a tenth of a
    /// second on a desktop, and memory that a phone can spare.
    pub const DEFAULT: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// Returns whether this much may be spent for a store that says so: whoever writes it must not take all memory.
    pub fn is_bearable(&self) -> bool {
        (8..=256 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=4).contains(&self.lanes)
    }
}

/// The memory of one derivation, from which the key could be had.
struct Memory(Vec<Block>);

impl Memory {
    fn new(blocks: usize) -> Result<Memory> {
        let mut memory = Vec::new();
        let failed = |_| Error::new(Status::Storage, "There is not enough memory for the passphrase.");
        memory.try_reserve_exact(blocks).map_err(failed)?;
        memory.resize(blocks, Block::new());
        Ok(Memory(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Derives 32 bytes.
pub fn derive(passphrase: &[u8], salt: &[u8; 32], cost: Cost) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |_| Error::new(Status::Internal, "Argon2id cannot derive this key.");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    let mut memory = Memory::new(params.block_count())?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, &mut *key, memory.0.as_mut_slice())
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tag of Argon2id in RFC 9106 5.3 needs a secret and associated data, which stores have not; this is the
    /// reference implementation's vector without them.
    #[test]
    fn the_reference_vector_comes_out() {
        let cost = Cost { memory_kib: 65_536, passes: 2, lanes: 1 };
        let argon = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).unwrap(),
        );
        let mut key = [0; 32];
        argon.hash_password_into(b"password", b"somesalt", &mut key).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn cost_salt_and_passphrase_all_count() {
        let cheap = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        let key = |passphrase: &[u8], salt: u8, cost| *derive(passphrase, &[salt; 32], cost).unwrap();
        let first = key(b"a", 1, cheap);
        assert_eq!(first, key(b"a", 1, cheap));
        let others = [
            key(b"b", 1, cheap),
            key(b"a", 2, cheap),
            key(b"a", 1, Cost { passes: 2, ..cheap }),
            key(b"a", 1, Cost { memory_kib: 16, ..cheap }),
        ];
        assert!(others.iter().all(|other| *other != first));
    }
}
