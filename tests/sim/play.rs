//! Plays a script: the devices, what their users and the network do to them, and the clock.

use crate::facts::{Facts, Memory};
use crate::figures::{Count, Figures};
use crate::rule::{Failure, Rule};
use crate::script::{ACCOUNTS, Churn, DEVICES, Latency, Setup, Step};
use crate::spoilt::Spoilt;
use crate::support::World;
use crate::support::seeds::Dice;
use crate::support::world::network::Network;
use crate::support::world::storage::Records;
use crate::support::world::{Answer, Answering, Device, Options};
use crate::tap::Tap;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::config::Healing;
use omemo::stanza::device_list;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub const JIDS: [&str; ACCOUNTS] =
    ["romeo@montague.lit", "juliet@capulet.lit", "tybalt@capulet.lit", "benvolio@montague.lit"];
pub const ROOM: &str = "orchard@rooms.lit";
/// A step takes so long, beside what it waits for.
const STEP_MS: i64 = 3_000;
/// Stores are searched, and sizes and trust compared, after so many steps.
const SELDOM: usize = 120;
/// The account whose devices ask about each key.
const ASKS: usize = 0;

/// A text whose encryption has begun.
pub struct Draft {
    /// When it began.
    pub begun: u64,
    pub text: usize,
    pub to: Vec<&'static str>,
    pub room: Option<&'static str>,
}

/// A backup of a device: its store, and what went with it.
pub struct Backup {
    records: Records,
    memory: Memory,
    /// What the network had posted then.
    posted: usize,
}

/// The place of a device of an account, and the device that has it now.
pub struct Slot<D> {
    pub account: usize,
    pub device: D,
    pub endpoint: usize,
    pub online: bool,
    pub catching_up: bool,
    /// How many stanzas of the archive it still reads in this step.
    pub page: usize,
    pub drafts: BTreeMap<u64, Draft>,
    /// Calls that replace the sessions with everybody, and are not over.
    pub replacing: BTreeSet<u64>,
    pub backup: Option<Backup>,
}

/// A run.
pub struct Sim<D> {
    pub setup: Setup,
    pub world: World,
    pub slots: Vec<Slot<D>>,
    pub network: Network,
    pub tap: Rc<RefCell<Tap>>,
    pub facts: Facts,
    pub figures: Figures,
    pub dice: Dice,
    pub texts: Vec<String>,
    /// Texts and devices that read them, ever.
    pub read: BTreeSet<(usize, usize)>,
    pub excused: BTreeMap<(usize, usize), crate::excuse::Excuse>,
    pub wrong: Vec<Failure>,
    pub spoilt: Option<Spoilt>,
    /// When a device was put back on an older copy of its store last.
    restored: BTreeMap<usize, i64>,
    /// Devices that have to notice that.
    pub unnoticed: BTreeSet<usize>,
    /// Whether something was planted.
    pub planted: bool,
    /// The first bundle of each device, where an old one is to be planted.
    pub first_bundles: BTreeMap<usize, crate::support::Request>,
    pub steps: usize,
    /// When the devices came to rest last: all answers that were due by then were given.
    pub rested_ms: i64,
}

impl<D: Device> Sim<D> {
    /// All devices have logged in.
    pub fn new(setup: Setup, spoilt: Option<Spoilt>) -> Self {
        let world = World::speaking(setup.world_namespace(), setup.seed);
        let tap: Rc<RefCell<Tap>> = Rc::default();
        let heard = Rc::clone(&tap);
        world.set_fault(move |request| heard.borrow_mut().hear(request));
        if setup.latency == Latency::Some {
            world.set_answering(Answering::Later { least_ms: 1, most_ms: 400 });
        }
        let mut sim = Self {
            setup,
            world,
            slots: Vec::new(),
            network: Network::default(),
            tap,
            facts: Facts::default(),
            figures: Figures::default(),
            dice: Dice::new(setup.seed),
            texts: Vec::new(),
            read: BTreeSet::new(),
            excused: BTreeMap::new(),
            wrong: Vec::new(),
            spoilt,
            restored: BTreeMap::new(),
            unnoticed: BTreeSet::new(),
            planted: false,
            first_bundles: BTreeMap::new(),
            steps: 0,
            rested_ms: 0,
        };
        for slot in 0..setup.slots() {
            let new = sim.log_in(slot);
            sim.slots.push(new);
        }
        sim.keep_bundles();
        sim.pump();
        sim
    }

    /// A new device of an account.
    fn log_in(&mut self, slot: usize) -> Slot<D> {
        let account = slot / DEVICES;
        let mut options = Options::of(&self.world);
        options.namespaces = self.setup.namespaces(slot);
        options.healing = self.setup.healing;
        options.habits = self.setup.habits(slot);
        if account == ASKS {
            options.default_level = "undecided";
        }
        let (namespaces, default_level) = (options.namespaces.clone(), options.default_level);
        let device = D::open(&self.world, JIDS[account], options);
        let login = device.begin_connect();
        for _ in 0..1_000 {
            device.go_on();
            device.give_due();
            if device.report(login).is_some() {
                break;
            }
            self.world.advance(20);
        }
        let endpoint = device.endpoint();
        self.network.join(endpoint, JIDS[account]);
        let own = (device.own_id(), device.own_key());
        self.facts.add(endpoint, JIDS[account], own, &namespaces);
        let new = self.facts.devices.get_mut(&endpoint).unwrap();
        (new.default_level, new.habits) = (default_level, self.setup.habits(slot));
        Slot {
            account,
            device,
            endpoint,
            online: true,
            catching_up: false,
            page: 0,
            drafts: BTreeMap::new(),
            replacing: BTreeSet::new(),
            backup: None,
        }
    }

    pub fn fail(&mut self, rule: Rule, what: impl Into<String>) {
        self.wrong.push(Failure::new(rule, what));
    }

    /// Whether a rule was broken.
    pub fn is_broken(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// Plays steps until a rule is broken.
    pub fn play(&mut self, script: &[Step]) {
        for step in script {
            self.steps += 1;
            self.world.advance(STEP_MS);
            self.slots.iter_mut().for_each(|slot| slot.page = 12);
            self.step(step);
            self.pump();
            self.check_each_step();
            if self.steps.is_multiple_of(SELDOM) {
                self.check_sometimes();
            }
            self.world.clear_journal();
            if self.is_broken() {
                return;
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Wire(conditions) => self.network.conditions = conditions,
            Step::Say { slot, account, dice } => {
                self.dice = Dice::new(dice);
                self.say(slot, vec![JIDS[account]], None);
            }
            Step::SayInRoom { slot, dice } => {
                self.dice = Dice::new(dice);
                self.say(slot, self.others(slot), Some(ROOM));
            }
            Step::Wait { seconds } => self.wait(seconds as i64 * 1_000),
            Step::Restart { slot } => {
                self.restart(slot, None);
                self.plant(slot);
            }
            Step::Leave { slot } => self.leave(slot),
            Step::Come { slot, overlap } => self.come(slot, overlap),
            Step::Fail { slot, reason, count } => {
                let answer = if reason == 0 { Answer::Silence } else { Answer::Reject(reason) };
                self.tap.borrow_mut().fail(self.slots[slot].endpoint, answer, count);
            }
            Step::Judge { slot, of, level } => self.judge(slot, self.slots[of].endpoint, level),
            Step::Reinstall { slot } => self.reinstall(slot),
            Step::Backup { slot } => self.back_up(slot),
            Step::Restore { slot } => self.restore(slot),
            Step::Purge { slot, account } => self.purge(slot, account),
            Step::Replace { slot, account } => self.replace(slot, Some(JIDS[account]), 0),
            Step::ReplaceAll { slot } => self.replace(slot, None, 0),
        }
    }

    /// Time passes, and what happens meanwhile happens in its order.
    pub fn wait(&mut self, ms: i64) {
        let end = self.world.now_ms() + ms;
        for _ in 0..10_000 {
            let now = self.world.now_ms();
            let next = self.network.next_due().into_iter().chain(self.world.next_due());
            let due = self.slots.iter().filter(|slot| slot.online).filter_map(|slot| slot.device.due_in());
            let due = due.map(|ms| now + (ms as i64).max(1_000));
            match next.chain(due).min().filter(|at| *at < end) {
                Some(at) => self.world.advance((at - now).max(0)),
                None => return self.world.advance((end - now).max(0)),
            }
            self.pump();
            if self.is_broken() {
                return;
            }
        }
        self.fail(Rule::Silent, "the devices never come to rest");
    }

    pub fn say(&mut self, slot: usize, to: Vec<&'static str>, room: Option<&'static str>) {
        let number = self.texts.len();
        let text = format!("{}-{}-{number} says more than this", crate::check::CANARY, self.setup.seed);
        let place = &mut self.slots[slot];
        match place.device.begin_encrypt(&to, &text, EncryptPolicy::Wait) {
            Ok(operation) => {
                let begun = self.tap.borrow().tick;
                place.drafts.insert(operation, Draft { begun, text: number, to, room });
                self.texts.push(text);
            }
            Err(status) => self.fail(Rule::Store, format!("encrypt does not begin: {}", status.name())),
        }
    }

    pub fn restart(&mut self, slot: usize, records: Option<Records>) {
        let place = &mut self.slots[slot];
        place.drafts.clear();
        place.replacing.clear();
        self.tap.borrow_mut().forget_asked(place.endpoint, self.rested_ms);
        match records {
            None => place.device.restart(),
            Some(records) => place.device.restart_on(records),
        }
        if place.online {
            place.catching_up = !self.network.has_caught_up(place.endpoint);
            match place.catching_up {
                true => place.device.begin_connect_to_catch_up(),
                false => place.device.begin_connect(),
            };
        }
        self.figures.add(Count::Restarts);
    }

    pub fn leave(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if place.online {
            place.device.disconnect();
            self.tap.borrow_mut().forget_asked(place.endpoint, self.rested_ms);
            (place.online, place.catching_up) = (false, false);
            self.network.leave(place.endpoint);
        }
    }

    pub fn come(&mut self, slot: usize, overlap: usize) {
        let place = &mut self.slots[slot];
        if !place.online {
            // What was pushed meanwhile went to nobody.
            self.world.lose_inbox(place.endpoint);
            place.device.begin_connect_to_catch_up();
            (place.online, place.catching_up) = (true, true);
            self.network.come(place.endpoint, overlap);
            self.figures.add(Count::CatchUps);
        }
    }

    pub fn judge(&mut self, slot: usize, whom: usize, level: &'static str) {
        let place = &self.slots[slot];
        if place.endpoint == whom {
            return;
        }
        let (jid, key) = (self.facts.devices[&whom].jid.clone(), self.facts.devices[&whom].key);
        let status = place.device.set_trust(&jid, &key, level);
        if status == Status::Ok {
            self.facts.judge(place.endpoint, key, level);
            self.figures.add(Count::Judgements);
        } else {
            self.fail(Rule::Trust, format!("set_trust: {}", status.name()));
        }
    }

    /// Another client of the account takes the old device off the lists.
    fn reinstall(&mut self, slot: usize) {
        let old = self.slots[slot].endpoint;
        let account = JIDS[self.slots[slot].account];
        self.facts.devices.get_mut(&old).unwrap().alive = false;
        if self.unnoticed.remove(&old) {
            self.figures.add(Count::Noticed);
        }
        self.network.remove(old);
        let id = self.facts.devices[&old].id;
        for namespace in self.setup.namespaces(slot) {
            let Some(xml) = self.world.list(namespace.uri(), account) else { continue };
            let mut list = device_list::parse(xml.as_bytes()).unwrap();
            list.devices.retain(|device| device.id != id);
            let xml = device_list::write(&list);
            self.tap.borrow_mut().note_list(namespace, account, &xml);
            self.world.publish_list(namespace.uri(), account, &xml);
            self.world.delete_bundle(namespace.uri(), account, id);
        }
        self.slots[slot] = self.log_in(slot);
        self.figures.add(Count::Reinstalled);
    }

    fn back_up(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        place.backup = Some(Backup {
            records: place.device.storage().all(),
            memory: self.facts.remember(place.endpoint, &self.tap.borrow()),
            posted: self.network.count(),
        });
    }

    fn restore(&mut self, slot: usize) {
        let Some(backup) = self.slots[slot].backup.take() else { return };
        let endpoint = self.slots[slot].endpoint;
        if self.spoilt != Some(Spoilt::SecretRestore) {
            self.expect_rollback(endpoint, &backup.memory);
            self.facts.restore(endpoint, backup.memory, &mut self.tap.borrow_mut());
        }
        self.leave(slot);
        self.restart(slot, Some(backup.records));
        // The client's own archive is as old as its store.
        self.network.forget_from(endpoint, backup.posted);
        self.come(slot, 0);
        if self.setup.healing == Healing::Manual {
            // As the documentation asks a user who restores a backup.
            self.replace(slot, None, 0);
        }
        self.figures.add(Count::Restored);
    }

    /// What the server shows has to be noticed; on the evidence of pre keys alone that is done once a day.
    fn expect_rollback(&mut self, endpoint: usize, memory: &Memory) {
        let now = self.world.now_ms();
        let last = self.restored.insert(endpoint, now);
        let shown = self.facts.shows(endpoint, memory, &self.tap.borrow());
        let due = shown && last.is_none_or(|last| now - last > 25 * 3_600_000);
        if due && self.unnoticed.insert(endpoint) {
            self.figures.add(Count::Shown);
        }
    }

    fn purge(&mut self, slot: usize, account: usize) {
        let place = &self.slots[slot];
        let status = place.device.purge_jid(JIDS[account]);
        if status == Status::Ok {
            self.facts.purge(place.endpoint, JIDS[account], &mut self.tap.borrow_mut());
            self.figures.add(Count::Purged);
        } else {
            self.fail(Rule::Store, format!("purge_jid: {}", status.name()));
        }
    }

    pub fn replace(&mut self, slot: usize, jid: Option<&str>, device: u32) {
        let place = &mut self.slots[slot];
        if !place.online {
            return;
        }
        let Ok(operation) = place.device.begin_replace_sessions(jid, device) else { return };
        if jid.is_none() {
            place.replacing.insert(operation);
            self.figures.add(Count::ReplacedAll);
        } else {
            self.figures.add(Count::Replaced);
        }
    }

    /// The accounts that there are.
    pub fn jids(&self) -> &'static [&'static str] {
        &JIDS[..self.setup.accounts]
    }

    /// The accounts but that of a device.
    pub fn others(&self, slot: usize) -> Vec<&'static str> {
        let own = JIDS[self.slots[slot].account];
        self.jids().iter().filter(|jid| **jid != own).copied().collect()
    }

    pub fn has_no_churn(&self) -> bool {
        self.setup.churn == Churn::None
    }
}
