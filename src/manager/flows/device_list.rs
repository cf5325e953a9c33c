//! Device lists: fetched, pushed, and gone. Only a list from the JID's own node comes here.

use super::super::api::event::{Notice, NoticeKind};
use super::super::api::request::{Answer, Reason, Request, Stamp};
use super::super::engine::{Class, Response};
use super::super::model::list_looks::Source;
use super::super::model::own_list::Arrival;
use super::super::model::standing::Standing;
use super::super::store::transaction::Tx;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::{DeviceList, Unserveable};
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::StanzaError;
use std::collections::BTreeSet;

/// A list, with when and how it came.
pub(super) struct ListFact<'a> {
    pub(super) jid: &'a BareJid,
    pub(super) list: &'a DeviceList,
    pub(super) stamp: Stamp,
    /// How it was seen in the stream that is up; `None`: in an earlier one.
    pub(super) source: Option<Source>,
}

/// How a list came that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Delivery {
    /// It was pushed, or read by the client, just now.
    Live,
    /// It came in a stanza that was delayed: it may be older than what is known.
    Delayed,
}

/// Returns the ids of a list that can be served.
pub(super) fn ids(list: &DeviceList) -> BTreeSet<u32> {
    list.ids().map(DeviceId::get).collect()
}

/// Returns the ids of a list that cannot.
fn unserved(list: &DeviceList) -> BTreeSet<u32> {
    let id = |unserveable: Unserveable| match unserveable {
        Unserveable::Id(id) => id,
        Unserveable::OutOfRange | Unserveable::NoNumber => 0,
    };
    list.unserveable().map(id).collect()
}

/// Returns the list in an answer; a JID without a list announces nothing.
pub(super) fn list_in(namespace: Namespace, answer: &Answer) -> Result<DeviceList> {
    match answer {
        Answer::DeviceList(list) => Ok(list.clone()),
        Answer::Rejected(Reason::NotFound) => Ok(DeviceList::new(namespace)),
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        // Looking again would show the same.
        Answer::Unreadable(error) => Err(error.clone()),
        Answer::Refused(error) => Err(refused(Status::DeviceListDownloadFailed, error)),
        _ => Err(Status::DeviceListDownloadFailed.into()),
    }
}

/// Returns a failure with what the server said of it.
pub(super) fn refused(status: Status, said: &StanzaError) -> Error {
    let condition = said.condition.map_or("no condition", |condition| condition.name());
    Error::new(
        status,
        match &said.text {
            Some(text) => format!("{} The server says: {condition}, {text}", status.text()),
            None => format!("{} The server says: {condition}.", status.text()),
        },
    )
}

/// Takes over a list, unless a newer one was taken over before.
pub(super) fn apply(tx: &mut Tx<'_>, fact: &ListFact<'_>) -> Result<()> {
    let ListFact { jid, list, stamp, source } = *fact;
    let subject = (list.namespace, jid.clone());
    if tx.memory().list_stamps.is_outdated(&subject, stamp) {
        return Ok(());
    }
    let (own, standing) = (tx.is_own(jid), tx.standing(jid));
    let this = tx.device_id()?.filter(|_| own);
    let order = tx.config().namespaces.clone();
    let before = tx.contact(jid)?;
    let mut contact = (*before).clone();
    let change = contact.apply_list(list.namespace, &ids(list), &order, this)?;
    let relabelled = contact.apply_labels(list);
    if contact != *before {
        *tx.contact_mut(jid)? = contact;
    }
    let notice = |kind: NoticeKind, namespace: Namespace, device: u32| Notice {
        kind,
        namespace: Some(namespace),
        jid: Some(jid.clone()),
        device,
        status: Status::Ok,
    };
    if change.devices || relabelled {
        tx.notify(notice(NoticeKind::Devices, list.namespace, 0));
    }
    for device in &change.downgraded {
        tx.notify(notice(NoticeKind::Downgraded, Namespace::Legacy, *device));
    }
    // What an earlier stream or an archive says of this account's list is nothing to publish a list from.
    if let Some(source) = source.filter(|_| own) {
        let seen = list.clone();
        let arrival = match source {
            Source::Pushed { .. } => Arrival::Pushed,
            Source::Fetched { .. } => Arrival::Fetched,
        };
        tx.after(move |memory| {
            memory.own_list(seen.namespace).see(&seen, stamp, arrival);
        });
        tx.wake_worker();
    }
    let (now_ms, unserved) = (tx.now.aged_ms, unserved(list));
    tx.after(move |memory| {
        if let Some(source) = source {
            memory.lists.seen(standing, &subject, source, unserved, now_ms);
        }
        if change.devices {
            memory.bundles.list_changed(subject.0, &subject.1);
        }
        memory.list_stamps.remember(standing, subject, stamp);
    });
    Ok(())
}

/// Takes over the answer to a fetch. A failure is remembered, so that not every message waits for it.
pub(super) fn apply_response(
    context: &Context,
    namespace: Namespace,
    jid: &BareJid,
    response: &Response,
) -> Result<DeviceList> {
    let found = matches!(response.answer, Answer::DeviceList(_));
    let current = response.stream == context.engine.requests().stream();
    let applied = list_in(namespace, &response.answer).and_then(|list| {
        let source = current.then_some(Source::Fetched { found });
        let fact = ListFact { jid, list: &list, stamp: response.stamp, source };
        context.transact(|tx| apply(tx, &fact))?;
        Ok(list)
    });
    if let Err(error) = &applied
        && !error.is_storage()
        && current
    {
        let (error, at) = (error.clone(), (namespace, jid.clone()));
        context.transact(|tx| {
            let (standing, now_ms) = (tx.standing(jid), tx.now.aged_ms);
            tx.after(move |memory| memory.lists.failed(standing, &at, error, now_ms));
            Ok(())
        })?;
    }
    applied
}

/// Fetches a list.
pub(super) async fn fetch(
    context: &Context,
    namespace: Namespace,
    jid: &BareJid,
    class: Class,
) -> Result<DeviceList> {
    let request = Request::FetchDeviceList { namespace, jid: jid.clone() };
    context.ask(request, class).await.fact.list()
}

/// Takes over a list that nobody asked for. One that is new answers the open request for it as well. One that was
/// delayed counts as old as the stream: it gives way to all that was said of the list since the stream came up, also to
/// an answer that is noted and not taken over yet, and the list is not fresh by it.
pub(in crate::manager) fn update(
    context: &Context,
    jid: &BareJid,
    list: &DeviceList,
    delivery: Delivery,
    stamp: Stamp,
) -> Result<()> {
    if !context.config.namespaces.contains(&list.namespace) {
        if *jid == context.config.jid && delivery == Delivery::Live {
            // While this device leaves the namespace, its publication must not wipe out what others write.
            context.memory(|memory| memory.own_list(list.namespace).see(list, stamp, Arrival::Pushed))?;
        }
        return Err(Status::UnknownNamespace.into());
    }
    context.transact(|tx| {
        if tx.standing(jid) == Standing::Stranger && !tx.has_stranger_room(jid)? {
            return Err(Error::new(
                Status::Limit,
                "The store has no room for another JID that this client has never named.",
            ));
        }
        let pushed = Source::Pushed { empty: ids(list).is_empty() };
        let (stamp, source) = match delivery {
            Delivery::Live => (stamp, Some(pushed)),
            Delivery::Delayed => (tx.memory().stream_stamp, None),
        };
        apply(tx, &ListFact { jid, list, stamp, source })
    })?;
    if delivery == Delivery::Live {
        super::context::supersede_list(context, jid, list, stamp);
    }
    Ok(())
}

/// The node of a list was retracted, purged or deleted: the JID announces nothing, as far as was said. What is left, of
/// several items for example, is fetched before anybody is served, or anything published, by it.
pub(in crate::manager) fn gone(
    context: &Context,
    jid: &BareJid,
    namespace: Namespace,
    stamp: Stamp,
) -> Result<()> {
    update(context, jid, &DeviceList::new(namespace), Delivery::Live, stamp)?;
    let own = *jid == context.config.jid;
    context.memory(|memory| {
        memory.lists.outdate(&(namespace, jid.clone()));
        if own {
            memory.own_list(namespace).gone();
        }
    })?;
    if own {
        context.wake_worker();
    }
    Ok(())
}
