//! An account moves from one store to another: all of it arrives, the old store has ended, and whatever fails at whichever
//! call, there are never two stores that open.

use super::world::*;
use crate::support::world::storage::Records;
use omemo::crypto::passphrase::Cost;
use omemo::crypto::rng::SystemRng;
use omemo::error::{Result, Status};
use omemo::manager;
use omemo::protocol::namespace::Namespace;
use omemo::storage::Storage;
use omemo::storage::memory::MemoryStorage;
use omemo::storage::sealed::{SealedStorage, Secret};
use std::sync::Arc;
use zeroize::Zeroizing;

in_both_namespaces! {
    the_conversation_goes_on_in_the_other_store,
    every_kind_of_store_gives_and_takes_an_account,
    whatever_fails_one_store_opens_and_the_next_try_ends_it,
    an_attempt_that_failed_leaves_nothing_of_what_was_deleted_since,
    stores_that_do_not_fit_are_refused_unchanged,
    a_target_that_lies_does_not_end_the_account,
}

const MOVED: &str = "v1/moved";

fn copy(from: &dyn Storage, to: &dyn Storage) -> Status {
    manager::copy(from, to, &mut SystemRng).err().map_or(Status::Ok, |error| error.status())
}

/// The status of opening a store, which is not changed by it.
fn opening(romeo: &RustDevice, storage: &FaultyStorage) -> Status {
    let device = RustDevice::closed(romeo.config.clone(), storage.copy());
    device.storage.damage();
    device.open().err().map_or(Status::Ok, |error| error.status())
}

/// All records but what copies leave.
fn content(storage: &FaultyStorage) -> Records {
    let mut records = storage.all();
    records.remove(MOVED);
    records
}

/// Romeo, whose process has ended, with sessions, skipped keys, predecessors, a waiting message and a stranger.
pub fn rich(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends(ns);
    for _ in 0..3 {
        juliet.say(&romeo.jid, "late", &mut server);
    }
    let fourth = juliet.say(&romeo.jid, "fourth", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &fourth)), "fourth");
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    for word in ["peace", "I hate the word"] {
        let (_, greeting) = tybalt.greet(&romeo, &server, word);
        assert_eq!(text(&romeo.read(&tybalt.jid, &greeting)), word);
    }
    // The answer is encrypted, and nobody says that it was sent.
    romeo.step();
    romeo.manager.replace(None);
    let records = romeo.storage.all();
    for kind in ["own", "jid", "index", "session", "skipped", "archive", "todo/"] {
        assert!(
            records.keys().any(|key| key.starts_with(&format!("v1/{kind}"))),
            "no {kind} in {:?}",
            records.keys()
        );
    }
    (server, romeo, juliet)
}

fn the_conversation_goes_on_in_the_other_store(ns: Namespace) {
    let (mut server, romeo, juliet) = rich(ns);
    let to = Arc::<FaultyStorage>::default();
    assert_eq!(copy(&*romeo.storage, &*to), Status::Ok);
    assert!(content(&romeo.storage) == content(&to), "the copy is not the same");
    assert_eq!(
        (opening(&romeo, &romeo.storage), opening(&romeo, &to)),
        (Status::StorageRollback, Status::Ok)
    );
    // The same call again has nothing to do, also when the account has lived on.
    assert_eq!(copy(&*romeo.storage, &*to), Status::Ok);
    let moved = RustDevice::closed(romeo.config.clone(), to.clone());
    moved.open().unwrap();
    assert_eq!(moved.connect(&mut server).status(), Status::Ok);
    both_ways(&moved, &juliet, &mut server);
    moved.manager.replace(None);
    assert_eq!(copy(&*romeo.storage, &*to), Status::Ok);
    assert_eq!(opening(&romeo, &to), Status::Ok);
    // It may move on, and never back.
    let third = Arc::<FaultyStorage>::default();
    assert_eq!(copy(&*to, &*third), Status::Ok);
    assert_eq!(copy(&*third, &*to), Status::StorageNotEmpty);
    assert_eq!((opening(&romeo, &to), opening(&romeo, &third)), (Status::StorageRollback, Status::Ok));
    let again = RustDevice::closed(romeo.config.clone(), third);
    again.open().unwrap();
    assert_eq!(again.connect(&mut server).status(), Status::Ok);
    both_ways(&again, &juliet, &mut server);
    romeo.storage.damage();
    moved.storage.damage();
}

fn sealed(inner: Arc<dyn Storage>, byte: u8) -> Result<SealedStorage> {
    let secret = match byte {
        0 => Secret::Passphrase(Zeroizing::new(b"a".to_vec()), Cost { memory_kib: 8, passes: 1, lanes: 1 }),
        byte => Secret::Key(Zeroizing::new([byte; 32])),
    };
    manager::open_sealed(inner, &secret, || Box::new(SystemRng))
}

fn every_kind_of_store_gives_and_takes_an_account(ns: Namespace) {
    let (_, romeo, _) = rich(ns);
    let expected = content(&romeo.storage);
    romeo.storage.damage();
    let (memory, last) = (MemoryStorage::new(), Arc::<FaultyStorage>::default());
    let (by_key, by_words) = (Arc::<FaultyStorage>::default(), Arc::<FaultyStorage>::default());
    assert_eq!(copy(&*romeo.storage, &memory), Status::Ok);
    assert_eq!(copy(&memory, &sealed(by_key.clone(), 1).unwrap()), Status::Ok);
    assert_eq!(copy(&sealed(by_key.clone(), 1).unwrap(), &sealed(by_words.clone(), 0).unwrap()), Status::Ok);
    // What is sealed does not open as a plain store, does not look empty, and cannot be copied, checked or sealed as one.
    for storage in [&by_key, &by_words] {
        assert_eq!(opening(&romeo, storage), Status::StorageKey);
        assert_eq!(copy(&**storage, &MemoryStorage::new()), Status::StorageKey);
        assert_eq!(copy(&MemoryStorage::new(), &**storage), Status::NotFound);
        assert_eq!(copy(&*romeo.storage, &**storage), Status::StorageKey);
        assert_eq!(manager::check(&**storage).unwrap_err().status(), Status::StorageKey);
        assert_eq!(sealed(storage.clone(), 2).err().unwrap().status(), Status::StorageKey);
    }
    let ended = manager::check(&sealed(by_key, 1).unwrap()).unwrap().rows;
    assert_eq!(ended.iter().map(|row| row.error.status()).collect::<Vec<_>>(), [Status::StorageRollback]);
    assert!(manager::check(&sealed(by_words.clone(), 0).unwrap()).unwrap().rows.is_empty());
    // What is in use is not sealed.
    assert_eq!(sealed(romeo.storage.clone(), 1).err().unwrap().status(), Status::StorageNotEmpty);
    assert_eq!(copy(&sealed(by_words, 0).unwrap(), &*last), Status::Ok);
    assert!(content(&last) == expected, "what came out is not what went in");
    assert_eq!(opening(&romeo, &last), Status::Ok);
    assert!(last.findings().is_empty());
}

/// Which of the two stores fails, at which call, and how.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Load(bool, usize),
    Commit(bool, usize, Fault),
}

impl Failure {
    fn plan(self, from: &FaultyStorage, to: &FaultyStorage) {
        match self {
            Failure::Load(source, n) => if source { from } else { to }.fail_load(n),
            Failure::Commit(source, n, fault) => if source { from } else { to }.fail(n, fault),
        }
    }
}

fn whatever_fails_one_store_opens_and_the_next_try_ends_it(ns: Namespace) {
    let (_, romeo, _) = rich(ns);
    let expected = content(&romeo.storage);
    let (from, to) = (romeo.storage.copy(), Arc::<FaultyStorage>::default());
    assert_eq!(copy(&*from, &*to), Status::Ok);
    let loads = [(true, from.loads()), (false, to.loads())];
    assert_eq!((from.commits(), to.commits()), (1, 2));
    let mut failures = Vec::new();
    for (source, count) in loads {
        // The loads of the index are all alike.
        failures.extend((1..=count).step_by(5).map(|n| Failure::Load(source, n)));
    }
    for fault in [Fault::Nothing, Fault::Everything] {
        failures
            .extend([(true, 1), (false, 1), (false, 2)].map(|(source, n)| Failure::Commit(source, n, fault)));
    }
    for failure in failures {
        let (from, to) = (romeo.storage.copy(), Arc::<FaultyStorage>::default());
        failure.plan(&from, &to);
        assert_eq!(copy(&*from, &*to), Status::Storage, "{failure:?}");
        let opened = (opening(&romeo, &from), opening(&romeo, &to));
        let expected_to_open = match failure {
            Failure::Commit(false, 2, Fault::Everything) => (Status::StorageRollback, Status::Ok),
            Failure::Commit(true, 1, Fault::Everything) | Failure::Commit(false, 2, _) => {
                (Status::StorageRollback, Status::StorageUnfinished)
            }
            // An empty store opens as a new account, as it always did.
            _ if to.all().is_empty() => (Status::Ok, Status::Ok),
            _ => (Status::Ok, Status::StorageUnfinished),
        };
        assert_eq!(opened, expected_to_open, "{failure:?}");
        assert!(to.all().is_empty() || content(&to) == expected, "{failure:?}: half of it was copied");
        from.heal();
        to.heal();
        assert_eq!(copy(&*from, &*to), Status::Ok, "{failure:?}");
        assert_eq!((opening(&romeo, &from), opening(&romeo, &to)), (Status::StorageRollback, Status::Ok));
        assert!(content(&to) == expected && content(&from) == expected, "{failure:?}");
    }
}

fn an_attempt_that_failed_leaves_nothing_of_what_was_deleted_since(ns: Namespace) {
    let (_, romeo, _) = rich(ns);
    let to = Arc::<FaultyStorage>::default();
    romeo.storage.fail(1, Fault::Nothing);
    assert_eq!(copy(&*romeo.storage, &*to), Status::Storage);
    assert_eq!(opening(&romeo, &to), Status::StorageUnfinished);
    // The account lives on where it was, and forgets somebody.
    romeo.open().unwrap();
    romeo.manager().purge_jid(&jid(TYBALT), omemo::manager::api::keep::Keep::Nothing).unwrap();
    romeo.manager.replace(None);
    let expected = content(&romeo.storage);
    assert!(expected.len() < content(&to).len());
    assert_eq!(copy(&*romeo.storage, &*to), Status::Ok);
    assert!(content(&to) == expected, "what was deleted is there again");
    assert_eq!(opening(&romeo, &to), Status::Ok);
    assert!(to.findings().is_empty());
    romeo.storage.damage();
}

fn stores_that_do_not_fit_are_refused_unchanged(ns: Namespace) {
    let (_, romeo, juliet) = rich(ns);
    juliet.manager.replace(None);
    let none = Arc::<FaultyStorage>::default();
    assert_eq!(copy(&*none, &*Arc::<FaultyStorage>::default()), Status::NotFound);
    let refused = |from: &FaultyStorage, to: &FaultyStorage, expected: Status| {
        let before = (from.all(), to.all());
        assert_eq!(copy(from, to), expected);
        assert!((from.all(), to.all()) == before, "a store that was refused was changed");
    };
    refused(&romeo.storage, &juliet.storage, Status::StorageNotEmpty);
    // A clone that somebody made of the file is no target either, nor are leftovers.
    refused(&romeo.storage, &romeo.storage.copy(), Status::StorageNotEmpty);
    for key in ["v1/index/00", "v1/anchor", "v1/moved", "v1/sealed/id"] {
        let leftover = FaultyStorage::of([(key.to_owned(), vec![1])].into());
        refused(&romeo.storage, &leftover, Status::StorageNotEmpty);
    }
    let listed = MemoryStorage::new();
    let mut batch = omemo::storage::Batch::default();
    batch.put("something/else", vec![1]);
    listed.commit(batch).unwrap();
    assert_eq!(copy(&*romeo.storage, &listed), Status::StorageNotEmpty);
    // One that holds another account's attempt.
    let (from, to) = (juliet.storage.copy(), Arc::<FaultyStorage>::default());
    from.fail(1, Fault::Nothing);
    assert_eq!(copy(&*from, &*to), Status::Storage);
    refused(&romeo.storage, &to, Status::StorageNotEmpty);
    refused(&to, &none, Status::StorageUnfinished);
    // What cannot be read is not left behind.
    for key in ["v1/account", "v1/anchor", "v1/todo"] {
        let damaged = romeo.storage.copy();
        damaged.records.lock().unwrap().insert(key.to_owned(), vec![0xff, 1]);
        refused(&damaged, &none, Status::StorageCorrupt);
    }
    let bucket = romeo.storage.all().into_keys().find(|key| key.starts_with("v1/index/")).unwrap();
    let damaged = romeo.storage.copy();
    damaged.records.lock().unwrap().insert(bucket, vec![0xff, 1]);
    refused(&damaged, &none, Status::StorageCorrupt);
    // One that has moved does not move a second time.
    let from = romeo.storage.copy();
    assert_eq!(copy(&*from, &*Arc::<FaultyStorage>::default()), Status::Ok);
    refused(&from, &none, Status::StorageRollback);
}

/// A store that says that it has stored everything, and has not.
struct Forgetful(Arc<FaultyStorage>);

impl Storage for Forgetful {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if key.starts_with("v1/session/") { Ok(None) } else { self.0.load(key) }
    }

    fn commit(&self, batch: omemo::storage::Batch) -> Result<()> {
        self.0.commit(batch)
    }
}

fn a_target_that_lies_does_not_end_the_account(ns: Namespace) {
    let (_, romeo, _) = rich(ns);
    let to = Arc::<FaultyStorage>::default();
    assert_eq!(copy(&*romeo.storage, &Forgetful(to.clone())), Status::Storage);
    assert_eq!(
        (opening(&romeo, &romeo.storage), opening(&romeo, &to)),
        (Status::Ok, Status::StorageUnfinished)
    );
}
