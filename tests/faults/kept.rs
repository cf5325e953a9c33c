//! Content that Romeo's client has not stored yet: what it acknowledges, and that nothing of it is ever lost.

use crate::flow::Step;
use crate::stage::Stage;
use omemo::error::Status;
use omemo::manager::api::decrypted::Decrypted;
use omemo::manager::config::Delivery;
use std::collections::BTreeMap;

/// What the client knows about it.
#[derive(Default)]
pub struct Kept {
    /// The client reads and stores nothing: it is about to crash.
    pub holds: bool,
    /// Texts that were read, and not acknowledged for certain, by receipt.
    texts: BTreeMap<u64, Option<String>>,
    /// Receipts whose acknowledgement has failed, although it may have happened.
    doubtful: Vec<u64>,
}

impl Stage {
    pub fn acknowledges(&self) -> bool {
        self.romeo.config.delivery == Delivery::Acknowledged
    }

    /// From the next start on content is kept.
    pub fn begin_acknowledging(&mut self) {
        self.romeo.config.delivery = Delivery::Acknowledged;
    }

    /// Something was read: the client stores it and says so, if it comes to that.
    pub fn receive_kept(&mut self, text: Option<String>, read: &Decrypted) {
        if read.receipt == 0 {
            if self.acknowledges() && read.plaintext.is_some() {
                self.wrong.push("content has no receipt".into());
            }
            return;
        }
        let before = self.kept.texts.insert(read.receipt, text.clone());
        if before.is_some_and(|before| before != text) {
            self.wrong.push("two contents have one receipt".into());
        }
        if !self.kept.holds {
            self.acknowledge(read.receipt);
        }
    }

    fn acknowledge(&mut self, receipt: u64) {
        let result = self.romeo.manager().acknowledge(receipt);
        let happened = result.as_ref().is_err_and(|error| error.status() == Status::NotFound)
            && self.kept.doubtful.contains(&receipt);
        if self.note("acknowledge", result).is_some() || happened {
            self.kept.texts.remove(&receipt);
        } else {
            self.kept.doubtful.push(receipt);
        }
    }

    /// What a client does when it starts: it takes all that is left.
    pub fn take_kept(&mut self, step: Step) {
        let (mut after, mut listed) = (0, Vec::new());
        loop {
            match self.romeo.manager().unacknowledged(after) {
                Ok(None) => break,
                Ok(Some(read)) => {
                    if read.receipt <= after {
                        return self.wrong.push("the list of kept content goes back".into());
                    }
                    after = read.receipt;
                    let bytes = read.plaintext.as_ref().map(|bytes| bytes.to_vec());
                    let text = bytes.map(|bytes| String::from_utf8(bytes).unwrap());
                    if self.kept.texts.get(&after).is_some_and(|known| *known != text) {
                        self.wrong.push("what was kept says something else".into());
                    }
                    listed.push(after);
                }
                Err(error) => {
                    self.note::<()>("unacknowledged", Err(error));
                    return self.failed(step);
                }
            }
        }
        for receipt in self.kept.texts.keys() {
            if !listed.contains(receipt) && !self.kept.doubtful.contains(receipt) {
                self.wrong.push("content is lost that nobody has acknowledged".into());
            }
        }
        let doubtful = &self.kept.doubtful;
        self.kept.texts.retain(|receipt, _| listed.contains(receipt) || !doubtful.contains(receipt));
        for receipt in listed {
            if !self.is_open() {
                // The process has ended in one of these calls; the rest is listed again.
                return self.failed(step);
            }
            self.acknowledge(receipt);
        }
    }

    /// Whether everything was taken.
    pub fn has_taken_all(&self) -> bool {
        self.kept.texts.is_empty()
    }
}
