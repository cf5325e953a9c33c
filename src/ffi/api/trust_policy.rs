//! Section 4 of the header, trust policies: the policy that an option selects.

use super::callbacks::omemo_callbacks;
use crate::error::{Error, Result, Status};
use crate::manager::api::trust_policy::{Ask, Btbv, Tofu, TrustPolicy};
use crate::manager::config::TRUST_POLICY;

/// Ready-made trust policies for OMEMO_OPTION_TRUST_POLICY: what is done about a key without a trust decision when a
/// message is encrypted for its device. Keys that only a message has shown (omemo_devices_provisional) and keys in
/// conflict (OMEMO_NOTICE_IDENTITY_CHANGED) are never trusted by a policy. The other devices of this account are judged
/// like those of others. A key that a policy trusts gets the level OMEMO_TRUST_LEVEL_NAME_BLINDLY_TRUSTED, so that it is
/// told from those that a user has verified, and OMEMO_NOTICE_BLINDLY_TRUSTED says so. docs/trust.md compares the
/// policies.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_trust_policy {
    /// decide_trust is called for every key, blindly trusted ones included.
    OMEMO_TRUST_POLICY_ASK = 0,
    /// Trust on first use: the first keys of a JID are trusted blindly. As soon as one of its keys has a level other than
    /// OMEMO_TRUST_LEVEL_NAME_UNDECIDED, decide_trust is called for every further one.
    OMEMO_TRUST_POLICY_TOFU = 1,
    /// Blind trust before verification: keys of a JID are trusted blindly, new ones too, until one of its keys was
    /// trusted or distrusted by the user. From then on decide_trust is called for every further one.
    OMEMO_TRUST_POLICY_BTBV = 2,
}

use omemo_trust_policy::{OMEMO_TRUST_POLICY_ASK, OMEMO_TRUST_POLICY_BTBV, OMEMO_TRUST_POLICY_TOFU};

// The numbers are stored by clients in their settings, and are those of the option's bounds.
const _: () = assert!(OMEMO_TRUST_POLICY_ASK as u64 == TRUST_POLICY.least);
const _: () = assert!(OMEMO_TRUST_POLICY_ASK as u64 == TRUST_POLICY.default);
const _: () = assert!(OMEMO_TRUST_POLICY_TOFU as u64 == 1);
const _: () = assert!(OMEMO_TRUST_POLICY_BTBV as u64 == TRUST_POLICY.most);

/// Returns the policy that takes the place of evaluate_trust; `None`: the client has an evaluate_trust.
pub(in crate::ffi) fn selected(
    option: u64,
    callbacks: Option<&omemo_callbacks>,
) -> Result<Option<&'static dyn TrustPolicy>> {
    const TOFU: u64 = OMEMO_TRUST_POLICY_TOFU as u64;
    const BTBV: u64 = OMEMO_TRUST_POLICY_BTBV as u64;
    let evaluates = callbacks.is_some_and(|callbacks| callbacks.evaluate_trust.is_some());
    match option {
        TOFU | BTBV if evaluates => Err(Error::new(
            Status::Argument,
            "OMEMO_OPTION_TRUST_POLICY does not go with evaluate_trust: a policy has level names of its own.",
        )),
        TOFU => Ok(Some(&Tofu)),
        BTBV => Ok(Some(&Btbv)),
        _ if evaluates => Ok(None),
        _ => Ok(Some(&Ask)),
    }
}
