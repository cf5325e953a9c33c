//! The life: what happens on each day, and what is checked meanwhile.

use crate::memory::{self, Sample};
use crate::people::{Person, listed, take_off};
use crate::support::world::device::{Options, Report};
use crate::support::world::{Device, Mail, RawDevice, Read, World};
use crate::support::{ROMEO, seeds::Dice};
use crate::tagged_heap::{counted, live};
use crate::tested::Tested;
use crate::watch::{DAY, HOUR, MINUTE, PERIOD, Watch};
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::{bundle, message};
use std::collections::BTreeMap;

pub const YEAR: u32 = 365;
/// In each year devices and strangers come and go for so long; then only texts are written, for 120 days.
const CHURN: u32 = 245;
const CONTACTS: usize = 10;
/// Devices of each account, the tested one apart.
const DEVICES: usize = 2;
/// A sample is taken so often, in the same place of the weeks.
const MONTH: u32 = 28;
const WARM_UP: u32 = 2 * MONTH;
/// How much more than after the warm-up may be live later.
const GROWTH: isize = 64 * 1024;
/// After which the client forgets a stranger.
const STRANGER_KEPT: u32 = 14;

/// A first message that was encrypted with a bundle which is out of date by now.
struct Late {
    jid: String,
    xml: String,
    signed: u32,
    pre_key: u32,
}

#[derive(Default)]
struct Counts {
    texts: usize,
    strangers: usize,
    devices: usize,
    late: usize,
    fights: usize,
    taken_off: usize,
    restarts: usize,
    outages: usize,
    /// Statuses of stanzas without a text.
    statuses: BTreeMap<&'static str, usize>,
}

pub struct Life<D: Tested> {
    world: World,
    namespace: Namespace,
    dice: Dice,
    device: D,
    id: u32,
    online: bool,
    watch: Watch,
    /// The other devices of the own account, and the contacts.
    people: Vec<Person>,
    strangers: Vec<(String, u32)>,
    late: Option<Late>,
    /// Texts on their way to an endpoint.
    expected: BTreeMap<(usize, String), u32>,
    fighting: bool,
    day: u32,
    counts: Counts,
    samples: Vec<Sample>,
}

impl<D: Tested> Life<D> {
    pub fn begin(namespace: Namespace, seed: u64) -> Self {
        let world = World::speaking(namespace.uri(), seed);
        let device = counted(|| D::open(&world, ROMEO, Options::of(&world)));
        counted(|| device.connect()).ok();
        let mut watch = Watch::new(device.endpoint(), world.now_ms());
        world.take_journal().iter().for_each(|request| watch.see(request));
        let contacts = (0..CONTACTS).map(|n| format!("contact{n}@capulet.lit"));
        let jids = std::iter::once(ROMEO.to_owned()).chain(contacts);
        let people = jids.map(|jid| Person::new(&world, &jid, DEVICES)).collect();
        let id = device.own_id();
        Self {
            world,
            namespace,
            dice: Dice::new(seed),
            device,
            id,
            online: true,
            watch,
            people,
            strangers: Vec::new(),
            late: None,
            expected: BTreeMap::new(),
            fighting: false,
            day: 0,
            counts: Counts::default(),
            samples: Vec::new(),
        }
    }

    pub fn live(&mut self, days: u32) {
        while self.day < days {
            self.live_day();
            self.day += 1;
        }
    }

    fn is_churn(&self) -> bool {
        self.day % YEAR < CHURN
    }

    /// Days of which the first numbers are these, in so many.
    fn is_day(&self, number: u32, of: u32) -> bool {
        self.day % of == number
    }

    fn live_day(&mut self) {
        let churn = self.is_churn();
        let was_fighting = self.fighting;
        self.fighting = churn && (20..23).contains(&(self.day % 45));
        self.counts.fights += usize::from(self.fighting && !was_fighting);
        if churn && self.is_day(0, 7) {
            self.devices_come_and_go();
        }
        if self.day % YEAR == CHURN {
            self.forget_those_who_left();
        }
        self.forget_strangers();
        self.pass(6 * HOUR);
        if self.fighting || (churn && self.is_day(1, 7)) {
            self.be_taken_off();
        }
        self.texts();
        if self.is_day(5, 10) {
            self.be_away(if self.is_day(25, 60) { 3 * DAY } else { DAY } - 6 * HOUR);
            self.day += if self.is_day(25, 60) { 2 } else { 0 };
        } else {
            self.pass(6 * HOUR);
            if churn {
                self.meet_strangers();
            }
            self.hear_late_stranger();
            if self.is_day(2, 5) {
                self.be_disconnected();
            }
            self.pass(6 * HOUR);
            self.texts();
            if self.is_day(3, 7) {
                self.counts.restarts += 1;
                self.restart();
            }
            self.pass(6 * HOUR);
        }
        self.settle();
        self.check_day();
        if self.is_day(6, MONTH) || self.day % YEAR == YEAR - 1 {
            self.take_sample();
        }
    }

    // -- time

    /// Time passes as it does for a client that runs when the library wants to.
    fn pass(&mut self, ms: i64) {
        let end = self.world.now_ms() + ms;
        loop {
            let left = end - self.world.now_ms();
            if left <= 0 {
                return;
            }
            let due = counted(|| self.device.due_in()).map_or(i64::MAX, |ms| i64::try_from(ms).unwrap());
            self.world.advance(due.clamp(1, HOUR / 2).min(left));
            self.turn();
        }
    }

    /// The device runs and takes its mail until nothing more happens at this moment.
    fn turn(&mut self) {
        for _ in 0..1_000 {
            counted(|| self.device.go_on());
            self.watch.ran(self.world.now_ms());
            let requests = self.world.take_journal();
            requests.iter().for_each(|request| self.watch.see(request));
            if self.fighting && listed(&self.world, ROMEO).contains(&self.id) {
                self.be_taken_off();
            }
            if !self.online || !self.take_mail() {
                return;
            }
        }
        panic!("the device never comes to rest");
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.turn();
            let mut busy = false;
            for person in 0..self.people.len() {
                let heard = self.people[person].take_mail(&self.world, ROMEO);
                busy |= !heard.is_empty();
                heard.into_iter().for_each(|(endpoint, read)| self.note(endpoint, read));
            }
            if !busy && (!self.online || self.world.is_empty(self.device.endpoint())) {
                return;
            }
        }
        panic!("the devices never come to rest");
    }

    // -- messages

    fn take_mail(&mut self) -> bool {
        let mut any = false;
        while let Some(mail) = self.world.take(self.device.endpoint()) {
            any = true;
            match mail {
                Mail::DeviceList { jid, xml, .. } => {
                    counted(|| self.device.update_device_list(&jid, &xml));
                }
                Mail::Stanza { from, xml } => self.read(&from, &xml),
            }
        }
        any
    }

    fn read(&mut self, from: &str, xml: &str) {
        let parsed = message::parse(xml.as_bytes()).unwrap();
        let mine = parsed.keys.iter().find(|key| key.device == self.id && key.key_exchange);
        let exchange =
            mine.map(|key| KeyExchange::parse(self.namespace, key.bytes.as_ref().unwrap()).unwrap());
        let read = counted(|| self.device.read(from, xml));
        if read.status == Status::Ok
            && let Some(exchange) = exchange
        {
            self.watch.use_up(exchange.id().pre_key_id);
        }
        self.note(self.device.endpoint(), read);
    }

    fn note(&mut self, endpoint: usize, read: Read) {
        match read.text {
            Some(text) => {
                let expected = self.expected.remove(&(endpoint, text));
                assert!(expected.is_some(), "day {}: a text is read twice, or by somebody else", self.day);
                self.counts.texts += 1;
            }
            None => *self.counts.statuses.entry(read.status.name()).or_default() += 1,
        }
    }

    /// The endpoint of a device, unless it is gone.
    fn endpoint(&self, jid: &str, id: u32) -> Option<usize> {
        if id == self.id {
            return Some(self.device.endpoint());
        }
        let person = self.people.iter().find(|person| person.jid == jid)?;
        person.devices.iter().find(|device| device.own_id() == id).map(Device::endpoint)
    }

    fn expect(&mut self, report: &Report, text: &str) {
        for row in report.rows.iter().filter(|row| row.status == Status::Ok) {
            let jid = row.jid.as_deref().unwrap();
            if let Some(endpoint) = self.endpoint(jid, row.device) {
                self.expected.insert((endpoint, text.to_owned()), self.day);
            }
        }
    }

    fn next_text(&mut self) -> String {
        format!("text {}", self.dice.roll())
    }

    /// The device writes to somebody.
    fn say(&mut self, to: usize) {
        let (jid, text) = (self.people[to].jid.clone(), self.next_text());
        let report = counted(|| self.device.encrypt(&[&jid], &text, EncryptPolicy::Wait)).ok();
        self.expect(&report, &text);
        for xml in &report.messages {
            self.world.post(self.device.endpoint(), &[&jid], xml);
        }
    }

    /// One of somebody's devices writes to the account.
    fn hear(&mut self, from: usize) {
        let (text, devices) = (self.next_text(), self.people[from].devices.len());
        let device = &self.people[from].devices[self.dice.below(devices)];
        // One of the own devices writes to the first contact.
        let to = if from == 0 { self.people[1].jid.clone() } else { ROMEO.to_owned() };
        let report = Device::encrypt(device, &[&to], &text, EncryptPolicy::Wait).ok();
        let endpoint = device.endpoint();
        self.expect(&report, &text);
        report.messages.iter().for_each(|xml| self.world.post(endpoint, &[&to], xml));
    }

    /// Some texts in both directions.
    fn texts(&mut self) {
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

    // -- what happens

    /// Each week somebody gets a new device, and the oldest one goes; each quarter the own account does.
    fn devices_come_and_go(&mut self) {
        self.settle();
        let week = (self.day / 7) as usize;
        let whose = if week % 13 == 12 { 0 } else { 1 + week % CONTACTS };
        self.counts.devices += 1;
        self.people[whose].add_device(&self.world);
        self.settle();
        self.people[whose].remove_oldest(&self.world, self.namespace);
        self.settle();
    }

    fn be_taken_off(&mut self) {
        self.counts.taken_off += 1;
        take_off(&self.world, self.namespace, (ROMEO, self.id));
    }

    fn meet_strangers(&mut self) {
        let burst = self.is_day(10, MONTH);
        if !burst && !self.is_day(0, 2) {
            return;
        }
        for n in 0..if burst { 15 } else { 1 } {
            let jid = format!("stranger{n}.{}@verona.lit", self.day);
            let (late, text) = self.write_late(jid.clone());
            self.expected.insert((self.device.endpoint(), text), self.day);
            self.read(&jid, &late.xml);
            self.strangers.push((jid, self.day));
            self.counts.strangers += 1;
            self.pass(5 * MINUTE);
        }
        if self.late.is_none() {
            let (late, _) = self.write_late(format!("late.{}@verona.lit", self.day));
            // Its text is known by what it is.
            self.late = Some(late);
        }
    }

    /// A stranger's first message on the bundle that stands on the server, and on the last of its pre keys.
    fn write_late(&mut self, jid: String) -> (Late, String) {
        let mut raw = RawDevice::of(self.namespace, &jid, 5);
        let xml = self.world.bundle(self.namespace.uri(), ROMEO, self.id).unwrap();
        let mut bundle = bundle::parse(xml.as_bytes(), Some(self.id)).unwrap();
        let last = bundle.pre_keys.iter().max_by_key(|key| key.id).unwrap().clone();
        let (signed, pre_key) = (bundle.signed_pre_key_id, last.id);
        bundle.pre_keys = vec![last];
        raw.begin_with(&bundle);
        let text = self.next_text();
        let xml = raw.say((ROMEO, self.id), &text);
        (Late { jid, xml, signed, pre_key }, text)
    }

    /// Almost a period after the signed pre key was replaced comes what was encrypted with the one before.
    fn hear_late_stranger(&mut self) {
        let Some(late) = self.late.take_if(|late| late.signed != self.watch.signed.id) else { return };
        if self.watch.is_used(late.pre_key) || late.signed + 1 != self.watch.signed.id {
            return;
        }
        if self.watch.signed_age() < PERIOD - 2 * DAY {
            self.late = Some(late);
            return;
        }
        let (jid, xml) = (late.jid.clone(), late.xml);
        let read = counted(|| self.device.read(&jid, &xml));
        assert_eq!(read.status, Status::Ok, "day {}: the signed pre key before is not served", self.day);
        self.watch.use_up(late.pre_key);
        self.counts.late += 1;
        self.strangers.push((jid, self.day));
        self.turn();
    }

    fn forget_strangers(&mut self) {
        let day = self.day;
        let (gone, kept) = std::mem::take(&mut self.strangers)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, met)| met + STRANGER_KEPT <= day);
        self.strangers = kept;
        gone.iter().for_each(|(jid, _)| counted(|| self.device.purge(jid)));
    }

    /// The client forgets the sessions with devices that left: with their JIDs, to which it writes anew.
    fn forget_those_who_left(&mut self) {
        self.settle();
        for person in 1..self.people.len() {
            counted(|| self.device.purge(&self.people[person].jid));
            self.say(person);
            self.settle();
        }
    }

    fn be_disconnected(&mut self) {
        counted(|| self.device.disconnect());
        self.online = false;
        self.pass(HOUR);
        self.hear_while_away();
        self.pass(HOUR);
        self.online = true;
        counted(|| self.device.connect());
        self.settle();
    }

    fn hear_while_away(&mut self) {
        for _ in 0..2 {
            let from = 1 + self.dice.below(CONTACTS);
            self.hear(from);
        }
    }

    fn close(&mut self) {
        counted(|| self.device.close());
        self.watch.closed();
    }

    fn restart(&mut self) {
        self.close();
        counted(|| self.device.restart());
        counted(|| self.device.connect());
        self.settle();
    }

    /// The client does not run, and catches up afterwards.
    fn be_away(&mut self, ms: i64) {
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

    // -- checks

    fn check_day(&mut self) {
        assert!(self.online);
        assert!(self.expected.is_empty(), "day {}: texts are lost: {:?}", self.day, self.expected);
        self.watch.check_rotation();
        let is_listed = listed(&self.world, ROMEO).contains(&self.id);
        assert!(is_listed || self.fighting, "day {}: the device is not on its list", self.day);
    }

    fn forget_all(&mut self) {
        self.device.forget();
        self.people.iter().for_each(Person::forget);
        self.world.forget_past();
        // What the store holds is no memory of the library; from now on it was not allocated inside its calls.
        let records = self.device.storage().all();
        self.device.storage().put_back(records);
    }

    fn take_sample(&mut self) {
        self.settle();
        self.forget_all();
        let working = live();
        self.close();
        self.device.forget();
        let closed = live();
        let records = self.device.storage().all();
        let of_archive = |key: &&String| key.starts_with("v1/archive/") && key.matches('/').count() == 5;
        let sample = Sample {
            day: self.day,
            working,
            closed,
            started: 0,
            store: self.device.storage().size(),
            records: records.len(),
            archived: records.keys().filter(of_archive).count(),
            rss: memory::rss(),
        };
        drop(records);
        counted(|| self.device.restart());
        counted(|| self.device.connect());
        self.settle();
        self.forget_all();
        let sample = Sample { started: live(), ..sample };
        println!("{sample:?}");
        self.samples.push(sample);
    }

    // -- the end

    pub fn figures(&self) -> String {
        let Counts { texts, strangers, devices, late, fights, taken_off, restarts, outages, statuses } =
            &self.counts;
        let first = self.samples.iter().find(|sample| sample.day >= WARM_UP);
        format!(
            "{} days, {texts} texts read, {strangers} strangers, {devices} devices replaced, {late} first messages on the \
             signed pre key before, {fights} fights, taken off {taken_off} times, {restarts} restarts, {outages} outages; \
             {}; without a text: {statuses:?}\nafter the warm-up {first:?}\nat the end {:?}",
            self.day,
            self.watch.figures(),
            self.samples.last()
        )
    }

    /// What the samples say.
    pub fn check(&self) {
        let mut later = self.samples.iter().skip_while(|sample| sample.day < WARM_UP);
        let Some(first) = later.next() else { return };
        for sample in later {
            for (what, now, before) in [
                ("working", sample.working, first.working),
                ("closed", sample.closed, first.closed),
                ("started", sample.started, first.started),
            ] {
                assert!(now - before <= GROWTH, "{what}: {before} bytes are live, later {now}: {sample:?}");
            }
        }
    }
}
