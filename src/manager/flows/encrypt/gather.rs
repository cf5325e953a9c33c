//! What an encryption needs before its commit: lists, bundles, and what people think of keys.
//!
//! Lists come first, each followed at once by the bundles of devices whose keys are not known, so that nobody waits for
//! another JID's server; then the prompt; bundles for sessions last, so that they are young when they are used.

use super::super::super::api::device::Device;
use super::super::super::api::report::Row;
use super::super::super::api::request::{Answer, Request};
use super::super::super::engine::Class;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::fact::{Fetched, FetchedBundle};
use super::super::super::policy;
use super::super::bundle;
use super::super::context::Context;
use super::super::device_list;
use super::needed::{Gathered, Since, has_lasting_session, is_fatal, needed, needed_for, needed_lists};
use super::plan::{EncryptRequest, RecipientDevice, recipient_devices};
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;

/// What was learnt of one JID.
#[derive(Default)]
struct JidGathered {
    lists: Vec<((Namespace, BareJid), Error)>,
    bundles: Vec<(SessionAddress, Fetched)>,
    looked_again: Option<BareJid>,
}

/// Forgets what could not be had in an earlier stream, or so long ago that it may be there by now.
pub(super) fn forget_old_failures(context: &Context, gathered: &mut Gathered) -> Result<()> {
    let (stream, now_ms) = (context.engine.requests().stream(), context.transact(|tx| Ok(tx.now.aged_ms))?);
    let is_old = gathered.since.is_some_and(|since| {
        since.stream != stream || now_ms.saturating_sub(since.at_ms) > policy::BUNDLE_STALE_MS
    });
    if is_old {
        gathered.since = None;
        gathered.lists.clear();
        gathered.bundles.retain(|_, bundle| bundle.is_ok());
        gathered.looked_again.clear();
    }
    Ok(())
}

/// Gathers what is missing, once.
pub(super) async fn gather(
    context: &Context,
    request: &EncryptRequest,
    gathered: &mut Gathered,
) -> Result<()> {
    let jids = request.recipients_with_self();
    let (stream, at_ms) = (context.engine.requests().stream(), context.transact(|tx| Ok(tx.now.aged_ms))?);
    gathered.since.get_or_insert(Since { stream, at_ms });
    let known = &*gathered;
    let of_jids = join_all(jids.iter().map(|jid| gather_jid(context, request, jid, known))).await;
    for of_jid in of_jids {
        let JidGathered { lists, bundles, looked_again } = of_jid?;
        gathered.lists.extend(lists);
        gathered.looked_again.extend(looked_again);
        bundles.into_iter().for_each(|(at, fetched)| gathered.add_bundle(at, fetched));
    }
    let undecided = context.transact(|tx| needed(tx, request, gathered))?.undecided;
    prompt(context, request, gathered, undecided).await?;
    let sessions = context.transact(|tx| needed(tx, request, gathered))?.sessions;
    fetch_for_sessions(context, gathered, sessions).await
}

impl Gathered {
    fn add_bundle(&mut self, at: SessionAddress, fetched: Fetched) {
        match fetched {
            Fetched::Usable(fetched) => self.bundles.insert(at, Ok(fetched)),
            Fetched::Failed(error) => self.bundles.insert(at, Err(error)),
            // It is looked at again in the next round.
            Fetched::Outdated => None,
        };
    }
}

/// Fetches the lists of a JID, then the bundles of devices whose keys are not known.
async fn gather_jid(
    context: &Context,
    request: &EncryptRequest,
    jid: &BareJid,
    gathered: &Gathered,
) -> Result<JidGathered> {
    let lists = context.transact(|tx| match needed_lists(tx, request, jid, gathered) {
        Err(error) if error.status() == Status::StorageCorrupt => Ok(Vec::new()),
        lists => lists,
    })?;
    let mut found =
        JidGathered { looked_again: (!lists.is_empty()).then(|| jid.clone()), ..JidGathered::default() };
    let fetches =
        lists.iter().map(|(namespace, jid)| device_list::fetch(context, *namespace, jid, Class::Foreground));
    for (at, list) in lists.iter().zip(join_all(fetches).await) {
        match list {
            Err(error) if is_fatal(error.status()) => return Err(error),
            Err(error) => found.lists.push((at.clone(), error)),
            Ok(_) => (),
        }
    }
    let keys = context.transact(|tx| Ok(needed_for(tx, request, jid, gathered)?.keys))?;
    found.bundles = fetch_bundles(context, keys).await?;
    Ok(found)
}

async fn fetch_bundles(
    context: &Context,
    addresses: Vec<SessionAddress>,
) -> Result<Vec<(SessionAddress, Fetched)>> {
    let fetches = addresses.iter().map(|at| bundle::fetch(context, at, Class::Foreground));
    let fetched = join_all(fetches).await;
    addresses.into_iter().zip(fetched).map(|(at, fetched)| Ok((at, fetched?))).collect()
}

async fn fetch_for_sessions(
    context: &Context,
    gathered: &mut Gathered,
    wanted: Vec<SessionAddress>,
) -> Result<()> {
    let fetched = fetch_bundles(context, wanted.clone()).await?;
    context.transact(|tx| {
        for at in wanted {
            let (standing, now_ms) = (tx.standing(&at.jid), tx.now.aged_ms);
            tx.after(move |memory| memory.bundles.note_unanswered_look(standing, &at, now_ms));
        }
        Ok(())
    })?;
    fetched.into_iter().for_each(|(at, fetched)| gathered.add_bundle(at, fetched));
    Ok(())
}

/// Asks the user about keys that nobody has judged.
async fn prompt(
    context: &Context,
    request: &EncryptRequest,
    gathered: &mut Gathered,
    undecided: Vec<(Namespace, Device)>,
) -> Result<()> {
    if undecided.is_empty() {
        return Ok(());
    }
    let devices: Vec<Device> = undecided.iter().map(|(_, device)| device.clone()).collect();
    let keys = devices.iter().filter_map(|device| Some((device.jid.clone(), device.identity_key?)));
    gathered.asked.extend(keys);
    let request = Request::DecideTrust { devices, context: request.draft.context.clone() };
    let settled = context.ask(request, Class::Foreground).await;
    match &settled.response.answer {
        Answer::Levels(_) => settled.fact.stored(),
        _ => {
            let row = |(namespace, device): (Namespace, Device)| Row {
                jid: Some(device.jid),
                device: device.id,
                namespace: Some(namespace),
                error: Status::Undecided.into(),
            };
            gathered.prompted = undecided.into_iter().map(row).collect();
            Err(Status::TrustDecisionFailed.into())
        }
    }
}

/// Fetches bundles again that are too old to begin a session on, or of another stream. That may fail: then the device is
/// a row.
pub(super) async fn renew_bundles(
    context: &Context,
    request: &EncryptRequest,
    gathered: &mut Gathered,
) -> Result<()> {
    if gathered.bundles.is_empty() {
        return Ok(());
    }
    let stale = context.transact(|tx| {
        let mut stale = Vec::new();
        for jid in request.recipients_with_self() {
            for RecipientDevice { at, .. } in recipient_devices(tx, &jid, &request.namespaces).unwrap_or_default() {
                let old = matches!(gathered.bundles.get(&at), Some(Ok(fetched)) if is_stale(context, fetched, tx.now.aged_ms));
                if old && !has_lasting_session(tx, &at)? {
                    stale.push(at);
                }
            }
        }
        Ok(stale)
    })?;
    if stale.is_empty() || !context.is_online() {
        return Ok(());
    }
    fetch_bundles(context, stale)
        .await?
        .into_iter()
        .for_each(|(at, fetched)| gathered.add_bundle(at, fetched));
    Ok(())
}

/// Whether a bundle may be used up or replaced by now.
pub(super) fn is_stale(context: &Context, fetched: &FetchedBundle, now_ms: u64) -> bool {
    #[cfg(omemo_planted)]
    if crate::planted::is_planted("old-bundle-used") {
        return false;
    }
    fetched.stream != context.engine.requests().stream()
        || now_ms.saturating_sub(fetched.at_ms) > policy::BUNDLE_STALE_MS
}
