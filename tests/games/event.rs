//! The events of a game. Each returns whether it did something.

use crate::cast::{Actor, CAST, CONTACT, IDENTITIES, OWN, STRANGER, VERSIONS, actor};
use crate::game::{Encryption, Game, Mail, Open, entries, ids, is_own, is_publication};
use crate::model::Fact;
use crate::server::Stanza;
use crate::world::{Fault, id, jid};
use omemo::error::Status;
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::DeviceList;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace;
use omemo::protocol::payload;
use omemo::protocol::session::Session;
use omemo::protocol::stanza_error::StanzaError;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AnswerList,
    AnswerBundle,
    AnswerPublication,
    Fail,
    PushContact,
    PushOwn,
    Gone,
    SetTrust,
    Decide,
    Accept,
    Encrypt,
    DecryptNew,
    DecryptAgain,
    Refresh,
    Disconnect,
    Connect,
    Restart,
    Run,
    Time,
    Change,
    FailedCommit,
}

impl Kind {
    pub const ALL: [Kind; 21] = [
        Kind::AnswerList,
        Kind::AnswerBundle,
        Kind::AnswerPublication,
        Kind::Fail,
        Kind::PushContact,
        Kind::PushOwn,
        Kind::Gone,
        Kind::SetTrust,
        Kind::Decide,
        Kind::Accept,
        Kind::Encrypt,
        Kind::DecryptNew,
        Kind::DecryptAgain,
        Kind::Refresh,
        Kind::Disconnect,
        Kind::Connect,
        Kind::Restart,
        Kind::Run,
        Kind::Time,
        Kind::Change,
        Kind::FailedCommit,
    ];

    /// How often it is drawn, in relation to the others.
    fn weight(self) -> usize {
        match self {
            Kind::AnswerList | Kind::AnswerBundle => 14,
            Kind::Run => 20,
            Kind::AnswerPublication | Kind::Encrypt => 10,
            Kind::DecryptNew | Kind::PushOwn | Kind::PushContact | Kind::Change => 6,
            Kind::Connect => 16,
            Kind::Disconnect => 3,
            Kind::Restart => 2,
            _ => 4,
        }
    }
}

impl Game {
    pub fn next_kind(&mut self) -> Kind {
        // What is seldom possible is done where it is.
        let judging = self.open.values().any(|open| matches!(open.request, Request::DecideTrust { .. }));
        if judging && self.chance(15) {
            return Kind::Decide;
        }
        if self.model.keys.values().any(|key| !key.conflicts.is_empty()) && self.chance(10) {
            return Kind::Accept;
        }
        let sum = Kind::ALL.iter().map(|kind| kind.weight()).sum();
        let mut place = self.below(sum);
        for kind in Kind::ALL {
            if place < kind.weight() {
                return kind;
            }
            place -= kind.weight();
        }
        Kind::Run
    }

    pub fn event(&mut self, kind: Kind) -> Result<bool, String> {
        match kind {
            Kind::AnswerList => Ok(self.answer_list()),
            Kind::AnswerBundle => Ok(self.answer_bundle()),
            Kind::AnswerPublication => Ok(self.answer_publication()),
            Kind::Fail => Ok(self.fail()),
            Kind::PushContact => Ok(self.push_contact()),
            Kind::PushOwn => Ok(self.push_own()),
            Kind::Gone => Ok(self.gone()),
            Kind::SetTrust => Ok(self.set_trust()),
            Kind::Decide => Ok(self.decide()),
            Kind::Accept => Ok(self.accept()),
            Kind::Encrypt => Ok(self.encrypt()),
            Kind::DecryptNew => self.decrypt_new(),
            Kind::DecryptAgain => self.decrypt_again(),
            Kind::Refresh => Ok(self.refresh()),
            Kind::Disconnect => Ok(self.disconnect()),
            Kind::Connect => Ok(self.connect()),
            Kind::Restart => Ok(self.restart()),
            Kind::Run => self.run().map(|()| true),
            Kind::Time => Ok(self.pass_time()),
            Kind::Change => self.change(),
            Kind::FailedCommit => self.failed_commit(),
        }
    }

    /// Returns one of the open requests of a kind.
    fn request(&mut self, which: impl Fn(&Open) -> bool) -> Option<u64> {
        let open: Vec<u64> =
            self.open.iter().filter(|(_, open)| which(open)).map(|(request_id, _)| *request_id).collect();
        self.pick(&open)
    }

    /// Answers a fetch: with what the server has now, or had when it was asked. Results of the own server come in
    /// their order, behind all that it has sent before.
    fn answer_fetch(&mut self, request_id: u64) {
        let request = self.open[&request_id].request.clone();
        if is_own(&request) {
            self.process(request_id);
            while self.open.contains_key(&request_id) && self.deliver() {}
            return;
        }
        let fresh = self.server.look(&request);
        let old = self.open[&request_id].asked.clone();
        let answer = if self.chance(60) { fresh } else { old }.unwrap();
        let shown = match &answer {
            Answer::DeviceList(list) => format!("{:?}", ids(list)),
            Answer::Bundle(bundle) => format!("bundle {}", bundle.signed_pre_key_id),
            _ => "not found".into(),
        };
        self.tell(format!("answer to {request_id}: {shown}"));
        self.answer(request_id, answer);
    }

    fn answer_list(&mut self) -> bool {
        let request_id = self.request(|open| matches!(open.request, Request::FetchDeviceList { .. }));
        request_id.map(|request_id| self.answer_fetch(request_id)).is_some()
    }

    fn answer_bundle(&mut self) -> bool {
        let request_id = self.request(|open| matches!(open.request, Request::FetchBundle { .. }));
        request_id.map(|request_id| self.answer_fetch(request_id)).is_some()
    }

    fn answer_publication(&mut self) -> bool {
        let sent =
            |request: &Request| is_publication(request) || matches!(request, Request::SendMessage { .. });
        let Some(request_id) = self.request(|open| sent(&open.request)) else { return false };
        if let Request::SendMessage { message, .. } = self.open[&request_id].request.clone() {
            self.tell(format!("sent {request_id}"));
            self.answer(request_id, Answer::Done);
            self.receive(&message);
            return true;
        }
        self.process(request_id);
        while self.open.contains_key(&request_id) && self.deliver() {}
        true
    }

    fn fail(&mut self) -> bool {
        let Some(request_id) = self.request(|open| !open.processed) else { return false };
        let request = self.open[&request_id].request.clone();
        let answers = match request {
            // The first run needs an answer that is true.
            _ if is_own(&request) => vec![Answer::Rejected(Reason::Failed)],
            Request::DecideTrust { .. } => vec![Answer::Rejected(Reason::Declined)],
            _ => vec![
                Answer::Rejected(Reason::Failed),
                Answer::Rejected(Reason::NotFound),
                Answer::Refused(StanzaError { condition: None, text: None }),
                Answer::Unreadable(Status::Malformed.into()),
            ],
        };
        if is_publication(&request) && self.chance(30) {
            // Nobody knows that it was taken; what the server sent before comes before.
            while self.deliver() {}
            if self.open.contains_key(&request_id) {
                self.tell(format!("the server has processed {request_id}"));
                self.server.publish(&request);
            }
        }
        let answer = self.pick(&answers).unwrap();
        self.tell(format!("question {request_id} fails: {answer:?}"));
        self.answer(request_id, answer);
        true
    }

    fn push_contact(&mut self) -> bool {
        let (namespace, name) = (self.namespace(), self.pick(&[CONTACT, STRANGER]).unwrap());
        let jid = jid(name);
        if self.chance(70) {
            self.change_list(namespace, &jid);
        }
        let list = self.server.list(namespace, &jid).unwrap_or_else(|| DeviceList::new(namespace));
        self.tell(format!("push {name} {namespace:?} {:?}", ids(&list)));
        self.push(&jid, &list)
    }

    /// Another device writes the own list; or what the own server has sent is delivered.
    fn push_own(&mut self) -> bool {
        let (namespace, own) = (self.namespace(), self.own_id());
        let device = self.pick(&[31, 32]).unwrap();
        // Only who stands on the list has anything to take off.
        let listed = self.server.list(namespace, &jid(OWN)).is_some_and(|list| list.contains(device));
        let left = self.chance(25) && listed;
        match left {
            true => {
                self.server.foreign.remove(&(namespace, device));
            }
            false => self.announce(namespace, device),
        }
        // Sometimes it throws this device off.
        let mut kept = if self.chance(20) { None } else { own };
        let mut list = self.server.write_own_list(namespace, kept);
        // Nobody could tell it from what this device has published, whose answer or push may still be on its way, or which
        // it may have to publish something over: the third device joins or leaves as well. The list that comes of it may
        // look like one of those again, so the others follow; without this device it never does.
        let third = if device == 31 { 32 } else { 31 };
        for change in [Some(third), Some(device), Some(third), None] {
            let last = self.server.ours.get(&namespace).into_iter().flatten().rev().take(4);
            if !last.into_iter().any(|ours| *ours == list) {
                break;
            }
            match change {
                Some(id) if self.server.foreign.remove(&(namespace, id)).is_none() => {
                    self.announce(namespace, id);
                }
                Some(_) => (),
                None => kept = None,
            }
            list = self.server.write_own_list(namespace, kept);
        }
        self.tell(format!("another device writes {namespace:?} {}", entries(&list)));
        if self.online {
            self.server.inbox.push_back(Stanza::Push(list));
            for _ in 0..self.below(4) {
                self.deliver();
            }
        }
        true
    }

    fn gone(&mut self) -> bool {
        let (namespace, name) = (self.namespace(), self.pick(&[CONTACT, STRANGER]).unwrap());
        self.tell(format!("the list of {name} in {namespace:?} is gone"));
        self.server.lists.remove(&(namespace, jid(name)));
        let told = self.manager().device_list_gone(&jid(name), namespace).is_ok();
        if told {
            self.supersede(namespace, &jid(name));
            self.model.say(Fact::List(namespace, jid(name), BTreeSet::new()));
        }
        told
    }

    fn random_level(&mut self) -> &'static str {
        self.pick(&["trusted", "trusted", "distrusted", "undecided"]).unwrap()
    }

    fn set_trust(&mut self) -> bool {
        let (device, level) = (self.below(CAST.len()), self.random_level());
        let actor = &CAST[device];
        let identity = if self.chance(70) { 0 } else { 1 };
        self.tell(format!("set_trust {} {identity} {level}", actor.id));
        let set = self.manager().set_trust(&actor.jid, &actor.key(identity), level).is_ok();
        if set {
            self.model.say(Fact::Level(actor.id, identity, level.to_owned()));
        }
        set
    }

    fn decide(&mut self) -> bool {
        let Some(request_id) = self.request(|open| matches!(open.request, Request::DecideTrust { .. }))
        else {
            return false;
        };
        let Request::DecideTrust { devices, .. } = self.open[&request_id].request.clone() else {
            return false;
        };
        for (index, device) in devices.iter().enumerate() {
            if self.chance(20) {
                continue;
            }
            let level = self.random_level();
            if self.manager().decide(request_id, index, level).is_err() {
                continue;
            }
            let actor = actor(device.id).unwrap();
            let identity = actor.identity_of(&device.identity_key.unwrap()).unwrap();
            self.tell(format!("decide {} {identity} {level}", actor.id));
            let stamp = self.model.number();
            let fact = Fact::Level(actor.id, identity, level.to_owned());
            self.open.get_mut(&request_id).unwrap().decisions.push((stamp, fact));
        }
        if self.chance(60) {
            self.tell(format!("question {request_id} is decided"));
            self.answer(request_id, Answer::Done);
        }
        true
    }

    fn accept(&mut self) -> bool {
        for name in [CONTACT, STRANGER, OWN] {
            let Ok(devices) = self.manager().devices(Some(&jid(name))) else { continue };
            for device in devices {
                let (Some(key), Some(actor)) = (device.conflicting_key, actor(device.id)) else { continue };
                if self.manager().accept_identity(&jid(name), id(device.id), &key).is_ok() {
                    let identity = actor.identity_of(&key).unwrap();
                    self.tell(format!("accept {} {identity}", device.id));
                    self.model.say(Fact::Accept(device.id, identity));
                    return true;
                }
            }
        }
        false
    }

    fn encrypt(&mut self) -> bool {
        let policies = [EncryptPolicy::Wait, EncryptPolicy::Wait, EncryptPolicy::Now, EncryptPolicy::All];
        let policy = self.pick(&policies).unwrap();
        let recipients = match self.below(5) {
            0 => vec![STRANGER],
            1 => vec![CONTACT, STRANGER],
            _ => vec![CONTACT],
        };
        self.begin_encryption(&recipients, policy).is_some()
    }

    pub fn begin_encryption(&mut self, recipients: &[&str], policy: EncryptPolicy) -> Option<u64> {
        let recipients: Vec<_> = recipients.iter().map(|name| jid(name)).collect();
        let text = |namespace: &Namespace| (*namespace, Zeroizing::new(b"text".to_vec()));
        let draft = Draft {
            recipients: recipients.clone(),
            plaintexts: self.namespaces.iter().map(text).collect(),
            policy,
            ..Draft::default()
        };
        let operation = self.next_operation();
        self.manager().encrypt(operation, draft).ok()?;
        let names: Vec<&str> = recipients.iter().map(|jid| jid.as_str()).collect();
        self.tell(format!("encrypt {operation} {policy:?} {}", names.join(" ")));
        self.encryptions.insert(operation, Encryption { recipients });
        Some(operation)
    }

    fn refresh(&mut self) -> bool {
        let name = self.pick(&[CONTACT, STRANGER, OWN]).unwrap();
        let operation = self.next_operation();
        let started = self.manager().refresh_devices(operation, Some(jid(name)), None).is_ok();
        if started {
            self.tell(format!("refresh {operation} {name}"));
            self.suggested.insert(jid(name));
        }
        started
    }

    pub fn disconnect(&mut self) -> bool {
        self.tell("disconnected");
        self.lose_stream(false);
        self.manager().disconnected().is_ok()
    }

    pub fn connect(&mut self) -> bool {
        if self.online {
            return false;
        }
        self.tell("connected");
        let operation = self.next_operation();
        self.stream += 1;
        self.online = true;
        self.failed.clear();
        self.list_failures.clear();
        let connected =
            self.manager().connected(operation, omemo::manager::api::catch_up::CatchUp::None).is_ok();
        for namespace in self.namespaces.clone() {
            if let Some(list) = self.server.list(namespace, &jid(OWN))
                && self.chance(50)
            {
                self.server.inbox.push_back(Stanza::Push(list));
            }
        }
        connected
    }

    fn restart(&mut self) -> bool {
        self.tell("restart");
        self.lose_stream(true);
        self.open.clear();
        self.encryptions.clear();
        self.failed.clear();
        self.list_failures.clear();
        self.model.forget_pending();
        self.manager = None;
        self.start();
        true
    }

    fn pass_time(&mut self) -> bool {
        let ms = match self.below(4) {
            0 => 1_000 + self.below(8_000),
            1 => 20_000 + self.below(60_000),
            2 => 60_000 * (2 + self.below(20)),
            _ => 3_600_000 * (1 + self.below(5)),
        };
        self.advance(u64::try_from(ms).unwrap());
        self.tell("time has passed");
        true
    }

    /// Something changes at a server, and nobody is told.
    fn change(&mut self) -> Result<bool, String> {
        let device = self.below(CAST.len());
        let (actor, namespace) = (&CAST[device], self.namespace());
        match self.below(4) {
            0 => {
                let name = self.pick(&[CONTACT, STRANGER]).unwrap();
                self.change_list(namespace, &jid(name));
                self.tell(format!("the list of {name} changes"));
            }
            1 => {
                let published = self.server.bundles.get_mut(&(actor.id, namespace)).unwrap();
                published.version = (published.version + 1) % VERSIONS;
                self.tell(format!("{} rotates its signed pre key", actor.id));
            }
            2 => {
                let published = self.server.bundles.get_mut(&(actor.id, namespace)).unwrap();
                published.present = !published.present;
                self.tell(format!("the bundle of {} comes or goes", actor.id));
            }
            _ => return self.reinstall(actor),
        }
        Ok(true)
    }

    /// A device is installed anew, with another key, and often writes at once.
    pub fn reinstall(&mut self, actor: &'static Actor) -> Result<bool, String> {
        let all = self.chance(70);
        let namespaces = if all { self.namespaces.clone() } else { vec![self.namespace()] };
        for namespace in namespaces {
            let published = self.server.bundles.get_mut(&(actor.id, namespace)).unwrap();
            published.identity = (published.identity + 1) % IDENTITIES;
            self.sessions.remove(&(actor.id, namespace));
        }
        self.tell(format!("{} is installed anew", actor.id));
        if self.chance(70)
            && let Some(mail) = self.write(actor, self.namespaces[0], true)
        {
            self.read(mail, actor.jid.as_str())?;
        }
        Ok(true)
    }

    /// A call whose commit fails has said nothing.
    fn failed_commit(&mut self) -> Result<bool, String> {
        let before = self.storage.commits();
        self.storage.fail(1, Fault::Nothing);
        self.tell("the next commit fails");
        let kinds = [Kind::PushContact, Kind::SetTrust, Kind::Gone, Kind::DecryptNew, Kind::Accept];
        let kind = self.pick(&kinds).unwrap();
        let result = self.event(kind);
        *self.storage.fault.lock().unwrap() = None;
        result.map(|_| self.storage.commits() > before)
    }

    // -- Messages of the others --

    /// Has a device of somebody else write a message to the account; `None`: it cannot.
    pub fn write(&mut self, actor: &'static Actor, namespace: Namespace, anew: bool) -> Option<usize> {
        let own = self.own_id()?;
        let published = self.server.published(actor, namespace);
        let keys = actor.keys(published.identity, namespace, published.version);
        let mut rng = self.rng();
        let session = self.sessions.get(&(actor.id, namespace)).cloned().filter(|_| !anew);
        let mut session = match session {
            Some(session) => session,
            None => {
                let bundle = self.server.own_bundles.get(&(namespace, own))?;
                Session::initiate(&keys.identity, bundle, &mut rng).unwrap()
            }
        };
        let text = format!("text {}", self.mails.len());
        let sealed = payload::encrypt(namespace, text.as_bytes(), &mut rng).unwrap();
        let key = session.encrypt(&sealed.key).unwrap();
        let to = (namespace == Namespace::Omemo2).then(|| jid(OWN));
        let (key_exchange, bytes) = (key.key_exchange, Some(key.bytes));
        let message = Message {
            namespace,
            sender_device: actor.id,
            keys: vec![MessageKey { jid: to, device: own, key_exchange, bytes }],
            payload: sealed.payload,
            iv: sealed.iv,
        };
        self.sessions.insert((actor.id, namespace), session);
        let (device, identity, decrypted) = (actor.id, published.identity, BTreeSet::new());
        self.mails.push(Mail { device, identity, message, text, decrypted });
        Some(self.mails.len() - 1)
    }

    fn decrypt_new(&mut self) -> Result<bool, String> {
        let (device, namespace, anew) = (self.below(CAST.len()), self.namespace(), self.chance(20));
        let Some(mail) = self.write(&CAST[device], namespace, anew) else { return Ok(false) };
        match self.below(6) {
            // Somebody copies it before it arrives.
            0 => {
                let other = if CAST[device].jid.as_str() == CONTACT { STRANGER } else { CONTACT };
                self.read(mail, other)?;
                self.read(mail, CAST[device].jid.as_str())?;
            }
            // It comes later.
            1 => self.tell(format!("mail {mail} is on its way")),
            _ => self.read(mail, CAST[device].jid.as_str())?,
        }
        Ok(true)
    }

    /// An old message again, under its own name or another one; or one of many strangers who cannot be read.
    fn decrypt_again(&mut self) -> Result<bool, String> {
        if self.mails.is_empty() {
            return Ok(false);
        }
        let mail = self.below(self.mails.len());
        let own = actor(self.mails[mail].device).unwrap().jid.clone();
        match self.below(4) {
            0 => {
                let name = self.pick(&[CONTACT, STRANGER, OWN]).unwrap();
                self.read(mail, name)?;
            }
            1 => self.flood(mail),
            _ => self.read(mail, own.as_str())?,
        }
        Ok(true)
    }

    /// Strangers send what cannot be read, so that their lists are looked at.
    fn flood(&mut self, mail: usize) {
        let namespace = self.mails[mail].message.namespace;
        let Some(own) = self.own_id() else { return };
        let writer = CAST[3].keys(0, namespace, 0);
        // A bundle with keys that nobody has: PRE_KEY_UNKNOWN.
        let mut bundle = CAST[4].bundle(0, namespace, 0);
        bundle.signed_pre_key_id = 999_999;
        let mut rng = self.rng();
        let mut session = Session::initiate(&writer.identity, &bundle, &mut rng).unwrap();
        let sealed = payload::encrypt(namespace, b"flood", &mut rng).unwrap();
        let key = session.encrypt(&sealed.key).unwrap();
        let to = (namespace == Namespace::Omemo2).then(|| jid(OWN));
        let (key_exchange, bytes) = (key.key_exchange, Some(key.bytes));
        let keys = vec![MessageKey { jid: to, device: own, key_exchange, bytes }];
        let (payload, iv) = (sealed.payload, sealed.iv);
        let message = Message { namespace, sender_device: 900, keys, payload, iv };
        self.tell("strangers send what cannot be read");
        let first = self.below(1_000);
        for number in first..first + FLOOD {
            let from = jid(&format!("s{number}@flood.lit"));
            let _ = self.manager().decrypt(Some(&from), None, &message);
        }
    }
}

/// Strangers who write at the same time.
const FLOOD: usize = 5;
