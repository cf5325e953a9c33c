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
pub(in crate::manager) struct DeviceKey {
    mont: [u8; 32],
    ed: [u8; 32],
    sign_known: bool,
}

impl DeviceKey {
    /// Returns a key whose sign is known.
    pub(in crate::manager) fn of(key: &IdentityKey) -> DeviceKey {
        DeviceKey { mont: *key.mont(), ed: *key.ed(), sign_known: true }
    }

    /// Returns a key as a session or key exchange shows it.
    pub(in crate::manager) fn from_exchange(mont: &[u8; 32], ed: Option<&[u8; 32]>) -> DeviceKey {
        let unsigned = || convert::mont_to_ed(mont, false).unwrap_or_default();
        DeviceKey { mont: *mont, ed: ed.copied().unwrap_or_else(unsigned), sign_known: ed.is_some() }
    }

    /// Returns a key as it was stored.
    pub(in crate::manager) fn from_stored(mont: [u8; 32], ed: [u8; 32], sign_known: bool) -> DeviceKey {
        DeviceKey { mont, ed, sign_known }
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
    Provisional(DeviceKey),
    /// Bundles of these namespaces show it.
    Confirmed(DeviceKey, NamespaceSet),
    /// The bundle that confirmed it shows another key now.
    Changed(DeviceKey, NamespaceSet, Conflicts),
    /// The bundle of a namespace that never confirmed it shows another key.
    Mismatched(DeviceKey, NamespaceSet, Conflicts),
}

/// What bundles show instead of the confirmed key: at least one conflict, at most one a namespace, the newest last.
pub(in crate::manager) type Conflicts = Vec<Conflict>;

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
    pub(in crate::manager) fn key(&self) -> Option<&DeviceKey> {
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

    /// Returns what is shown instead of the confirmed key, the newest last.
    pub(in crate::manager) fn conflicts(&self) -> &[Conflict] {
        match self {
            Identity::Changed(_, _, conflicts) | Identity::Mismatched(_, _, conflicts) => conflicts,
            _ => &[],
        }
    }

    /// Returns the key that was shown last instead of the confirmed one.
    pub(in crate::manager) fn conflict(&self) -> Option<&Conflict> {
        self.conflicts().last()
    }

    pub(in crate::manager) fn is_key_confirmed(&self) -> bool {
        !matches!(self, Identity::Unknown | Identity::Provisional(_))
    }

    pub(in crate::manager) fn is_provisional(&self) -> bool {
        matches!(self, Identity::Provisional(_))
    }

    /// Returns why nothing may be sent to the device in a namespace, whatever its key is worth. A changed key
    /// blocks all namespaces while the device is announced in the one that shows the change; a mismatch blocks only the
    /// namespace that shows it.
    pub(in crate::manager) fn blocks_sending(
        &self,
        namespace: Namespace,
        active: NamespaceSet,
    ) -> Option<Status> {
        let seen = self.confirmed_in();
        let status = |conflict: &Conflict| {
            let (here, changed) = (conflict.namespace == namespace, seen.contains(conflict.namespace));
            match (changed, here || (changed && active.contains(conflict.namespace))) {
                (true, true) => Some(Status::IdentityChanged),
                (false, true) => Some(Status::IdentityMismatch),
                (_, false) => None,
            }
        };
        let (changed, mismatched): (Vec<_>, Vec<_>) =
            self.conflicts().iter().filter_map(status).partition(|status| *status == Status::IdentityChanged);
        changed.first().or(mismatched.first()).copied()
    }

    /// Returns the namespace whose bundle keeps the device from being sent to in a namespace.
    pub(in crate::manager) fn blocked_by(
        &self,
        namespace: Namespace,
        active: NamespaceSet,
    ) -> Option<Namespace> {
        self.blocks_sending(namespace, active)?;
        let here = self.conflicts().iter().find(|conflict| conflict.namespace == namespace);
        here.or(self.conflict()).map(|conflict| conflict.namespace)
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
                *self = Identity::Confirmed(DeviceKey::of(key), here);
                FromBundle::First
            }
            Identity::Provisional(known) => {
                let same = known.is(key.mont());
                *self = Identity::Confirmed(DeviceKey::of(key), here);
                if same { FromBundle::Same { resolved: false } } else { FromBundle::Replaced }
            }
            Identity::Confirmed(known, seen) => self.see_again(known, seen, Vec::new(), key, namespace),
            Identity::Changed(known, seen, conflicts) | Identity::Mismatched(known, seen, conflicts) => {
                self.see_again(known, seen, conflicts, key, namespace)
            }
        }
    }

    fn see_again(
        &mut self,
        known: DeviceKey,
        mut seen: NamespaceSet,
        mut conflicts: Conflicts,
        key: &IdentityKey,
        namespace: Namespace,
    ) -> FromBundle {
        let before = conflicts.iter().position(|conflict| conflict.namespace == namespace);
        let before = before.map(|place| conflicts.remove(place));
        let other = !known.is(key.mont());
        let mut known = known;
        if other {
            conflicts.push(Conflict { ed: *key.ed(), namespace });
        } else {
            seen.insert(namespace);
            if !known.sign_known {
                known = DeviceKey::of(key);
            }
        }
        *self = Identity::in_conflict(known, seen, conflicts);
        let shown = |conflict: &Conflict| convert::ed_to_mont(&conflict.ed).as_ref() == Some(key.mont());
        if other {
            FromBundle::Conflicting { news: !before.is_some_and(|before| shown(&before)) }
        } else {
            FromBundle::Same { resolved: before.is_some() }
        }
    }

    /// Returns the state in which other keys are shown: changed where the bundle showed the known key before.
    pub(in crate::manager) fn in_conflict(
        key: DeviceKey,
        seen: NamespaceSet,
        conflicts: Conflicts,
    ) -> Identity {
        if conflicts.is_empty() {
            Identity::Confirmed(key, seen)
        } else if conflicts.iter().any(|conflict| seen.contains(conflict.namespace)) {
            Identity::Changed(key, seen, conflicts)
        } else {
            Identity::Mismatched(key, seen, conflicts)
        }
    }

    /// Tells how the key of an authenticated key exchange relates to the device's.
    pub(in crate::manager) fn compare_exchange(&self, mont: &[u8; 32]) -> FromExchange {
        match self {
            Identity::Provisional(key) if !key.is(mont) => FromExchange::Rival,
            known if known.reads(mont) => FromExchange::Fits,
            _ => FromExchange::Contradicts,
        }
    }

    /// Takes in the key of an authenticated key exchange, if none is known.
    pub(in crate::manager) fn see_exchange(&mut self, mont: &[u8; 32], ed: Option<&[u8; 32]>) {
        if *self == Identity::Unknown {
            *self = Identity::Provisional(DeviceKey::from_exchange(mont, ed));
        }
    }

    /// Accepts the key that was shown last. `None`: there is no conflict.
    pub(in crate::manager) fn accept(&mut self) -> Option<DeviceKey> {
        let key = DeviceKey::of(&IdentityKey::from_ed(&self.conflict()?.ed).ok()?);
        let same = |conflict: &Conflict| convert::ed_to_mont(&conflict.ed).as_ref() == Some(key.mont());
        let (shown, others): (Conflicts, Conflicts) = self.conflicts().iter().cloned().partition(same);
        let mut seen = NamespaceSet::default();
        shown.iter().for_each(|conflict| seen.insert(conflict.namespace));
        *self = Identity::in_conflict(key.clone(), seen, others);
        Some(key)
    }

    /// The account does not serve a namespace any more: what is shown there speaks against nothing.
    pub(in crate::manager) fn purge_namespace(&mut self, namespace: Namespace) {
        if let Identity::Changed(key, seen, conflicts) | Identity::Mismatched(key, seen, conflicts) = self {
            let left = conflicts.iter().filter(|conflict| conflict.namespace != namespace).cloned().collect();
            *self = Identity::in_conflict(key.clone(), *seen, left);
        }
    }
}

#[cfg(test)]
mod tests;
