//! What happens beside the texts: devices, strangers, and the client's own ends and beginnings.

use super::*;
use omemo::protocol::bundle::{Bundle, PublicPreKey};

impl<D: Tested> Life<D> {
    /// Each week somebody gets a new device, and the oldest one goes; each quarter the own account does.
    pub(super) fn devices_come_and_go(&mut self) {
        self.settle();
        let week = (self.day / 7) as usize;
        let whose = if week % 13 == 12 { 0 } else { 1 + week % (STEADY - 1) };
        self.counts.devices += 1;
        self.people[whose].add_device(&self.world);
        self.settle();
        self.people[whose].remove_oldest(&self.world, self.namespace);
        self.settle();
    }

    /// Somebody replaces the sessions with all devices of the other side: in turn those who write to the device, and itself.
    pub(super) fn replace_sessions(&mut self) {
        let week = (self.day / 7) as usize;
        let other = 1 + week / 2 % (STEADY - 1);
        if week.is_multiple_of(2) {
            self.settle();
            let jid = self.people[other].jid.clone();
            counted(|| self.device.replace_sessions(Some(&jid), 0)).ok();
            self.counts.replaced += 1;
            self.settle();
        } else {
            self.be_replaced(other);
        }
    }

    /// Somebody's device replaces its sessions with the account, and writes.
    pub(super) fn be_replaced(&mut self, by: usize) {
        self.settle();
        self.counts.replaced += 1;
        Device::replace_sessions(&self.people[by].devices[0], Some(ROMEO), 0).ok();
        self.settle();
        self.hear(by);
        self.settle();
    }

    pub(super) fn be_taken_off(&mut self) {
        self.counts.taken_off += 1;
        take_off(&self.world, self.namespace, (ROMEO, self.id));
    }

    pub(super) fn meet_strangers(&mut self) {
        let burst = self.is_day(10, MONTH);
        if !burst && !self.is_day(0, 2) {
            return;
        }
        for n in 0..if burst { 15 } else { 1 } {
            let jid = format!("stranger{n}.{}@verona.lit", self.day);
            let bundle = self.offered();
            let any = bundle.pre_keys[self.dice.below(bundle.pre_keys.len())].clone();
            let (late, text) = self.write_first(jid.clone(), (bundle, any));
            self.expected.insert((self.device.endpoint(), text), self.day);
            self.read(&jid, late.xml);
            self.strangers.push((jid, self.day));
            self.counts.strangers += 1;
            self.pass(5 * MINUTE);
        }
        if self.late.is_none() {
            let bundle = self.offered();
            let last = bundle.pre_keys.iter().max_by_key(|key| key.id).unwrap().clone();
            let (late, _) = self.write_first(format!("late.{}@verona.lit", self.day), (bundle, last));
            // Its text is known by what it is.
            self.late = Some(late);
        }
    }

    /// The bundle that stands on the server.
    fn offered(&self) -> Bundle {
        let xml = self.world.bundle(self.namespace.uri(), ROMEO, self.id).unwrap();
        bundle::parse(xml.as_bytes(), Some(self.id)).unwrap()
    }

    /// A stranger's first message on this bundle and one of its pre keys.
    fn write_first(&mut self, jid: String, (bundle, pre_key): (Bundle, PublicPreKey)) -> (Late, String) {
        let mut raw = RawDevice::of(self.namespace, &jid, 5);
        let (signed, id) = (bundle.signed_pre_key_id, pre_key.id);
        raw.begin_with(&Bundle { pre_keys: vec![pre_key], ..bundle });
        let text = self.next_text();
        let xml = raw.say((ROMEO, self.id), &text);
        (Late { jid, xml, signed, pre_key: id }, text)
    }

    /// Almost a period after the signed pre key was replaced comes what was encrypted with the one before.
    pub(super) fn hear_late_stranger(&mut self) {
        let Some(late) = self.late.take_if(|late| late.signed != self.watch.signed.id) else { return };
        if self.watch.is_used(late.pre_key) || late.signed + 1 != self.watch.signed.id {
            return;
        }
        if self.watch.signed_age() < PERIOD - 2 * DAY {
            self.late = Some(late);
            return;
        }
        let (jid, xml) = (late.jid, late.xml);
        let read = counted(|| self.device.read(&jid, &xml));
        assert_eq!(read.status, Status::Ok, "day {}: the signed pre key before is not served", self.day);
        self.watch.consume(late.pre_key);
        self.counts.late += 1;
        self.strangers.push((jid, self.day));
        self.turn();
    }

    pub(super) fn forget_strangers(&mut self) {
        let day = self.day;
        let (gone, kept) = std::mem::take(&mut self.strangers)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, met)| met + STRANGER_KEPT <= day);
        self.strangers = kept;
        gone.iter().for_each(|(jid, _)| counted(|| self.device.purge(jid)));
    }

    /// The client forgets the sessions with devices that left: with their JIDs, to which it writes anew.
    pub(super) fn forget_those_who_left(&mut self) {
        self.settle();
        self.read_withheld(u32::MAX);
        for person in 1..STEADY {
            counted(|| self.device.purge(&self.people[person].jid));
            self.say(person);
            self.settle();
        }
    }

    pub(super) fn be_disconnected(&mut self) {
        counted(|| self.device.disconnect());
        self.online = false;
        self.pass(HOUR);
        self.hear_while_away();
        self.pass(HOUR);
        self.online = true;
        counted(|| self.device.connect());
        self.settle();
    }

    pub(super) fn hear_while_away(&mut self) {
        for _ in 0..2 {
            let from = 1 + self.dice.below(CONTACTS);
            self.hear(from);
        }
    }

    pub(super) fn close(&mut self) {
        counted(|| self.device.close());
        self.watch.closed();
    }

    pub(super) fn restart(&mut self) {
        self.close();
        counted(|| self.device.restart());
        counted(|| self.device.connect());
        self.settle();
    }

    /// The client does not run, and catches up afterwards.
    pub(super) fn be_away(&mut self, ms: i64) {
        self.settle();
        self.counts.outages += 1;
        self.close();
        self.online = false;
        for _ in 0..3 {
            self.world.advance(ms / 3);
            self.hear_while_away();
        }
        counted(|| self.device.restart());
        self.watch.ran(self.world.now_ms());
        assert_eq!(counted(|| self.device.begin_catch_up()), Status::Ok);
        counted(|| self.device.connect());
        self.online = true;
        self.turn();
        let operation = counted(|| self.device.end_catch_up()).unwrap();
        counted(|| self.device.finish(operation));
        self.settle();
    }
}
