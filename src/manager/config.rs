//! The settings of an account, and the one table of its options: header, docs/limits.md and code come from it.

use crate::protocol::address::BareJid;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;

/// An option: a number that `omemo_config_set_option` sets.
#[derive(Debug)]
pub struct ConfigOption {
    /// The number of the option, which is `omemo_option`'s.
    pub number: i32,
    /// The name in C.
    pub name: &'static str,
    /// Sentences that say what it is, for header and page.
    pub meaning: &'static str,
    /// The unit of the value.
    pub unit: &'static str,
    /// The least value.
    pub least: u64,
    /// The greatest value.
    pub most: u64,
    /// The value unless set.
    pub default: u64,
}

/// Deadline of network requests.
pub const REQUEST_TIMEOUT_MS: ConfigOption = ConfigOption {
    number: 1,
    name: "OMEMO_OPTION_REQUEST_TIMEOUT_MS",
    meaning: "Time after which a network request ends by itself.",
    unit: "milliseconds",
    least: 1_000,
    most: 3_600_000,
    default: 60_000,
};

/// Bound on fetches.
pub const MAX_OPEN_FETCHES: ConfigOption = ConfigOption {
    number: 2,
    name: "OMEMO_OPTION_MAX_OPEN_FETCHES",
    meaning: "Largest number of fetch requests that are open at the same time.",
    unit: "requests",
    least: 1,
    most: 1_000,
    default: 32,
};

/// Bound on stored skipped message keys.
pub const SKIPPED_PER_SESSION: ConfigOption = ConfigOption {
    number: 3,
    name: "OMEMO_OPTION_SKIPPED_PER_SESSION",
    meaning: "Largest number of skipped message keys that are kept for each session.",
    unit: "keys",
    least: 0,
    most: 2_000,
    default: limits::SKIPPED_PER_SESSION as u64,
};

/// Bound on message keys that one message skips.
pub const SKIPPED_PER_MESSAGE: ConfigOption = ConfigOption {
    number: 4,
    name: "OMEMO_OPTION_SKIPPED_PER_MESSAGE",
    meaning: "Largest number of message keys that one message may skip. Must not be greater than \
              OMEMO_OPTION_SKIPPED_PER_SESSION, to which the default is lowered.",
    unit: "keys",
    least: 0,
    most: 2_000,
    default: limits::SKIPPED_PER_MESSAGE as u64,
};

/// Period of rotation.
pub const SIGNED_PRE_KEY_PERIOD_S: ConfigOption = ConfigOption {
    number: 7,
    name: "OMEMO_OPTION_SIGNED_PRE_KEY_PERIOD_S",
    meaning: "Time after which omemo_manager_run replaces the signed pre key of each namespace and publishes the bundle. \
              The one before it is kept for as long.",
    unit: "seconds",
    least: 86_400,
    most: 2_419_200,
    default: 604_800,
};

/// When pre keys are made anew.
pub const PRE_KEY_THRESHOLD: ConfigOption = ConfigOption {
    number: 8,
    name: "OMEMO_OPTION_PRE_KEY_THRESHOLD",
    meaning: "Number of unused pre keys at which, or below which, new ones are made until there are 100.",
    unit: "pre keys",
    least: 25,
    most: 99,
    default: 99,
};

/// Who replaces broken sessions.
pub const HEALING: ConfigOption = ConfigOption {
    number: 5,
    name: "OMEMO_OPTION_HEALING",
    meaning: "0: a session on which messages cannot be decrypted is replaced by omemo_manager_replace_sessions only, as \
              XEP-0384 demands. 1: the library replaces it by itself, at most once a day for each device, and only \
              after OMEMO_NOTICE_SESSION_BROKEN (docs/sessions.md).",
    unit: "0 or 1",
    least: 0,
    most: 1,
    default: 0,
};

/// Bound on messages that nobody answers.
pub const MAX_UNANSWERED_MESSAGES: ConfigOption = ConfigOption {
    number: 6,
    name: "OMEMO_OPTION_MAX_UNANSWERED_MESSAGES",
    meaning: "Number of messages to a device, without a message of it that was decrypted, after which nothing more is \
              encrypted for it until it writes or its session is replaced (OMEMO_ERR_UNRESPONSIVE). 0: never. Most \
              clients that are online answer after 54 messages at the latest, so that values below 54 count as \
              54; some legacy clients never answer by themselves (docs/sessions.md).",
    unit: "messages",
    least: 0,
    most: 1_000_000,
    default: 0,
};

/// What is done about undecided keys. Not a part of [`Config`]: a policy is one of the `Services`.
pub const TRUST_POLICY: ConfigOption = ConfigOption {
    number: 9,
    name: "OMEMO_OPTION_TRUST_POLICY",
    meaning: "An omemo_trust_policy: decides in place of the user about keys without a trust decision. 1 and 2 need \
              omemo_callbacks.evaluate_trust to be NULL, and a default trust level that is undecided; omemo_manager_new \
              checks both.",
    unit: "omemo_trust_policy",
    least: 0,
    most: 2,
    default: 0,
};

/// How restored copies of the store are found out.
pub const MARK_START: ConfigOption = ConfigOption {
    number: 10,
    name: "OMEMO_OPTION_MARK_START",
    meaning: "1: at the first omemo_manager_connected of each manager one pre key is replaced and the bundle published before \
              anything is encrypted, or that is tried three times. A store that was copied before that is then found to be \
              an older copy (OMEMO_NOTICE_ROLLED_BACK) at its own first omemo_manager_connected. 0: it is found only if the \
              bundle has changed for another reason since the copy was made (docs/sessions.md has the limits of both).",
    unit: "0 or 1",
    least: 0,
    most: 1,
    default: 0,
};

/// Whether decrypted content is kept until the client has it safe.
pub const ACKNOWLEDGE: ConfigOption = ConfigOption {
    number: 11,
    name: "OMEMO_OPTION_ACKNOWLEDGE",
    meaning: "1: decrypted content is kept in the store, in the same commit as the step of the session, until \
              omemo_manager_acknowledge is called with its omemo_decrypted_receipt: no crash loses it (docs/storage.md). 0: \
              it is handed out and not kept; what was kept before stays listed.",
    unit: "0 or 1",
    least: 0,
    most: 1,
    default: 0,
};

/// All options, by number.
pub const OPTIONS: [&ConfigOption; 11] = [
    &REQUEST_TIMEOUT_MS,
    &MAX_OPEN_FETCHES,
    &SKIPPED_PER_SESSION,
    &SKIPPED_PER_MESSAGE,
    &HEALING,
    &MAX_UNANSWERED_MESSAGES,
    &SIGNED_PRE_KEY_PERIOD_S,
    &PRE_KEY_THRESHOLD,
    &TRUST_POLICY,
    &MARK_START,
    &ACKNOWLEDGE,
];

/// Who replaces a session on which messages cannot be decrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Healing {
    /// The client, as XEP-0384 demands.
    #[default]
    Manual,
    /// The library.
    Automatic,
}

/// Whether each start leaves a mark in the bundle on the server, by which older copies of the store are found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMark {
    /// No mark.
    #[default]
    None,
    /// A pre key with a new id.
    NewPreKey,
}

/// Whose habits an account has: tests play other implementations with this one. No option of the C functions sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habits {
    /// This library's own.
    #[default]
    Own,
    /// Keeps a single session with a device: what is on its way on an earlier one is lost.
    SingleSession,
    /// Announces the previous sending chain as one message shorter than it was, as implementations with libsignal do.
    ShortenedPn,
}

impl Habits {
    /// Returns the length of the previous sending chain that is announced where it was so long.
    pub fn announced_pn(self) -> fn(u32) -> u32 {
        match self {
            Habits::ShortenedPn => |pn| pn.saturating_sub(1),
            Habits::Own | Habits::SingleSession => |pn| pn,
        }
    }

    /// Returns how many earlier sessions are kept with a device.
    pub fn archived_sessions(self) -> usize {
        match self {
            Habits::SingleSession => 0,
            Habits::Own | Habits::ShortenedPn => limits::ARCHIVED_SESSIONS,
        }
    }
}

/// What becomes of decrypted content once it was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It is the client's.
    #[default]
    Direct,
    /// It is kept until the client acknowledges it.
    Acknowledged,
}

/// The settings of an account.
#[derive(Clone)]
pub struct Config {
    /// The bare JID of the account.
    pub jid: BareJid,
    /// The namespaces in use, most preferred first.
    pub namespaces: Vec<Namespace>,
    /// The trust level of keys about which no trust decision was made.
    pub default_trust_level_name: String,
    /// See [`REQUEST_TIMEOUT_MS`].
    pub request_timeout_ms: u64,
    /// See [`MAX_OPEN_FETCHES`].
    pub max_open_fetches: usize,
    /// See [`SKIPPED_PER_SESSION`].
    pub skipped_per_session: usize,
    /// See [`SKIPPED_PER_MESSAGE`].
    pub skipped_per_message: usize,
    /// See [`HEALING`].
    pub healing: Healing,
    /// See [`MARK_START`].
    pub start_mark: StartMark,
    /// See [`MAX_UNANSWERED_MESSAGES`]; `None`: never.
    pub max_unanswered_messages: Option<u32>,
    /// See [`SIGNED_PRE_KEY_PERIOD_S`]; in milliseconds.
    pub signed_pre_key_period_ms: u64,
    /// See [`PRE_KEY_THRESHOLD`].
    pub pre_key_threshold: usize,
    /// See [`ACKNOWLEDGE`].
    pub delivery: Delivery,
    /// See [`Habits`].
    pub habits: Habits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_of_others_are_theirs_alone() {
        let announced = |habits: Habits| [0, 1, 7].map(habits.announced_pn());
        assert_eq!(announced(Habits::Own), [0, 1, 7]);
        assert_eq!(announced(Habits::SingleSession), [0, 1, 7]);
        assert_eq!(announced(Habits::ShortenedPn), [0, 0, 6]);
        assert_eq!(Habits::SingleSession.archived_sessions(), 0);
        assert_eq!(Habits::Own.archived_sessions(), limits::ARCHIVED_SESSIONS);
        assert_eq!(Habits::ShortenedPn.archived_sessions(), limits::ARCHIVED_SESSIONS);
    }
}
