//! Where a flow is played: Romeo's device, which meets the failures, its server, and those whom he talks to. It knows what
//! a client would do: it opens again what is closed, comes back online, and gives a message again that was not read.

use crate::fault::{NetworkKind, StorageKind};
use crate::flow::{Flow, Start, Step};
use crate::kept::Kept;
use crate::support::store_file::StoreFile;
use crate::support::world::clock::Clock;
use crate::support::world::rust::{TestServices, config};
use crate::support::world::server::{Server, jid};
use crate::support::world::{RawDevice, RustDevice};
use crate::support::{JULIET, ROMEO};
use crate::vfs;
use crate::wire::{Publications, has_key_for};
use omemo::error::{Error, Result, Status};
use omemo::manager::Config;
use omemo::manager::api::decrypted::Decrypted;
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Request, RequestId};
use omemo::protocol::address::BareJid;
use omemo::protocol::message::Message;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;
use omemo::storage::sqlite::SqliteStorage;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use zeroize::Zeroizing;

pub const PARIS: &str = "paris@verona.lit";
/// What no byte that leaves a device may hold.
pub const CANARY: &str = "wherefore art thou";

/// What is going to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    Nothing,
    Storage(StorageKind, usize),
    Network(NetworkKind, usize),
    /// Romeo's store is a file, and this call of the file system fails, or none.
    File(Option<vfs::Plan>),
}

/// A message on its way to Romeo's device.
pub struct Mail {
    pub from: BareJid,
    pub message: Message,
    /// What it says, if it says anything.
    pub text: Option<String>,
    /// It was given already, and the store failed or the process ended.
    pub tried: bool,
}

/// An operation that is not over.
pub struct Doing {
    pub step: Step,
    pub text: Option<String>,
}

pub struct Stage {
    pub flow: &'static Flow,
    pub plan: Plan,
    pub server: Server,
    pub romeo: RustDevice,
    pub juliet: RustDevice,
    pub phone: Option<RustDevice>,
    pub paris: RawDevice,
    pub clock: Arc<Clock>,
    /// Raw devices that are to stand on the lists of Romeo and Juliet.
    pub foreign: Option<RawDevice>,
    pub laptop: Option<RawDevice>,
    pub online: bool,
    pub wants_online: bool,
    /// Commits and loads before the first step.
    pub base: (usize, usize),
    /// Requests since then.
    pub requests: usize,
    /// Nothing fails any more.
    pub healed: bool,
    /// Requests about trust that nobody has answered yet.
    pub prompts: Vec<RequestId>,
    pub late: Vec<(RequestId, Request)>,
    pub doing: BTreeMap<u64, Doing>,
    pub inbox: VecDeque<Mail>,
    /// What was read, which must never be read again.
    pub seen: Vec<(BareJid, Message)>,
    /// Pre keys whose key exchange was read: namespace, device, id.
    pub used: BTreeSet<(u32, u32, u32)>,
    /// What failed and is wanted all the same.
    pub undone: Vec<Step>,
    pub statuses: Vec<(String, Status)>,
    /// They are printed.
    pub traced: bool,
    /// The levels that Juliet's keys may have now.
    pub levels: Vec<String>,
    pub publications: Publications,
    pub pushed: HashMap<(&'static str, Namespace, BareJid), String>,
    pub wrong: Vec<String>,
    /// A foreign device joins while the next list is on its way.
    pub crossing: bool,
    /// Juliet has lost her sessions, and Romeo need not know.
    pub juliet_lost: bool,
    /// Romeo has forgotten Juliet, and nothing of hers was read since.
    pub purged: bool,
    /// Texts that Juliet has read.
    pub reached: usize,
    pub count: usize,
    pub kept: Kept,
    /// Dropped last: the file of Romeo's store.
    _file: Option<StoreFile>,
}

fn device(clock: &Arc<Clock>, config: Config) -> RustDevice {
    let mut device = RustDevice::closed(config, Arc::default());
    device.services = Arc::new(TestServices { clock: clock.clone(), ..TestServices::default() });
    device
}

impl Stage {
    /// Sets the stage of a flow; nothing has failed yet.
    pub fn new(flow: &'static Flow, plan: Plan) -> Stage {
        let namespace = flow.namespaces[0];
        vfs::plan(None);
        let clock: Arc<Clock> = Arc::default();
        let (mut server, level) =
            (Server::of(namespace), if flow.start == Start::Careful { "undecided" } else { "trusted" });
        let speaking = |name: &str, level: &str| Config {
            namespaces: flow.namespaces.to_vec(),
            ..config(namespace, name, level)
        };
        let romeo = device(&clock, speaking(ROMEO, level));
        let file = matches!(plan, Plan::File(_)).then(|| {
            let file = StoreFile::new();
            romeo.storage.put_before(SqliteStorage::open(&file.path()).unwrap());
            file
        });
        let juliet = device(&clock, speaking(JULIET, "trusted"));
        juliet.open().unwrap();
        juliet.connect(&mut server);
        let paris = RawDevice::of(namespace, PARIS, 7);
        paris.publish(&mut server);
        let mut stage = Stage {
            flow,
            plan: Plan::Nothing,
            server,
            romeo,
            juliet,
            phone: None,
            paris,
            clock,
            foreign: None,
            laptop: None,
            online: false,
            wants_online: false,
            base: (0, 0),
            requests: 0,
            healed: false,
            prompts: Vec::new(),
            late: Vec::new(),
            doing: BTreeMap::new(),
            inbox: VecDeque::new(),
            seen: Vec::new(),
            used: BTreeSet::new(),
            undone: Vec::new(),
            statuses: Vec::new(),
            traced: false,
            levels: vec![level.to_owned()],
            publications: Publications::default(),
            pushed: HashMap::new(),
            wrong: Vec::new(),
            crossing: false,
            juliet_lost: false,
            purged: false,
            reached: 0,
            count: 0,
            kept: Kept::default(),
            _file: file,
        };
        stage.prepare();
        stage.plan = plan;
        stage.base = (stage.romeo.storage.commits(), stage.romeo.storage.loads());
        stage.requests = 0;
        if let Plan::Storage(kind, n) = plan {
            kind.plant(&stage.romeo.storage, n);
        }
        if let Plan::File(plan) = plan {
            vfs::plan(plan);
        }
        stage
    }

    fn prepare(&mut self) {
        if self.flow.start == Start::Nothing {
            return;
        }
        self.play(Step::Connect);
        if matches!(self.flow.start, Start::Friends | Start::FriendsWithPhone) {
            [Step::Say, Step::Hear, Step::Say].into_iter().for_each(|step| self.play(step));
        }
        if self.flow.start == Start::FriendsWithPhone {
            let mut settings = self.romeo.config.clone();
            settings.jid = jid(ROMEO);
            let phone = device(&self.clock, settings);
            phone.open().unwrap();
            phone.connect(&mut self.server);
            self.phone = Some(phone);
            self.play(Step::Minutes(2));
        }
    }

    /// Plays the whole script.
    pub fn play_all(&mut self) {
        for step in self.flow.steps {
            self.play(*step);
        }
    }

    // -- what fails

    /// Whether the call of the storage that is to fail was made.
    pub fn is_hit(&self) -> bool {
        match self.plan {
            Plan::Nothing => false,
            Plan::Network(_, n) => self.requests >= n,
            Plan::Storage(kind, n) if StorageKind::LOADS.contains(&kind) => {
                self.romeo.storage.loads() >= self.base.1 + n
            }
            Plan::Storage(_, n) => self.romeo.storage.commits() >= self.base.0 + n,
            Plan::File(_) => vfs::has_failed(),
        }
    }

    /// Whether a step may have been stored of which the client knows nothing.
    pub fn may_have_stored(&self) -> bool {
        matches!(self.plan, Plan::Storage(kind, _) if kind.stores())
    }

    /// If the process is to end here, it does.
    pub fn ends(&mut self) -> bool {
        let ends = matches!(self.plan, Plan::Storage(StorageKind::CommitEnds, _));
        if self.healed || !ends || !self.is_hit() {
            return false;
        }
        self.heal();
        self.close();
        true
    }

    /// From now on the storage works.
    pub fn heal(&mut self) {
        self.healed = true;
        self.romeo.storage.heal();
        self.romeo.storage.keep_failing(false);
        vfs::heal();
    }

    /// The process is gone, with all that it was doing.
    pub fn close(&mut self) {
        self.romeo.manager.replace(None);
        self.romeo.done.borrow_mut().clear();
        self.online = false;
        self.late.clear();
        self.prompts.clear();
        self.publications.new_process();
        for doing in std::mem::take(&mut self.doing).into_values() {
            self.failed(doing.step);
        }
    }

    pub fn is_open(&self) -> bool {
        self.romeo.manager.borrow().is_some()
    }

    /// Opens the account if it is closed.
    pub fn open(&mut self) {
        for _ in 0..2 {
            if !self.is_open() {
                let opened = self.romeo.open();
                self.note("open", opened);
            }
        }
    }

    // -- what the client calls

    /// Notes how a call ended. `None`: it failed, or the process ended in it.
    pub fn note<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        let status = result.as_ref().map_or_else(Error::status, |_| Status::Ok);
        self.statuses.push((what.to_owned(), status));
        if self.ends() { None } else { result.ok() }
    }

    /// Prints what was noted, if somebody wants to read it.
    pub fn trace(&self) {
        if self.traced {
            self.statuses.iter().for_each(|(what, status)| println!("{what}: {}", status.name()));
        }
    }

    /// Something that the client wants did not succeed; it will be tried again.
    pub fn failed(&mut self, step: Step) {
        let wanted = matches!(
            step,
            Step::Label(_)
                | Step::CrossingLabel(_)
                | Step::Ensure
                | Step::ClearLists
                | Step::RemovePhone
                | Step::ResetIdentity
                | Step::DeleteAccount
                | Step::Purge(_)
                | Step::Trust(_)
                | Step::AcceptParis
                | Step::Replace(_)
                | Step::Refresh(_)
                | Step::Health(_)
                | Step::TakeKept
        );
        if wanted && !self.undone.contains(&step) {
            self.undone.push(step);
        }
    }

    /// Begins an operation and runs until it is over, or until it has to wait for the next stream.
    pub fn operate(&mut self, step: Step, start: impl FnOnce(&RustDevice, u64) -> Result<()>) {
        self.operate_with(step, None, start);
    }

    pub fn operate_with(
        &mut self,
        step: Step,
        text: Option<String>,
        start: impl FnOnce(&RustDevice, u64) -> Result<()>,
    ) {
        let operation = next_number();
        let started = start(&self.romeo, operation);
        // It is over where its call failed.
        if self.note(&format!("{step:?}"), started).is_none() {
            return self.failed(step);
        }
        self.doing.insert(operation, Doing { step, text });
        if matches!(step, Step::Connect | Step::ConnectForCatchUp) {
            self.online = true;
            self.answer_late();
        }
        for _ in 0..20 {
            self.pump();
            if !self.doing.contains_key(&operation) || !self.online || !self.is_open() {
                return;
            }
            let wait = self.romeo.manager().timeout().unwrap_or(61_000);
            self.clock.advance(wait.clamp(1, 61_000));
        }
    }

    /// Runs the library until it has nothing to do, and takes what it says.
    pub fn pump(&mut self) {
        for _ in 0..10_000 {
            if !self.is_open() {
                return;
            }
            let asked = self.romeo.step();
            if self.ends() {
                return;
            }
            self.collect();
            if asked.is_empty() {
                return;
            }
            for (request_id, request) in asked {
                self.serve(request_id, &request);
                if self.ends() {
                    return;
                }
            }
        }
        panic!("requests without end");
    }

    fn collect(&mut self) {
        let done = std::mem::take(&mut *self.romeo.done.borrow_mut());
        for (operation, outcome) in done {
            let Some(doing) = self.doing.remove(&operation) else {
                self.wrong.push("an operation ends that was never begun".into());
                continue;
            };
            self.end(&doing, &outcome);
        }
    }

    fn end(&mut self, doing: &Doing, outcome: &Outcome) {
        self.statuses.push((format!("{:?}", doing.step), outcome.status()));
        for row in &outcome.rows {
            self.statuses.push((format!("a row of {:?}", doing.step), row.error.status()));
        }
        if outcome.status() != Status::Ok {
            let may_fail = matches!(doing.step, Step::SayNow | Step::SayParis | Step::Health(_));
            let offline = outcome.status() == Status::Offline && !self.online;
            if self.plan == Plan::Nothing && !may_fail && !offline {
                self.wrong.push(format!("{:?} ends with {}", doing.step, outcome.status().name()));
            }
            self.failed(doing.step);
        } else if matches!(doing.step, Step::RemovePhone) {
            self.phone = None;
        }
        if let Some(text) = &doing.text {
            self.hand_out(text, outcome);
        }
    }

    /// What Juliet makes of a message.
    pub fn check_juliet(&mut self, read: Result<Decrypted>, text: &str) {
        let status = read.as_ref().map_or_else(Error::status, |read| read.error.status());
        let same = read.is_ok_and(|read| read.plaintext.is_some_and(|bytes| *bytes == *text.as_bytes()));
        if same {
            self.reached += 1;
            self.juliet_lost = false;
        } else if !(self.juliet_lost && matches!(status, Status::NoSession | Status::DecryptionFailed)) {
            self.wrong.push(format!("Juliet cannot read {text:?}: {}", status.name()));
        }
    }

    // -- messages

    /// A new text.
    pub fn text(&mut self) -> String {
        self.count += 1;
        format!("{CANARY} {}", self.count)
    }

    pub fn draft(&self, to: &[&str], text: &str, policy: EncryptPolicy) -> Draft {
        let plaintext = |namespace: &Namespace| (*namespace, Zeroizing::new(text.as_bytes().to_vec()));
        Draft {
            recipients: to.iter().map(|to| jid(to)).collect(),
            plaintexts: self.romeo.config.namespaces.iter().map(plaintext).collect(),
            policy,
            ..Draft::default()
        }
    }

    /// Juliet writes something; `None`: there is no device of Romeo's that she can write to.
    pub fn juliet_writes(&mut self) -> Option<Mail> {
        let text = self.text();
        let operation = next_number();
        let mut draft = self.draft(&[ROMEO], &text, EncryptPolicy::Wait);
        let namespaces = self.juliet.config.namespaces.iter();
        draft.plaintexts = namespaces.map(|of| (*of, Zeroizing::new(text.as_bytes().to_vec()))).collect();
        self.juliet.manager().encrypt(operation, draft).unwrap();
        self.juliet.run(&mut self.server);
        let outcome = self.juliet.take(operation);
        let own = self.own_id()?;
        let message = outcome.messages.into_iter().find(|message| has_key_for(message, &jid(ROMEO), own))?;
        Some(Mail { from: jid(JULIET), message, text: Some(text), tried: false })
    }

    /// The id of Romeo's device, by what is stored.
    pub fn own_id(&self) -> Option<u32> {
        let manager = self.romeo.manager.borrow().clone()?;
        manager.device_id().ok()?.map(|id| id.get())
    }

    /// Reads all that came; what could not be read because of the store stays.
    pub fn read_inbox(&mut self) {
        let mut kept = VecDeque::new();
        while let Some(mut mail) = self.inbox.pop_front() {
            if !self.is_open() {
                kept.push_back(mail);
                continue;
            }
            let read = self.romeo.manager().decrypt(Some(&mail.from), None, &mail.message);
            match self.note("decrypt", read) {
                None => {
                    mail.tried = true;
                    kept.push_back(mail);
                }
                Some(read) => self.check_read(mail, &read),
            }
            self.pump();
        }
        self.inbox = kept;
    }

    fn check_read(&mut self, mail: Mail, read: &Decrypted) {
        let status = read.error.status();
        self.receive_kept(mail.text.clone(), read);
        let Some(text) = &mail.text else { return };
        if status == Status::Ok {
            if read.plaintext.as_ref().is_none_or(|bytes| **bytes != *text.as_bytes()) {
                self.wrong.push("a message says something else".into());
            }
            let used = self.pre_keys_of(&mail.message);
            self.used.extend(used);
            self.seen.push((mail.from, mail.message));
            self.purged = false;
        } else if !self.is_excused(&mail, status) {
            self.wrong.push(format!("{text:?} cannot be read: {}", status.name()));
        }
    }

    /// The own pre keys that the key exchanges of a message are on.
    fn pre_keys_of(&self, message: &Message) -> Vec<(u32, u32, u32)> {
        let (namespace, Some(own)) = (message.namespace, self.own_id()) else { return Vec::new() };
        let exchanges = message.keys.iter().filter(|key| key.key_exchange && key.device == own);
        let id = |bytes: &[u8]| KeyExchange::parse(namespace, bytes).unwrap().id().pre_key_id;
        exchanges.map(|key| (namespace.code(), own, id(key.bytes.as_ref().unwrap()))).collect()
    }

    /// Whether a text is lost for a reason that the client knows.
    fn is_excused(&self, mail: &Mail, status: Status) -> bool {
        match status {
            // The process ended between the commit and the client, or the store said that it had failed. What is kept comes
            // again then, unless the client has taken it from the list meanwhile.
            Status::Duplicate => mail.tried && self.may_have_stored() && !self.acknowledges(),
            // A level that was to be changed back could not be.
            Status::SenderDistrusted => self.levels.iter().any(|level| level == "distrusted"),
            // She goes on with a session that was forgotten; another one may have begun since of which she does not know.
            Status::NoSession | Status::DecryptionFailed => self.purged,
            // The server did not learn that the namespace was left, and Juliet does not know.
            Status::UnknownNamespace => !self.romeo.config.namespaces.contains(&mail.message.namespace),
            // Somebody else chose the same one, was read before, and a bundle without it stands on the server.
            Status::PreKeyUnknown => self.pre_keys_of(&mail.message).iter().any(|id| self.used.contains(id)),
            _ => false,
        }
    }

    /// Brings what lies on the server to whom it is for, until nothing more comes.
    pub fn deliver(&mut self) {
        for _ in 0..20 {
            let mail = std::mem::take(&mut self.server.mail);
            let own = self.own_id();
            for (from, to, message) in &mail {
                self.check_hidden(message);
                let to_romeo = *to == jid(ROMEO);
                if to_romeo && Some(message.sender_device) != own {
                    let (from, message) = (from.clone(), message.clone());
                    self.inbox.push_back(Mail { from, message, text: None, tried: false });
                }
                let others = [Some(&self.juliet), self.phone.as_ref()].into_iter().flatten();
                for other in others.filter(|other| other.jid == *to && other.id() != message.sender_device) {
                    let _ = other.manager().decrypt(Some(from), None, message);
                }
            }
            self.run_others();
            self.push_lists();
            self.pump();
            self.read_inbox();
            if self.server.mail.is_empty() {
                return;
            }
        }
        self.wrong.push("the devices answer each other for ever".into());
    }

    fn run_others(&mut self) {
        self.juliet.run(&mut self.server);
        if let Some(phone) = &self.phone {
            phone.run(&mut self.server);
        }
    }
}
