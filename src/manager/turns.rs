//! The order of encryptions: those for the same recipients end in the order in which they were started.
//!
//! Knows no sessions: it is a queue of numbers for each set of recipients.

use super::Inner;
use super::api::draft::{Draft, EncryptPolicy};
use crate::protocol::address::BareJid;
use crate::runtime::next_number;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Encryptions by their recipients, in the order in which they were started.
pub(super) type Turns = HashMap<Vec<BareJid>, VecDeque<u64>>;

/// The place of one encryption among those for the same recipients. Dropping it lets the next one go on.
pub(super) struct Turn {
    inner: Arc<Inner>,
    /// `None` for those that overtake.
    place: Option<(Vec<BareJid>, u64)>,
}

impl Turn {
    /// Takes the next place.
    pub(super) fn take(inner: &Arc<Inner>, draft: &Draft) -> Turn {
        let place = (draft.policy != EncryptPolicy::Now).then(|| {
            let mut recipients = draft.recipients.clone();
            recipients.sort();
            recipients.dedup();
            let number = next_number();
            inner.turns.lock().entry(recipients.clone()).or_default().push_back(number);
            (recipients, number)
        });
        Turn { inner: inner.clone(), place }
    }

    /// Waits until all that were started before are over.
    pub(super) async fn come(&self) {
        let Some((recipients, number)) = &self.place else { return };
        loop {
            let seen = self.inner.turned.generation();
            let first = self.inner.turns.lock().get(recipients).and_then(|turns| turns.front().copied());
            if first == Some(*number) {
                return;
            }
            self.inner.turned.changed(seen).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((recipients, number)) = self.place.take() else { return };
        {
            let mut turns = self.inner.turns.lock();
            if let Some(waiting) = turns.get_mut(&recipients) {
                waiting.retain(|other| *other != number);
                if waiting.is_empty() {
                    turns.remove(&recipients);
                }
            }
        }
        self.inner.turned.notify();
    }
}
