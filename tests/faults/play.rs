//! What each step does.

use crate::flow::{Step, Who};
use crate::stage::{Mail, PARIS, Stage};
use crate::support::world::server::{id, jid};
use crate::support::{JULIET, ROMEO, RawDevice};
use crate::wire::has_key_for;
use omemo::error::Status;
use omemo::manager::api::catch_up::CatchUp;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::keep::Keep;
use omemo::manager::api::report::Outcome;
use omemo::protocol::address::BareJid;
use omemo::protocol::message::Message;

const MINUTE: u64 = 60_000;
const OCCUPANTS: usize = 6;

impl Stage {
    /// Plays one step, and lets everybody read what came of it.
    pub fn play(&mut self, step: Step) {
        if !matches!(step, Step::Restart | Step::Serve(_) | Step::Acknowledge) {
            self.open();
            let asks = !matches!(
                step,
                Step::Connect | Step::ConnectForCatchUp | Step::Disconnect | Step::Look | Step::TakeKept
            );
            if asks && self.wants_online && !self.online && self.is_open() {
                self.connect(Step::Connect);
            }
            self.open();
            // What was being read when the process ended is given again first.
            self.read_inbox();
            self.open();
            if !self.is_open() {
                return self.failed(step);
            }
        }
        self.act(step);
        if self.is_open() {
            self.pump();
            self.deliver();
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Connect | Step::ConnectForCatchUp => self.connect(step),
            Step::Disconnect => self.disconnect(),
            Step::Restart => self.restart(),
            Step::Serve(namespaces) => {
                self.restart();
                self.romeo.config.namespaces = namespaces.to_vec();
                // What is left is forgotten, with its sessions.
                self.purged = true;
            }
            Step::Look => self.look(),
            Step::Say => self.say(step, &[JULIET], EncryptPolicy::Wait),
            Step::SayNow => self.say(step, &[JULIET], EncryptPolicy::Now),
            Step::SayParis => self.say(step, &[PARIS], EncryptPolicy::Wait),
            Step::SayRoom => self.say_to_room(step),
            Step::Minutes(minutes) => self.wait(minutes, MINUTE),
            Step::Days(days) => self.wait(days * 4, 360 * MINUTE),
            Step::Trust(level) => self.trust(step, level),
            Step::AcceptParis => self.accept_paris(step),
            Step::Purge(keep) => self.purge(step, keep),
            Step::Hear
            | Step::HearTwice
            | Step::HearForged
            | Step::HearSkipped(_)
            | Step::HearMany(_)
            | Step::HearStranger
            | Step::Cross => self.hear(step),
            Step::SwapParis
            | Step::LaptopJoins
            | Step::LaptopLeaves
            | Step::ForeignJoins
            | Step::ForeignLeaves
            | Step::ServerLosesList
            | Step::ServerLosesBundle
            | Step::JulietLosesSessions => self.others(step),
            Step::HearParis => self.hear_paris(),
            Step::Acknowledge => {
                self.restart();
                self.begin_acknowledging();
            }
            Step::HearAndCrash => {
                self.kept.holds = true;
                self.hear(step);
                self.kept.holds = false;
                self.restart();
            }
            Step::TakeKept => self.take_kept(step),
            _ => self.begin(step),
        }
    }

    /// Steps that are one operation.
    fn begin(&mut self, step: Step) {
        match step {
            Step::EndCatchUp => self.operate(step, |romeo, op| romeo.manager().catch_up_end(op)),
            Step::Refresh(who) => {
                self.operate(step, |romeo, op| romeo.manager().refresh_devices(op, name_of(who), None))
            }
            Step::CrossingLabel(label) => {
                self.crossing = true;
                self.operate(step, |romeo, op| romeo.manager().set_label(op, Some(label)));
                self.crossing = false;
            }
            Step::Label(label) => self.operate(step, |romeo, op| romeo.manager().set_label(op, label)),
            Step::Ensure => self.operate(step, |romeo, op| romeo.manager().ensure_consistency(op)),
            Step::ClearLists => self.operate(step, |romeo, op| romeo.manager().clear_device_lists(op)),
            Step::ResetIdentity => self.operate(step, |romeo, op| romeo.manager().reset_identity(op)),
            Step::DeleteAccount => self.operate(step, |romeo, op| romeo.manager().delete_account(op)),
            Step::Health(who) => self.operate(step, |romeo, op| romeo.manager().health(op, name_of(who))),
            Step::Replace(who) => {
                self.operate(step, |romeo, op| romeo.manager().replace_sessions(op, name_of(who), None))
            }
            Step::RemovePhone => {
                let Some(phone) = self.phone.as_ref().map(|phone| phone.id()) else { return };
                self.operate(step, |romeo, op| romeo.manager().remove_own_device(op, id(phone)));
            }
            other => panic!("{other:?} is no operation"),
        }
    }

    // -- streams and processes

    fn connect(&mut self, step: Step) {
        self.wants_online = true;
        if self.online {
            self.break_stream();
        }
        let catch_up = if step == Step::ConnectForCatchUp { CatchUp::Expected } else { CatchUp::None };
        if self.is_open() {
            self.operate(step, |romeo, op| romeo.manager().connected(op, catch_up));
        }
    }

    fn disconnect(&mut self) {
        self.wants_online = false;
        self.break_stream();
    }

    /// Says that the stream is down, until it was taken.
    fn break_stream(&mut self) {
        for _ in 0..3 {
            if self.online && self.is_open() {
                let disconnected = self.romeo.manager().disconnected();
                if self.note("disconnected", disconnected).is_some() {
                    self.online = false;
                }
            }
        }
        self.pump();
    }

    fn restart(&mut self) {
        self.wants_online = false;
        self.close();
    }

    fn look(&mut self) {
        let manager = self.romeo.manager();
        for of in [None, Some(jid(JULIET)), Some(jid(PARIS))] {
            let devices = manager.devices(of.as_ref());
            self.note("devices", devices);
        }
        self.note("jids", manager.jids());
        self.note("device_id", manager.device_id());
    }

    fn wait(&mut self, times: u64, ms: u64) {
        for _ in 0..times {
            self.clock.advance(ms);
            self.pump();
            self.deliver();
        }
    }

    // -- what Romeo says

    fn say(&mut self, step: Step, to: &[&str], policy: EncryptPolicy) {
        let text = self.text();
        let draft = self.draft(to, &text, policy);
        let said = to.contains(&JULIET).then_some(text);
        self.operate_with(step, said, |romeo, op| romeo.manager().encrypt(op, draft));
    }

    fn say_to_room(&mut self, step: Step) {
        let namespace = self.flow.namespaces[0];
        let names: Vec<String> = (0..OCCUPANTS).map(|n| format!("occupant{n}@verona.lit")).collect();
        for name in &names {
            if !self.server.lists.contains_key(&(namespace, jid(name))) {
                RawDevice::of(namespace, name, 9).publish(&mut self.server);
            }
        }
        let mut to: Vec<&str> = names.iter().map(String::as_str).collect();
        to.push(JULIET);
        self.say(step, &to, EncryptPolicy::Wait);
    }

    // -- what he hears

    fn hear(&mut self, step: Step) {
        if step == Step::HearStranger {
            return self.hear_stranger();
        }
        let count = match step {
            Step::HearMany(count) | Step::HearSkipped(count) => count,
            _ => 1,
        };
        let mut mails = Vec::new();
        for _ in 0..count {
            match self.juliet_writes() {
                Some(mail) => mails.push(mail),
                None => self.misses("Juliet reaches nobody"),
            }
        }
        let Some(last) = mails.last().map(|mail| mail.message.clone()) else { return };
        match step {
            Step::HearSkipped(_) => mails.rotate_right(1),
            Step::HearForged => return self.refuse(&forged(&last), None, mails),
            Step::Cross => self.act(Step::Say),
            _ => (),
        }
        self.inbox.extend(mails);
        self.deliver();
        let read = self.seen.last().is_some_and(|(_, message)| *message == last);
        if step == Step::HearTwice && read && self.is_open() {
            self.refuse(&last, Some(Status::Duplicate), Vec::new());
        }
    }

    /// A message that cannot be read changes nothing; `genuine` ones come after it.
    fn refuse(&mut self, message: &Message, expected: Option<Status>, genuine: Vec<Mail>) {
        let before = self.romeo.storage.all();
        let read = self.romeo.manager().decrypt(Some(&jid(JULIET)), None, message);
        if let Some(read) = self.note("decrypt", read) {
            let status = read.error.status();
            let right = expected.map_or(status != Status::Ok, |expected| status == expected);
            if !right || read.plaintext.is_some() {
                self.wrong.push(format!("a message that ought to be refused: {}", status.name()));
            }
            if self.romeo.storage.all() != before {
                self.wrong.push("a refused message left a trace".into());
            }
        }
        self.inbox.extend(genuine);
    }

    fn hear_stranger(&mut self) {
        let namespace = self.flow.namespaces[0];
        let text = self.text();
        let Some(own) = self.own_id() else { return self.misses("there is no device yet") };
        let Some(mut bundle) = self.server.bundles.get(&(namespace, jid(ROMEO), own)).cloned() else {
            return self.misses("there is no bundle yet");
        };
        // No two of them take the same pre key: the second would find it gone.
        bundle.pre_keys = vec![bundle.pre_keys[self.count % bundle.pre_keys.len()].clone()];
        let mut raw = RawDevice::of(namespace, &format!("stranger{}@verona.lit", self.count), 11);
        raw.publish(&mut self.server);
        let mut session = raw.initiate(&bundle);
        let message = raw.write(&mut session, (&jid(ROMEO), own), &text);
        self.inbox.push_back(Mail { from: raw.jid, message, text: Some(text), tried: false });
    }

    /// A message that is refused, and has the bundle of Paris looked at.
    fn hear_paris(&mut self) {
        let namespace = self.flow.namespaces[0];
        let Some(own) = self.own_id() else { return };
        let Some(bundle) = self.server.bundles.get(&(namespace, jid(ROMEO), own)).cloned() else { return };
        let mut session = self.paris.initiate(&bundle);
        let message = self.paris.write(&mut session, (&jid(ROMEO), own), "the county Paris");
        self.inbox.push_back(Mail { from: jid(PARIS), message, text: None, tried: false });
    }

    /// A step cannot be played; that is only right where something failed.
    fn misses(&mut self, why: &str) {
        if self.plan == crate::stage::Plan::Nothing {
            self.wrong.push(why.to_owned());
        }
    }

    // -- trust

    fn trust(&mut self, step: Step, level: &str) {
        self.levels.push(level.to_owned());
        let devices = self.romeo.manager().devices(Some(&jid(JULIET)));
        let Some(devices) = self.note("devices", devices) else { return self.failed(step) };
        let keys: Vec<[u8; 32]> = devices.iter().filter_map(|device| device.identity_key).collect();
        for key in &keys {
            let set = self.romeo.manager().set_trust(&jid(JULIET), key, level);
            if self.note("set_trust", set).is_none() {
                return self.failed(step);
            }
        }
        if keys.is_empty() {
            return self.misses("Juliet has no key");
        }
        self.levels = vec![level.to_owned()];
    }

    fn accept_paris(&mut self, step: Step) {
        let devices = self.romeo.manager().devices(Some(&jid(PARIS)));
        let Some(devices) = self.note("devices", devices) else { return self.failed(step) };
        let Some(key) = devices.iter().find_map(|device| device.conflicting_key) else {
            return self.misses("Paris shows no other key");
        };
        let accepted = self.romeo.manager().accept_identity(&jid(PARIS), id(7), &key);
        if self.note("accept_identity", accepted).is_none() {
            self.failed(step);
        }
    }

    fn purge(&mut self, step: Step, keep: Keep) {
        let default = self.romeo.config.default_trust_level_name.clone();
        let purged = self.romeo.manager().purge_jid(&jid(JULIET), keep);
        let purged = self.note(&format!("{step:?}"), purged).is_some();
        match (purged, keep) {
            (true, Keep::Nothing) => self.levels = vec![default],
            (false, Keep::Nothing) => self.levels.push(default),
            (_, Keep::Trust) => (),
        }
        self.purged = true;
        if !purged {
            self.failed(step);
        }
    }

    // -- what others do

    fn others(&mut self, step: Step) {
        let namespace = self.flow.namespaces[0];
        match step {
            Step::SwapParis => {
                self.paris = RawDevice::of(namespace, PARIS, 7);
                self.paris.publish(&mut self.server);
            }
            Step::LaptopJoins => {
                let laptop = self.laptop.take();
                let laptop = laptop.unwrap_or_else(|| RawDevice::of(namespace, JULIET, 5));
                laptop.publish(&mut self.server);
                self.laptop = Some(laptop);
            }
            Step::LaptopLeaves => {
                self.laptop = None;
                self.leaves(JULIET, 5);
            }
            Step::ForeignJoins => self.foreign_joins(),
            Step::ForeignLeaves => {
                self.foreign = None;
                self.leaves(ROMEO, 77);
            }
            Step::ServerLosesList => {
                self.foreign = None;
                self.server.lists.retain(|(_, of), _| *of != jid(ROMEO));
            }
            Step::ServerLosesBundle => self.server.bundles.retain(|(_, of, _), _| *of != jid(ROMEO)),
            _ => {
                self.juliet
                    .restart_after(|storage| storage.remove_kind("session") + storage.remove_kind("archive"));
                self.juliet.connect(&mut self.server);
                self.juliet_lost = true;
            }
        }
    }

    /// Juliet's device, and Romeo's other one, get what his device has sent.
    pub fn hand_out(&mut self, text: &str, outcome: &Outcome) {
        for message in &outcome.messages {
            self.check_hidden(message);
            if has_key_for(message, &self.juliet.jid, self.juliet.id()) {
                let read = self.juliet.manager().decrypt(Some(&jid(ROMEO)), None, message);
                self.check_juliet(read, text);
            }
        }
    }
}

/// Whom a call names; `None`: the own account, or everybody.
fn name_of(who: Who) -> Option<BareJid> {
    match who {
        Who::Juliet => Some(jid(JULIET)),
        Who::Paris => Some(jid(PARIS)),
        Who::Own | Who::All => None,
    }
}

/// The message with another last byte in its keys.
fn forged(message: &Message) -> Message {
    let mut forged = message.clone();
    forged.keys.iter_mut().for_each(|key| *key.bytes.as_mut().unwrap().last_mut().unwrap() ^= 1);
    forged
}
