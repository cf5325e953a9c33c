//! Messages: who writes to whom, what comes late or never, and that each text is read once.

use super::*;

impl<D: Tested> Life<D> {
    pub(super) fn take_mail(&mut self) -> bool {
        let mut any = false;
        while let Some(mail) = self.world.take(self.device.endpoint()) {
            any = true;
            match mail {
                Mail::DeviceList { jid, xml, .. } => {
                    counted(|| self.device.update_device_list(&jid, &xml));
                }
                Mail::Stanza { from, xml } => self.take_stanza(from, xml),
            }
        }
        any
    }

    /// Some texts come days later, and some never.
    pub(super) fn take_stanza(&mut self, from: String, xml: String) {
        let Some(text) = self.texts.get(&xml).cloned() else { return self.read(&from, xml) };
        let at = (self.device.endpoint(), text.clone());
        if !self.expected.contains_key(&at) || !self.dice.percent(WITHHELD + LOST) {
            return self.read(&from, xml);
        }
        self.expected.remove(&at);
        if self.dice.percent(100 * WITHHELD / (WITHHELD + LOST)) {
            self.withheld.push(Withheld { day: self.day + WITHHELD_DAYS, from, xml, text });
        } else {
            self.counts.lost += 1;
        }
    }

    /// Reads what was withheld for long enough.
    pub(super) fn read_withheld(&mut self, until: u32) {
        let (due, kept) =
            std::mem::take(&mut self.withheld).into_iter().partition(|withheld| withheld.day <= until);
        self.withheld = kept;
        let due: Vec<Withheld> = due;
        for Withheld { from, xml, text, .. } in due {
            self.expected.insert((self.device.endpoint(), text.clone()), self.day);
            self.texts.insert(xml.clone(), text);
            self.read(&from, xml);
            self.counts.withheld += 1;
            self.settle();
        }
    }

    pub(super) fn read(&mut self, from: &str, xml: String) {
        let exchange = Exchange::of(&xml, self.id);
        let read = counted(|| self.device.read(from, &xml));
        if let Some(Exchange { pre_key, .. }) = exchange.filter(|_| read.status == Status::Ok) {
            self.watch.consume(pre_key);
        }
        self.note(Heard { endpoint: self.device.endpoint(), exchange, read, xml });
    }

    pub(super) fn note(&mut self, Heard { endpoint, exchange, read, xml }: Heard) {
        if let Some(text) = read.text {
            let expected = self.expected.remove(&(endpoint, text));
            assert!(expected.is_some(), "day {}: a text is read twice, or by somebody else", self.day);
            self.counts.texts += 1;
        } else {
            *self.counts.statuses.entry(read.status.name()).or_default() += 1;
        }
        let Some(Exchange { sender, pre_key }) = exchange else { return };
        let at = (endpoint, pre_key);
        match read.status {
            Status::Ok => drop(self.used.entry(at).or_insert(sender)),
            // The one text that may be lost: another device has used up the same pre key at the same time.
            Status::PreKeyUnknown => {
                let other = self.used.get(&at);
                assert!(other.is_some_and(|other| *other != sender), "day {}: {at:?} is gone", self.day);
                if let Some(text) = self.texts.get(&xml).cloned() {
                    self.expected.remove(&(endpoint, text));
                    self.counts.excused += 1;
                }
            }
            _ => (),
        }
    }

    /// The endpoint of a device, unless it is gone.
    pub(super) fn endpoint(&self, jid: &str, id: u32) -> Option<usize> {
        if id == self.id {
            return Some(self.device.endpoint());
        }
        let person = self.people.iter().find(|person| person.jid == jid)?;
        person.devices.iter().find(|device| device.own_id() == id).map(Device::endpoint)
    }

    /// What is encrypted is sent, and each device that was served is to read it.
    pub(super) fn send(&mut self, endpoint: usize, to: &str, (report, text): (&Report, &str)) {
        for row in report.rows.iter().filter(|row| row.status == Status::Ok) {
            let jid = row.jid.as_deref().unwrap();
            if let Some(endpoint) = self.endpoint(jid, row.device) {
                self.expected.insert((endpoint, text.to_owned()), self.day);
            }
        }
        for xml in &report.messages {
            self.texts.insert(xml.clone(), text.to_owned());
            self.world.post(endpoint, &[to], xml);
        }
    }

    pub(super) fn next_text(&mut self) -> String {
        format!("text {}", self.dice.roll())
    }

    /// The device writes to somebody.
    pub(super) fn say(&mut self, to: usize) {
        let (jid, text) = (self.people[to].jid.clone(), self.next_text());
        let report = counted(|| self.device.encrypt(&[&jid], &text, EncryptPolicy::Wait)).ok();
        self.send(self.device.endpoint(), &jid, (&report, &text));
    }

    /// One of somebody's devices writes to the account.
    pub(super) fn hear(&mut self, from: usize) {
        let (text, devices) = (self.next_text(), self.people[from].devices.len());
        let device = &self.people[from].devices[self.dice.below(devices)];
        // One of the own devices writes to the first contact.
        let to = if from == 0 { self.people[1].jid.clone() } else { ROMEO.to_owned() };
        let report = Device::encrypt(device, &[&to], &text, EncryptPolicy::Wait).ok();
        let endpoint = device.endpoint();
        self.send(endpoint, &to, (&report, &text));
    }

    /// Some texts in both directions.
    pub(super) fn texts(&mut self) {
        self.settle();
        let some = 1 + self.dice.below(CONTACTS);
        for person in [some, 1 + (some + self.day as usize) % CONTACTS] {
            self.hear(person);
            self.settle();
            if self.online {
                self.say(person);
                self.settle();
            }
        }
        if self.is_day(0, 3) {
            self.hear(0);
            self.settle();
        }
    }
}
