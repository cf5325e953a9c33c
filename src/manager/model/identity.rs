//! The identity key of a device: how well it is vouched for, and what that allows.
//!
//! A key that only a key exchange shows is provisional: its messages are read, and nothing else follows from it. A
//! bundle from the JID's own node confirms a key. A confirmed key is never replaced by itself: a bundle that shows
//! another one makes a conflict, which lasts until the client accepts the other key or the bundle shows the first again.

use super::namespaces::NamespaceSet;
use crate::crypto::convert;
use crate::crypto::identity::IdentityKey;
use crate::error::Status;
use crate::protocol::namespace::Namespace;
use subtle::ConstantTimeEq;

/// An identity key in both forms. The sign of its Ed25519 form is not known where only legacy has shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct KnownKey {
    mont: [u8; 32],
    ed: [u8; 32],
    sign_known: bool,
}

impl KnownKey {
    /// Returns a key whose sign is known.
    pub(in crate::manager) fn of(key: &IdentityKey) -> KnownKey {
        KnownKey { mont: *key.mont(), ed: *key.ed(), sign_known: true }
    }

    /// Returns a key as a session or key exchange shows it.
    pub(in crate::manager) fn from_exchange(mont: &[u8; 32], ed: Option<&[u8; 32]>) -> KnownKey {
        let unsigned = || convert::mont_to_ed(mont, false).unwrap_or_default();
        KnownKey { mont: *mont, ed: ed.copied().unwrap_or_else(unsigned), sign_known: ed.is_some() }
    }

    /// Returns a key as it was stored.
    pub(in crate::manager) fn from_stored(mont: [u8; 32], ed: [u8; 32], sign_known: bool) -> KnownKey {
        KnownKey { mont, ed, sign_known }
    }

    /// Returns the Curve25519 form, by which keys are told apart.
    pub(in crate::manager) fn mont(&self) -> &[u8; 32] {
        &self.mont
    }

    /// Returns the Ed25519 form; its sign bit is 0 while it is unknown.
    pub(in crate::manager) fn ed(&self) -> &[u8; 32] {
        &self.ed
    }

    pub(in crate::manager) fn is_sign_known(&self) -> bool {
        self.sign_known
    }

    /// Returns whether it is this key, in constant time.
    pub(in crate::manager) fn is(&self, mont: &[u8; 32]) -> bool {
        self.mont.ct_eq(mont).into()
    }
}

/// The key that a bundle shows instead of the confirmed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct Conflict {
    pub(in crate::manager) ed: [u8; 32],
    /// Where it is shown.
    pub(in crate::manager) namespace: Namespace,
}

/// What is known of a device's identity key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) enum Identity {
    /// No key was seen yet.
    #[default]
    Unknown,
    /// A key exchange has shown it; nobody vouches for it.
    Provisional(KnownKey),
    /// Bundles of these namespaces show it.
    Confirmed(KnownKey, NamespaceSet),
    /// The bundle that confirmed it shows another key now.
    Changed(KnownKey, NamespaceSet, Conflict),
    /// The bundle of a namespace that never confirmed it shows another key.
    Mismatched(KnownKey, NamespaceSet, Conflict),
}

/// What a bundle has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum FromBundle {
    /// The first key of the device.
    First,
    /// The key that was known; `resolved`: it had been in conflict here.
    Same { resolved: bool },
    /// The provisional key was another one, and is worth nothing any more.
    Replaced,
    /// The confirmed key is another one; `news`: for the first time.
    Conflicting { news: bool },
}

/// How a key exchange's key relates to the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum FromExchange {
    /// The first key of the device, or the known one.
    Fits,
    /// Both are provisional: neither replaces the other.
    Rival,
    /// Another key than the confirmed one.
    Contradicts,
}

impl Identity {
    /// Returns the key by which the device is judged.
    pub(in crate::manager) fn key(&self) -> Option<&KnownKey> {
        match self {
            Identity::Unknown => None,
            Identity::Provisional(key)
            | Identity::Confirmed(key, _)
            | Identity::Changed(key, _, _)
            | Identity::Mismatched(key, _, _) => Some(key),
        }
    }

    /// Returns where bundles were seen to show the key.
    pub(in crate::manager) fn confirmed_in(&self) -> NamespaceSet {
        match self {
            Identity::Unknown | Identity::Provisional(_) => NamespaceSet::default(),
            Identity::Confirmed(_, seen)
            | Identity::Changed(_, seen, _)
            | Identity::Mismatched(_, seen, _) => *seen,
        }
    }

    /// Returns the key that is shown instead of the confirmed one.
    pub(in crate::manager) fn conflict(&self) -> Option<&Conflict> {
        match self {
            Identity::Changed(_, _, conflict) | Identity::Mismatched(_, _, conflict) => Some(conflict),
            _ => None,
        }
    }

    pub(in crate::manager) fn is_confirmed(&self) -> bool {
        !matches!(self, Identity::Unknown | Identity::Provisional(_))
    }

    pub(in crate::manager) fn is_provisional(&self) -> bool {
        matches!(self, Identity::Provisional(_))
    }

    /// Returns why nothing may be sent to the device in a namespace, whatever its key is worth. A change counts in
    /// all namespaces as long as the device is announced where it shows; a mismatch only where it shows.
    pub(in crate::manager) fn blocks_sending(
        &self,
        namespace: Namespace,
        active: NamespaceSet,
    ) -> Option<Status> {
        match self {
            Identity::Changed(_, _, conflict) => {
                let counts = conflict.namespace == namespace || active.contains(conflict.namespace);
                counts.then_some(Status::IdentityChanged)
            }
            Identity::Mismatched(_, _, conflict) => {
                (conflict.namespace == namespace).then_some(Status::IdentityMismatch)
            }
            _ => None,
        }
    }

    /// Returns whether sessions with this key are read. A key that a bundle contradicted, or that was replaced, is
    /// not; before a bundle came nobody knows which is right.
    pub(in crate::manager) fn reads(&self, mont: &[u8; 32]) -> bool {
        match self {
            Identity::Unknown | Identity::Provisional(_) => true,
            Identity::Confirmed(key, _) | Identity::Changed(key, _, _) | Identity::Mismatched(key, _, _) => {
                key.is(mont)
            }
        }
    }

    /// Returns whether a session with this key may become the one that sends.
    pub(in crate::manager) fn sends(&self, mont: &[u8; 32]) -> bool {
        self.key().is_none_or(|key| key.is(mont))
    }

    /// Takes over the key of a verified bundle from the JID's own node.
    pub(in crate::manager) fn see_bundle(&mut self, key: &IdentityKey, namespace: Namespace) -> FromBundle {
        let here = NamespaceSet::of(namespace);
        match std::mem::take(self) {
            Identity::Unknown => {
                *self = Identity::Confirmed(KnownKey::of(key), here);
                FromBundle::First
            }
            Identity::Provisional(known) => {
                let same = known.is(key.mont());
                *self = Identity::Confirmed(KnownKey::of(key), here);
                if same { FromBundle::Same { resolved: false } } else { FromBundle::Replaced }
            }
            Identity::Confirmed(known, seen) => self.see_again(known, seen, None, key, namespace),
            Identity::Changed(known, seen, conflict) | Identity::Mismatched(known, seen, conflict) => {
                self.see_again(known, seen, Some(conflict), key, namespace)
            }
        }
    }

    fn see_again(
        &mut self,
        known: KnownKey,
        mut seen: NamespaceSet,
        conflict: Option<Conflict>,
        key: &IdentityKey,
        namespace: Namespace,
    ) -> FromBundle {
        if !known.is(key.mont()) {
            let shown = |conflict: &Conflict| convert::ed_to_mont(&conflict.ed).as_ref() == Some(key.mont());
            let news = !conflict.is_some_and(|conflict| conflict.namespace == namespace && shown(&conflict));
            *self = Identity::in_conflict(known, seen, Conflict { ed: *key.ed(), namespace });
            return FromBundle::Conflicting { news };
        }
        seen.insert(namespace);
        let known = if known.sign_known { known } else { KnownKey::of(key) };
        let resolved = conflict.as_ref().is_some_and(|conflict| conflict.namespace == namespace);
        *self = match conflict.filter(|_| !resolved) {
            Some(conflict) => Identity::in_conflict(known, seen, conflict),
            None => Identity::Confirmed(known, seen),
        };
        FromBundle::Same { resolved }
    }

    /// Returns the state in which another key is shown: changed where the bundle showed the known key before.
    pub(in crate::manager) fn in_conflict(key: KnownKey, seen: NamespaceSet, conflict: Conflict) -> Identity {
        match seen.contains(conflict.namespace) {
            true => Identity::Changed(key, seen, conflict),
            false => Identity::Mismatched(key, seen, conflict),
        }
    }

    /// Tells how the key of an authenticated key exchange relates to the device's.
    pub(in crate::manager) fn compare_exchange(&self, mont: &[u8; 32]) -> FromExchange {
        match self {
            Identity::Unknown => FromExchange::Fits,
            Identity::Provisional(key) if key.is(mont) => FromExchange::Fits,
            Identity::Provisional(_) => FromExchange::Rival,
            known if known.reads(mont) => FromExchange::Fits,
            _ => FromExchange::Contradicts,
        }
    }

    /// Takes in the key of an authenticated key exchange, if none is known.
    pub(in crate::manager) fn see_exchange(&mut self, mont: &[u8; 32], ed: Option<&[u8; 32]>) {
        if *self == Identity::Unknown {
            *self = Identity::Provisional(KnownKey::from_exchange(mont, ed));
        }
    }

    /// Accepts the conflicting key. `None`: there is no conflict.
    pub(in crate::manager) fn accept(&mut self) -> Option<KnownKey> {
        let conflict = self.conflict()?.clone();
        let key = KnownKey::of(&IdentityKey::from_ed(&conflict.ed).ok()?);
        *self = Identity::Confirmed(key.clone(), NamespaceSet::of(conflict.namespace));
        Some(key)
    }

    /// The account does not serve a namespace any more: what is shown there speaks against nothing.
    pub(in crate::manager) fn purge_namespace(&mut self, namespace: Namespace) {
        if self.conflict().is_some_and(|conflict| conflict.namespace == namespace)
            && let Identity::Changed(key, seen, _) | Identity::Mismatched(key, seen, _) = std::mem::take(self)
        {
            *self = Identity::Confirmed(key, seen);
        }
    }
}

#[cfg(test)]
mod tests;
