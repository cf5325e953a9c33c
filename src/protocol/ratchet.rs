//! The Double Ratchet: which message key belongs to which message. Knows no identities and opens nothing.
//!
//! Receiving is done in two steps, so that a forged message costs little and changes nothing: `receive` finds the key
//! on a copy, and only when the message was opened does `complete` turn the sending side, too.

use super::budget::ChainBudget;
use super::chain::{Chain, Secret, step_root};
use super::limits;
use super::messages::ratchet_message::Header;
use super::profile::Profile;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};

/// A receiving chain that was closed, and its one key at index pn. Peers that are built on libsignal announce one message
/// fewer than they sent; without this key their last message would be lost when it is late.
#[derive(Clone)]
pub struct TailKey {
    /// Whose chain.
    pub ratchet_key: PublicKey,
    /// Index in the chain: no message of it has a higher one.
    pub n: u32,
    /// The message key, until it is used.
    pub key: Option<Secret>,
}

/// The state of one side.
#[derive(Clone)]
pub struct Ratchet {
    pub(super) root: Secret,
    pub(super) own: KeyPair,
    pub(super) remote: PublicKey,
    pub(super) sending: Chain,
    pub(super) receiving: Option<Chain>,
    pub(super) pn: u32,
    pub(super) tail: Vec<TailKey>,
}

/// Message keys that were passed over in one chain, by ascending index.
pub type Passed = (PublicKey, Vec<(u32, Secret)>);

/// A message key that was found, and the state of the ratchet when the message is genuine.
pub struct Received {
    /// The message key.
    pub key: Secret,
    /// Keys of messages that have not come yet.
    pub passed: Vec<Passed>,
    /// Whether the other side has made a DH ratchet step.
    pub turned: bool,
    ratchet: Ratchet,
}

impl Ratchet {
    /// The side that begins; `remote` is the responder's signed pre key.
    pub fn initiator(
        profile: &Profile,
        secret: &Secret,
        remote: PublicKey,
        rng: &mut dyn Rng,
    ) -> Result<Ratchet> {
        let own = KeyPair::generate(rng)?;
        let (root, sending) = step_root(profile, secret, &own.agree(&remote)?)?;
        let (sending, receiving) = (Chain::new(sending), None);
        Ok(Ratchet { root, own, remote, sending, receiving, pn: 0, tail: Vec::new() })
    }

    /// The other side, at its first message; `own` is its signed pre key.
    pub fn responder(
        profile: &Profile,
        secret: Secret,
        own: &KeyPair,
        header: &Header,
        budget: &mut ChainBudget,
    ) -> Result<Received> {
        // There is no key pair and no sending chain yet; these are replaced before anything can be sent. The private half
        // of the signed pre key outlives the session, and is not copied about.
        let (remote, sending) = (own.public(), Chain::new(secret.clone()));
        let none = KeyPair::from_stored(Secret::default(), own.public());
        let fresh =
            Ratchet { root: secret, own: none, remote, sending, receiving: None, pn: 0, tail: Vec::new() };
        fresh.turn(own, profile, header, budget)
    }

    /// The key for the next message, and its header.
    pub fn send(&mut self) -> Result<(Header, Secret)> {
        let header = Header { ratchet_key: self.own.public(), pn: self.pn, n: self.sending.length() };
        Ok((header, self.sending.step()?))
    }

    /// Whether messages of this chain are expected without turning the ratchet.
    pub fn is_current(&self, ratchet_key: &PublicKey) -> bool {
        self.receiving.is_some() && self.remote == *ratchet_key
    }

    /// Finds the key for a message whose key was not kept. The limits are checked before any key is derived.
    pub fn receive(&self, profile: &Profile, header: &Header, budget: &mut ChainBudget) -> Result<Received> {
        match &self.receiving {
            Some(chain) if self.remote == header.ratchet_key => {
                let gap = header.n.checked_sub(chain.length()).ok_or(Error::from(Status::Duplicate))?;
                let gap = budget.limits().allow(gap).ok_or(Error::from(Status::TooManySkipped))?;
                budget.spend(gap)?;
                let mut chain = chain.clone();
                let passed = take(&mut chain, header.n)?;
                let key = chain.step()?;
                let ratchet = Ratchet { receiving: Some(chain), ..self.clone() };
                Ok(Received { key, passed: vec![(header.ratchet_key, passed)], ratchet, turned: false })
            }
            _ => self.turn(&self.own, profile, header, budget),
        }
    }

    /// The receiving half of a DH ratchet step, on this key pair of ours.
    fn turn(
        &self,
        own: &KeyPair,
        profile: &Profile,
        header: &Header,
        budget: &mut ChainBudget,
    ) -> Result<Received> {
        let gap = budget.limits().allow(header.n).ok_or(Error::from(Status::TooManySkipped))?;
        // More than the limit missing at the end of the old chain is no error: those keys are given up.
        let closing = self.receiving.as_ref().and_then(|chain| {
            let missing = header.pn.checked_sub(chain.length())?;
            Some((chain, budget.limits().allow(missing)?))
        });
        let closing_steps = closing.map_or(0, |(_, missing)| missing);
        budget.spend(gap.saturating_add(closing_steps))?;

        let mut ratchet = self.clone();
        let mut passed = Vec::new();
        if let Some((chain, _)) = closing {
            let mut chain = chain.clone();
            passed.push((self.remote, take(&mut chain, header.pn)?));
            let key = if chain.length() < u32::MAX { Some(chain.step()?) } else { None };
            ratchet.close(TailKey { ratchet_key: self.remote, n: header.pn, key });
        }
        let agreement = own.agree(&header.ratchet_key).map_err(|_| Error::from(Status::DecryptionFailed))?;
        let (root, chain) = step_root(profile, &self.root, &agreement)?;
        let mut chain = Chain::new(chain);
        passed.push((header.ratchet_key, take(&mut chain, header.n)?));
        let key = chain.step()?;
        ratchet.root = root;
        ratchet.remote = header.ratchet_key;
        ratchet.receiving = Some(chain);
        Ok(Received { key, passed, ratchet, turned: true })
    }
}

impl Ratchet {
    /// Keeps the last key of a chain that is over.
    fn close(&mut self, tail: TailKey) {
        self.tail.push(tail);
        let surplus = self.tail.len().saturating_sub(limits::TAIL_CHAINS);
        self.tail.drain(..surplus);
    }
}

impl Received {
    /// The message is genuine: the state after it. A DH ratchet step is finished by a fresh sending chain.
    pub fn complete(self, profile: &Profile, rng: &mut dyn Rng) -> Result<(Ratchet, Vec<Passed>)> {
        let mut ratchet = self.ratchet;
        if self.turned {
            ratchet.own = KeyPair::generate(rng)?;
            let agreement = ratchet.own.agree(&ratchet.remote)?;
            let (root, sending) = step_root(profile, &ratchet.root, &agreement)?;
            ratchet.pn = ratchet.sending.length();
            ratchet.root = root;
            ratchet.sending = Chain::new(sending);
        }
        Ok((ratchet, self.passed))
    }
}

/// The keys of a chain up to, and without, index `n`.
fn take(chain: &mut Chain, n: u32) -> Result<Vec<(u32, Secret)>> {
    (chain.length()..n).map(|index| Ok((index, chain.step()?))).collect()
}
