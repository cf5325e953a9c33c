//! The key agreement that begins a session (X3DH): four agreements, one secret. A one-time pre key is always needed.

use super::bundle::{Bundle, PublicPreKey, VerifiedBundle};
use super::chain::Secret;
use super::namespace::Namespace;
use crate::crypto::identity::{IdentityKey, IdentityKeyPair};
use crate::crypto::kdf;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::{Rng, draw};
use crate::error::{Error, Result, Status};

/// What the initiator knows after the agreement.
pub struct Agreement {
    /// The shared secret.
    pub secret: Secret,
    /// The responder's identity key, which signed the signed pre key.
    pub identity: IdentityKey,
    /// The ephemeral key, to be sent.
    pub ephemeral: PublicKey,
    /// Id of the pre key that was used up.
    pub pre_key_id: u32,
}

fn derive(namespace: Namespace, agreements: [Secret; 4]) -> Result<Secret> {
    let [a, b, c, d] = &agreements;
    let parts: [&[u8]; 5] = [&[0xff; 32], &**a, &**b, &**c, &**d];
    kdf::hkdf::<32>(&[], &parts, namespace.profile().agreement_info.as_bytes())
}

/// The initiator's side.
pub fn initiate(own: &IdentityKeyPair, verified: &VerifiedBundle, rng: &mut dyn Rng) -> Result<Agreement> {
    let bundle = verified.bundle();
    let ephemeral = KeyPair::generate(rng)?;
    let pre_key = choose(&bundle.pre_keys, rng);
    #[cfg(omemo_planted)]
    let signed = PublicPreKey { id: 0, key: bundle.signed_pre_key };
    #[cfg(omemo_planted)]
    let pre_key = if crate::planted::is_planted("one-time-pre-key-missing") {
        pre_key.or(Ok(&signed))
    } else {
        pre_key
    };
    initiate_with(own, bundle, *verified.identity(), &ephemeral, pre_key?)
        .map_err(|error| if error.status() == Status::Internal { error } else { Status::BundleBad.into() })
}

fn initiate_with(
    own: &IdentityKeyPair,
    bundle: &Bundle,
    identity: IdentityKey,
    ephemeral: &KeyPair,
    pre_key: &PublicPreKey,
) -> Result<Agreement> {
    let signed = PublicKey::from_bytes(bundle.signed_pre_key);
    let secret = derive(
        bundle.namespace,
        [
            own.agree(&signed)?,
            ephemeral.agree(&identity.public())?,
            ephemeral.agree(&signed)?,
            ephemeral.agree(&PublicKey::from_bytes(pre_key.key))?,
        ],
    )?;
    Ok(Agreement { secret, identity, ephemeral: ephemeral.public(), pre_key_id: pre_key.id })
}

/// A pre key of the bundle, each as likely as the others, so that two initiators seldom take the same.
fn choose<'a>(pre_keys: &'a [PublicPreKey], rng: &mut dyn Rng) -> Result<&'a PublicPreKey> {
    let bytes = draw::<8>(rng)?;
    let position = u64::from_le_bytes(*bytes).checked_rem(u64::try_from(pre_keys.len()).unwrap_or(u64::MAX));
    let position = position.and_then(|position| usize::try_from(position).ok());
    let pre_key = position.and_then(|position| pre_keys.get(position));
    pre_key.ok_or(Error::new(Status::BundleBad, "The bundle contains no pre key."))
}

/// The responder's keys that a key exchange names.
#[derive(Clone, Copy)]
pub struct ResponderKeys<'a> {
    /// Our identity key.
    pub identity: &'a IdentityKeyPair,
    /// Our signed pre key.
    pub signed_pre_key: &'a KeyPair,
    /// Our one-time pre key.
    pub pre_key: &'a KeyPair,
}

impl<'a> ResponderKeys<'a> {
    /// Puts the three keys together.
    pub fn new(identity: &'a IdentityKeyPair, signed_pre_key: &'a KeyPair, pre_key: &'a KeyPair) -> Self {
        ResponderKeys { identity, signed_pre_key, pre_key }
    }
}

/// The responder's side: `identity` and `ephemeral` are the initiator's.
pub fn respond(
    namespace: Namespace,
    own: &ResponderKeys<'_>,
    identity: &PublicKey,
    ephemeral: &PublicKey,
) -> Result<Secret> {
    derive(
        namespace,
        [
            own.signed_pre_key.agree(identity)?,
            own.identity.agree(ephemeral)?,
            own.signed_pre_key.agree(ephemeral)?,
            own.pre_key.agree(ephemeral)?,
        ],
    )
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod for_vectors {
    //! The initiator's side with an ephemeral key that is given.
    use super::*;

    pub(crate) fn initiate(
        own: &IdentityKeyPair,
        bundle: &Bundle,
        ephemeral: &KeyPair,
        id: u32,
    ) -> Result<Agreement> {
        let pre_key = bundle.pre_keys.iter().find(|pre_key| pre_key.id == id);
        let pre_key = pre_key.ok_or(Error::from(Status::BundleBad))?;
        initiate_with(own, bundle, bundle.verify()?, ephemeral, pre_key)
    }
}
