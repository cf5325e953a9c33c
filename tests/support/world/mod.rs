//! The simulated world, the only one: PEP service, clock and wire, which know XML as strings and no library (here); the
//! storage; devices of ours behind either face (`device`, `rust`, `c`), and devices that speak the protocol by hand (`raw`).
//!
//! Requests come in from devices, answers go out at once or later in a seeded order, with faults where a test wants
//! them; stanzas lie in the inbox of each endpoint until its owner takes them.

mod c;
pub mod clock;
pub mod device;
pub mod network;
pub mod raw;
pub mod rng;
pub mod rust;
mod rust_face;
pub mod server;
pub mod storage;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::NS_2;
use super::seeds::Dice;
use clock::Clock;
pub use device::{Device, Options, Read, Report};
pub use raw::RawDevice;
pub use rust::RustDevice;
use server::Nodes;
pub use storage::{Fault, FaultyStorage};

/// The C face.
pub type CDevice = super::Client;

/// What a client asks the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    FetchList,
    FetchBundle,
    PublishList,
    PublishBundle,
    DeleteBundle,
    SendMessage,
}

/// One request, as it is kept in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub kind: Kind,
    /// Who asks.
    pub endpoint: usize,
    pub ns: String,
    /// Whose list or bundle, or who gets the message.
    pub jid: String,
    pub device: u32,
    /// What is published or sent.
    pub xml: Option<String>,
    pub at_ms: i64,
}

/// How a request ends; the number is an `omemo_reject_reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Xml(String),
    Reject(i32),
    /// Never.
    Silence,
}

/// When answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// Inside the callback that asks.
    InCallback,
    /// After so many milliseconds of the virtual clock, those due at the same time in a seeded order.
    Later { least_ms: i64, most_ms: i64 },
    /// When the test gives them: see `World::held`. Nothing is published or sent until the test has it `serve`d.
    Held,
}

/// What lies in an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    Stanza { from: String, xml: String },
    DeviceList { ns: String, jid: String, xml: String },
}

/// How bad the wire is, in percent; nothing unless set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire {
    pub loss: u64,
    pub twice: u64,
    pub reorder: u64,
}

type Interference = Box<dyn FnMut(&Request) -> Option<Answer>>;

struct Waiting {
    due_ms: i64,
    endpoint: usize,
    request_id: u64,
    request: Request,
    /// Decided when the request came, or what the server holds when the answer leaves.
    answer: Option<Answer>,
}

/// A request that waits for the test.
#[derive(Clone, Debug)]
pub struct Held {
    pub request_id: u64,
    pub request: Request,
}

struct Endpoint {
    jid: String,
    inbox: VecDeque<Mail>,
    /// Its device is gone for good.
    gone: bool,
}

struct Inner {
    namespace: &'static str,
    clock: Arc<Clock>,
    dice: Dice,
    /// Seeds of the devices' own randomness.
    keys: Dice,
    answering: Answering,
    wire: Wire,
    push: bool,
    nodes: Nodes<String, String, String, String>,
    /// Accounts whose server answers nothing.
    dead: BTreeSet<String>,
    /// Accounts whose server takes its time.
    latency: BTreeMap<String, i64>,
    held: Vec<Held>,
    endpoints: Vec<Endpoint>,
    waiting: Vec<Waiting>,
    journal: Vec<Request>,
    fault: Option<Interference>,
    open_now: usize,
    open_most: usize,
    /// When each stanza was posted first.
    posted: BTreeMap<String, usize>,
}

/// A handle; clones are the same world.
#[derive(Clone)]
pub struct World(Rc<RefCell<Inner>>);

impl World {
    /// A world of omemo:2.
    pub fn new(seed: u64) -> Self {
        Self::speaking(NS_2, seed)
    }

    /// A world of whose clients each speaks this namespace unless it is told otherwise.
    pub fn speaking(namespace: &'static str, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            namespace,
            clock: Arc::default(),
            dice: Dice::new(seed),
            keys: Dice::new(!seed),
            answering: Answering::InCallback,
            wire: Wire::default(),
            push: true,
            nodes: Nodes::default(),
            dead: BTreeSet::new(),
            latency: BTreeMap::new(),
            held: Vec::new(),
            endpoints: Vec::new(),
            waiting: Vec::new(),
            journal: Vec::new(),
            fault: None,
            open_now: 0,
            open_most: 0,
            posted: BTreeMap::new(),
        })))
    }

    pub fn namespace(&self) -> &'static str {
        self.0.borrow().namespace
    }

    // -- knobs

    pub fn set_answering(&self, answering: Answering) {
        self.0.borrow_mut().answering = answering;
    }

    pub fn set_wire(&self, wire: Wire) {
        self.0.borrow_mut().wire = wire;
    }

    /// Whether a published device list is pushed to every endpoint; it is unless set.
    pub fn set_push(&self, push: bool) {
        self.0.borrow_mut().push = push;
    }

    /// From now on the server of this account answers nothing, or does again.
    pub fn set_dead(&self, jid: &str, dead: bool) {
        let mut inner = self.0.borrow_mut();
        match dead {
            true => inner.dead.insert(jid.to_owned()),
            false => inner.dead.remove(jid),
        };
    }

    /// Answers of this account's server leave it so many milliseconds after the request.
    pub fn set_latency(&self, jid: &str, ms: i64) {
        self.0.borrow_mut().latency.insert(jid.to_owned(), ms);
    }

    /// Asked before every answer; `Some` replaces it, and what was to be published is not.
    pub fn set_fault(&self, fault: impl FnMut(&Request) -> Option<Answer> + 'static) {
        self.0.borrow_mut().fault = Some(Box::new(fault));
    }

    pub fn clear_fault(&self) {
        self.0.borrow_mut().fault = None;
    }

    pub fn dice(&self, end: usize) -> usize {
        self.0.borrow_mut().dice.below(end)
    }

    /// A seed for what a device draws by itself.
    pub fn draw(&self) -> u64 {
        self.0.borrow_mut().keys.roll()
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        self.0.borrow_mut().dice.shuffle(items);
    }

    // -- clock

    pub fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.0.borrow().clock)
    }

    pub fn now_ms(&self) -> i64 {
        self.clock().wall_ms()
    }

    pub fn advance(&self, ms: i64) {
        self.clock().advance(u64::try_from(ms).expect("time does not go back"));
    }

    /// When the next answer is due.
    pub fn next_due(&self) -> Option<i64> {
        self.0.borrow().waiting.iter().map(|waiting| waiting.due_ms).min()
    }

    // -- endpoints and the wire

    /// A device of this account connects; the number is its address.
    pub fn join(&self, jid: &str) -> usize {
        let mut inner = self.0.borrow_mut();
        inner.endpoints.push(Endpoint { jid: jid.to_owned(), inbox: VecDeque::new(), gone: false });
        inner.endpoints.len() - 1
    }

    /// A device is gone for good: nothing is delivered to it any more.
    pub fn leave(&self, endpoint: usize) {
        let gone = &mut self.0.borrow_mut().endpoints[endpoint];
        (gone.gone, gone.inbox) = (true, VecDeque::new());
    }

    /// A stanza of a chat: to every device of `to`, and as a copy to every other device of the sender's account.
    pub fn post(&self, sender: usize, to: &[&str], xml: &str) {
        let own = self.0.borrow().endpoints[sender].jid.clone();
        self.route(sender, &own, |jid| jid == own || to.contains(&jid), xml);
    }

    /// A stanza for one account only.
    pub fn post_only(&self, sender: usize, to: &str, xml: &str) {
        let own = self.0.borrow().endpoints[sender].jid.clone();
        self.route(sender, &own, |jid| jid == to, xml);
    }

    fn route(&self, sender: usize, from: &str, wanted: impl Fn(&str) -> bool, xml: &str) {
        let mut guard = self.0.borrow_mut();
        let inner = &mut *guard;
        let number = inner.posted.len();
        inner.posted.entry(xml.to_owned()).or_insert(number);
        for (index, endpoint) in inner.endpoints.iter_mut().enumerate() {
            if index == sender
                || endpoint.gone
                || !wanted(&endpoint.jid)
                || inner.dice.percent(inner.wire.loss)
            {
                continue;
            }
            let copies = if inner.dice.percent(inner.wire.twice) { 2 } else { 1 };
            for _ in 0..copies {
                let place = if inner.dice.percent(inner.wire.reorder) {
                    inner.dice.below(endpoint.inbox.len() + 1)
                } else {
                    endpoint.inbox.len()
                };
                endpoint.inbox.insert(place, Mail::Stanza { from: from.to_owned(), xml: xml.to_owned() });
            }
        }
    }

    /// The next thing in an inbox.
    pub fn take(&self, endpoint: usize) -> Option<Mail> {
        self.0.borrow_mut().endpoints[endpoint].inbox.pop_front()
    }

    /// Whether nothing lies in an inbox.
    pub fn is_empty(&self, endpoint: usize) -> bool {
        self.0.borrow().endpoints[endpoint].inbox.is_empty()
    }

    /// The stanzas of an inbox; pushed device lists stay.
    pub fn take_stanzas(&self, endpoint: usize) -> Vec<(String, String)> {
        let mut inner = self.0.borrow_mut();
        let inbox = std::mem::take(&mut inner.endpoints[endpoint].inbox);
        let mut stanzas = Vec::new();
        for mail in inbox {
            match mail {
                Mail::Stanza { from, xml } => stanzas.push((from, xml)),
                list @ Mail::DeviceList { .. } => inner.endpoints[endpoint].inbox.push_back(list),
            }
        }
        stanzas
    }

    /// Put mail back at the head of an inbox.
    pub fn put_back(&self, endpoint: usize, mail: Vec<Mail>) {
        let mut inner = self.0.borrow_mut();
        for one in mail.into_iter().rev() {
            inner.endpoints[endpoint].inbox.push_front(one);
        }
    }

    /// Bring those stanzas of an inbox that are `wanted` into the order in which they were posted; all others keep their
    /// places.
    pub fn put_in_order(&self, endpoint: usize, wanted: impl Fn(&str) -> bool) {
        let mut guard = self.0.borrow_mut();
        let inner = &mut *guard;
        let is_wanted = |mail: &Mail| matches!(mail, Mail::Stanza { xml, .. } if wanted(xml));
        let inbox = &mut inner.endpoints[endpoint].inbox;
        let mut some: Vec<Mail> = inbox.iter().filter(|mail| is_wanted(mail)).cloned().collect();
        some.sort_by_key(|mail| match mail {
            Mail::Stanza { xml, .. } => inner.posted.get(xml).copied(),
            Mail::DeviceList { .. } => None,
        });
        let mut some = some.into_iter();
        for mail in inbox.iter_mut().filter(|mail| is_wanted(mail)) {
            *mail = some.next().expect("as many as before");
        }
    }

    /// Forget all that lies in an inbox.
    pub fn lose_inbox(&self, endpoint: usize) {
        self.0.borrow_mut().endpoints[endpoint].inbox.clear();
    }

    // -- the PEP service

    pub fn list(&self, ns: &str, jid: &str) -> Option<String> {
        self.0.borrow().nodes.lists.get(&(ns.to_owned(), jid.to_owned())).cloned()
    }

    pub fn bundle(&self, ns: &str, jid: &str, device: u32) -> Option<String> {
        self.0.borrow().nodes.bundles.get(&(ns.to_owned(), jid.to_owned(), device)).cloned()
    }

    /// Publish as somebody's own client does; every endpoint hears of it.
    pub fn publish_list(&self, ns: &str, jid: &str, xml: &str) {
        let mut inner = self.0.borrow_mut();
        inner.nodes.lists.insert((ns.to_owned(), jid.to_owned()), xml.to_owned());
        if inner.push {
            for endpoint in inner.endpoints.iter_mut().filter(|endpoint| !endpoint.gone) {
                endpoint.inbox.push_back(Mail::DeviceList {
                    ns: ns.to_owned(),
                    jid: jid.to_owned(),
                    xml: xml.to_owned(),
                });
            }
        }
    }

    pub fn publish_bundle(&self, ns: &str, jid: &str, device: u32, xml: &str) {
        self.0.borrow_mut().nodes.bundles.insert((ns.to_owned(), jid.to_owned(), device), xml.to_owned());
    }

    pub fn delete_bundle(&self, ns: &str, jid: &str, device: u32) {
        self.0.borrow_mut().nodes.bundles.remove(&(ns.to_owned(), jid.to_owned(), device));
    }

    /// Forgets all lists of an account, and tells nobody.
    pub fn forget_lists(&self, jid: &str) {
        self.0.borrow_mut().nodes.lists.retain(|(_, of), _| of != jid);
    }

    /// The same with its bundles.
    pub fn forget_bundles(&self, jid: &str) {
        self.0.borrow_mut().nodes.bundles.retain(|(_, of, _), _| of != jid);
    }

    /// What the server answers now; what is published or sent by the request is done.
    pub fn serve(&self, request: &Request) -> Answer {
        let xml = request.xml.as_deref().unwrap_or_default();
        match request.kind {
            Kind::FetchList => self.list(&request.ns, &request.jid).map_or(Answer::Reject(1), Answer::Xml),
            Kind::FetchBundle => {
                self.bundle(&request.ns, &request.jid, request.device).map_or(Answer::Reject(1), Answer::Xml)
            }
            Kind::PublishList => {
                self.publish_list(&request.ns, &request.jid, xml);
                Answer::Done
            }
            Kind::PublishBundle => {
                self.publish_bundle(&request.ns, &request.jid, request.device, xml);
                Answer::Done
            }
            Kind::DeleteBundle => {
                self.delete_bundle(&request.ns, &request.jid, request.device);
                Answer::Done
            }
            Kind::SendMessage => {
                self.post_only(request.endpoint, &request.jid, xml);
                Answer::Done
            }
        }
    }

    // -- requests and answers

    /// A request. `Some`: its answer, to be given inside the callback. `None`: it comes by `due_answers`, or never.
    pub fn ask(&self, request_id: u64, request: Request) -> Option<Answer> {
        let fault = self.0.borrow_mut().fault.take();
        let mut answer = None;
        if let Some(mut fault) = fault {
            answer = fault(&request);
            let mut inner = self.0.borrow_mut();
            if inner.fault.is_none() {
                inner.fault = Some(fault);
            }
        }
        self.0.borrow_mut().journal.push(request.clone());
        let answering = self.0.borrow().answering;
        if answering == Answering::Held && answer.is_none() {
            self.0.borrow_mut().held.push(Held { request_id, request });
            return None;
        }
        let writes = !matches!(request.kind, Kind::FetchList | Kind::FetchBundle);
        let dead = self.0.borrow().dead.contains(&request.jid);
        if answer.is_none() && dead {
            answer = Some(Answer::Silence);
        }
        let latency = self.0.borrow().latency.get(&request.jid).copied();
        let answering = match latency {
            Some(ms) => Answering::Later { least_ms: ms, most_ms: ms },
            None => answering,
        };
        if answer.is_none() && (writes || answering == Answering::InCallback) {
            answer = Some(self.serve(&request));
        }
        let mut guard = self.0.borrow_mut();
        let inner = &mut *guard;
        match answering {
            Answering::InCallback | Answering::Held => answer.filter(|answer| *answer != Answer::Silence),
            Answering::Later { least_ms, most_ms } => {
                inner.open_now += 1;
                inner.open_most = inner.open_most.max(inner.open_now);
                if answer != Some(Answer::Silence) {
                    let spread = usize::try_from(most_ms - least_ms).unwrap_or(0) + 1;
                    let due_ms = inner.clock.wall_ms() + least_ms + inner.dice.below(spread) as i64;
                    let endpoint = request.endpoint;
                    inner.waiting.push(Waiting { due_ms, endpoint, request_id, request, answer });
                }
                None
            }
        }
    }

    /// The requests that wait for the test, oldest first.
    pub fn held(&self) -> Vec<Held> {
        self.0.borrow().held.clone()
    }

    /// Takes the oldest request of an endpoint that waits for the test and is `wanted`.
    pub fn take_held(&self, endpoint: usize, wanted: impl Fn(&Request) -> bool) -> Option<Held> {
        let held = &mut self.0.borrow_mut().held;
        let found = |held: &Held| held.request.endpoint == endpoint && wanted(&held.request);
        held.iter().position(found).map(|index| held.remove(index))
    }

    /// A request was withdrawn: its answer will not be missed.
    pub fn withdraw(&self, request_id: u64) {
        let mut inner = self.0.borrow_mut();
        inner.open_now = inner.open_now.saturating_sub(1);
        inner.waiting.retain(|waiting| waiting.request_id != request_id);
        inner.held.retain(|held| held.request_id != request_id);
    }

    /// The answers that are due now, in a seeded order.
    pub fn due_answers(&self) -> Vec<(u64, Answer)> {
        self.due_answers_where(|_| true)
    }

    /// The same for one endpoint.
    pub fn due_answers_of(&self, endpoint: usize) -> Vec<(u64, Answer)> {
        self.due_answers_where(|of| of == endpoint)
    }

    fn due_answers_where(&self, wanted: impl Fn(usize) -> bool) -> Vec<(u64, Answer)> {
        let mut due = Vec::new();
        {
            let mut inner = self.0.borrow_mut();
            let now_ms = inner.clock.wall_ms();
            let all = std::mem::take(&mut inner.waiting);
            for waiting in all {
                let is_due = waiting.due_ms <= now_ms && wanted(waiting.endpoint);
                if is_due { due.push(waiting) } else { inner.waiting.push(waiting) }
            }
            inner.dice.shuffle(&mut due);
            inner.open_now = inner.open_now.saturating_sub(due.len());
        }
        due.into_iter()
            .map(|waiting| {
                let answer = waiting.answer.unwrap_or_else(|| self.serve(&waiting.request));
                (waiting.request_id, answer)
            })
            .collect()
    }

    // -- the journal

    pub fn journal(&self) -> Vec<Request> {
        self.0.borrow().journal.clone()
    }

    pub fn clear_journal(&self) {
        let mut inner = self.0.borrow_mut();
        inner.journal.clear();
        inner.open_most = inner.open_now;
    }

    /// The journal since the last call, which is not kept.
    pub fn take_journal(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.borrow_mut().journal)
    }

    /// Forgets in which order stanzas were posted, and gives back the room that empty inboxes take: what a long life would
    /// gather.
    pub fn forget_past(&self) {
        let mut inner = self.0.borrow_mut();
        inner.posted = BTreeMap::new();
        inner.waiting.shrink_to_fit();
        inner.held.shrink_to_fit();
        inner.endpoints.iter_mut().for_each(|endpoint| endpoint.inbox.shrink_to_fit());
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.0.borrow().journal.iter().filter(|request| request.kind == kind).count()
    }

    /// The most requests that were open at a time since the journal was cleared (answers that come later only).
    pub fn open_most(&self) -> usize {
        self.0.borrow().open_most
    }
}
