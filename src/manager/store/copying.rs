//! Moves an account from one store to another.
//!
//! Two stores have no commit in common, so the copy has three: the target gets everything at once with a mark that keeps
//! it from being opened; the source gets a mark that ends it; the target's mark is turned. Whatever fails, at most one
//! of them can be opened, and the same call made again goes on where it ended.

use super::directory::Directory;
use super::integrity;
use super::inventory::{self, Place};
use super::records::moved::{Moved, MovedRecord};
use super::records::outbox::OutboxRecord;
use super::{kept, keys, records};
use crate::crypto::rng::{Rng, draw};
use crate::error::{Error, Result, Status};
use crate::storage::{Batch, Storage};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What the target is at the beginning.
enum Target {
    Empty,
    /// It holds this copy of this account, all of it, and cannot be opened.
    Unfinished {
        copy: Vec<u8>,
        store_id: Vec<u8>,
    },
    /// The account of this copy lives there.
    Arrived {
        copy: Vec<u8>,
    },
    Other,
}

/// Moves the account of one store to another, which has to be empty or to hold what an earlier attempt has left. From the
/// end on only the other one can be opened.
///
/// [`Status::NotFound`]: there is no account. [`Status::StorageNotEmpty`]: the target is in use.
/// [`Status::StorageRollback`]: the account has been moved elsewhere.
pub fn copy(from: &dyn Storage, to: &dyn Storage, rng: &mut dyn Rng) -> Result<()> {
    integrity::refuse_sealed(from)?;
    let moved = integrity::moved(from)?;
    let Some(account) = integrity::identify(from)? else { return Err(Status::NotFound.into()) };
    let target = target(to)?;
    match (moved, target) {
        (Some((Moved::Unfinished, _)), _) => Err(Status::StorageUnfinished.into()),
        (Some((Moved::Ended, copy)), Target::Unfinished { copy: other, .. }) if copy == other => {
            arrive(to, &copy)
        }
        (Some((Moved::Ended, copy)), Target::Arrived { copy: other }) if copy == other => Ok(()),
        (Some((Moved::Ended, _)), _) => Err(Status::StorageRollback.into()),
        (_, Target::Empty) => transfer(from, to, rng),
        (_, Target::Unfinished { store_id, .. }) if store_id == account.store_id => transfer(from, to, rng),
        _ => Err(Status::StorageNotEmpty.into()),
    }
}

fn target(to: &dyn Storage) -> Result<Target> {
    integrity::refuse_sealed(to)?;
    let (Ok(moved), Ok(account)) =
        (about_record(integrity::moved(to))?, about_record(integrity::identify(to))?)
    else {
        return Ok(Target::Other);
    };
    Ok(match (moved, account) {
        (None, None) if to.keys()?.is_none_or(|keys| keys.is_empty()) => Target::Empty,
        (Some((Moved::Unfinished, copy)), Some(account)) => {
            Target::Unfinished { copy, store_id: account.store_id.clone() }
        }
        (Some((Moved::Arrived, copy)), Some(_)) => Target::Arrived { copy },
        _ => Target::Other,
    })
}

/// Tells what is wrong with a record from what is wrong with the store.
fn about_record<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if !inventory::is_about_record(&error) => Err(error),
        result => Ok(result),
    }
}

fn transfer(from: &dyn Storage, to: &dyn Storage, rng: &mut dyn Rng) -> Result<()> {
    // What cannot be opened is not worth ending.
    Directory::load(|key| from.load(key))?;
    kept::load(|key| from.load(key))?;
    let copy = draw::<16>(rng)?;
    let mut batch = Batch::default();
    // An earlier attempt may have left what the account has deleted since.
    inventory::walk(to, &mut |place, found| {
        if !matches!(found, Ok(None)) {
            batch.delete(place.key());
        }
        Ok(())
    })?;
    to.keys()?.into_iter().flatten().for_each(|key| batch.delete(key));
    gather(from, &mut batch)?;
    batch.put(keys::MOVED, records::encode(MovedRecord::new(Moved::Unfinished, &*copy)));
    let digest = |value: Option<&[u8]>| value.map(Sha256::digest);
    let wanted: Vec<_> = batch.changes().map(|(key, value)| (key.to_owned(), digest(value))).collect();
    to.commit(batch)?;
    // The source is ended for good: a target that lies must be found out before.
    for (key, value) in wanted {
        let stored = to.load(&key)?.map(|bytes| Sha256::digest(&bytes));
        let same = match (&value, &stored) {
            (Some(value), Some(stored)) => bool::from(value.as_slice().ct_eq(stored.as_slice())),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Err(Error::new(Status::Storage, "The target does not return what was stored in it."));
        }
    }
    mark(from, Moved::Ended, &*copy)?;
    arrive(to, &*copy)
}

/// Adds all records of a store to a batch.
fn gather(from: &dyn Storage, batch: &mut Batch) -> Result<()> {
    inventory::walk(from, &mut |place, found| {
        let Some(bytes) = found? else { return Ok(()) };
        // Where it cannot be read, what it names would be lost; the index was read before.
        if *place == Place::Outbox {
            records::decode::<OutboxRecord>(bytes)?.outbox()?;
        }
        batch.put(place.key(), bytes.to_vec());
        Ok(())
    })?;
    for key in from.keys()?.unwrap_or_default() {
        if batch.get(&key).is_none_or(Option::is_none)
            && let Some(bytes) = from.load(&key)?
        {
            batch.put(key, bytes);
        }
    }
    Ok(())
}

fn arrive(to: &dyn Storage, copy: &[u8]) -> Result<()> {
    mark(to, Moved::Arrived, copy)
}

fn mark(store: &dyn Storage, state: Moved, copy: &[u8]) -> Result<()> {
    let mut batch = Batch::default();
    batch.put(keys::MOVED, records::encode(MovedRecord::new(state, copy)));
    store.commit(batch)
}
