//! The oracle: what is compared after each delivery and each step, and what is searched now and then.

use crate::excuse;
use crate::facts::Reason;
use crate::figures::Count;
use crate::play::{Draft, Sim};
use crate::rule::{Failure, Rule};
use crate::spoilt::Spoilt;
use crate::support::world::Device;
use crate::support::world::device::{Read, Report};
use crate::support::world::network::{Delivery, Way};
use crate::tap::Reused;
use base64::Engine;
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::config::Habits;
use omemo::protocol::namespace::Namespace;

/// What every text begins with.
pub const CANARY: &str = "the-canary-that-sings";
/// More than any store has when it knows twelve devices, some of which were replaced.
const MOST_BYTES: usize = 640 << 10;
/// What no call may end with.
const NEVER: [Status; 7] = [
    Status::Null,
    Status::Argument,
    Status::Busy,
    Status::Internal,
    Status::Storage,
    Status::StorageCorrupt,
    Status::StorageVersion,
];

/// What a device that shows a text says.
pub fn sample(text: Option<String>) -> Read {
    let (status, action, core_trust) = (Status::Ok, Action::Show, CoreTrust::Trusted);
    Read { status, action, text, from: None, core_trust, key: None, room: None, receipt: 0, repeated: false }
}

/// The canary as it would stand in bytes: raw, in hex, and in base64 at each of its three places.
fn canaries() -> Vec<Vec<u8>> {
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![CANARY.as_bytes().to_vec(), hex.into_bytes()];
    for place in 0..3 {
        let mut bytes = vec![0; place];
        bytes.extend(CANARY.bytes());
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
        all.push(text.as_bytes()[2 * place..text.len() - 2].to_vec());
    }
    all
}

/// Whether the canary stands in bytes.
pub fn leaks(bytes: &[u8]) -> bool {
    thread_local!(static FORMS: Vec<Vec<u8>> = canaries());
    FORMS.with(|forms| forms.iter().any(|form| contains(bytes, form)))
}

fn contains(bytes: &[u8], form: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == form[0]) {
        from += at;
        if bytes[from..].starts_with(form) {
            return true;
        }
        from += 1;
    }
    false
}

impl<D: Device> Sim<D> {
    // -- after each delivery

    /// Gives a stanza to a device, and judges what comes of it.
    pub fn deliver(&mut self, slot: usize, delivery: Delivery) {
        let place = &self.slots[slot];
        let posted = self.network.posted(delivery.stanza);
        let storage = place.device.storage();
        let written = &self.facts.stanzas[delivery.stanza];
        let known = self.facts.devices[&place.endpoint].decrypted.contains_key(&delivery.stanza);
        // Only what is going to be refused has its store compared byte by byte; commits are always counted.
        let refused = known || !written.keys.contains_key(&place.endpoint);
        let before = (refused && delivery.stanza.is_multiple_of(8)).then(|| storage.all());
        let commits = storage.commits();
        let read = place.device.decrypt(Some(&posted.from), posted.room.as_deref(), &posted.xml);
        let read = match read {
            Ok(read) => read,
            Err(status) => return self.fail(Rule::Store, format!("decrypt: {}", status.name())),
        };
        if self.spoilt == Some(Spoilt::Trace) && self.planted && refused {
            storage.commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        let same = storage.commits() == commits && before.is_none_or(|before| before == storage.all());
        if read.status != Status::Ok {
            self.figures.add(Count::Refused);
            if !same {
                self.fail(Rule::Trace, format!("{} left a trace", read.status.name()));
            }
        }
        self.count_way(&delivery);
        self.judge_read(slot, delivery, &read);
    }

    fn count_way(&mut self, delivery: &Delivery) {
        let way = match delivery.way {
            Way::Live => None,
            Way::Carbon => Some(Count::Carbons),
            Way::Room => Some(Count::RoomMessages),
            Way::Archive => Some(Count::Archived),
        };
        let duplicate = delivery.again.then_some(Count::Duplicates);
        let reordered = delivery.overtaken.then_some(Count::Reorderings);
        [way, duplicate, reordered].into_iter().flatten().for_each(|what| self.figures.add(what));
    }

    /// Compares what a device made of a stanza with what it had to.
    pub fn judge_read(&mut self, slot: usize, delivery: Delivery, read: &Read) {
        let endpoint = self.slots[slot].endpoint;
        let stanza = delivery.stanza;
        let written = &self.facts.stanzas[stanza];
        let (sender, text, namespace) = (written.sender, written.text, written.namespace);
        let status = read.status.name();
        let what = format!("stanza {stanza} of {sender} at {endpoint} ({:?}): {status}", delivery.way);
        if !written.keys.contains_key(&endpoint) {
            let spoken = self.facts.devices[&endpoint].namespaces.contains(&namespace);
            let expected =
                if spoken { [Status::NotForUs, Status::OwnEcho] } else { [Status::UnknownNamespace; 2] };
            if read.text.is_some() || !expected.contains(&read.status) {
                self.fail(Rule::Altered, format!("{what}, and there is no key for it"));
            }
            return;
        }
        let was = self.facts.devices[&endpoint].decrypted.get(&stanza).copied();
        if read.status == Status::Ok {
            if was.is_some() {
                return self.fail(Rule::DecryptedTwice, what);
            }
            if self.facts.distrusts(endpoint, sender) {
                return self.fail(Rule::Trust, format!("{what}, and the sender is distrusted"));
            }
            if read.text.as_ref() != text.map(|text| &self.texts[text]) {
                return self.fail(Rule::Altered, format!("{what}: {:?}", read.text));
            }
            let now = self.world.now_ms();
            self.facts.note_read(stanza, endpoint, &mut self.tap.borrow_mut(), now);
            let Some(text) = text else { return };
            self.excused.remove(&(text, endpoint));
            if self.read.insert((text, endpoint)) {
                let of = if namespace == Namespace::Omemo2 { Count::Omemo2 } else { Count::Legacy };
                self.figures.add(of);
                self.figures.add(Count::Read);
                if self.facts.devices[&sender].habits != Habits::Own {
                    self.figures.add(Count::OfOthers);
                }
            }
            return;
        }
        if read.text.is_some() {
            return self.fail(Rule::Altered, format!("{what}, with a text"));
        }
        if let Some(since) = was {
            let forgot = self.facts.distrusts(endpoint, sender)
                || self.facts.purged(endpoint, sender, since)
                || self.facts.has_single_sessions(endpoint);
            let unknown =
                read.status == Status::DecryptionFailed && self.facts.had_many_gaps(stanza, endpoint);
            if unknown {
                // What is remembered of a chain has room for a few gaps, and a wire like this one makes more in a long chain.
                self.figures.add(Count::Unrecognised);
            } else if read.status != Status::Duplicate && !forgot {
                self.fail(Rule::Duplicate, format!("{what}, and it was decrypted before"));
            }
            return;
        }
        if text.is_none_or(|text| !self.read.contains(&(text, endpoint))) {
            self.judge_unread((stanza, endpoint), read.status, &what);
        }
    }

    /// A device could not read a stanza that is for it, an empty message as little as a text: that needs an excuse.
    fn judge_unread(&mut self, (stanza, endpoint): (usize, usize), status: Status, what: &str) {
        if status == Status::Duplicate && self.facts.has_decrypted(stanza, endpoint) {
            return;
        }
        let now = self.world.now_ms();
        let excuse = excuse::of_reader(&self.facts, &self.tap.borrow(), (stanza, endpoint), status, now);
        let written = &self.facts.stanzas[stanza];
        match (excuse, written.text) {
            (Some(excuse), Some(text)) => {
                self.excused.insert((text, endpoint), excuse);
            }
            (Some(_), None) => self.figures.add(Count::EmptyUnread),
            (None, text) => {
                let key = &written.keys[&endpoint];
                let what = format!("{what}: text {text:?}, n {}, {:?}", key.n, key.exchange);
                self.fail(Rule::Lost, what);
            }
        }
    }

    // -- after each encryption

    /// Who had to be served was, and nobody else.
    pub fn judge_served(&mut self, slot: usize, draft: &Draft, served: &[usize], report: &Report) {
        let sender = self.slots[slot].endpoint;
        let own = self.facts.devices[&sender].jid.clone();
        let now = self.world.now_ms();
        for endpoint in served.iter().filter(|endpoint| self.facts.distrusts(sender, **endpoint)) {
            let what = format!("{sender} writes to {endpoint}, which is distrusted");
            self.wrong.push(Failure::new(Rule::Trust, what));
        }
        let jids = draft.to.iter().copied().chain([own.as_str()]);
        let owed = jids.flat_map(|jid| self.facts.owed(sender, jid));
        let missing: Vec<usize> = owed.filter(|endpoint| !served.contains(endpoint)).collect();
        for endpoint in missing {
            let excuse = excuse::of_sender(
                &self.facts,
                &mut self.tap.borrow_mut(),
                (sender, endpoint),
                draft.begun,
                now,
            );
            match excuse {
                Some(excuse) => {
                    self.excused.insert((draft.text, endpoint), excuse);
                }
                None => {
                    let id = self.facts.devices[&endpoint].id;
                    let rows: Vec<_> = report.rows.iter().filter(|row| row.device == id).collect();
                    self.fail(Rule::Unserved, format!("{sender} leaves out {endpoint}: {rows:?}"));
                }
            }
        }
    }

    /// An encryption failed: that needs a recipient of whom no device could be served.
    pub fn judge_unsent(&mut self, slot: usize, draft: &Draft, report: &Report) {
        let sender = self.slots[slot].endpoint;
        let now = self.world.now_ms();
        let mut excused = false;
        for jid in &draft.to {
            let tap = &mut self.tap.borrow_mut();
            let mut within_reach = self.facts.owed(sender, jid).into_iter();
            let is_excused =
                |device| excuse::of_sender(&self.facts, tap, (sender, device), draft.begun, now).is_some();
            excused |= within_reach.all(is_excused);
        }
        self.figures.add(Count::Unsent);
        if NEVER.contains(&report.status) || self.has_no_churn() || !excused {
            let rows: Vec<_> = report.rows.iter().filter(|row| row.status != Status::Ok).collect();
            let what = format!("text {} of {sender}: {} {rows:?}", draft.text, report.status.name());
            self.wrong.push(Failure::new(Rule::Unserved, what));
        }
    }

    /// No plaintext on the wire.
    pub fn check_wire(&mut self, xml: &str) {
        if leaks(xml.as_bytes()) {
            self.fail(Rule::Leak, "a text stands in a stanza");
        }
    }

    // -- after each step

    pub fn check_each_step(&mut self) {
        let (wrong, reused) = {
            let mut tap = self.tap.borrow_mut();
            (std::mem::take(&mut tap.wrong), std::mem::take(&mut tap.reused))
        };
        self.wrong.extend(wrong);
        for Reused { sender, id, first } in reused {
            let reader = self.facts.endpoint_of(id);
            let tick = self.tap.borrow().tick;
            let broken = reader.and_then(|reader| self.facts.broken(sender, reader, tick));
            if broken == Some(Reason::Restored) && self.facts.has_forgotten(sender, first) {
                self.figures.add(Count::Reused);
            } else {
                self.fail(Rule::KeyUsedTwice, format!("{sender} uses a key to {id} twice"));
            }
        }
    }

    // -- now and then

    /// Searches the stores, and compares their size and the trust in them.
    pub fn check_sometimes(&mut self) {
        for slot in 0..self.slots.len() {
            let place = &self.slots[slot];
            let storage = place.device.storage();
            let size = storage.size();
            let leak = storage.records.lock().unwrap().values().any(|value| leaks(value));
            if leak {
                self.fail(Rule::Leak, "a text stands in a store");
            }
            if size > MOST_BYTES {
                self.fail(Rule::Size, format!("{size} bytes are stored"));
            }
            self.check_levels(slot);
        }
    }

    fn check_levels(&mut self, slot: usize) {
        let place = &self.slots[slot];
        let mut wrong = Vec::new();
        for jid in self.jids() {
            for known in place.device.known(Some(jid)) {
                let Some(key) = known.key else { continue };
                let level = self.facts.level(place.endpoint, &key);
                if known.level != level {
                    let (endpoint, is, of) = (place.endpoint, &known.level, known.id);
                    wrong
                        .push(format!("{endpoint} has the key of {of} as {is}, and nobody said so: {level}"));
                }
            }
        }
        wrong.into_iter().for_each(|what| self.fail(Rule::Trust, what));
    }

    /// The log of a device holds no text.
    pub fn check_logs(&mut self) {
        let logs = |slot: &crate::play::Slot<D>| slot.device.log_lines();
        if self.slots.iter().flat_map(logs).any(|line| leaks(line.as_bytes())) {
            self.fail(Rule::Leak, "a text stands in the log");
        }
    }
}
