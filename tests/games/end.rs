//! The end of a game: the network works, everything is answered, and hours pass. Then the servers, the model and the
//! manager must agree.

use crate::cast::{Actor, CAST, CONTACT, OWN};
use crate::game::{Game, entries, ids, is_own};
use crate::server::Stanza;
use crate::world::jid;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::report::Row;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace;
use std::collections::BTreeSet;

type Check = Result<(), String>;

/// Waits between two looks, so that every back-off ends and every publication gets its turn.
const WAITS_MS: [u64; 12] = [
    0, 1_000, 61_000, 61_000, 130_000, 300_000, 1_200_000, 1_200_000, 3_700_000, 3_700_000, 4_500_000,
    4_500_000,
];

impl Game {
    /// Answers everything, truly, until nothing more is asked.
    pub fn calm(&mut self) -> Check {
        self.answer_all(true)
    }

    /// The same; requests about trust may be left to be answered later.
    pub fn answer_all(&mut self, judge: bool) -> Check {
        for _ in 0..200 {
            self.run()?;
            let mut quiet = true;
            for request_id in self.open.keys().copied().collect::<Vec<_>>() {
                let Some(open) = self.open.get(&request_id) else { continue };
                if !judge && matches!(open.request, Request::DecideTrust { .. }) {
                    continue;
                }
                quiet = false;
                self.answer_truly(request_id);
            }
            while self.deliver() {
                quiet = false;
            }
            if quiet {
                return Ok(());
            }
        }
        Err("questions without end".into())
    }

    fn answer_truly(&mut self, request_id: u64) {
        let Some(open) = self.open.get(&request_id) else { return };
        match open.request.clone() {
            request if is_own(&request) => self.process(request_id),
            Request::SendMessage { message, .. } => {
                self.answer(request_id, Answer::Done);
                self.receive(&message);
            }
            Request::DecideTrust { .. } => {
                self.tell(format!("question {request_id} is left as it is"));
                self.answer(request_id, Answer::Done);
            }
            request => {
                let answer = self.server.look(&request).unwrap();
                self.answer(request_id, answer);
            }
        }
    }

    fn settle(&mut self) -> Check {
        for wait in WAITS_MS {
            self.advance(wait);
            self.calm()?;
        }
        Ok(())
    }

    /// The end of a game; see the module.
    pub fn end(&mut self) -> Check {
        self.tell("the end begins");
        if !self.online {
            self.connect();
        } else if self.chance(30) {
            self.disconnect();
            self.connect();
        }
        self.settle()?;
        if !self.encryptions.is_empty() {
            return Err(format!("encryptions {:?} never end", self.encryptions.keys()));
        }
        self.check_own_lists()?;
        self.check_own_bundles()?;
        self.check_everybody_is_served()?;
        match self.below(4) {
            0 => self.check_everybody_is_read(),
            1 => self.check_repair(),
            2 => self.check_failed_list(),
            _ => self.check_crossing(),
        }
    }

    /// This device stands on its lists, and all others as they announced themselves last.
    fn check_own_lists(&self) -> Check {
        let own = self.own_id().ok_or("no device id")?;
        for namespace in &self.namespaces {
            let list = self.server.list(*namespace, &jid(OWN)).ok_or("no own list")?;
            if !list.contains(own) {
                return Err(format!("this device does not stand on its list in {namespace:?}"));
            }
            for ((of, id), entry) in &self.server.foreign {
                if of == namespace && !list.devices.contains(entry) {
                    return Err(format!("{id} is lost in {namespace:?}: {:?}", ids(&list)));
                }
            }
            let announced = self.server.foreign.keys().filter(|(of, _)| of == namespace).count();
            if list.devices.len() != announced + 1 {
                return Err(format!("somebody came back in {namespace:?}: {:?}", ids(&list)));
            }
        }
        Ok(())
    }

    fn check_own_bundles(&self) -> Check {
        let own = self.own_id().ok_or("no device id")?;
        let key = self.manager().devices(None).unwrap()[0].identity_key.unwrap();
        for namespace in &self.namespaces {
            let bundle = self.server.own_bundles.get(&(*namespace, own)).ok_or("no own bundle")?;
            if bundle.identity_key != key {
                return Err("a bundle with another key stands under our id".into());
            }
        }
        Ok(())
    }

    /// Whether a device can be served when everything is known: in which namespace.
    fn is_servable(&self, actor: &Actor) -> Option<Namespace> {
        let namespace = self.namespaces.iter().copied().find(|namespace| {
            let list = self.server.list(*namespace, &actor.jid);
            list.is_some_and(|list| list.contains(actor.id))
        })?;
        let present = self.server.published(actor, namespace).present;
        (present && self.model.refusals(actor, namespace).is_empty()).then_some(namespace)
    }

    /// A message to the contact serves exactly those devices that the model names.
    fn check_everybody_is_served(&mut self) -> Check {
        // Lists and bundles are looked at once more, since hours have passed.
        self.advance(7_200_000);
        let Some(operation) = self.begin_encryption(&[CONTACT], EncryptPolicy::Wait) else {
            return Err("an encryption cannot begin".into());
        };
        self.calm()?;
        let outcome = self.ends.remove(&operation).ok_or("the last encryption does not end")?;
        let served: BTreeSet<u32> =
            outcome.messages.iter().flat_map(|message| &message.keys).map(|key| key.device).collect();
        let expected: BTreeSet<u32> = CAST
            .iter()
            .filter(|actor| [CONTACT, OWN].contains(&actor.jid.as_str()))
            .filter(|actor| self.is_servable(actor).is_some())
            .map(|actor| actor.id)
            .collect();
        let of_contact = |ids: &BTreeSet<u32>| ids.iter().any(|id| *id < 20);
        if !of_contact(&expected) {
            // Without anybody of the contact, nobody gets anything; who has a session may be served all the same.
            return Ok(());
        }
        let missing: Vec<u32> = expected.difference(&served).copied().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{missing:?} are not served: {}", outcome.status().name())),
        }
    }

    /// A new message of each listed device can be read.
    fn check_everybody_is_read(&mut self) -> Check {
        for actor in CAST.iter().filter(|actor| actor.jid.as_str() == CONTACT) {
            let namespace = self.namespace();
            let key = self.model.key(actor.id);
            let identity = self.server.published(actor, namespace).identity;
            if key.confirmed != Some(identity) || self.model.level(actor.id, identity) == "distrusted" {
                continue;
            }
            let Some(mail) = self.write(actor, namespace, true) else { continue };
            self.read(mail, CONTACT)?;
            if !self.mails[mail].decrypted.contains(CONTACT) {
                return Err(format!("a new message of {} cannot be read", actor.id));
            }
            self.calm()?;
        }
        Ok(())
    }

    /// A listed device that uses a pre key which is gone hears of it, within two days.
    fn check_repair(&mut self) -> Check {
        self.advance(90_000_000);
        self.calm()?;
        for actor in CAST.iter().filter(|actor| actor.jid.as_str() == CONTACT) {
            let namespace = self.namespace();
            let (published, key) = (self.server.published(actor, namespace), self.model.key(actor.id));
            let listed = self.model.active(actor).contains(&namespace);
            let right = key.confirmed == Some(published.identity) && key.conflicts.is_empty();
            let level = self.model.level(actor.id, published.identity);
            let touched = self.mails.iter().any(|mail| mail.device == actor.id);
            let served = self.headers.keys().any(|(_, device, _, _)| *device == actor.id);
            if !listed || !right || !published.present || level == "distrusted" || touched || served {
                continue;
            }
            let own = self.own_id().unwrap();
            let Some(bundle) = self.server.own_bundles.get_mut(&(namespace, own)) else { continue };
            let ours = bundle.clone();
            bundle.signed_pre_key_id += 77;
            let mail = self.write(actor, namespace, true);
            self.server.own_bundles.insert((namespace, own), ours);
            let Some(mail) = mail else { continue };
            self.read(mail, CONTACT)?;
            self.calm()?;
            if !self.repairs.contains_key(&actor.id) {
                return Err(format!("{} is never told that its pre key is unknown", actor.id));
            }
        }
        Ok(())
    }

    /// A list whose fetch failed is not asked for again at once; what is stored is used, with a row; and a minute later
    /// it is asked for again.
    fn check_failed_list(&mut self) -> Check {
        self.advance(7_200_000);
        self.calm()?;
        for (wait, asks) in [(0, true), (10_000, false), (90_000, true)] {
            self.advance(wait);
            let operation = self.begin_encryption(&[CONTACT], EncryptPolicy::Wait).ok_or("no encryption")?;
            self.run()?;
            let mut asked = 0;
            for _ in 0..5 {
                let of_contact = |request: &Request| matches!(request, Request::FetchDeviceList { jid, .. } if jid.as_str() == CONTACT);
                for request_id in self.open.keys().copied().collect::<Vec<_>>() {
                    let Some(open) = self.open.get(&request_id) else { continue };
                    if of_contact(&open.request) {
                        asked += 1;
                        self.answer(request_id, Answer::Rejected(Reason::Failed));
                    } else {
                        self.answer_truly(request_id);
                        while self.deliver() {}
                    }
                }
                self.run()?;
            }
            if (asked > 0) != asks {
                return Err(format!("{wait} ms after its failure a list is asked for {asked} times"));
            }
            self.calm()?;
            let outcome = self.ends.remove(&operation).ok_or("an encryption does not end")?;
            let row = |row: &&Row| row.device == 0 && row.jid.as_ref() == Some(&jid(CONTACT));
            if !outcome.rows.iter().any(|of| row(&of)) {
                return Err("a list could not be fetched, and there is no row".into());
            }
        }
        Ok(())
    }

    /// Another device writes the own list while this one does.
    fn check_crossing(&mut self) -> Check {
        self.advance(7_200_000);
        self.calm()?;
        let namespace = self.namespace();
        self.announce(namespace, 31);
        let list = self.server.write_own_list(namespace, None);
        self.server.inbox.push_back(Stanza::Push(list));
        while self.deliver() {}
        for _ in 0..20 {
            self.run()?;
            let mut crossed = false;
            for request_id in self.open.keys().copied().collect::<Vec<_>>() {
                let own = |request: &Request| matches!(request, Request::PublishDeviceList { list } if list.namespace == namespace);
                if self.open.get(&request_id).is_some_and(|open| own(&open.request)) && !crossed {
                    crossed = true;
                    self.announce(namespace, 32);
                    let list = self.server.write_own_list(namespace, self.own_id());
                    self.tell(format!("another device writes {namespace:?} {}", entries(&list)));
                    self.server.inbox.push_back(Stanza::Push(list));
                }
                self.answer_truly(request_id);
            }
            while self.deliver() {}
            if crossed {
                self.settle()?;
                return self.check_own_lists();
            }
        }
        Err("this device does not come back on its list".into())
    }
}
