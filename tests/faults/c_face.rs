//! The same flows through the C functions, as far as they are made of what one stanza or one call is: over the `World`,
//! with its own count of calls. A sample of its entries shows that no failure is lost between the two faces.

use crate::fault::{NetworkKind, StorageKind};
use crate::flow::{Flow, Start, Step, Who};
use crate::stage::Plan;
use crate::support::abi;
use crate::support::client::Client;
use crate::support::world::{Device, FaultyStorage, Options, Read, RustDevice};
use crate::support::{Answer, JULIET, Mail, NS_2, NS_LEGACY, ROMEO, World};
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::Reason;
use omemo::protocol::namespace::Namespace::Omemo2;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Statuses that no call ends with.
const NEVER: [Status; 5] =
    [Status::Null, Status::Utf8, Status::Busy, Status::Internal, Status::StorageCorrupt];

pub struct CStage {
    world: World,
    plan: Plan,
    options: Options,
    storage: Arc<FaultyStorage>,
    romeo: Option<Client>,
    juliet: RustDevice,
    online: bool,
    wants_online: bool,
    healed: bool,
    base: (usize, usize),
    requests: Rc<Cell<usize>>,
    inbox: VecDeque<(Mail, bool)>,
    waiting: Vec<u64>,
    read: usize,
    count: usize,
    pub wrong: Vec<String>,
}

/// Whether all steps of a flow can be played here.
pub fn plays(flow: &Flow) -> bool {
    let known = |step: &Step| {
        use Step::*;
        matches!(
            step,
            Connect
                | ConnectForCatchUp
                | EndCatchUp
                | Disconnect
                | Restart
                | Look
                | Say
                | SayNow
                | Hear
                | HearTwice
                | HearMany(_)
                | HearSkipped(_)
                | Refresh(Who::Own | Who::Juliet)
                | Replace(Who::Juliet)
                | Trust(_)
                | Label(_)
                | Ensure
                | ClearLists
                | ResetIdentity
                | ServerLosesList
                | ServerLosesBundle
                | Minutes(_)
                | Days(_)
        )
    };
    let starts = !matches!(flow.start, Start::FriendsWithPhone);
    starts && flow.steps.iter().filter(|step| known(step)).count() >= 9
}

/// What the world answers in place of the truth; `None`: the C functions have no such failure.
fn answer(kind: NetworkKind) -> Option<Answer> {
    Some(match kind {
        NetworkKind::Rejected(reason) => Answer::Reject(match reason {
            Reason::NotFound => 1,
            Reason::Failed => 2,
            Reason::Timeout => 3,
            Reason::Offline => 4,
            Reason::Declined => 5,
        }),
        NetworkKind::Refused(Some(condition)) => Answer::Xml(format!(
            "<iq xmlns='jabber:client' type='error' id='1'><error type='cancel'>\
             <{} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            condition.name()
        )),
        NetworkKind::Silence => Answer::Silence,
        _ => return None,
    })
}

/// All kinds that the C functions know.
pub fn network_kinds() -> Vec<NetworkKind> {
    NetworkKind::all().into_iter().filter(|kind| answer(*kind).is_some()).collect()
}

impl CStage {
    /// Sets the stage of a flow; nothing has failed yet.
    pub fn new(flow: &'static Flow, plan: Plan) -> CStage {
        let ns = if flow.namespaces[0] == Omemo2 { NS_2 } else { NS_LEGACY };
        let world = World::speaking(ns, 1);
        let level = if flow.start == Start::Careful { "undecided" } else { "trusted" };
        let storage: Arc<FaultyStorage> = Arc::default();
        let speaking = || Options { namespaces: flow.namespaces.to_vec(), ..Options::of(&world) };
        let options = Options { default_level: level, storage: storage.clone(), ..speaking() };
        let juliet: RustDevice = Device::open(&world, JULIET, speaking());
        Device::connect(&juliet).ok();
        let requests: Rc<Cell<usize>> = Rc::default();
        let mut stage = CStage {
            plan: Plan::Nothing,
            options,
            storage,
            romeo: None,
            juliet,
            online: false,
            wants_online: false,
            healed: false,
            base: (0, 0),
            requests,
            inbox: VecDeque::new(),
            waiting: Vec::new(),
            read: 0,
            count: 0,
            wrong: Vec::new(),
            world,
        };
        if flow.start != Start::Nothing {
            stage.play(Step::Connect);
        }
        if flow.start == Start::Friends {
            [Step::Say, Step::Hear, Step::Say].into_iter().for_each(|step| stage.play(step));
        }
        stage.plan = plan;
        stage.plant();
        stage
    }

    fn plant(&mut self) {
        self.base = (self.storage.commits(), self.storage.loads());
        let (counter, of_juliet) = (self.requests.clone(), Device::endpoint(&self.juliet));
        let plan = self.plan;
        self.requests.set(0);
        self.world.set_fault(move |request| {
            if request.endpoint == of_juliet {
                return None;
            }
            counter.set(counter.get() + 1);
            match plan {
                Plan::Network(kind, n) if counter.get() == n => answer(kind),
                _ => None,
            }
        });
        if let Plan::Storage(kind, n) = self.plan {
            kind.plant(&self.storage, n);
        }
    }

    /// Commits, loads and requests of the script.
    pub fn calls(&self) -> (usize, usize, usize) {
        (self.storage.commits() - self.base.0, self.storage.loads() - self.base.1, self.requests.get())
    }

    /// Whether the call that is to fail was made.
    pub fn is_hit(&self) -> bool {
        let (commits, loads, requests) = self.calls();
        match self.plan {
            Plan::Nothing | Plan::File(_) => false,
            Plan::Network(_, n) => requests >= n,
            Plan::Storage(kind, n) if StorageKind::LOADS.contains(&kind) => loads >= n,
            Plan::Storage(_, n) => commits >= n,
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.storage.heal();
        self.storage.keep_failing(false);
        self.world.clear_fault();
    }

    /// Notes how a call ended; if the process is to end here, it does.
    fn note(&mut self, what: &str, status: Status) -> bool {
        let storage = matches!(status, Status::Storage | Status::StorageLocked);
        if NEVER.contains(&status) || (storage && !matches!(self.plan, Plan::Storage(..))) {
            self.wrong.push(format!("{what} ends with {}", status.name()));
        }
        let ends = matches!(self.plan, Plan::Storage(StorageKind::CommitEnds, _));
        if ends && !self.healed && self.is_hit() {
            self.heal();
            self.close();
            return false;
        }
        status == Status::Ok
    }

    // -- the process

    fn close(&mut self) {
        self.take_mail();
        self.romeo = None;
        self.online = false;
        self.waiting.clear();
    }

    fn open(&mut self) {
        for _ in 0..2 {
            if self.romeo.is_some() {
                return;
            }
            match Device::try_open(&self.world, ROMEO, self.options.clone()) {
                Ok(romeo) => {
                    self.romeo = Some(romeo);
                    self.note("open", Status::Ok);
                }
                Err(status) => {
                    self.note("open", status);
                }
            }
        }
    }

    fn connect(&mut self, catch_up: i32) {
        self.wants_online = true;
        self.disconnect();
        let Some(romeo) = &self.romeo else { return };
        let started = romeo.try_connect(catch_up);
        self.online = started.is_ok();
        self.operate("connected", started);
    }

    fn disconnect(&mut self) {
        for _ in 0..3 {
            let Some(romeo) = self.romeo.as_ref().filter(|_| self.online) else { return };
            let status = Status::from_number(romeo.try_disconnect()).unwrap();
            self.online = !self.note("disconnected", status) && self.romeo.is_some();
        }
    }

    /// Runs until an operation is over, or has to wait for the next stream.
    fn operate(&mut self, what: &str, started: Result<u64, i32>) {
        let operation = match started {
            Ok(operation) => operation,
            Err(number) => {
                self.note(what, Status::from_number(number).unwrap());
                return;
            }
        };
        self.waiting.push(operation);
        for _ in 0..20 {
            self.pump();
            let Some(romeo) = self.romeo.as_ref().filter(|_| self.waiting.contains(&operation)) else {
                return;
            };
            if !self.online {
                return;
            }
            let wait = Device::due_in(romeo).unwrap_or(61_000).clamp(1, 61_000);
            self.world.advance(i64::try_from(wait).unwrap());
        }
    }

    /// Runs, judges keys, and sends what is done.
    fn pump(&mut self) {
        for _ in 0..100 {
            let Some(romeo) = &self.romeo else { return };
            Device::go_on(romeo);
            let prompts = Device::prompts(romeo);
            for prompt in &prompts {
                for index in 0..prompt.devices.len() {
                    let _ = Device::decide(romeo, prompt.request_id, index, "trusted");
                }
                let _ = Device::give(romeo, prompt.request_id, &Answer::Done);
            }
            let done: Vec<_> = self.waiting.iter().filter_map(|of| Some((*of, romeo.report(*of)?))).collect();
            let idle = prompts.is_empty() && done.is_empty();
            for (operation, report) in done {
                self.waiting.retain(|of| *of != operation);
                for xml in &report.messages {
                    self.world.post(self.romeo.as_ref().unwrap().endpoint, &[JULIET], xml);
                }
                if !self.note("an operation", report.status) && self.romeo.is_none() {
                    return;
                }
            }
            if idle {
                self.note("run", Status::Ok);
                return;
            }
        }
    }

    // -- mail

    fn take_mail(&mut self) {
        let Some(romeo) = &self.romeo else { return };
        while let Some(mail) = self.world.take(romeo.endpoint) {
            self.inbox.push_back((mail, false));
        }
    }

    /// Everybody reads what came.
    fn deliver(&mut self) {
        for _ in 0..10 {
            Device::go_on(&self.juliet);
            Device::receive(&self.juliet);
            Device::go_on(&self.juliet);
            self.take_mail();
            if self.inbox.is_empty() {
                return;
            }
            let mut kept = VecDeque::new();
            while let Some((mail, tried)) = self.inbox.pop_front() {
                if let Some(again) = self.take_in(mail, tried) {
                    kept.push_back(again);
                }
                self.pump();
            }
            let stuck = !kept.is_empty();
            self.inbox = kept;
            if stuck {
                return;
            }
        }
    }

    /// What has to be given again.
    fn take_in(&mut self, mail: Mail, tried: bool) -> Option<(Mail, bool)> {
        let Some(romeo) = &self.romeo else { return Some((mail, tried)) };
        match &mail {
            Mail::DeviceList { jid, xml, .. } => {
                let status = Device::update_device_list(romeo, jid, xml);
                self.note("update_device_list", status);
                None
            }
            Mail::Stanza { from, xml } => match Device::decrypt(romeo, Some(from), None, xml) {
                Err(status) => {
                    self.note("decrypt", status);
                    Some((mail, true))
                }
                Ok(read) => {
                    let lives = self.note("decrypt", Status::Ok);
                    if !lives {
                        return Some((mail, true));
                    }
                    self.check_read(&read, tried);
                    None
                }
            },
        }
    }

    fn check_read(&mut self, read: &Read, tried: bool) {
        let expected = [Status::Ok, Status::Duplicate, Status::SenderDistrusted, Status::NotForUs];
        if !expected.contains(&read.status) && !tried && !self.is_hit() {
            self.wrong.push(format!("a message cannot be read: {}", read.status.name()));
        }
        self.read += usize::from(read.text.is_some());
    }

    // -- steps

    /// Plays one step.
    pub fn play(&mut self, step: Step) {
        if step != Step::Restart {
            self.open();
            let asks =
                !matches!(step, Step::Connect | Step::ConnectForCatchUp | Step::Disconnect | Step::Look);
            if asks && self.wants_online && !self.online {
                self.connect(0);
                self.open();
            }
        }
        self.act(step);
        self.pump();
        self.deliver();
    }

    fn act(&mut self, step: Step) {
        if step == Step::Restart {
            self.wants_online = false;
            return self.close();
        }
        match step {
            Step::Connect => return self.connect(0),
            Step::ConnectForCatchUp => return self.connect(1),
            Step::Disconnect => {
                self.wants_online = false;
                return self.disconnect();
            }
            Step::Hear | Step::HearTwice => return self.hear(1, step),
            Step::HearMany(count) | Step::HearSkipped(count) => return self.hear(count, step),
            Step::Minutes(minutes) => return self.wait(minutes, 60_000),
            Step::Days(days) => return self.wait(days * 4, 21_600_000),
            Step::ServerLosesList => return self.world.forget_lists(ROMEO),
            Step::ServerLosesBundle => return self.world.forget_bundles(ROMEO),
            _ => (),
        }
        let Some(romeo) = &self.romeo else { return };
        let started = match step {
            Step::Say | Step::SayNow => {
                let policy = if step == Step::Say { EncryptPolicy::Wait } else { EncryptPolicy::Now };
                self.count += 1;
                romeo.start_encrypt(&[JULIET], &format!("text {}", self.count), policy as i32)
            }
            Step::EndCatchUp => romeo.finish_catch_up(),
            Step::Refresh(who) => romeo.start_refresh(if who == Who::Own { ROMEO } else { JULIET }),
            Step::Replace(_) => romeo.start_replace_sessions(Some(JULIET), 0),
            Step::Label(label) => romeo.start_label(label),
            Step::Ensure => romeo.start(abi::omemo_manager_ensure_consistency),
            Step::ClearLists => romeo.start(abi::omemo_manager_clear_device_lists),
            Step::ResetIdentity => romeo.start(abi::omemo_manager_reset_identity),
            Step::Trust(level) => {
                let status = Device::set_trust(romeo, JULIET, &Device::own_key(&self.juliet), level);
                self.note("set_trust", status);
                return;
            }
            _ => return,
        };
        self.operate(&format!("{step:?}"), started);
    }

    fn wait(&mut self, times: u64, ms: i64) {
        for _ in 0..times {
            self.world.advance(ms);
            self.pump();
            self.deliver();
        }
    }

    fn hear(&mut self, count: usize, step: Step) {
        let mut all = Vec::new();
        for _ in 0..count {
            self.count += 1;
            let text = format!("text {}", self.count);
            all.extend(Device::encrypt(&self.juliet, &[ROMEO], &text, EncryptPolicy::Wait).messages);
        }
        match step {
            Step::HearSkipped(_) if !all.is_empty() => all.rotate_right(1),
            Step::HearTwice => all.extend(all.clone()),
            _ => (),
        }
        let mail = |xml: String| (Mail::Stanza { from: JULIET.into(), xml }, false);
        self.take_mail();
        self.inbox.extend(all.into_iter().map(mail));
    }

    /// The end: everything works again, and a message goes each way, also after a restart.
    pub fn end(&mut self) {
        self.heal();
        self.wants_online = true;
        self.play(Step::Disconnect);
        self.play(Step::Connect);
        for minutes in [0, 1, 1, 3, 5, 20, 60, 75] {
            self.wait(1, minutes * 60_000);
        }
        self.play(Step::Trust("trusted"));
        for _ in 0..2 {
            self.play(Step::Refresh(Who::Juliet));
            Device::refresh(&self.juliet, ROMEO);
            self.check_both();
            self.play(Step::Restart);
            self.play(Step::Connect);
        }
        if !self.waiting.is_empty() {
            self.wrong.push("operations never end".into());
        }
    }

    fn check_both(&mut self) {
        for namespace in self.options.namespaces.clone() {
            let Some(romeo) = &self.romeo else { return self.wrong.push("it cannot be opened".into()) };
            let own = Device::own_id(romeo);
            let list = self.world.list(namespace.uri(), ROMEO).unwrap_or_default();
            if list.matches(&format!("'{own}'")).count() != 1 {
                self.wrong.push(format!("{own} does not stand once on its list: {list}"));
            }
            if self.world.bundle(namespace.uri(), ROMEO, own).is_none() {
                self.wrong.push("there is no bundle".into());
            }
        }
        self.world.clear_journal();
        Device::receive(&self.juliet);
        self.count += 1;
        let text = format!("text {}", self.count);
        let operation =
            self.romeo.as_ref().unwrap().start_encrypt(&[JULIET], &text, EncryptPolicy::Wait as i32);
        self.operate("the last text", operation);
        if !Device::texts(&self.juliet).contains(&text) {
            self.wrong.push("Romeo does not reach Juliet".into());
        }
        Device::go_on(&self.juliet);
        self.deliver();
        let read = self.read;
        self.play(Step::Hear);
        if self.read == read {
            self.wrong.push("Juliet does not reach Romeo".into());
        }
    }
}
