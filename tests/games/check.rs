//! What is compared with the model, while a game goes on.

use crate::cast::{Actor, CONTACT, OWN, STRANGER, actor};
use crate::game::{Encryption, FETCHES, Game};
use crate::model::Model;
use crate::world::jid;
use omemo::error::Status;
use omemo::manager::api::decrypted::{Action, Decrypted};
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::Request;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::x3dh::ResponderKeys;
use std::collections::BTreeSet;

/// A bundle that is older may not begin a session (E7).
const STALE_MS: u64 = 600_000;
/// A list whose fetch failed is not asked for again before (E8).
const FAILED_MS: u64 = 60_000;

type Check = Result<(), String>;

impl Game {
    /// Compares what the manager shows with what was said last.
    pub fn compare(&mut self) -> Check {
        for name in [CONTACT, STRANGER, OWN] {
            for device in self.manager().devices(Some(&jid(name))).map_err(|error| format!("{error:?}"))? {
                if device.provisional && device.core_trust == CoreTrust::Trusted {
                    return Err(format!("the provisional key of {} is trusted", device.id));
                }
                let Some(actor) = actor(device.id).filter(|actor| actor.jid.as_str() == name) else {
                    continue;
                };
                let key = self.model.key(actor.id);
                let confirmed = device.identity_key.filter(|_| !device.provisional);
                let confirmed = confirmed.map(|key| actor.identity_of(&key).unwrap());
                if confirmed != key.confirmed {
                    return Err(format!("{}: key {confirmed:?}, model {key:?}", device.id));
                }
                let conflict = device.conflicting_key.map(|key| actor.identity_of(&key).unwrap());
                if conflict != key.conflicts.last().map(|(identity, _)| *identity) {
                    return Err(format!("{}: conflict {conflict:?}, model {key:?}", device.id));
                }
                if let Some(shown) = device.identity_key {
                    let level = self.model.level(actor.id, actor.identity_of(&shown).unwrap());
                    if device.trust_level_name != level {
                        let is = &device.trust_level_name;
                        return Err(format!("{}: level {is}, model {level}", device.id));
                    }
                }
            }
            if name != OWN {
                self.compare_lists(name)?;
            }
        }
        Ok(())
    }

    fn compare_lists(&self, name: &str) -> Check {
        let devices = self.manager().devices(Some(&jid(name))).map_err(|error| format!("{error:?}"))?;
        for namespace in &self.namespaces {
            let active = devices.iter().filter(|device| device.active.contains(namespace));
            let active: BTreeSet<u32> = active.map(|device| device.id).collect();
            let said = self.model.list(*namespace, &jid(name));
            if active != said {
                return Err(format!("{name} in {namespace:?}: {active:?}, the client said {said:?}"));
            }
        }
        Ok(())
    }

    /// A request is asked: is it one that may be asked now?
    pub fn check_request(&mut self, request_id: u64) -> Check {
        let now = self.now();
        match self.open[&request_id].request.clone() {
            Request::FetchDeviceList { namespace, jid } => {
                let failed = self.list_failures.get(&(namespace, jid.clone()));
                let young = failed.is_some_and(|at| now - at < FAILED_MS);
                if young && jid.as_str() != OWN && !self.suggested.contains(&jid) {
                    let name = jid.as_str();
                    return Err(format!("{name}: its list has failed and is asked for again at once"));
                }
                let of_flood = |request: &Request| match request {
                    Request::FetchDeviceList { jid, .. } => jid.as_str().ends_with("@flood.lit"),
                    _ => false,
                };
                let flood = self.open.values().filter(|open| of_flood(&open.request)).count();
                if flood > FETCHES / 2 {
                    return Err(format!("strangers have {flood} of {FETCHES} slots"));
                }
            }
            Request::SendMessage { message, .. } => {
                self.note_headers(&message)?;
                for key in &message.keys {
                    let Some(actor) = actor(key.device) else { continue };
                    if key.key_exchange {
                        self.exchanges.insert(exchange_of(&message, key));
                        *self.repairs.entry(actor.id).or_default() += 1;
                        let trust = self.model.key(actor.id).confirmed;
                        let level = trust.map(|identity| self.model.level(actor.id, identity));
                        if level == Some("distrusted") {
                            return Err(format!("a repair writes to the distrusted key of {}", actor.id));
                        }
                    }
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// No key and counter of a ratchet protects two different things.
    fn note_headers(&mut self, message: &Message) -> Check {
        for key in &message.keys {
            let bytes = key.bytes.as_ref().unwrap();
            let ratchet = ratchet_of(message, key);
            let header = ratchet.header();
            let at = (message.namespace.code(), key.device, *header.ratchet_key.as_bytes(), header.n);
            let before = self.headers.insert(at, bytes.clone());
            if before.is_some_and(|before| before != *bytes) {
                return Err(format!("a message key for {} was used twice", key.device));
            }
        }
        Ok(())
    }

    /// An encryption is over: whom did it serve? `before`: what held before the answers of this run.
    pub fn check_outcome(&mut self, encryption: &Encryption, outcome: &Outcome, before: &Model) -> Check {
        for message in &outcome.messages {
            self.note_headers(message)?;
            for key in &message.keys {
                let Some(actor) = actor(key.device) else {
                    return Err(format!("a key for {}, which nobody has", key.device));
                };
                self.check_served(actor, message.namespace)?;
                if key.key_exchange {
                    self.check_exchange(actor, message, key)?;
                }
            }
            self.receive(message);
        }
        if outcome.status() == Status::Ok {
            self.check_rows(encryption, outcome, before)?;
        }
        Ok(())
    }

    fn check_served(&self, actor: &'static Actor, namespace: Namespace) -> Check {
        let mut refusals = self.model.refusals(actor, namespace);
        // The own list is written by ourselves, too: what counts there is compared at the end.
        refusals.retain(|why| actor.jid.as_str() != OWN || !why.contains("list"));
        match refusals.first() {
            Some(why) => Err(format!("{} is served in {namespace:?} although {why}", actor.id)),
            None => Ok(()),
        }
    }

    /// A session begins on a bundle that is not older than ten minutes, of this stream.
    fn check_exchange(&mut self, actor: &'static Actor, message: &Message, key: &MessageKey) -> Check {
        let exchange = KeyExchange::parse(message.namespace, key.bytes.as_ref().unwrap()).unwrap();
        let first = self.exchanges.insert(*exchange.id().ephemeral.as_bytes());
        if !first || self.repaired.contains(&actor.id) {
            return Ok(());
        }
        let version = usize::try_from(exchange.id().signed_pre_key_id).unwrap() - 1;
        let (now, stream) = (self.now(), self.stream);
        let given = self.given.get(&(actor.id, message.namespace));
        let young = given.is_some_and(|given| {
            given.iter().any(|given| {
                given.version == version && now - given.at_ms <= STALE_MS && given.stream == stream
            })
        });
        match young {
            true => Ok(()),
            false => Err(format!("a session with {} begins on an old bundle", actor.id)),
        }
    }

    /// Every announced device has its row, and is served if the row says so.
    fn check_rows(&self, encryption: &Encryption, outcome: &Outcome, before: &Model) -> Check {
        for jid in &encryption.recipients {
            let announced =
                |model: &Model| -> BTreeSet<u32> { model.announced(jid).map(|actor| actor.id).collect() };
            let rows = outcome.rows.iter().filter(|row| row.jid.as_ref() == Some(jid) && row.device != 0);
            let reported: BTreeSet<u32> = rows.clone().map(|row| row.device).collect();
            let missing = &(&announced(before) & &announced(&self.model)) - &reported;
            if !missing.is_empty() {
                return Err(format!("{missing:?} are announced and have no row"));
            }
            for row in rows {
                let keys = outcome.messages.iter().flat_map(|message| &message.keys);
                let keys = keys.filter(|key| key.device == row.device).count();
                if keys != usize::from(row.error.status() == Status::Ok) {
                    return Err(format!("the row of {} says {}", row.device, row.error.status().name()));
                }
            }
        }
        Ok(())
    }

    /// The devices get a message, and take up or go on with their sessions.
    pub fn receive(&mut self, message: &Message) {
        for key in &message.keys {
            let Some(actor) = actor(key.device) else { continue };
            let namespace = message.namespace;
            let (ratchet, mut rng) = (ratchet_of(message, key), self.rng());
            let mut budget = ChainBudget::new(SkipLimits::default());
            let known = self.sessions.get(&(actor.id, namespace));
            let published = self.server.published(actor, namespace);
            let step = match key.key_exchange {
                true => {
                    let exchange = KeyExchange::parse(namespace, key.bytes.as_ref().unwrap()).unwrap();
                    match known.filter(|session| session.was_begun_by(&exchange)) {
                        Some(session) => {
                            session.decrypt(&ratchet, None, &mut |_| Ok(None), &mut budget, &mut rng)
                        }
                        None => {
                            let version = usize::try_from(exchange.id().signed_pre_key_id).unwrap() - 1;
                            let keys = actor.keys(published.identity, namespace, version);
                            let wanted = exchange.id().pre_key_id;
                            let pair = &keys.pre_keys.iter().find(|(id, _)| *id == wanted).unwrap().1;
                            let signed = &keys.signed.pair;
                            Session::accept(
                                &ResponderKeys::new(&keys.identity, signed, pair),
                                &exchange,
                                &mut budget,
                                &mut rng,
                            )
                        }
                    }
                }
                false => match known {
                    Some(session) => {
                        session.decrypt(&ratchet, None, &mut |_| Ok(None), &mut budget, &mut rng)
                    }
                    None => continue,
                },
            };
            if let Ok(step) = step {
                self.sessions.insert((actor.id, namespace), step.session);
            }
        }
    }

    /// Gives a message to the manager in somebody's name, and checks what comes of it.
    pub fn read(&mut self, mail: usize, name: &str) -> Check {
        let message = self.mails[mail].message.clone();
        self.suggested.insert(jid(name));
        let Ok(decrypted) = self.manager().decrypt(Some(&jid(name)), None, &message) else {
            self.tell(format!("mail {mail} from {name}: the store failed"));
            return Ok(());
        };
        let (status, device) = (decrypted.error.status(), message.sender_device);
        self.tell(format!("mail {mail} of {device} as {name}: {} {:?}", status.name(), decrypted.action));
        if matches!(status, Status::NoSession | Status::PreKeyUnknown) {
            self.repaired.insert(device);
        }
        self.check_decrypted(mail, name, &decrypted)?;
        if status == Status::Ok {
            self.mails[mail].decrypted.insert(name.to_owned());
        }
        Ok(())
    }

    fn check_decrypted(&self, mail: usize, name: &str, decrypted: &Decrypted) -> Check {
        let (mail, status) = (&self.mails[mail], decrypted.error.status());
        let actor = actor(mail.device).unwrap();
        let again = mail.decrypted.contains(name);
        let own = self.own_id() != Some(mail.message.keys[0].device);
        if status == Status::Duplicate && !again {
            return Err("a message that was never decrypted is a duplicate".into());
        }
        if decrypted.action == Action::Hide && !again && !own {
            return Err(format!("a message with content vanishes: {}", status.name()));
        }
        if status != Status::Ok {
            return Ok(());
        }
        if again {
            return Err("a message is decrypted twice".into());
        }
        if decrypted.plaintext.as_ref().map(|text| text.as_slice()) != Some(mail.text.as_bytes()) {
            return Err("a message is decrypted to something else".into());
        }
        let real = actor.jid.as_str() == name;
        let (key, level) = (self.model.key(actor.id), self.model.level(actor.id, mail.identity));
        let vouched = real && key.confirmed == Some(mail.identity);
        if decrypted.core_trust == CoreTrust::Trusted && !(vouched && level == "trusted") {
            return Err(format!("a message of {} is trusted, model {key:?} {level}", actor.id));
        }
        if real && level == "distrusted" {
            return Err(format!("a message of {} is shown although it is distrusted", actor.id));
        }
        if !decrypted.provisional && !vouched {
            return Err(format!("nobody vouches for the key of {} under this name", actor.id));
        }
        Ok(())
    }
}

fn ratchet_of(message: &Message, key: &MessageKey) -> RatchetMessage {
    let bytes = key.bytes.as_ref().unwrap();
    match key.key_exchange {
        true => KeyExchange::parse(message.namespace, bytes).unwrap().message().clone(),
        false => RatchetMessage::parse(message.namespace, bytes).unwrap(),
    }
}

fn exchange_of(message: &Message, key: &MessageKey) -> [u8; 32] {
    let exchange = KeyExchange::parse(message.namespace, key.bytes.as_ref().unwrap()).unwrap();
    *exchange.id().ephemeral.as_bytes()
}
