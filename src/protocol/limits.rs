//! Every limit on what comes from outside, with its reason. Shown in `docs/limits.md`.

/// Bytes of one stanza or element given as XML. A bundle of 1,000 pre keys has 80 kB; a message to 1,000 devices 250 kB.
pub const STANZA_BYTES: usize = 1024 * 1024;
/// Nesting of XML elements: what we read is at most 6 deep, an SCE envelope may hold more.
pub const XML_DEPTH: usize = 32;
/// Attributes of one XML element, namespace declarations included.
pub const XML_ATTRIBUTES: usize = 64;
/// Namespace declarations in scope at one place. Each name is looked up among them, so this bounds the work; real
/// stanzas have one for each level.
pub const XML_NAMESPACES: usize = 128;
/// Devices of one JID in one namespace, in a list that is read as in one that is written. Real accounts have fewer than
/// 20; QXmpp allows 200.
pub const DEVICES_PER_JID: usize = 256;
/// Bytes of what a device list holds beside ids and valid labels, as written: other clients put it there, so it is
/// published again. Together with 256 labels of 256 code points the list still fits into one stanza.
pub const FOREIGN_BYTES: usize = 64 * 1024;
/// Nesting of such elements. The list around them is 5 levels deep, and the whole must stay within the depth that is read.
pub const FOREIGN_DEPTH: usize = 16;
/// Pre keys of one bundle: 100 are recommended, and some clients publish a few hundred.
pub const PRE_KEYS_PER_BUNDLE: usize = 1_000;
/// `<encrypted/>` elements of one stanza that are read: one of each namespace is usual, copies by careless clients occur.
pub const MESSAGES_PER_STANZA: usize = 8;
/// Keys of one message: 10,000 devices in a room.
pub const KEYS_PER_MESSAGE: usize = 10_000;
/// Bytes of one key of a message: a key exchange of either namespace has fewer than 300.
pub const MESSAGE_KEY_BYTES: usize = 4 * 1024;
/// Bytes of one public key: 32, and the type byte before them in the legacy namespace.
pub const WIRE_KEY_BYTES: usize = 33;
/// Bytes of all JIDs of one message, each counted once. Normalisation can make a JID ten times longer than it stands
/// in the XML, so the stanza's own limit does not bound them.
pub const MESSAGE_JIDS_BYTES: usize = 1024 * 1024;
/// Bytes of the initialisation vector of legacy: 12, or 16 from old clients.
pub const MESSAGE_IV_BYTES: usize = 64;
/// Bytes of an SCE envelope that is written. In base64 and with keys for a thousand devices it still fits into one stanza:
/// a longer one could not be read by the recipients.
pub const ENVELOPE_BYTES: usize = 512 * 1024;
/// Code points of another device's label that is kept.
pub const LABEL_CHARS: usize = 256;

/// Bytes of another device's label that is stored: 53 code points have no more. A thousand of them fit into the record of a JID.
pub const STORED_LABEL_BYTES: usize = 216;

/// Code points of this device's label (XEP-0384 recommends fewer than 53).
pub const OWN_LABEL_CHARS: usize = 52;
/// Bytes of a bare JID: localpart and domainpart of 1,023 bytes each and the @ (RFC 7622 3.1).
pub const JID_BYTES: usize = 2_047;
/// Bytes of a localpart or domainpart in normal form (RFC 7622 3.2, 3.3).
pub const JID_PART_BYTES: usize = 1_023;
/// Message keys kept for skipped messages, for each session (XEP-0384 4.3).
pub const SKIPPED_PER_SESSION: usize = 1_000;
/// Message keys that one message may skip (XEP-0384 4.3).
pub const SKIPPED_PER_MESSAGE: usize = 1_000;
/// Previous states of a session that are kept for decryption, as libsignal does.
pub const ARCHIVED_SESSIONS: usize = 40;
/// Predecessors of the current session on which a speculative step of the DH ratchet is tried.
pub const SPECULATIVE_SESSIONS: usize = 5;
/// Chains in which one message may skip `OMEMO_OPTION_SKIPPED_PER_MESSAGE` keys (1,000; at most 2,000): the one that it
/// closes and the one that it opens. All attempts at a message share this budget, over sessions, keys and senders, so that
/// a forged message costs no more than the most expensive genuine one: 2,000 steps, or 4,000 with the largest option.
pub const CHAINS_PER_MESSAGE: usize = 2;
/// Closed receiving chains of which the key at index pn is kept (libsignal sends pn - 1).
pub const KEYS_AT_PN: usize = 5;
/// Pages in which the closed chains of a device are remembered, so that a message that was decrypted and is given again
/// counts as a duplicate. There is room for more than the last 1,000 chains; a repeated message of an older one is
/// reported as one that cannot be read.
pub const CLOSED_CHAIN_PAGES: u8 = 16;
/// Closed chains in one page. A hash spreads the chains over the pages, and of 1,000 chains no page gets more than these.
pub const CLOSED_CHAINS_PER_PAGE: usize = 128;
/// Bytes of one page. A DH ratchet step writes one page beside the session. In a full page the oldest chains are
/// forgotten; a chain usually takes about 11 bytes.
pub const CLOSED_CHAIN_PAGE_BYTES: usize = 2_048;
/// A record that is bounded when it is read may be so many times as large as this version writes it: a newer one may have added
/// fields, which stay in it.
pub const LARGER_BY_UNKNOWN_FIELDS: usize = 4;
/// Closed chains that are remembered of a device of a stranger.
pub const CLOSED_CHAINS_OF_STRANGERS: usize = 32;
/// Ranges of decrypted messages that are remembered of a closed chain, beside the range that begins with its first
/// message; and ranges of keys that were given up in the current chain. If there are more, some repeated messages are
/// reported as unreadable; a message that was not decrypted never counts as a duplicate.
pub const CLOSED_CHAIN_RANGES: usize = 4;
/// Bytes of the record of one session, its skipped keys apart. The largest that is written has fewer than 1,100.
pub const SESSION_RECORD_BYTES: usize = 4 * 1024;
/// Devices of one JID that are remembered, those that left included. A list that would need more is refused.
pub const KNOWN_DEVICES_PER_JID: usize = 1_000;
/// Bytes of one of the 256 buckets of the index of JIDs: at 40 bytes a JID, 400,000 JIDs in all.
pub const INDEX_BUCKET_BYTES: usize = 64 * 1024;
/// Key exchanges that are remembered because they used up a pre key: each opens once.
pub const REMEMBERED_EXCHANGES: usize = 256;
/// Empty messages that wait to be sent. While there are so many no further ones are queued.
pub const WAITING_MESSAGES: usize = 1_000;
/// Keys with our device id that are tried in one message. In legacy, devices of different accounts may have the same id,
/// but seldom do.
pub const KEYS_TRIED: usize = 16;
/// Attempts at one message over all keys and senders: each may cost some key agreements.
pub const ATTEMPTS_PER_MESSAGE: usize = 100;
/// Bytes of the record of empty messages that wait to be sent.
pub const WAITING_MESSAGES_BYTES: usize = 512 * 1024;
