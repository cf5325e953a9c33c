//! Every time and every count that the manager decides by, each with its argument. `docs/limits.md` shows them; limits
//! on what comes from outside stand in `protocol::limits`.

use std::ops::Range;

/// Milliseconds of a minute, an hour and a day.
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

// -- Freshness --

/// A device list that no push has replaced is fetched again after an hour: servers without presence subscription push
/// nothing, and an hour bounds how long a new device of a stranger gets nothing.
pub(super) const LIST_FRESH_MS: u64 = HOUR;
/// An encryption that would end without any device for a JID looks at its lists again if the last look is older than
/// five seconds: who installs OMEMO is reached at the next message, and a held-down key asks at most once in five.
pub(super) const NO_DEVICES_LOOK_MS: u64 = 5_000;
/// A list that was pushed empty counts as looked at for a minute: the server has just said so by itself.
pub(super) const EMPTY_PUSH_LOOK_MS: u64 = MINUTE;
/// A list whose fetch failed is not asked for again before this; doubled with each failure up to `FAILED_MAX_MS`.
pub(super) const LIST_FAILED_MS: u64 = MINUTE;
/// A bundle that is missing or bad is fetched again after this (Dino and Gajim publish the list first); doubled with
/// each failure up to `FAILED_MAX_MS`.
pub(super) const BUNDLE_FAILED_MS: u64 = MINUTE;
/// The longest wait between two looks at a list or bundle that cannot be had.
pub(super) const FAILED_MAX_MS: u64 = HOUR;
/// Unsolicited fetches never repeat an item-not-found within an hour.
pub(super) const BACKGROUND_NOT_FOUND_MS: u64 = HOUR;
/// A bundle older than this is fetched again before a session begins on it: its pre key may be used up meanwhile.
pub(super) const BUNDLE_STALE_MS: u64 = 10 * MINUTE;

// -- Encryption --

/// How often what is missing is gathered before it is reported.
pub(super) const GATHER_ROUNDS: usize = 3;
/// Encryptions that wait for a stream. More are refused: each holds its plaintext.
pub(super) const WAITING_ENCRYPTIONS: usize = 1_000;
/// A session that was begun here and never answered is rebuilt after this, or its peer may never read it.
pub(super) const UNANSWERED_MS: u64 = 7 * DAY;
/// How often the bundle of such a device is looked at.
pub(super) const UNANSWERED_LOOK_MS: u64 = DAY;

// -- Sessions --

/// How long a retired session decrypts what was on its way, in accumulated time: a clock that jumps by years ends none.
pub(super) const RETIRED_MS: u64 = 30 * DAY;
/// How long a superseded session decrypts after it last did, in accumulated time.
pub(super) const SUPERSEDED_MS: u64 = 90 * DAY;
/// Archived sessions of a device that were never answered: a stranger makes them at will, a friend's crossing key
/// exchanges make one or two.
pub(super) const ARCHIVED_UNANSWERED: usize = 5;
/// Skipped keys that such a session keeps in the archive.
pub(super) const SKIPPED_UNANSWERED: usize = 100;
/// Slots of archived sessions that are emptied where the list of them cannot be read: few devices ever need more.
pub(super) const ARCHIVE_SLOTS_EMPTIED: u32 = 256;
/// A chain that is this long makes us answer, so that the sender's ratchet steps (XEP-0384 4.3, 53 messages).
pub(super) const HEARTBEAT: u32 = 53;

/// The least number of unanswered messages after which a device may count as unresponsive: the last of them is the one that
/// makes it answer.
pub(super) const LEAST_UNANSWERED: u32 = 54;

// -- Own keys --

/// Pre keys of a full bundle (XEP-0384 4.2 recommends about 100).
pub(super) const PRE_KEYS: usize = 100;
/// Pre keys with which a published bundle still serves, used ones whose private half is kept among them (XEP-0384 4.2: never
/// fewer).
pub(super) const LEAST_PRE_KEYS: usize = 25;
/// Key exchanges of strangers that may use pre keys up before a bundle without these is published: each needs its place
/// among those that are remembered for as long.
pub(super) const OPEN_STRANGER_EXCHANGES: usize = 96;
/// Those of one stranger: more than an account needs whose many devices all begin new sessions, and others have room
/// beside it.
pub(super) const OPEN_EXCHANGES_OF_A_STRANGER: usize = 64;
/// How long the private half of a used pre key stays if no bundle without it could be published, in accumulated time; while
/// a catch-up is going on, a day longer.
pub(super) const USED_PRE_KEY_MS: u64 = DAY;
/// How often unknown pre keys under this device's id retire all sessions: nobody signs pre keys, and a server could otherwise end all
/// sessions at each login.
pub(super) const ROLLBACK_MS: i64 = 24 * 3_600_000;
/// How far the ids of another copy of the store are followed: 100,000 pre keys are 27 a day for ten years. Nobody signs ids: a
/// server that makes them up once a day uses up all of them in 58 years.
pub(super) const FOLLOWED_IDS: u32 = 100_000;
/// How often it is tried to compare this device with the server before anything is encrypted.
pub(super) const BLIND_COMPARISONS: u32 = 3;
/// Device ids that are given up by this device in a day: a client that writes bundles under our ids would otherwise chase us
/// through all of them, and each costs every session.
pub(super) const ID_GIVEN_UP_MS: i64 = 24 * 3_600_000;

/// How much a step of the wall clock adds to accumulated time at most: a client that runs once a day is as old as the calendar
/// says, and a clock that jumps by years makes no key old.
pub(super) const ACCUMULATED_STEP_MS: u64 = DAY;
/// How often accumulated time is looked at, and stored: what a crash takes back is less than that.
pub(super) const ACCUMULATED_STORED_MS: u64 = 6 * HOUR;
/// A longer step of the wall clock is taken for a clock that was set, and used pre keys get another day: the step alone
/// would make all of them too old.
pub(super) const CLOCK_SET_MS: i64 = 30 * 24 * 3_600_000;
/// Devices whose sessions are looked at in one go, to delete those whose time has passed...
pub(super) const EXPIRY_DEVICES: usize = 64;
/// ... before this pause; all are looked at whenever accumulated time is stored.
pub(super) const EXPIRY_PAUSE_MS: u64 = 1_000;

// -- Publications --

/// Publications of one node: a bucket of so many, full when a manager is opened...
pub(super) const PUBLISH_BUCKET: u32 = 10;
/// ... refilled by one each 72 minutes: 20 a day and node in the long run (two clients that undo each other) ...
pub(super) const PUBLISH_REFILL_MS: u64 = 72 * MINUTE;
/// ... and at most three in a minute.
pub(super) const PUBLISHES_PER_MINUTE: usize = 3;

/// A publication that the day's limit delays for longer than this ends `connected` with a row.
pub(super) const PUBLISH_WAIT_MS: u64 = MINUTE;

// -- Background jobs --

/// What failed at the server or in the store is tried again after a second...
pub(super) const RETRY_FIRST_MS: u64 = 1_000;
/// ... later after twice as long each time, up to five minutes.
pub(super) const RETRY_MAX_MS: u64 = 5 * MINUTE;

/// Jobs done at a time.
pub(super) const JOBS: usize = 32;
/// When the worker looks again after the store could not be read.
pub(super) const STORE_RETRY_MS: u64 = 1_000;
/// Unsolicited jobs of known JIDs in memory at a time, and as many of strangers.
pub(super) const UNSOLICITED: usize = 256;
/// Unsolicited jobs that one JID may cause at a time.
pub(super) const UNSOLICITED_PER_JID: usize = 32;
/// Unsolicited jobs that all strangers of one domain may cause at a time.
pub(super) const UNSOLICITED_PER_DOMAIN: usize = 128;
/// Unsolicited jobs done at a time: half, so that publications and answers never wait for them.
pub(super) const UNSOLICITED_JOBS: usize = 16;
/// Those of them that are for strangers: they leave as many to known JIDs.
pub(super) const STRANGER_JOBS: usize = 8;
/// How often an unsolicited job that failed is tried in a stream.
pub(super) const UNSOLICITED_TRIES: u32 = 3;
/// The same list is not looked at again within an hour because of what strangers send.
pub(super) const UNSOLICITED_AGAIN_MS: u64 = HOUR;
/// How soon a message that shows another key than the known one has the device's bundle looked at once more: a forged one
/// must not keep the client from the key of a device that is installed again.
pub(super) const BUNDLE_LOOK_AGAIN_MS: u64 = MINUTE;
/// A session with one device is repaired at most once a day: an old archive must not replace good sessions.
pub(super) const REPAIR_AGAIN_MS: u64 = DAY;
/// Different messages of a device that must have failed before its session is replaced by itself, where the client has
/// chosen that: one alone may be forged, or damaged on its way.
pub(super) const HEAL_AFTER_MESSAGES: usize = 2;
/// How often a session with a device is replaced by itself: once a day, or two clients that cannot read each other would do
/// it without end.
pub(super) const HEAL_AGAIN_MS: i64 = 24 * 3_600_000;
/// Failed messages of a device that are told apart, so that one which is given again counts once.
pub(super) const FAILED_MESSAGES_TOLD_APART: usize = 16;
/// An empty message that could not be sent for so long is of no use any more.
pub(super) const OUTBOX_KEPT_MS: u64 = 30 * DAY;

// -- Catch-up --

/// How long a catch-up goes on at most: a client that forgets to end it must answer some day, and used pre keys are kept
/// for no more than as much longer.
pub(super) const CATCH_UP_MS: u64 = DAY;

// -- Memory --

/// Bytes of known JIDs' records that are kept decoded.
pub(super) const CACHED_CONTACT_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of strangers' records that are kept decoded.
pub(super) const CACHED_STRANGER_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of sessions with known JIDs that are kept decoded: some 30,000.
pub(super) const CACHED_SESSION_BYTES: usize = 48 * 1024 * 1024;
/// Bytes of strangers' sessions that are kept decoded: some 1,300.
pub(super) const CACHED_STRANGER_SESSION_BYTES: usize = 2 * 1024 * 1024;
/// Lists, and bundles that failed, of which it is remembered when they were looked at; known JIDs and strangers apart.
pub(super) const REMEMBERED_LOOKS: usize = 20_000;
/// The same for strangers.
pub(super) const REMEMBERED_STRANGER_LOOKS: usize = 2_000;

// -- Acknowledged delivery --

/// Contents that are kept because nobody has acknowledged them: a night of a busy gateway. With more of them nothing further
/// is decrypted, since it could be lost. So many of known JIDs, and as many of strangers.
pub(super) const KEPT_CONTENTS: usize = 10_000;
/// Receipts that begin with the same millisecond: more messages than can be committed in it.
pub(super) const RECEIPTS_AT_ONCE: u64 = 1_024;

// -- What strangers may have stored --

/// Devices of a JID that only key exchanges vouch for, those on its list apart.
pub(super) const PROVISIONAL_DEVICES: usize = 16;
/// Bytes of an index bucket that strangers may take: half, so that the other half is for those the client names.
pub(super) const STRANGER_BUCKET_BYTES: usize = 32 * 1024;
/// Keys of one JID that can be judged: 4,096 keys are more than any account shows in its life, and the record stays
/// far below a mebibyte.
pub(super) const TRUST_ENTRIES: usize = 4_096;
/// Bytes of a trust level's name.
pub(super) const LEVEL_NAME_BYTES: usize = 256;
/// Bytes of any record. What a commit would write beyond it is LIMIT, since it could never be loaded again. A store takes
/// a mebibyte, of which a sealed one needs 41 bytes for itself.
pub(super) const RECORD_BYTES: usize = 1_048_512;
/// Findings of a check that are reported: who has more needs no list of them.
pub(super) const FINDINGS: usize = 10_000;

/// Returns the wait after so many failures in a row, doubled with each.
pub(super) fn doubled(first: u64, failures: u32, most: u64) -> u64 {
    first.checked_shl(failures.min(32)).unwrap_or(most).min(most)
}

/// The lengths that a trust level's name may have.
pub(super) const LEVEL_NAME: Range<usize> = 1..LEVEL_NAME_BYTES + 1;
