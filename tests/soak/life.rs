//! The life: what happens on each day, and what is checked meanwhile.

use crate::memory::{self, Sample};
use crate::people::{Exchange, Heard, Person, listed, take_off};
use crate::support::world::device::{Options, Report};
use crate::support::world::{Device, Mail, RawDevice, World};
use crate::support::{ROMEO, seeds::Dice};
use crate::tagged_heap::{counted, live};
use crate::tested::Tested;
use crate::watch::{DAY, HOUR, MINUTE, PERIOD, Watch};
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::bundle;
use std::collections::BTreeMap;

mod events;
mod post;
mod samples;

pub const YEAR: u32 = 365;
/// In each year devices and strangers come and go for so long; then only texts are written, for 120 days.
const CHURN: u32 = 245;
const CONTACTS: usize = 10;
/// Devices of each account, the tested one apart.
const DEVICES: usize = 2;
/// The contact whose devices never change, whom the client never forgets, and who replaces its sessions each week.
const STEADY: usize = CONTACTS;
/// Its sessions that may be kept: each for 90 days.
const KEPT_SESSIONS: usize = 90 / 7 + 3;
/// Sessions in the archive at the end of a year: the last one that it has replaced.
const KEPT_AT_THE_END: usize = 2;
/// A sample is taken so often, in the same place of the weeks.
const MONTH: u32 = 28;
const WARM_UP: u32 = 2 * MONTH;
/// How much more than after the warm-up may be live later.
const GROWTH: isize = 64 * 1024;
/// What may be stored after 120 days in which nobody came or went: beside the keys of the device, for each other device.
const STORE: usize = 24 * 1024;
const STORE_OF_DEVICE: usize = 2 * 1024;
/// How much more a year later: own devices that left stay known, and closed chains of those that stay are remembered.
const STORE_GROWTH: usize = 12 * 1024;
/// After which the client forgets a stranger.
const STRANGER_KEPT: u32 = 14;

/// How many texts in a hundred come to the device later, after so many days, and how many never.
const WITHHELD: u64 = 4;
const LOST: u64 = 4;
const WITHHELD_DAYS: u32 = 3;

/// A first message that was encrypted with a bundle which is out of date by now.
struct Late {
    jid: String,
    xml: String,
    signed: u32,
    pre_key: u32,
}

/// A stanza that comes late.
struct Withheld {
    day: u32,
    from: String,
    xml: String,
    text: String,
}

#[derive(Debug, Default)]
struct Counts {
    texts: usize,
    withheld: usize,
    lost: usize,
    /// Texts on a pre key that another device has used.
    excused: usize,
    replaced: usize,
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
    /// The texts of stanzas that were sent lately.
    texts: BTreeMap<String, String>,
    withheld: Vec<Withheld>,
    /// Whose key exchange has used up which pre key of an endpoint.
    used: BTreeMap<(usize, u32), u32>,
    fighting: bool,
    day: u32,
    counts: Counts,
    samples: Vec<Sample>,
}

impl<D: Tested> Life<D> {
    /// New pre keys are made when so many are left.
    pub fn begin(namespace: Namespace, seed: u64, pre_key_threshold: usize) -> Self {
        let world = World::speaking(namespace.uri(), seed);
        let options = Options { pre_key_threshold, ..Options::of(&world) };
        let device = counted(|| D::open(&world, ROMEO, options));
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
            texts: BTreeMap::new(),
            withheld: Vec::new(),
            used: BTreeMap::new(),
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
        if churn && self.is_day(4, 7) {
            self.replace_sessions();
        }
        // One contact begins new sessions all the time: what they leave behind must not pile up.
        if (churn && self.is_day(6, 7)) || self.day % YEAR == YEAR - 3 {
            self.be_replaced(STEADY);
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
        self.read_withheld(self.day);
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
                heard.into_iter().for_each(|heard| self.note(heard));
            }
            if !busy && (!self.online || self.world.is_empty(self.device.endpoint())) {
                return;
            }
        }
        panic!("the devices never come to rest");
    }

    fn check_day(&mut self) {
        assert!(self.online);
        assert!(self.expected.is_empty(), "day {}: texts are lost: {:?}", self.day, self.expected);
        self.texts.clear();
        self.watch.check_rotation();
        let is_listed = listed(&self.world, ROMEO).contains(&self.id);
        assert!(is_listed || self.fighting, "day {}: the device is not on its list", self.day);
    }
}
