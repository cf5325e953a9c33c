//! Why a message that was delivered may stay unread: each excuse is a fact that the simulation recorded when it happened,
//! never the status that came out.

use crate::facts::{Facts, Reason};
use crate::tap::Tap;

/// Sessions that are kept of a device beside the current one.
const ARCHIVED: usize = 40;
/// Keys that a message may skip.
const SKIPPED: u32 = 1_000;
/// How long a superseded session decrypts after it last did.
const SUPERSEDED_MS: i64 = 90 * 86_400_000;
/// How long a bundle that could not be had is not asked for again.
const REFUSED_MS: i64 = 3_700_000;

/// How long the private half of a used pre key is kept if no bundle without it could be published.
const USED_PRE_KEY_MS: i64 = 86_400_000;

/// All that counts as an excuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// The recipient had distrusted the sender's key when the message arrived.
    Distrusted,
    /// The recipient had purged the sender's JID, and no new session stood between them when the message was written.
    Purged,
    /// The sender had not been told of the device, or could not have its bundle, when it encrypted.
    Inactive,
    /// The key exchange names a signed pre key that was replaced twice since.
    OldSignedPreKey,
    /// The key exchange names a pre key that another one used, and a bundle without it was published in between, or a day has
    /// passed.
    SharedPreKey,
    /// There were more than 40 sessions between the two.
    Archived,
    /// More than 1,000 messages of the chain are missing.
    Skipped,
    /// The message is older than what a superseded session is kept for.
    Ended,
    /// One of the two was running on an older copy of its store, and no session was begun since when it was written.
    Restored,
}

impl Excuse {
    pub const ALL: [Excuse; 9] = [
        Excuse::Distrusted,
        Excuse::Purged,
        Excuse::Inactive,
        Excuse::OldSignedPreKey,
        Excuse::SharedPreKey,
        Excuse::Archived,
        Excuse::Skipped,
        Excuse::Ended,
        Excuse::Restored,
    ];
}

/// The excuse for a device that could not read a stanza which holds a key for it.
pub fn of_reader(facts: &Facts, tap: &Tap, stanza: usize, reader: usize, now_ms: i64) -> Option<Excuse> {
    let written = &facts.stanzas[stanza];
    let key = written.keys.get(&reader)?;
    let sender = written.sender;
    if facts.distrusts(reader, sender) {
        return Some(Excuse::Distrusted);
    }
    match facts.broken(sender, reader, written.tick) {
        Some(Reason::Restored) => return Some(Excuse::Restored),
        Some(Reason::Purged) => return Some(Excuse::Purged),
        None => (),
    }
    if let Some(exchange) = &key.exchange {
        let device = facts.devices[&reader].id;
        let published = tap.published.get(&(written.namespace, device))?;
        let place = published.signed.iter().position(|(id, ..)| *id == exchange.signed_pre_key);
        if place.is_some_and(|place| place + 2 < published.signed.len()) {
            return Some(Excuse::OldSignedPreKey);
        }
        let others = published.used.get(&exchange.pre_key);
        let others = others.is_some_and(|used| used.iter().any(|used| *used != exchange.ephemeral));
        let used_at = published.used_at.get(&exchange.pre_key);
        let gone = used_at.is_some_and(|at_ms| now_ms - at_ms > USED_PRE_KEY_MS);
        if others && (gone || published.removed.contains(&exchange.pre_key)) {
            return Some(Excuse::SharedPreKey);
        }
    }
    if facts.sessions_between(sender, reader) > ARCHIVED {
        return Some(Excuse::Archived);
    }
    if facts.gap(sender, reader, key) > SKIPPED {
        return Some(Excuse::Skipped);
    }
    (now_ms - written.at_ms > SUPERSEDED_MS).then_some(Excuse::Ended)
}

/// The excuse for a sender who left out a device that it should have served.
pub fn of_sender(facts: &Facts, tap: &mut Tap, sender: usize, device: usize, now_ms: i64) -> Option<Excuse> {
    let (from, to) = (&facts.devices[&sender], &facts.devices[&device]);
    let common = to.namespaces.iter().filter(|of| from.namespaces.contains(of));
    let told = common.filter(|of| tap.knew(sender, (**of, &to.jid, to.id), now_ms)).count() > 0;
    let refused = tap.refused.get(&(sender, to.id));
    let refused = refused.is_some_and(|at_ms| now_ms - at_ms < REFUSED_MS);
    (!told || refused).then_some(Excuse::Inactive)
}
