//! How a session begins: on a bundle, or by a key exchange that came.

use super::super::bundle::{Bundle, VerifiedBundle};
use super::super::messages::key_exchange::{ExchangeId, KeyExchange};
use super::super::messages::ratchet_message::Parties;
use super::super::profile::Wire;
use super::super::ranges::Ranges;
use super::super::ratchet::Ratchet;
use super::super::role::Role;
use super::super::x3dh::{self, ResponderKeys};
use super::{ChainBudget, Session, Step};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::keys::PublicKey;
use crate::crypto::rng::Rng;
use crate::error::Result;

impl Session {
    /// Begins a session on somebody's bundle, which is verified first.
    pub fn initiate(own: &IdentityKeyPair, bundle: &Bundle, rng: &mut dyn Rng) -> Result<Session> {
        Session::initiate_verified(own, &bundle.clone().verified()?, rng)
    }

    /// The same with a bundle that was verified before.
    pub fn initiate_verified(
        own: &IdentityKeyPair,
        verified: &VerifiedBundle,
        rng: &mut dyn Rng,
    ) -> Result<Session> {
        let agreement = x3dh::initiate(own, verified, rng)?;
        Session::initiated(own, verified.bundle(), &agreement, rng)
    }

    pub(in crate::protocol) fn initiated(
        own: &IdentityKeyPair,
        bundle: &Bundle,
        agreement: &x3dh::Agreement,
        rng: &mut dyn Rng,
    ) -> Result<Session> {
        let namespace = bundle.namespace;
        let remote = PublicKey::from_bytes(bundle.signed_pre_key);
        let ratchet = Ratchet::initiator(namespace.profile(), &agreement.secret, remote, rng)?;
        let parties = match namespace.profile().wire {
            Wire::Omemo => Parties { initiator: *own.public().ed(), responder: *agreement.identity.ed() },
            Wire::Signal => {
                Parties { initiator: *own.public().mont(), responder: *agreement.identity.mont() }
            }
        };
        let exchange = ExchangeId {
            ephemeral: agreement.ephemeral,
            identity: *own.public().mont(),
            signed_pre_key_id: bundle.signed_pre_key_id,
            pre_key_id: agreement.pre_key_id,
        };
        let peer = *agreement.identity.mont();
        Ok(Session {
            namespace,
            role: Role::Initiator,
            confirmed: false,
            parties,
            peer,
            exchange,
            ratchet,
            skipped: 0,
            answered: false,
            evicted: Ranges::default(),
        })
    }

    /// Takes up a session that somebody began, by the message in the key exchange.
    pub fn accept(
        own: &ResponderKeys<'_>,
        exchange: &KeyExchange,
        budget: &mut ChainBudget,
        rng: &mut dyn Rng,
    ) -> Result<Step> {
        let namespace = exchange.namespace();
        let profile = namespace.profile();
        let id = *exchange.id();
        let identity = PublicKey::from_bytes(id.identity);
        let secret = x3dh::respond(namespace, own, &identity, &id.ephemeral)?;
        let parties = match (profile.wire, exchange.identity_ed()) {
            (Wire::Omemo, Some(ed)) => Parties { initiator: *ed, responder: *own.identity.public().ed() },
            _ => Parties { initiator: id.identity, responder: *own.identity.public().mont() },
        };
        let message = exchange.message();
        let received = Ratchet::responder(profile, &secret, own.signed_pre_key, &message.header(), budget)?;
        let plaintext = message.open(&received.key, &parties, Role::Initiator)?;
        let (ratchet, newly_skipped) = received.complete(profile, rng)?;
        let mut session = Session {
            namespace,
            role: Role::Responder,
            confirmed: true,
            parties,
            peer: id.identity,
            exchange: id,
            ratchet,
            skipped: 0,
            answered: false,
            evicted: Ranges::default(),
        };
        let skipped = session.keep(None, newly_skipped, budget.limits());
        Ok(Step { session, skipped, plaintext, advanced: true, chain: None })
    }
}
