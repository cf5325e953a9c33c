//! The Double Ratchet: which message key belongs to which message. Knows no identities and opens nothing.
//!
//! Receiving is done in two steps, so that a forged message costs little and changes nothing: `receive` finds the key
//! on a copy, and only when the message was opened does `complete` make the sending half of a DH ratchet step.

use super::chain::{Chain, Secret, step_root};
use super::chain_budget::ChainBudget;
use super::limits;
use super::messages::ratchet_message::Header;
use super::profile::Profile;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};

/// A receiving chain that was closed, and its key at index PN. Peers that are built on libsignal announce one message fewer
/// than they sent; without this key their last message would be lost when it is late.
#[derive(Clone)]
pub struct KeyAtPn {
    /// The ratchet key of the chain.
    pub ratchet_key: PublicKey,
    /// The index in the chain: no message of the chain has a higher one.
    pub n: u32,
    /// The message key, until it is used.
    pub key: Option<Secret>,
}

/// The state of one side that has a sending chain. Names in brackets are those of the specification.
#[derive(Clone)]
pub struct Ratchet {
    /// The root key (RK).
    pub(super) root: Secret,
    /// This side's ratchet key pair (DHs).
    pub(super) own: KeyPair,
    /// The other side's ratchet key (DHr).
    pub(super) remote: PublicKey,
    /// The sending chain (CKs, Ns).
    pub(super) sending: Chain,
    /// The receiving chain (CKr, Nr); the initiator has none before the first answer.
    pub(super) receiving: Option<Chain>,
    /// The length of the previous sending chain (PN).
    pub(super) pn: u32,
    pub(super) keys_at_pn: Vec<KeyAtPn>,
}

/// Message keys that were skipped in one chain, by ascending index.
pub type SkippedInChain = (PublicKey, Vec<(u32, Secret)>);

/// A message key that was found. The ratchet moves on when the message turned out to be genuine (`complete`).
pub struct PendingReceive {
    /// The message key.
    pub key: Secret,
    /// The keys of messages that have not come yet.
    pub skipped: Vec<SkippedInChain>,
    next: Next,
}

/// What becomes of the ratchet.
enum Next {
    /// The message was of the receiving chain: the whole state after it.
    SameChain(Box<Ratchet>),
    /// The other side has made a DH ratchet step.
    DhStep(ReceivedStep),
}

/// The receiving half of a DH ratchet step: a state without a sending chain, in which nothing can be sent.
struct ReceivedStep {
    root: Secret,
    remote: PublicKey,
    receiving: Chain,
    /// Messages sent on the sending chain that is over (PN).
    sent: u32,
    keys_at_pn: Vec<KeyAtPn>,
}

/// The state on which a DH ratchet step is received.
struct StepBase<'a> {
    root: &'a Secret,
    own: &'a KeyPair,
    /// The receiving chain that is over, and its ratchet key.
    receiving: Option<(PublicKey, &'a Chain)>,
    sent: u32,
    keys_at_pn: &'a [KeyAtPn],
}

impl Ratchet {
    /// Begins as the initiator; `remote` is the responder's signed pre key.
    pub fn initiator(
        profile: &Profile,
        secret: &Secret,
        remote: PublicKey,
        rng: &mut dyn Rng,
    ) -> Result<Ratchet> {
        let own = KeyPair::generate(rng)?;
        let (root, sending) = step_root(profile, secret, &own.agree(&remote)?)?;
        let (sending, receiving) = (Chain::new(sending), None);
        Ok(Ratchet { root, own, remote, sending, receiving, pn: 0, keys_at_pn: Vec::new() })
    }

    /// Begins as the responder, at the first message; `own` is the responder's signed pre key. It has no sending chain
    /// before the message is found to be genuine.
    pub fn responder(
        profile: &Profile,
        secret: &Secret,
        own: &KeyPair,
        header: &Header,
        budget: &mut ChainBudget,
    ) -> Result<PendingReceive> {
        let base = StepBase { root: secret, own, receiving: None, sent: 0, keys_at_pn: &[] };
        base.step(profile, header, budget)
    }

    /// Returns the header and the key of the next message.
    pub fn send(&mut self) -> Result<(Header, Secret)> {
        let header = Header { ratchet_key: self.own.public(), pn: self.pn, n: self.sending.length() };
        Ok((header, self.sending.step()?))
    }

    /// Whether messages of this chain are expected without a DH ratchet step.
    pub fn is_current(&self, ratchet_key: &PublicKey) -> bool {
        self.receiving.is_some() && self.remote == *ratchet_key
    }

    /// Whether this is a chain that is over and whose end is still remembered.
    pub fn is_closed(&self, ratchet_key: &PublicKey) -> bool {
        self.keys_at_pn.iter().any(|closed| closed.ratchet_key == *ratchet_key)
    }

    /// Finds the key for a message whose key was not kept. The limits are checked before any key is derived.
    pub fn receive(
        &self,
        profile: &Profile,
        header: &Header,
        budget: &mut ChainBudget,
    ) -> Result<PendingReceive> {
        match &self.receiving {
            Some(chain) if self.remote == header.ratchet_key => {
                let gap = header.n.checked_sub(chain.length()).ok_or(Error::from(Status::Duplicate))?;
                let gap = budget.limits().within_limit(gap).ok_or(Error::from(Status::TooManySkipped))?;
                budget.spend(gap)?;
                let mut chain = chain.clone();
                let skipped = vec![(header.ratchet_key, take(&mut chain, header.n)?)];
                let key = chain.step()?;
                let next = Ratchet { receiving: Some(chain), ..self.clone() };
                Ok(PendingReceive { key, skipped, next: Next::SameChain(Box::new(next)) })
            }
            receiving => {
                let base = StepBase {
                    root: &self.root,
                    own: &self.own,
                    receiving: receiving.as_ref().map(|chain| (self.remote, chain)),
                    sent: self.sending.length(),
                    keys_at_pn: &self.keys_at_pn,
                };
                base.step(profile, header, budget)
            }
        }
    }
}

impl StepBase<'_> {
    /// The receiving half of a DH ratchet step.
    fn step(self, profile: &Profile, header: &Header, budget: &mut ChainBudget) -> Result<PendingReceive> {
        let gap = budget.limits().within_limit(header.n).ok_or(Error::from(Status::TooManySkipped))?;
        // More than the limit missing at the end of the old chain is no error: those keys are given up.
        let closing = self.receiving.and_then(|(ratchet_key, chain)| {
            let missing = header.pn.checked_sub(chain.length())?;
            Some((ratchet_key, chain, budget.limits().within_limit(missing)?))
        });
        let closing_steps = closing.map_or(0, |(_, _, missing)| missing);
        budget.spend(gap.saturating_add(closing_steps))?;

        // A vector that grew or moved its elements would leave copies of their keys behind.
        let surplus = closing
            .map_or(0, |_| (self.keys_at_pn.len().saturating_add(1)).saturating_sub(limits::KEYS_AT_PN));
        let mut keys_at_pn = Vec::with_capacity(self.keys_at_pn.len().saturating_add(1));
        keys_at_pn.extend(self.keys_at_pn.iter().skip(surplus).cloned());
        let mut skipped = Vec::new();
        if let Some((ratchet_key, chain, _)) = closing {
            let mut chain = chain.clone();
            skipped.push((ratchet_key, take(&mut chain, header.pn)?));
            let key = if chain.length() < u32::MAX { Some(chain.step()?) } else { None };
            keys_at_pn.push(KeyAtPn { ratchet_key, n: header.pn, key });
        }
        let agreement =
            self.own.agree(&header.ratchet_key).map_err(|_| Error::from(Status::DecryptionFailed))?;
        let (root, chain) = step_root(profile, self.root, &agreement)?;
        let mut receiving = Chain::new(chain);
        skipped.push((header.ratchet_key, take(&mut receiving, header.n)?));
        let key = receiving.step()?;
        let step = ReceivedStep { root, remote: header.ratchet_key, receiving, sent: self.sent, keys_at_pn };
        Ok(PendingReceive { key, skipped, next: Next::DhStep(step) })
    }
}

impl PendingReceive {
    /// Whether the other side has made a DH ratchet step.
    pub fn is_dh_step(&self) -> bool {
        matches!(self.next, Next::DhStep(_))
    }

    /// Returns the state after the message, which is genuine. The sending half of a DH ratchet step draws a fresh key pair.
    pub fn complete(self, profile: &Profile, rng: &mut dyn Rng) -> Result<(Ratchet, Vec<SkippedInChain>)> {
        let ratchet = match self.next {
            Next::SameChain(ratchet) => *ratchet,
            Next::DhStep(ReceivedStep { root, remote, receiving, sent, keys_at_pn }) => {
                let own = KeyPair::generate(rng)?;
                let (root, sending) = step_root(profile, &root, &own.agree(&remote)?)?;
                let (sending, receiving) = (Chain::new(sending), Some(receiving));
                Ratchet { root, own, remote, sending, receiving, pn: sent, keys_at_pn }
            }
        };
        Ok((ratchet, self.skipped))
    }
}

/// The keys of a chain up to, and without, index `n`.
fn take(chain: &mut Chain, n: u32) -> Result<Vec<(u32, Secret)>> {
    (chain.length()..n).map(|index| Ok((index, chain.step()?))).collect()
}
