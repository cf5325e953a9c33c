//! Trust policies: what level names amount to, and what is decided about a key without asking the user.
//!
//! A policy is pure: it is given what is known and stores nothing. [`super::services::Services::trust_policy`] selects it. The
//! three that are ready-made share four level names, whose values never change because they are stored. They differ in
//! what a blindly trusted key is worth, and in when a key is trusted blindly.

use super::device::{CoreTrust, Device};

/// The level of keys that a user trusts: content is encrypted to them.
pub const LEVEL_TRUSTED: &str = "trusted";

/// The level of keys that a policy trusts without asking the user.
pub const LEVEL_BLINDLY_TRUSTED: &str = "blindly-trusted";

/// The level of keys about which no trust decision was made.
pub const LEVEL_UNDECIDED: &str = "undecided";

/// The level of keys that a user distrusts: nothing is encrypted to them.
pub const LEVEL_DISTRUSTED: &str = "distrusted";

/// A key of a JID, in Curve25519 form, and the name of the level that it was given.
pub type KeyLevel = ([u8; 32], String);

/// What is done about a key about which no trust decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user is asked.
    Ask,
    /// The key gets this level, in the commit of the message that needs it.
    Level(&'static str),
}

/// What takes the place of a client's own levels.
pub trait TrustPolicy: Send + Sync {
    /// Returns what a level amounts to; `None`: the name is unknown.
    fn core_trust(&self, level: &str) -> Option<CoreTrust>;

    /// Judges the undecided key of a device that a message is for. The key is confirmed and not in conflict. `levels`
    /// are all keys of the JID that have a level, also those of devices that are gone.
    fn judge(&self, device: &Device, levels: &[KeyLevel]) -> Verdict;
}

/// Asks about every key.
#[derive(Clone, Copy, Debug)]
pub struct Ask;

/// Trust on first use: trusts the first keys of a JID blindly, and asks about those that come later.
#[derive(Clone, Copy, Debug)]
pub struct Tofu;

/// Blind trust before verification: trusts keys of a JID blindly until the user has decided about one of them.
#[derive(Clone, Copy, Debug)]
pub struct Btbv;

impl TrustPolicy for Ask {
    fn core_trust(&self, level: &str) -> Option<CoreTrust> {
        ready_made(level, CoreTrust::Undecided)
    }

    fn judge(&self, _: &Device, _: &[KeyLevel]) -> Verdict {
        Verdict::Ask
    }
}

impl TrustPolicy for Tofu {
    fn core_trust(&self, level: &str) -> Option<CoreTrust> {
        ready_made(level, CoreTrust::Trusted)
    }

    fn judge(&self, _: &Device, levels: &[KeyLevel]) -> Verdict {
        trust_blindly_unless_other(levels, &[LEVEL_UNDECIDED])
    }
}

impl TrustPolicy for Btbv {
    fn core_trust(&self, level: &str) -> Option<CoreTrust> {
        ready_made(level, CoreTrust::Trusted)
    }

    fn judge(&self, _: &Device, levels: &[KeyLevel]) -> Verdict {
        trust_blindly_unless_other(levels, &[LEVEL_UNDECIDED, LEVEL_BLINDLY_TRUSTED])
    }
}

/// What the four levels amount to where blind trust amounts to this.
fn ready_made(level: &str, blindly_trusted: CoreTrust) -> Option<CoreTrust> {
    match level {
        LEVEL_TRUSTED => Some(CoreTrust::Trusted),
        LEVEL_BLINDLY_TRUSTED => Some(blindly_trusted),
        LEVEL_UNDECIDED => Some(CoreTrust::Undecided),
        LEVEL_DISTRUSTED => Some(CoreTrust::Distrusted),
        _ => None,
    }
}

/// Trusts blindly where no key of the JID has another level than these.
fn trust_blindly_unless_other(levels: &[KeyLevel], names: &[&str]) -> Verdict {
    if levels.iter().all(|(_, level)| names.contains(&level.as_str())) {
        Verdict::Level(LEVEL_BLINDLY_TRUSTED)
    } else {
        Verdict::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::address::BareJid;

    const BLIND: Verdict = Verdict::Level(LEVEL_BLINDLY_TRUSTED);
    const ALL: [&dyn TrustPolicy; 3] = [&Ask, &Tofu, &Btbv];

    fn device() -> Device {
        Device {
            jid: BareJid::from_normalized("juliet@capulet.lit"),
            id: 1,
            identity_key: Some([1; 32]),
            trust_level_name: LEVEL_UNDECIDED.to_owned(),
            core_trust: CoreTrust::Undecided,
            provisional: false,
            active: Vec::new(),
            conflicting_key: None,
            preferred: None,
            label: None,
            downgraded: false,
            sessions: Vec::new(),
        }
    }

    /// What each policy says of a new key of somebody whose other keys have these levels.
    fn judged(levels: &[&str]) -> [Verdict; 3] {
        let levels: Vec<KeyLevel> = levels.iter().map(|level| ([2; 32], (*level).to_owned())).collect();
        ALL.map(|policy| policy.judge(&device(), &levels))
    }

    #[test]
    fn the_first_keys_are_trusted_blindly_by_all_but_ask() {
        assert_eq!(judged(&[]), [Verdict::Ask, BLIND, BLIND]);
        assert_eq!(judged(&[LEVEL_UNDECIDED; 3]), [Verdict::Ask, BLIND, BLIND]);
    }

    #[test]
    fn blind_trust_in_another_key_is_a_decision_for_tofu_only() {
        for levels in [&[LEVEL_BLINDLY_TRUSTED][..], &[LEVEL_UNDECIDED, LEVEL_BLINDLY_TRUSTED]] {
            assert_eq!(judged(levels), [Verdict::Ask, Verdict::Ask, BLIND]);
        }
    }

    #[test]
    fn once_a_user_has_decided_about_a_key_all_ask() {
        for level in [LEVEL_TRUSTED, LEVEL_DISTRUSTED, "a name of a client's own"] {
            assert_eq!(judged(&[level]), [Verdict::Ask; 3]);
            assert_eq!(judged(&[LEVEL_BLINDLY_TRUSTED, LEVEL_UNDECIDED, level]), [Verdict::Ask; 3]);
        }
    }

    #[test]
    fn levels_amount_to_the_same_everywhere_but_blind_trust() {
        let amount = |level: &str| ALL.map(|policy| policy.core_trust(level));
        assert_eq!(amount("trusted"), [Some(CoreTrust::Trusted); 3]);
        assert_eq!(amount("undecided"), [Some(CoreTrust::Undecided); 3]);
        assert_eq!(amount("distrusted"), [Some(CoreTrust::Distrusted); 3]);
        let blind = [CoreTrust::Undecided, CoreTrust::Trusted, CoreTrust::Trusted].map(Some);
        assert_eq!(amount("blindly-trusted"), blind);
        for unknown in ["", "Trusted", "verified", "blindly_trusted"] {
            assert_eq!(amount(unknown), [None; 3], "{unknown}");
        }
    }
}
