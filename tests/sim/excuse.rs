//! Why a message that was delivered may stay unread: each excuse is a fact that the simulation recorded when it happened,
//! never the status alone that came out. What would need others does not happen in a run: a signed pre key that was replaced
//! twice, more than 40 sessions, 1,000 messages that are missing, a session that was superseded 90 days ago.

use crate::facts::{Facts, Reason};
use crate::tap::Tap;
use omemo::error::Status;

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
    /// The sender had not been told of the device, or had no session with it and could not have its bundle, when it encrypted.
    Inactive,
    /// The key exchange names a pre key that another one used, and a bundle without it was published in between, or a day has
    /// passed.
    SharedPreKey,
    /// The recipient keeps a single session, as another implementation does: that is not this library's fault.
    SingleSession,
    /// One of the two was running on an older copy of its store, and no session was begun since when it was written.
    Restored,
}

impl Excuse {
    pub const ALL: [Excuse; 6] = [
        Excuse::Distrusted,
        Excuse::Purged,
        Excuse::Inactive,
        Excuse::SharedPreKey,
        Excuse::SingleSession,
        Excuse::Restored,
    ];
}

/// The excuse for a device that could not read a stanza which holds a key for it.
pub fn of_reader(
    facts: &Facts,
    tap: &Tap,
    (stanza, reader): (usize, usize),
    status: Status,
    now_ms: i64,
) -> Option<Excuse> {
    let written = &facts.stanzas[stanza];
    let key = written.keys.get(&reader)?;
    let sender = written.sender;
    if status == Status::SenderDistrusted && facts.distrusts(reader, sender) {
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
        let others = published.used.get(&exchange.pre_key);
        let others = others.is_some_and(|used| used.iter().any(|used| *used != exchange.ephemeral));
        let used_at = published.used_at.get(&exchange.pre_key);
        let gone = used_at.is_some_and(|at_ms| now_ms - at_ms > USED_PRE_KEY_MS);
        if others && (gone || published.removed.contains(&exchange.pre_key)) {
            return Some(Excuse::SharedPreKey);
        }
    }
    facts.has_single_sessions(reader).then_some(Excuse::SingleSession)
}

/// The excuse for a sender who left out a device that it should have served in an encryption that was begun at this tick: a
/// session that comes while the bundle is asked for does not count yet.
pub fn of_sender(
    facts: &Facts,
    tap: &mut Tap,
    (sender, device): (usize, usize),
    begun: u64,
    now_ms: i64,
) -> Option<Excuse> {
    let (from, to) = (&facts.devices[&sender], &facts.devices[&device]);
    let common = to.namespaces.iter().filter(|of| from.namespaces.contains(of));
    let told = common.filter(|of| tap.knew(sender, (**of, &to.jid, to.id), now_ms)).count() > 0;
    let refused =
        is_refused(facts, tap, (sender, device), now_ms) && !facts.had_session(sender, device, begun);
    (!told || refused).then_some(Excuse::Inactive)
}

/// Whether a sender could not have the bundle of a device lately.
fn is_refused(facts: &Facts, tap: &Tap, (sender, device): (usize, usize), now_ms: i64) -> bool {
    let refused = tap.refused.get(&(sender, facts.devices[&device].id));
    refused.is_some_and(|at_ms| now_ms - at_ms < REFUSED_MS)
}
