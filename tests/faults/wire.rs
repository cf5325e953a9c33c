//! What leaves Romeo's device and what reaches it: its requests, with what fails of them, and the lists that the server
//! pushes.

use crate::fault::{NetworkKind, hollow, refusal, wrong_answer};
use crate::stage::{CANARY, Plan, Stage};
use crate::support::world::server::{id, jid};
use crate::support::{JULIET, ROMEO};
use omemo::error::{Error, Status};
use omemo::manager::api::request::{Answer, Reason, Request, RequestId};
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::device_list;
use std::collections::HashMap;

/// Whether a message holds a key for a device.
pub fn has_key_for(message: &Message, jid: &BareJid, device: u32) -> bool {
    let is_his = |of: &Option<BareJid>| of.as_ref().is_none_or(|of| of == jid);
    message.keys.iter().any(|key| key.device == device && is_his(&key.jid))
}

/// A request in a few words.
fn describe(request: &Request) -> String {
    match request {
        Request::FetchDeviceList { namespace, jid } => format!("list of {} in {namespace:?}", jid.as_str()),
        Request::FetchBundle { namespace, jid, device } => {
            format!("bundle of {}/{} in {namespace:?}", jid.as_str(), device.get())
        }
        Request::PublishDeviceList { list } => {
            let ids: Vec<u32> = list.devices.iter().map(|device| device.id).collect();
            format!("publish the list {ids:?} in {:?}", list.namespace)
        }
        Request::PublishBundle { device, bundle } => {
            format!("publish the bundle of {} in {:?}", device.get(), bundle.namespace)
        }
        Request::DeleteBundle { namespace, device } => {
            format!("delete the bundle of {} in {namespace:?}", device.get())
        }
        Request::SendMessage { jid, .. } => format!("send to {}", jid.as_str()),
        Request::DecideTrust { devices, .. } => format!("judge {} keys", devices.len()),
    }
}

/// A node: namespace, and the device if it is that of a bundle.
type Node = (Namespace, Option<u32>);

/// What was published, when, and in which process.
#[derive(Default)]
pub struct Publications {
    process: usize,
    published: Vec<(Node, usize, u64)>,
    /// The keys of all pre key ids that were ever published: namespace, device, id.
    pre_keys: HashMap<(Namespace, u32, u32), [u8; 32]>,
}

impl Publications {
    pub fn new_process(&mut self) {
        self.process += 1;
    }

    fn note(&mut self, request: &Request, now_ms: u64) -> Result<(), String> {
        let node = match request {
            Request::PublishDeviceList { list } => (list.namespace, None),
            Request::PublishBundle { device, bundle } => {
                self.note_pre_keys(device.get(), bundle)?;
                (bundle.namespace, Some(device.get()))
            }
            _ => return Ok(()),
        };
        self.published.push((node, self.process, now_ms));
        let young = |(of, process, at): &&(Node, usize, u64)| {
            *of == node && *process == self.process && now_ms - at < 60_000
        };
        match self.published.iter().filter(young).count() {
            0..=3 => Ok(()),
            count => Err(format!("{node:?} is published {count} times in a minute")),
        }
    }

    fn note_pre_keys(&mut self, device: u32, bundle: &Bundle) -> Result<(), String> {
        for key in &bundle.pre_keys {
            let at = (bundle.namespace, device, key.id);
            if self.pre_keys.insert(at, key.key).is_some_and(|before| before != key.key) {
                return Err(format!("the pre key id {} is another key's", key.id));
            }
        }
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.published.len()
    }
}

impl Stage {
    /// A request of Romeo's device: it is answered as planned.
    pub fn serve(&mut self, request_id: RequestId, request: &Request) {
        self.requests += 1;
        self.statuses.push((format!("request {}: {}", self.requests, describe(request)), Status::Ok));
        if let Err(wrong) = self.publications.note(request, self.clock.steady_ms()) {
            self.wrong.push(wrong);
        }
        if let Request::DecideTrust { devices, .. } = request {
            for index in 0..devices.len() {
                let decided = self.romeo.manager().decide(request_id, index, "trusted");
                if self.note("decide", decided).is_some() {
                    self.levels.push("trusted".into());
                }
                if !self.is_open() {
                    return;
                }
            }
        } else if !self.online {
            // The stream has broken: it never gets there.
            return;
        }
        match self.plan {
            Plan::Network(kind, n) if n == self.requests && !self.healed => {
                self.fail_request(kind, request_id, request);
            }
            _ => self.answer_truly(request_id, request),
        }
    }

    fn answer_truly(&mut self, request_id: RequestId, request: &Request) {
        let answer = self.truth(request);
        self.answer(request_id, answer, &[Status::Ok, Status::Stale]);
    }

    /// What the server answers, having done it.
    fn truth(&mut self, request: &Request) -> Answer {
        if self.crossing && matches!(request, Request::PublishDeviceList { .. }) {
            self.crossing = false;
            self.foreign_joins();
            // Published before ours, and pushed before ours is answered.
            self.push_list(ROMEO, &jid(ROMEO));
        }
        self.server.answer(&self.romeo, request)
    }

    fn answer(&mut self, request_id: RequestId, answer: Answer, expected: &[Status]) {
        // What came before the answer may have been the end of the process.
        if !self.is_open() {
            return;
        }
        let result = self.romeo.manager().answer(request_id, answer);
        let status = result.as_ref().map_or_else(Error::status, |()| Status::Ok);
        if !expected.contains(&status) {
            self.wrong.push(format!("an answer is taken with {}, not {expected:?}", status.name()));
        }
        self.note("answer", result);
    }

    fn fail_request(&mut self, kind: NetworkKind, request_id: RequestId, request: &Request) {
        const TAKEN: &[Status] = &[Status::Ok];
        let prompt = matches!(request, Request::DecideTrust { .. });
        match kind {
            NetworkKind::Rejected(reason) => self.answer(request_id, Answer::Rejected(reason), TAKEN),
            NetworkKind::Refused(condition) => self.answer(request_id, refusal(condition), TAKEN),
            NetworkKind::Unreadable(status) => {
                self.answer(request_id, Answer::Unreadable(status.into()), TAKEN);
            }
            NetworkKind::Silence if prompt => self.prompts.push(request_id),
            NetworkKind::Silence => (),
            NetworkKind::Breaks | NetworkKind::BreaksAfter if prompt => {
                self.prompts.push(request_id);
                self.stream_breaks();
            }
            NetworkKind::Breaks => self.stream_breaks(),
            NetworkKind::BreaksAfter => {
                let _ = self.truth(request);
                self.stream_breaks();
            }
            NetworkKind::Lost => {
                let _ = self.truth(request);
                self.answer(request_id, Answer::Rejected(Reason::Timeout), TAKEN);
            }
            NetworkKind::Late => {
                self.late.push((request_id, request.clone()));
                self.stream_breaks();
            }
            NetworkKind::Twice => {
                self.answer_truly(request_id, request);
                let again = self.server_has(request);
                self.answer(request_id, again, &[Status::Stale]);
            }
            NetworkKind::WrongAnswer => {
                self.answer(request_id, wrong_answer(request), &[Status::WrongAnswer]);
                self.answer_truly(request_id, request);
            }
            NetworkKind::Hollow => {
                let bundle = match request {
                    Request::FetchBundle { namespace, jid, device } => {
                        self.server.bundles.get(&(*namespace, jid.clone(), device.get())).cloned()
                    }
                    _ => None,
                };
                self.answer(request_id, hollow(request, bundle), TAKEN);
            }
        }
    }

    /// What the server would answer now, with nothing done.
    fn server_has(&mut self, request: &Request) -> Answer {
        match request {
            Request::FetchDeviceList { .. } | Request::FetchBundle { .. } => {
                self.server.answer(&self.romeo, request)
            }
            _ => Answer::Done,
        }
    }

    fn stream_breaks(&mut self) {
        self.online = false;
        let disconnected = self.romeo.manager().disconnected();
        self.note("disconnected", disconnected);
    }

    /// Whoever left a request about trust open comes back to it.
    pub fn answer_prompts(&mut self) {
        for request_id in std::mem::take(&mut self.prompts) {
            self.answer(request_id, Answer::Rejected(Reason::Declined), &[Status::Ok, Status::Stale]);
        }
        self.pump();
    }

    /// The answers that were on their way when the stream broke come in the next one.
    pub fn answer_late(&mut self) {
        for (request_id, request) in std::mem::take(&mut self.late) {
            let answer = self.server_has(&request);
            let prompt = matches!(request, Request::DecideTrust { .. });
            let expected: &[Status] = if prompt { &[Status::Ok, Status::Stale] } else { &[Status::Stale] };
            self.answer(request_id, answer, expected);
        }
    }

    /// No text and no JID leaves in the clear.
    pub fn check_hidden(&mut self, message: &Message) {
        let shows = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        let keys = message.keys.iter().filter_map(|key| key.bytes.as_deref());
        if keys.chain(message.payload.as_deref()).any(shows) {
            self.wrong.push("a text leaves in the clear".into());
        }
    }

    // -- lists

    /// A foreign device of Romeo's account announces itself.
    pub fn foreign_joins(&mut self) {
        if let Some(foreign) = &self.foreign {
            foreign.publish(&mut self.server);
        } else {
            let foreign = crate::support::RawDevice::of(self.flow.namespaces[0], ROMEO, 77);
            foreign.publish(&mut self.server);
            self.foreign = Some(foreign);
        }
    }

    /// Pushes every list that has changed to whom it concerns.
    pub fn push_lists(&mut self) {
        for _ in 0..5 {
            let mut changed = false;
            for (to, of) in
                [(ROMEO, ROMEO), (ROMEO, JULIET), (JULIET, ROMEO), (JULIET, JULIET), ("phone", ROMEO)]
            {
                changed |= self.push_list(to, &jid(of));
            }
            if !changed {
                return;
            }
            self.pump();
            self.juliet.run(&mut self.server);
            if let Some(phone) = &self.phone {
                phone.run(&mut self.server);
            }
        }
    }

    /// Whether there was anything new.
    fn push_list(&mut self, to: &'static str, of: &BareJid) -> bool {
        let mut changed = false;
        for namespace in self.flow.namespaces {
            let Some(list) = self.server.lists.get(&(*namespace, of.clone())).cloned() else { continue };
            let (at, xml) = ((to, *namespace, of.clone()), device_list::write(&list));
            if self.pushed.get(&at) == Some(&xml) {
                continue;
            }
            let taken = match to {
                ROMEO if !self.online || !self.is_open() => false,
                ROMEO if !self.romeo.config.namespaces.contains(namespace) => false,
                ROMEO => {
                    let updated = self.romeo.manager().update_device_list(of, &list);
                    self.note("update_device_list", updated).is_some()
                }
                JULIET => self.juliet.manager().update_device_list(of, &list).is_ok(),
                _ => self
                    .phone
                    .as_ref()
                    .is_some_and(|phone| phone.manager().update_device_list(of, &list).is_ok()),
            };
            if taken {
                self.pushed.insert(at, xml);
                changed = true;
            }
        }
        changed
    }

    /// Takes a device off a list, with its bundle, as its own client does.
    pub fn leaves(&mut self, of: &str, device: u32) {
        let namespace = self.flow.namespaces[0];
        if let Some(list) = self.server.lists.get_mut(&(namespace, jid(of))) {
            list.remove(device);
        }
        self.server.bundles.remove(&(namespace, jid(of), id(device).get()));
        // A server pushes what is published also where nothing in it is new.
        self.pushed.retain(|(_, _, whose), _| *whose != jid(of));
    }
}
