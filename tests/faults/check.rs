//! What must hold when a flow is over and nothing fails any more: the invariants, and a message each way.

use crate::flow::Step;
use crate::flow::Who;
use crate::stage::{CANARY, Plan, Stage};
use crate::support::world::server::jid;
use crate::support::{JULIET, ROMEO};
use omemo::error::Status;
use omemo::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// Waits between two looks, so that every back-off ends and every publication gets its turn.
const LONG_MS: [u64; 11] =
    [0, 1_000, 61_000, 61_000, 130_000, 300_000, 1_200_000, 1_200_000, 3_700_000, 3_700_000, 4_500_000];
const SHORT_MS: [u64; 3] = [0, 61_000, 61_000];
/// More than any flow stores.
const MOST_BYTES: usize = 48 << 10;
/// What no call of a client may end with, whatever fails.
const NEVER: [Status; 11] = [
    Status::Null,
    Status::Utf8,
    Status::Argument,
    Status::Jid,
    Status::Busy,
    Status::WrongAnswer,
    Status::Internal,
    Status::StorageCorrupt,
    Status::StorageVersion,
    Status::StorageAccount,
    Status::UnknownTrustLevel,
];

impl Stage {
    /// The end of a flow; see the module.
    pub fn end_all(&mut self) {
        self.heal();
        self.check_statuses();
        self.wants_online = true;
        self.open();
        if !self.is_open() {
            return self.wrong.push("the store cannot be opened again".into());
        }
        self.answer_prompts();
        self.play(Step::Disconnect);
        self.announce_others();
        self.play(Step::Connect);
        self.settle(&LONG_MS);
        self.do_what_is_undone();
        self.settle(&SHORT_MS);
        if !self.doing.is_empty() {
            let steps: Vec<Step> = self.doing.values().map(|doing| doing.step).collect();
            self.wrong.push(format!("{steps:?} never end"));
        }
        if !self.inbox.is_empty() {
            self.wrong.push("messages lie unread".into());
        }
        self.check_levels();
        self.play(Step::Trust("trusted"));
        self.check_both();
        self.play(Step::Restart);
        self.play(Step::Connect);
        self.settle(&SHORT_MS);
        self.check_both();
        self.play(Step::TakeKept);
        if !self.has_taken_all() {
            self.wrong.push("kept content was never taken".into());
        }
        self.check_seen();
        self.check_statuses();
        self.check_bounds();
    }

    /// Devices that stand on lists announce themselves again where somebody lost them.
    fn announce_others(&mut self) {
        if self.foreign.is_some() {
            self.foreign_joins();
        }
        if self.laptop.is_some() {
            self.play(Step::LaptopJoins);
        }
    }

    fn settle(&mut self, waits: &[u64]) {
        for wait in waits {
            self.clock.advance(*wait);
            self.pump();
            self.deliver();
        }
    }

    /// What the client wanted and did not get is tried again, as its user does.
    fn do_what_is_undone(&mut self) {
        for _ in 0..3 {
            for step in std::mem::take(&mut self.undone) {
                self.clock.advance(61_000);
                self.play(step);
                if step == Step::DeleteAccount && !self.undone.contains(&step) {
                    self.play(Step::Restart);
                    self.play(Step::Connect);
                }
            }
        }
        let ignored = |step: &Step| matches!(step, Step::Health(_) | Step::Refresh(_));
        self.undone.retain(|step| !ignored(step));
        if !self.undone.is_empty() {
            self.wrong.push(format!("{:?} never succeed", self.undone));
        }
    }

    fn check_both(&mut self) {
        self.play(Step::Refresh(Who::Juliet));
        self.juliet.refresh(&jid(ROMEO), &mut self.server);
        self.deliver();
        self.check_items();
        for _ in 0..2 {
            let reached = self.reached;
            self.play(Step::Say);
            if self.reached == reached {
                self.wrong.push("Romeo does not reach Juliet".into());
            }
            let seen = self.seen.len();
            self.play(Step::Hear);
            if self.seen.len() == seen {
                self.wrong.push("Juliet does not reach Romeo".into());
            }
        }
    }

    // -- what stands on the server

    fn check_items(&mut self) {
        self.check_consistency();
        let Some(own) = self.own_id() else { return self.wrong.push("there is no device id".into()) };
        let mut expected = BTreeSet::from([own]);
        expected.extend(self.phone.as_ref().map(|phone| phone.id()));
        for namespace in self.flow.namespaces {
            if !self.romeo.config.namespaces.contains(namespace) {
                self.check_left(*namespace, own);
                continue;
            }
            let mut expected = expected.clone();
            if *namespace == self.flow.namespaces[0] {
                expected.extend(self.foreign.as_ref().map(|foreign| foreign.id));
            }
            let list = self.server.lists.get(&(*namespace, jid(ROMEO)));
            let ids: Vec<u32> = list.map_or(Vec::new(), |list| list.devices.iter().map(|of| of.id).collect());
            let set: BTreeSet<u32> = ids.iter().copied().collect();
            let right = set == expected || (self.may_stay() && set.is_superset(&expected));
            if !right || set.len() != ids.len() {
                self.wrong.push(format!("{namespace:?}: the list is {ids:?}, not {expected:?}"));
            }
            self.check_bundles(*namespace, own, &expected);
        }
    }

    /// The server has what is in the store: there is nothing to be published.
    fn check_consistency(&mut self) {
        let before = self.publications.count();
        self.undone.clear();
        self.play(Step::Ensure);
        if self.undone.contains(&Step::Ensure) {
            self.wrong.push("what stands on the server cannot be compared".into());
        }
        if self.publications.count() != before {
            self.wrong.push("what stood on the server was not what is in the store".into());
        }
    }

    fn check_left(&mut self, namespace: Namespace, own: u32) {
        let list = self.server.lists.get(&(namespace, jid(ROMEO)));
        if list.is_some_and(|list| list.contains(own)) && !self.may_stay() {
            self.wrong.push(format!("this device stands on its list in {namespace:?}, which it left"));
        }
        if self.server.bundles.contains_key(&(namespace, jid(ROMEO), own)) && !self.may_stay() {
            self.wrong.push(format!("its bundle is left in {namespace:?}"));
        }
    }

    fn may_stay(&self) -> bool {
        matches!(self.plan, Plan::Network(kind, _) if kind.leaves())
    }

    fn check_bundles(&mut self, namespace: Namespace, own: u32, expected: &BTreeSet<u32>) {
        let all = self.server.bundles.keys().filter(|(of, name, _)| *of == namespace && *name == jid(ROMEO));
        let all: BTreeSet<u32> = all.map(|(_, _, device)| *device).collect();
        if !all.is_subset(expected) && !self.may_stay() {
            self.wrong.push(format!("{namespace:?}: bundles {all:?} stand beside the list {expected:?}"));
        }
        let Some(bundle) = self.server.bundles.get(&(namespace, jid(ROMEO), own)).cloned() else {
            return self.wrong.push(format!("there is no bundle in {namespace:?}"));
        };
        if bundle.verify().is_err() || bundle.identity_key != self.romeo.key() {
            self.wrong.push("the own bundle is not ours".into());
        }
        if !(25..=100).contains(&bundle.pre_keys.len()) {
            self.wrong.push(format!("{} pre keys are published", bundle.pre_keys.len()));
        }
        let code = namespace.code();
        if bundle.pre_keys.iter().any(|key| self.used.contains(&(code, own, key.id))) {
            self.wrong.push("a pre key that was used is still published".into());
        }
    }

    // -- what is in the store, and what was said

    /// No key has a level that nobody gave it.
    fn check_levels(&mut self) {
        let key = self.juliet.key();
        let Ok(devices) = self.romeo.manager().devices(Some(&jid(JULIET))) else {
            return self.wrong.push("the devices cannot be read".into());
        };
        for device in devices.iter().filter(|device| device.identity_key == Some(key)) {
            if !self.levels.contains(&device.trust_level_name) {
                let is = &device.trust_level_name;
                self.wrong.push(format!("Juliet's key is {is}, which nobody said: {:?}", self.levels));
            }
        }
    }

    /// What was read is not read again.
    fn check_seen(&mut self) {
        self.play(Step::Disconnect);
        for (from, message) in self.seen.clone().iter().rev().take(40) {
            match self.romeo.manager().decrypt(Some(from), None, message) {
                Ok(read) if read.error.status() == Status::Ok => {
                    self.wrong.push("a message was decrypted twice".into());
                }
                Ok(_) => (),
                Err(error) => self.wrong.push(format!("a message given again: {}", error.status().name())),
            }
        }
    }

    fn check_statuses(&mut self) {
        self.trace();
        let storage = [Status::Storage, Status::StorageLocked];
        let may_fail = matches!(self.plan, Plan::Storage(..) | Plan::File(_));
        for (what, status) in std::mem::take(&mut self.statuses) {
            let ordered = what == "answer" && status == Status::WrongAnswer;
            if (NEVER.contains(&status) && !ordered) || (storage.contains(&status) && !may_fail) {
                self.wrong.push(format!("{what} ends with {}", status.name()));
            }
        }
    }

    fn check_bounds(&mut self) {
        if self.romeo.storage.size() > MOST_BYTES {
            self.wrong.push(format!("{} bytes are stored", self.romeo.storage.size()));
        }
        let lines = self.romeo.services.lines.lock().unwrap();
        if lines.iter().any(|line| line.contains(CANARY)) {
            self.wrong.push("a text stands in the log".into());
        }
    }
}
