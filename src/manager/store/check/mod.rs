//! Reads a whole store and tells what is wrong with it: records that cannot be read, halves of what belongs together, and
//! what contradicts what. Repairs nothing.
//!
//! Each record has one finding at most, the first that is met. The rows name JIDs and devices; their sentences do not.

mod account;
mod kept;
mod people;

use super::super::api::report::{Outcome, Row};
use super::super::policy;
use super::integrity;
use super::inventory::{self, Found, Place};
use super::keys;
use super::records::corrupt;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::storage::Storage;
use account::AccountCheck;
use kept::KeptCheck;
use people::PeopleCheck;
use std::collections::{BTreeMap, BTreeSet};

/// Checks a store that nobody uses meanwhile. The rows are the findings; there is none where all is well.
pub fn check(store: &dyn Storage) -> Result<Outcome> {
    integrity::refuse_sealed(store)?;
    let mut check = Check::default();
    inventory::walk(store, &mut |place, found| {
        check.see(place, found);
        Ok(())
    })?;
    if !check.is_account_found_wrong {
        match integrity::identify(store) {
            Err(error) if inventory::is_about_record(&error) => check.add(&Place::Account, error),
            identified => drop(identified?),
        }
    }
    if let Some(keys) = store.keys()? {
        check.orphans(keys);
    }
    Ok(Outcome { rows: check.rows, ..Outcome::bare(Status::Ok) })
}

#[derive(Default)]
struct Check {
    rows: Vec<Row>,
    account: AccountCheck,
    people: PeopleCheck,
    kept: KeptCheck,
    /// Account or anchor have a finding: what they say together need not be looked at.
    is_account_found_wrong: bool,
    /// What is there and is named by something.
    keys: BTreeSet<String>,
}

impl Check {
    fn see(&mut self, place: &Place, found: Found<'_>) {
        if !matches!(found, Ok(None)) {
            self.keys.insert(place.key());
        }
        let seen = found.and_then(|bytes| match place {
            Place::Moved
            | Place::Account
            | Place::Anchor
            | Place::PreKeys(_)
            | Place::Outbox
            | Place::OutboxMessage(..) => self.account.see(place, bytes),
            Place::Kept => self.kept.see_head(bytes),
            Place::KeptBucket(number) => self.kept.see_bucket(*number, bytes),
            Place::KeptContent(receipt) => self.kept.see_content(*receipt, bytes),
            Place::Bucket(number) => self.people.see_bucket(*number, bytes),
            Place::Contact(jid) => self.people.see_contact(jid, bytes),
            Place::Session(at) => self.people.see_session(at, bytes, &self.account),
            Place::Skipped(_) => self.people.see_skipped(bytes),
            Place::Archive(at) => self.people.see_archive(at, bytes),
            Place::Archived(at, slot) => self.people.see_archived(at, *slot, bytes, &self.account),
            Place::Chains(_, page) => self.people.see_chains(*page, bytes),
        });
        if let Err(error) = seen {
            self.add(place, error);
        }
    }

    fn add(&mut self, place: &Place, error: Error) {
        self.is_account_found_wrong |= matches!(place, Place::Account | Place::Anchor);
        let (jid, device, namespace) = match place {
            Place::Moved
            | Place::Account
            | Place::Anchor
            | Place::Outbox
            | Place::Kept
            | Place::KeptBucket(_)
            | Place::KeptContent(_)
            | Place::Bucket(_) => (None, 0, None),
            Place::PreKeys(namespace) => (None, 0, Some(*namespace)),
            Place::Contact(jid) => (Some(jid.clone()), 0, None),
            Place::OutboxMessage(_, at)
            | Place::Session(at)
            | Place::Skipped(at)
            | Place::Archive(at)
            | Place::Archived(at, _)
            | Place::Chains(at, _) => (Some(at.jid.clone()), at.device.get(), Some(at.namespace)),
        };
        self.push(Row { jid, device, namespace, error });
    }

    fn push(&mut self, row: Row) {
        match self.rows.len().cmp(&policy::FINDINGS) {
            std::cmp::Ordering::Less => self.rows.push(row),
            std::cmp::Ordering::Equal => {
                let error = Error::new(Status::Limit, "There are more findings, which are not reported.");
                self.rows.push(Row { jid: None, device: 0, namespace: None, error });
            }
            std::cmp::Ordering::Greater => (),
        }
    }

    /// Finds records that nothing names, in a store that can tell all its keys.
    fn orphans(&mut self, mut keys: Vec<String>) {
        keys.sort_unstable();
        let hashes: BTreeMap<String, BareJid> =
            self.people.jids().map(|jid| (keys::hash(jid), jid.clone())).collect();
        for key in keys {
            if self.keys.contains(&key) {
                continue;
            }
            let mut parts = key.split('/').skip(1);
            let (kind, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let device = parts.next().and_then(|id| DeviceId::new(id.parse().ok()?)).map_or(0, DeviceId::get);
            let namespace = parts.next().and_then(|code| Namespace::from_code(code.parse().ok()?));
            let what = match kind {
                "session" | "skipped" | "archive" | "chains" if device != 0 => "a session",
                "jid" => "a JID",
                "own" => "the pre keys",
                "todo" => "a waiting message",
                "kept" => "kept content",
                _ => "an unknown kind",
            };
            let jid = hashes.get(hash).cloned();
            let error = corrupt(what, "is there although no other record names it");
            self.push(Row { jid, device, namespace, error });
        }
    }
}
