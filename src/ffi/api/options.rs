//! Section 4 of the header, the options of a configuration.

use crate::manager::config::{
    ACKNOWLEDGE, HEALING, MARK_START, MAX_OPEN_FETCHES, MAX_UNANSWERED_MESSAGES, PRE_KEY_THRESHOLD,
    REQUEST_TIMEOUT_MS, SIGNED_PRE_KEY_PERIOD_S, SKIPPED_PER_MESSAGE, SKIPPED_PER_SESSION, TRUST_POLICY,
};

/// Options for omemo_config_set_option. The comment of each gives the unit, the bounds, and the value of an option
/// that is not set.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the header has the sentences of src/manager/config.rs")]
pub enum omemo_option {
    OMEMO_OPTION_REQUEST_TIMEOUT_MS = 1,
    OMEMO_OPTION_MAX_OPEN_FETCHES = 2,
    OMEMO_OPTION_SKIPPED_PER_SESSION = 3,
    OMEMO_OPTION_SKIPPED_PER_MESSAGE = 4,
    OMEMO_OPTION_HEALING = 5,
    OMEMO_OPTION_MAX_UNANSWERED_MESSAGES = 6,
    OMEMO_OPTION_SIGNED_PRE_KEY_PERIOD_S = 7,
    OMEMO_OPTION_PRE_KEY_THRESHOLD = 8,
    OMEMO_OPTION_TRUST_POLICY = 9,
    OMEMO_OPTION_MARK_START = 10,
    OMEMO_OPTION_ACKNOWLEDGE = 11,
}

// The enumeration is written out for cbindgen; its numbers are those of the table.
const _: () = {
    assert!(omemo_option::OMEMO_OPTION_REQUEST_TIMEOUT_MS as i32 == REQUEST_TIMEOUT_MS.number);
    assert!(omemo_option::OMEMO_OPTION_MAX_OPEN_FETCHES as i32 == MAX_OPEN_FETCHES.number);
    assert!(omemo_option::OMEMO_OPTION_SKIPPED_PER_SESSION as i32 == SKIPPED_PER_SESSION.number);
    assert!(omemo_option::OMEMO_OPTION_SKIPPED_PER_MESSAGE as i32 == SKIPPED_PER_MESSAGE.number);
    assert!(omemo_option::OMEMO_OPTION_HEALING as i32 == HEALING.number);
    assert!(omemo_option::OMEMO_OPTION_MAX_UNANSWERED_MESSAGES as i32 == MAX_UNANSWERED_MESSAGES.number);
    assert!(omemo_option::OMEMO_OPTION_SIGNED_PRE_KEY_PERIOD_S as i32 == SIGNED_PRE_KEY_PERIOD_S.number);
    assert!(omemo_option::OMEMO_OPTION_PRE_KEY_THRESHOLD as i32 == PRE_KEY_THRESHOLD.number);
    assert!(omemo_option::OMEMO_OPTION_TRUST_POLICY as i32 == TRUST_POLICY.number);
    assert!(omemo_option::OMEMO_OPTION_MARK_START as i32 == MARK_START.number);
    assert!(omemo_option::OMEMO_OPTION_ACKNOWLEDGE as i32 == ACKNOWLEDGE.number);
};
