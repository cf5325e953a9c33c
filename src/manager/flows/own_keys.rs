//! This device's keys: made for a namespace that is served for the first time, topped up, and the id they are published
//! under.

use super::super::api::services::LogLevel;
use super::super::model::pre_keys::{OneTimeKey, PreKeyStore, SignedKey};
use super::super::model::rollback::HighestIds;
use super::super::model::rotation::{self, KeyTime};
use super::super::policy;
use super::super::store::records::account::{AccountRecord, HighestRecord};
use super::super::store::transaction::Tx;
use super::session_expiry;
use crate::crypto::keys::KeyPair;
use crate::crypto::rng::draw;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::bundle::Bundle;
use crate::protocol::namespace::Namespace;
use crate::protocol::pre_key::SignedPreKey;
use std::collections::BTreeSet;

fn highest(account: &mut AccountRecord, namespace: Namespace) -> Result<&mut HighestRecord> {
    let code = namespace.code();
    if !account.highest.iter().any(|highest| highest.namespace == code) {
        account.highest.push(HighestRecord { namespace: code, ..HighestRecord::default() });
    }
    account.highest.iter_mut().find(|highest| highest.namespace == code).ok_or(Error::from(Status::Internal))
}

/// Returns the highest ids that were ever handed out in a namespace.
pub(super) fn highest_ids(tx: &Tx<'_>, namespace: Namespace) -> Result<HighestIds> {
    let highest = tx.account()?.highest.iter().find(|highest| highest.namespace == namespace.code());
    let HighestRecord { signed_pre_key, pre_key, .. } = highest.copied().unwrap_or_default();
    Ok(HighestIds { signed_pre_key, pre_key })
}

/// Has the next ids be higher than these, which another copy of the store has handed out. Nobody signs ids: one that is far
/// away is not followed, or whoever writes it would use up all of them.
pub(super) fn raise_ids(tx: &mut Tx<'_>, namespace: Namespace, seen: HighestIds) -> Result<()> {
    let highest = highest(tx.account_mut()?, namespace)?;
    let raised = |known: u32, seen: u32| {
        if seen <= known.saturating_add(policy::FOLLOWED_IDS) { known.max(seen) } else { known }
    };
    highest.signed_pre_key = raised(highest.signed_pre_key, seen.signed_pre_key);
    highest.pre_key = raised(highest.pre_key, seen.pre_key);
    Ok(())
}

fn next_id(last: &mut u32) -> Result<u32> {
    let next = last.checked_add(1).filter(|next| *next <= DeviceId::MAX);
    *last = next.ok_or(Error::new(Status::Limit, "All ids of pre keys are used up."))?;
    Ok(*last)
}

/// Fills the pre keys up again. Ids are drawn with the key and never come back.
pub(super) fn top_up(tx: &mut Tx<'_>, namespace: Namespace) -> Result<()> {
    let missing = tx.pre_keys(namespace)?.missing(tx.config().pre_key_threshold);
    if missing == 0 {
        return Ok(());
    }
    let mut fresh = Vec::with_capacity(missing);
    for _ in 0..missing {
        let pair = Box::new(KeyPair::generate(tx.rng())?);
        let id = next_id(&mut highest(tx.account_mut()?, namespace)?.pre_key)?;
        #[cfg(omemo_planted)]
        let id = match u32::try_from(fresh.len()) {
            Ok(before) if crate::planted::is_planted("pre-key-id-again") => before.saturating_add(1),
            _ => id,
        };
        fresh.push(OneTimeKey { id, pair, used_ms: None });
    }
    let store = tx.pre_keys_mut(namespace)?;
    store.pre_keys.extend(fresh);
    store.bundle_pending = true;
    Ok(())
}

/// Replaces one pre key in each namespace by one with a new id: an older copy of this store will not know it.
pub(super) fn mark_start(tx: &mut Tx<'_>) -> Result<()> {
    let accumulated_ms = tx.accumulated_ms()?;
    for namespace in tx.config().namespaces.clone() {
        tx.pre_keys_mut(namespace)?.retire_oldest(accumulated_ms);
        let pair = Box::new(KeyPair::generate(tx.rng())?);
        let id = next_id(&mut highest(tx.account_mut()?, namespace)?.pre_key)?;
        let store = tx.pre_keys_mut(namespace)?;
        store.pre_keys.push(OneTimeKey { id, pair, used_ms: None });
        store.bundle_pending = true;
        tx.after(move |memory| memory.catch_up.release_bundle(namespace));
    }
    tx.wake_worker();
    Ok(())
}

/// Returns the accumulated time by which used pre keys are kept or not; 0, so that all are kept, when the clock was just set.
/// In a catch-up they are kept for as much longer as it may last, since what waited on the server may have been encrypted with
/// any of them.
pub(super) fn used_keys_ms(tx: &Tx<'_>) -> Result<u64> {
    let set = rotation::is_clock_set(tx.account()?.accumulated_at_ms, tx.now.wall_ms);
    let catching_up = tx.memory().catch_up.is_going_on(tx.now.aged_ms);
    let longer_ms = if catching_up { policy::CATCH_UP_MS } else { 0 };
    if set { Ok(0) } else { Ok(tx.accumulated_ms()?.saturating_sub(longer_ms)) }
}

/// Deletes used pre keys that were kept for long enough.
pub(super) fn discard_old(tx: &mut Tx<'_>) -> Result<()> {
    let now_ms = used_keys_ms(tx)?;
    for namespace in tx.config().namespaces.clone() {
        if tx.pre_keys(namespace)?.has_old(now_ms) {
            tx.pre_keys_mut(namespace)?.drop_old(now_ms);
        }
    }
    Ok(())
}

/// Returns both times, and stores how much has accumulated where that is worth a commit.
pub(super) fn key_time(tx: &mut Tx<'_>) -> Result<KeyTime> {
    let (wall_ms, accumulated_ms, account) = (tx.now.wall_ms, tx.accumulated_ms()?, tx.account()?);
    let (before_ms, at_ms) = (account.accumulated_ms, account.accumulated_at_ms);
    let step_ms = accumulated_ms.saturating_sub(before_ms);
    if at_ms == 0 || wall_ms < at_ms || step_ms >= policy::ACCUMULATED_STORED_MS {
        let account = tx.account_mut()?;
        // 0 says that nothing was read yet, and the beginning of 1970 is a time like any other.
        let read_ms = if wall_ms == 0 { -1 } else { wall_ms };
        (account.accumulated_ms, account.accumulated_at_ms) = (accumulated_ms, read_ms);
        let served = tx.config().namespaces.clone();
        for namespace in served.into_iter().filter(|_| at_ms != 0 && rotation::is_clock_set(at_ms, wall_ms)) {
            if tx.pre_keys(namespace).is_ok_and(PreKeyStore::has_used) {
                tx.pre_keys_mut(namespace)?.keep_another_day(accumulated_ms);
            }
        }
        if step_ms >= policy::ACCUMULATED_STORED_MS {
            session_expiry::begin(tx);
        }
    }
    Ok(KeyTime { wall_ms, accumulated_ms })
}

/// Makes a signed pre key with the next id.
pub(super) fn make_signed_pre_key(tx: &mut Tx<'_>, namespace: Namespace, now: KeyTime) -> Result<SignedKey> {
    let id = next_id(&mut highest(tx.account_mut()?, namespace)?.signed_pre_key)?;
    let (identity, rng) = tx.identity_and_rng()?;
    let SignedPreKey { id, pair, signature } = SignedPreKey::generate(namespace, identity, id, rng)?;
    let (made_ms, made_accumulated_ms) = (now.wall_ms, now.accumulated_ms);
    Ok(SignedKey { id, pair: Box::new(pair), signature, made_ms, made_accumulated_ms })
}

/// Makes the keys of namespaces that are served for the first time, and tops up those of the others.
pub(in crate::manager) fn make_namespaces(tx: &mut Tx<'_>) -> Result<()> {
    for namespace in tx.config().namespaces.clone() {
        if !tx.account()?.namespaces.contains(&namespace.code()) {
            let now = key_time(tx)?;
            let signed = make_signed_pre_key(tx, namespace, now)?;
            tx.put_pre_keys(namespace, Some(PreKeyStore::new(signed)));
            tx.account_mut()?.namespaces.push(namespace.code());
            tx.log(LogLevel::Info, "account: created the keys of a namespace");
        }
        top_up(tx, namespace)?;
    }
    Ok(())
}

/// Returns this device's bundle as it is to be published.
pub(super) fn own_bundle(tx: &Tx<'_>, namespace: Namespace) -> Result<Bundle> {
    tx.pre_keys(namespace)?.bundle(namespace, *tx.identity()?.public().ed())
}

/// Draws an id that is not taken; everything has to be published under it.
pub(super) fn choose_device_id(tx: &mut Tx<'_>, taken: &BTreeSet<u32>) -> Result<DeviceId> {
    loop {
        let id = u32::from_le_bytes(*draw::<4>(tx.rng())?) & DeviceId::MAX;
        let Some(device) = DeviceId::new(id).filter(|_| !taken.contains(&id)) else { continue };
        tx.account_mut()?.device_id = id;
        let namespaces = tx.config().namespaces.clone();
        for namespace in &namespaces {
            tx.pre_keys_mut(*namespace)?.bundle_pending = true;
        }
        // Nobody has anything under a fresh id.
        tx.after(move |memory| {
            for namespace in namespaces {
                memory.verified_in.insert(namespace);
                memory.catch_up.release_bundle(namespace);
            }
        });
        tx.log(LogLevel::Info, "account: chose a device id");
        tx.wake_worker();
        return Ok(device);
    }
}
