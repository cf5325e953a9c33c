//! The end of a run: nothing fails any more, everybody comes back, and then everybody reaches everybody (I4). What was
//! delivered was read, what was read is not read again, and every store opens again (I2, I5, I9).

use crate::excuse::Excuse;
use crate::figures::Count;
use crate::play::{JIDS, ROOM, Sim};
use crate::rule::Rule;
use crate::support::world::Device;
use crate::support::world::network::{Conditions, Delivery, Way};
use omemo::error::Status;

/// How long it takes until a device gets a new session whose first one was begun on a pre key that another had taken: it is
/// repaired once a day, or, if the other side still has an older session, rebuilt after a week without an answer.
const AGAIN_MS: [i64; 3] = [DAY_MS, 8 * DAY_MS, 8 * DAY_MS];
/// A publication is made three times a minute at most.
const MINUTE_MS: i64 = 61_000;
/// A session with a device is repaired once a day.
const DAY_MS: i64 = 25 * 3_600_000;
/// Of what a device has read so much is given to it again at the end.
const AGAIN: usize = 25;

impl<D: Device> Sim<D> {
    pub fn finish(&mut self) {
        let steps: [fn(&mut Self); 7] = [
            Self::come_back,
            Self::check_noticed,
            Self::write_all,
            Self::mend,
            Self::reach_everybody,
            Self::check_delivered,
            Self::open_again,
        ];
        for step in steps {
            self.slots.iter_mut().for_each(|slot| slot.page = usize::MAX);
            step(self);
            self.check_each_step();
            if self.is_broken() {
                return;
            }
        }
        self.check_sometimes();
        self.check_logs();
        self.count();
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            self.wait(MINUTE_MS);
            self.pump();
        }
    }

    fn come_back(&mut self) {
        self.tap.borrow_mut().fail_nothing();
        self.network.conditions = Conditions::default();
        for slot in 0..self.slots.len() {
            for of in 0..self.slots.len() {
                let whom = self.slots[of].endpoint;
                if self.facts.distrusts(self.slots[slot].endpoint, whom) {
                    self.judge(slot, whom, "trusted");
                }
            }
            self.leave(slot);
        }
        for slot in 0..self.slots.len() {
            self.come(slot, 0);
        }
        self.settle();
        self.wait(DAY_MS);
        self.settle();
    }

    fn check_noticed(&mut self) {
        if !self.unnoticed.is_empty() {
            self.fail(
                Rule::Unnoticed,
                format!("{:?} do not notice that their store is an older copy", self.unnoticed),
            );
        }
    }

    /// Everybody writes to everybody.
    fn write_all(&mut self) {
        // What a room says of a sender heals no session.
        let room = (!self.setup.has_others()).then_some(ROOM);
        for slot in 0..self.slots.len() {
            self.say(slot, self.others(slot), room);
            self.pump();
        }
        self.settle();
    }

    /// Who has restored a backup does what the documentation says.
    fn mend(&mut self) {
        for slot in 0..self.slots.len() {
            if self.facts.was_restored(self.slots[slot].endpoint) {
                self.replace(slot, None, 0);
                self.pump();
            }
        }
        self.settle();
    }

    /// Two that take the same pre key at the same time need another try; so does who keeps a single session, which is another
    /// one than the other side uses, until that is found out.
    fn reach_everybody(&mut self) {
        let mut first = self.texts.len();
        self.write_all();
        let shared = |sim: &Self, from: usize| {
            let last = sim.excused.range((from, 0)..);
            let passes = |excuse: &Excuse| matches!(excuse, Excuse::SharedPreKey | Excuse::SingleSession);
            last.clone().count() > 0 && last.into_iter().all(|(_, excuse)| passes(excuse))
        };
        for again_ms in AGAIN_MS {
            if shared(self, first) {
                self.wait(again_ms);
                first = self.texts.len();
                self.write_all();
            }
        }
        if self.slots.iter().any(|slot| !slot.drafts.is_empty()) {
            self.fail(Rule::Silent, "an encryption never ends");
        }
        for slot in 0..self.slots.len() {
            let text = first + slot;
            let from = self.slots[slot].endpoint;
            for of in 0..self.slots.len() {
                let to = self.slots[of].endpoint;
                let (one, other) =
                    (&self.facts.devices[&from].namespaces, &self.facts.devices[&to].namespaces);
                let reaches = from != to && one.iter().any(|namespace| other.contains(namespace));
                if reaches && !self.read.contains(&(text, to)) {
                    let why = self.excused.get(&(text, to));
                    self.fail(Rule::Silent, format!("{to} cannot read {from} in the end: {why:?}"));
                }
            }
        }
    }

    fn check_delivered(&mut self) {
        let mut wrong = Vec::new();
        for (stanza, written) in self.facts.stanzas.iter().enumerate() {
            let Some(text) = written.text else { continue };
            for endpoint in written.keys.keys() {
                let settled =
                    self.read.contains(&(text, *endpoint)) || self.excused.contains_key(&(text, *endpoint));
                let alive = self.facts.devices[endpoint].alive;
                if alive && !settled && !self.network.is_lost(stanza, *endpoint) {
                    wrong.push(format!("stanza {stanza} never came to {endpoint}"));
                }
            }
        }
        wrong.into_iter().for_each(|what| self.fail(Rule::Lost, what));
    }

    fn open_again(&mut self) {
        for slot in 0..self.slots.len() {
            let endpoint = self.slots[slot].endpoint;
            self.restart(slot, None);
            let read = &self.facts.devices[&endpoint].decrypted;
            let read: Vec<usize> = read.keys().step_by(read.len() / AGAIN + 1).copied().collect();
            for stanza in read {
                self.deliver(slot, Delivery { stanza, way: Way::Archive, again: true, overtaken: false });
            }
        }
        self.settle();
        let now = self.world.now_ms();
        for slot in 0..self.slots.len() {
            for namespace in self.setup.namespaces(slot) {
                let id = self.facts.devices[&self.slots[slot].endpoint].id;
                self.tap.borrow_mut().check_age(namespace, id, now);
                let listed = self.tap.borrow().announced.contains_key(&(
                    namespace,
                    JIDS[self.slots[slot].account].to_owned(),
                    id,
                ));
                if !listed || self.world.bundle(namespace.uri(), JIDS[self.slots[slot].account], id).is_none()
                {
                    self.fail(Rule::Silent, format!("{id} is not announced in the end"));
                }
            }
            if self.slots[slot].device.known(None).is_empty() {
                self.fail(Rule::Store, Status::NotReady.name());
            }
        }
    }

    fn count(&mut self) {
        let (simultaneous, late) = (self.facts.simultaneous, self.facts.late_last);
        self.figures.set(Count::Simultaneous, simultaneous);
        self.figures.set(Count::LateLast, late);
        self.figures.set(Count::Lost, self.network.count_lost());
        self.figures.set(Count::FailedRequests, self.tap.borrow().failed);
        for excuse in self.excused.values() {
            *self.figures.excuses.entry(*excuse).or_default() += 1;
        }
    }
}
