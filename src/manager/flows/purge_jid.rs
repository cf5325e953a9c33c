//! What a client does about the JIDs that are stored: it lists them, and has one forgotten.

use super::super::api::keep::Keep;
use super::super::model::standing::Standing;
use super::super::store::removal;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use std::collections::HashSet;

/// Returns all JIDs of which anything is stored, those that the client has named first, each by name.
pub(in crate::manager) fn jids(context: &Context) -> Result<Vec<BareJid>> {
    context.transact(|tx| {
        let known: HashSet<BareJid> = tx.known_jids()?.into_iter().collect();
        let mut jids = tx.all_jids()?;
        jids.sort_by_cached_key(|jid| (!known.contains(jid), jid.as_str().to_owned()));
        Ok(jids)
    })
}

/// Forgets a JID: its lists, devices, keys and sessions, and what waits to be sent to it.
pub(in crate::manager) fn purge_jid(context: &Context, jid: &BareJid, keep: Keep) -> Result<()> {
    if *jid == context.config.jid {
        return Err(Error::new(Status::Argument, "This is the JID of the account itself."));
    }
    context.transact(|tx| {
        let trust = match tx.contact(jid) {
            // It goes as a whole.
            Err(error) if error.status() == Status::StorageCorrupt => Default::default(),
            contact => contact?.trust.clone(),
        };
        removal::purge_jid(tx, jid)?;
        if keep == Keep::Trust && trust.iter().next().is_some() {
            let contact = tx.contact_mut(jid)?;
            (contact.standing, contact.trust) = (Standing::Known, trust);
        }
        let forgotten = jid.clone();
        tx.after(move |memory| memory.forget(&forgotten));
        Ok(())
    })
}
