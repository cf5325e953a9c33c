//! Identity keys: one for each device, usable for X25519 and for signatures.

use super::keys::{PublicKey, agree};
use super::rng::{Rng, draw};
use super::silent::silent;
use super::{convert, curve, xeddsa};
use crate::error::{Error, Result, Status};
use zeroize::Zeroizing;

/// A public identity key that was found fit for use. Holds both forms, since a conversion costs as much as a hash of
/// 10 kB.
#[derive(Clone, Copy)]
pub struct IdentityKey {
    ed: [u8; 32],
    mont: [u8; 32],
}

impl IdentityKey {
    /// Takes in a key in Ed25519 form. It must be canonical, not of small order and free of torsion.
    pub fn from_ed(ed: &[u8; 32]) -> Result<IdentityKey> {
        let mont = convert::ed_to_mont(ed);
        let mont =
            mont.ok_or(Error::new(Status::KeyExchangeFailed, "An identity key is not fit for use."))?;
        Ok(IdentityKey { ed: *ed, mont })
    }

    /// A key that was taken in before and stored in both forms.
    pub fn from_stored(ed: [u8; 32], mont: [u8; 32]) -> IdentityKey {
        IdentityKey { ed, mont }
    }

    /// The Ed25519 form with the real sign bit.
    pub fn ed(&self) -> &[u8; 32] {
        &self.ed
    }

    /// The Curve25519 form.
    pub fn mont(&self) -> &[u8; 32] {
        &self.mont
    }

    /// The sign of the Ed25519 form.
    pub fn sign(&self) -> bool {
        self.ed.last().is_some_and(|byte| byte & 0x80 != 0)
    }

    /// The key as X25519 wants it.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.mont)
    }

    /// Whether this key signed the message.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<()> {
        // The key itself was checked when it was taken in.
        if curve::ed25519_verify(&self.ed, message, signature) {
            Ok(())
        } else {
            Err(Error::new(Status::KeyExchangeFailed, "A signature does not verify."))
        }
    }
}

silent! { IdentityKey }

/// Where the private key of an identity comes from.
#[derive(Clone)]
enum Secret {
    /// An Ed25519 seed, as new identities have.
    Seed(Zeroizing<[u8; 32]>),
    /// A clamped scalar, as imported identities may have.
    Private,
}

/// The identity of this device. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct IdentityKeyPair {
    secret: Secret,
    private: Zeroizing<[u8; 32]>,
    public: IdentityKey,
}

impl IdentityKeyPair {
    /// Draws a new one.
    pub fn generate(rng: &mut dyn Rng) -> Result<IdentityKeyPair> {
        Ok(IdentityKeyPair::from_seed(draw(rng)?))
    }

    /// The pair of a seed.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> IdentityKeyPair {
        let private = xeddsa::seed_to_private(&seed);
        IdentityKeyPair::new(Secret::Seed(seed), private)
    }

    /// The pair of a scalar, which is clamped: an unclamped one would sign for another key than it shows.
    pub fn from_private(private: &[u8; 32]) -> IdentityKeyPair {
        IdentityKeyPair::new(Secret::Private, xeddsa::clamp(private))
    }

    fn new(secret: Secret, private: Zeroizing<[u8; 32]>) -> IdentityKeyPair {
        // A clamped scalar is a multiple of 8 and below the order's double: its point is never of small order.
        let ed = xeddsa::public_of(&private);
        let mont = curve::x25519_base(&private);
        IdentityKeyPair { secret, private, public: IdentityKey { ed, mont } }
    }

    /// The public key.
    pub fn public(&self) -> &IdentityKey {
        &self.public
    }

    /// The seed, where there is one, to be stored.
    pub fn seed(&self) -> Option<&[u8; 32]> {
        match &self.secret {
            Secret::Seed(seed) => Some(seed),
            Secret::Private => None,
        }
    }

    /// The clamped scalar, to be stored where there is no seed.
    pub fn private(&self) -> &[u8; 32] {
        &self.private
    }

    /// X25519; see [`super::keys::KeyPair::agree`].
    pub fn agree(&self, theirs: &PublicKey) -> Result<Zeroizing<[u8; 32]>> {
        agree(&self.private, theirs)
    }

    /// Signs, and verifies the signature before anybody else has to.
    pub fn sign(&self, message: &[u8], rng: &mut dyn Rng) -> Result<[u8; 64]> {
        let nonce = draw::<64>(rng)?;
        let signature = xeddsa::sign(&self.private, message, &nonce);
        self.public
            .verify(message, &signature)
            .map_err(|_| Error::new(Status::Internal, "A signature made by this device does not verify."))?;
        Ok(signature)
    }
}
