//! Drives the devices: runs them, gives answers, prompts, pushes and stanzas, and takes what they say.

use crate::check::sample;
use crate::figures::Count;
use crate::play::{Draft, Sim};
use crate::rule::Rule;
use crate::spoilt::Spoilt;
use crate::support::seeds::Dice;
use crate::support::world::device::Read;
use crate::support::world::network::{Posted, Way};
use crate::support::world::{Answer, Device, Mail};
use crate::tap;
use omemo::error::Status;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::config::Healing;
use omemo::stanza::device_list;

/// Stanzas that a device takes before it runs.
const AT_ONCE: usize = 4;

impl<D: Device> Sim<D> {
    /// Everybody who is online does what there is to do now.
    pub fn pump(&mut self) {
        // What a device asked that is gone, nobody waits for.
        for (endpoint, _) in self.facts.devices.iter().filter(|(_, device)| !device.alive) {
            self.world.due_answers_of(*endpoint);
        }
        for _ in 0..2_000 {
            let mut busy = false;
            for slot in 0..self.slots.len() {
                busy |= self.drive(slot);
                if self.is_broken() {
                    return;
                }
            }
            if !busy {
                self.rested_ms = self.world.now_ms();
                return;
            }
        }
        self.fail(Rule::Silent, "the devices never come to rest");
    }

    /// One device; whether anything happened.
    fn drive(&mut self, slot: usize) -> bool {
        let place = &self.slots[slot];
        place.device.go_on();
        self.note_retired(slot);
        let place = &self.slots[slot];
        let mut busy = place.device.give_due() > 0;
        busy |= self.answer_prompts(slot);
        busy |= self.send_what_is_ready(slot);
        busy |= self.post_empties();
        self.hear_news(slot);
        if !self.slots[slot].online {
            return busy;
        }
        busy |= self.take_pushes(slot);
        for _ in 0..AT_ONCE {
            busy |= self.take_stanza(slot);
        }
        self.end_catch_up(slot);
        busy
    }

    /// A call for everybody retires all sessions until it is over, nobody knows when.
    fn note_retired(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if !place.replacing.is_empty() {
            self.facts.retire_all(place.endpoint, &mut self.tap.borrow_mut());
            place.replacing.retain(|operation| place.device.report(*operation).is_none());
        }
    }

    fn answer_prompts(&mut self, slot: usize) -> bool {
        let place = &self.slots[slot];
        let prompts = place.device.prompts();
        for prompt in &prompts {
            for (index, (_, id)) in prompt.devices.iter().enumerate() {
                let Some(whom) = self.facts.endpoint_of(*id) else { continue };
                if place.device.decide(prompt.request_id, index, "trusted") == Status::Ok {
                    let key = self.facts.devices[&whom].key;
                    self.facts.judge(place.endpoint, key, "trusted");
                }
            }
            place.device.give(prompt.request_id, &Answer::Done);
        }
        !prompts.is_empty()
    }

    /// Sends the texts whose encryption is over.
    fn send_what_is_ready(&mut self, slot: usize) -> bool {
        let place = &mut self.slots[slot];
        let open: Vec<u64> = place.drafts.keys().copied().collect();
        let mut sent = false;
        for operation in open {
            let Some(report) = self.slots[slot].device.report(operation) else { continue };
            let draft = self.slots[slot].drafts.remove(&operation).unwrap();
            sent = true;
            if report.status != Status::Ok {
                self.judge_unsent(slot, &draft, &report);
                continue;
            }
            let mut served = Vec::new();
            for xml in &report.messages {
                self.check_wire(xml);
                if self.spoilt == Some(Spoilt::Leak) && draft.room.is_none() {
                    let leak = xml.replace("</", &format!("{}</", self.texts[draft.text]));
                    self.check_wire(&leak);
                }
                served
                    .extend(tap::read(xml).keys.iter().filter_map(|key| self.facts.endpoint_of(key.device)));
                self.post(slot, &draft, xml);
            }
            self.judge_served(slot, &draft, &served, &report);
            self.figures.add(Count::Written);
        }
        sent
    }

    fn post(&mut self, slot: usize, draft: &Draft, xml: &str) {
        let endpoint = self.slots[slot].endpoint;
        self.note_written(endpoint, Some(draft.text), xml);
        let stanza = Posted {
            sender: endpoint,
            from: self.facts.devices[&endpoint].jid.clone(),
            room: draft.room.map(str::to_owned),
            xml: xml.to_owned(),
        };
        self.network.post(&mut self.dice, self.world.now_ms(), stanza, &draft.to);
    }

    fn note_written(&mut self, endpoint: usize, text: Option<usize>, xml: &str) {
        let seen = tap::read(xml);
        let mut tap = self.tap.borrow_mut();
        tap.note_message(endpoint, &seen);
        self.facts.write(endpoint, text, seen, &mut tap);
    }

    /// Puts the empty messages that were sent on the wire.
    fn post_empties(&mut self) -> bool {
        let sent = std::mem::take(&mut self.tap.borrow_mut().sent);
        for (endpoint, to, xml) in &sent {
            self.check_wire(xml);
            self.note_written(*endpoint, None, xml);
            let from = self.facts.devices[endpoint].jid.clone();
            let stanza = Posted { sender: *endpoint, from, room: None, xml: xml.clone() };
            let mut dice = Dice::new(self.dice.roll());
            self.network.post(&mut dice, self.world.now_ms(), stanza, &[to]);
        }
        !sent.is_empty()
    }

    fn hear_news(&mut self, slot: usize) {
        for news in self.slots[slot].device.news() {
            match news.kind {
                NoticeKind::RolledBack if self.spoilt == Some(Spoilt::Untold) => (),
                NoticeKind::RolledBack => {
                    self.figures.add(Count::RolledBack);
                    if self.unnoticed.remove(&self.slots[slot].endpoint) {
                        self.figures.add(Count::Noticed);
                    }
                    self.replace(slot, None, 0);
                }
                NoticeKind::SessionBroken if self.setup.healing == Healing::Manual => {
                    self.replace(slot, news.jid.as_deref(), news.device);
                }
                _ => (),
            }
            if [Status::StorageCorrupt, Status::Internal].contains(&news.status) {
                self.fail(Rule::Store, format!("{news:?}"));
            }
        }
    }

    fn take_pushes(&mut self, slot: usize) -> bool {
        let place = &self.slots[slot];
        let mut taken = false;
        while let Some(mail) = self.world.take(place.endpoint) {
            let Mail::DeviceList { jid, xml, .. } = mail else { continue };
            let _ = place.device.update_device_list(&jid, &xml);
            let namespace = device_list::parse(xml.as_bytes()).unwrap().namespace;
            self.tap.borrow_mut().note_learnt(place.endpoint, namespace, &jid);
            taken = true;
        }
        taken
    }

    fn take_stanza(&mut self, slot: usize) -> bool {
        let place = &mut self.slots[slot];
        let now = self.world.now_ms();
        let delivery = match place.page {
            0 => self.network.next_live(place.endpoint, now),
            _ => self.network.next(place.endpoint, now),
        };
        let Some(delivery) = delivery else { return false };
        if delivery.way == Way::Archive {
            place.page -= 1;
        }
        match self.spoilt_delivery(slot, &delivery) {
            Some(Spoilt::Drop) => return true,
            Some(Spoilt::Altered) => {
                self.judge_read(slot, delivery, &sample(Some("something else".into())));
            }
            Some(Spoilt::Renamed) => {
                self.deliver(slot, delivery);
                let unread = Read { status: Status::DecryptionFailed, ..sample(None) };
                self.judge_read(slot, delivery, &unread);
            }
            Some(Spoilt::Again) => {
                self.deliver(slot, delivery);
                let text = self.facts.stanzas[delivery.stanza].text.map(|text| self.texts[text].clone());
                self.judge_read(slot, delivery, &sample(text));
            }
            _ => self.deliver(slot, delivery),
        }
        true
    }

    fn end_catch_up(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if place.catching_up && self.network.has_caught_up(place.endpoint) {
            place.catching_up = false;
            let _ = place.device.end_catch_up();
        }
    }
}
