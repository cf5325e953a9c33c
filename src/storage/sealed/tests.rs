//! Unit tests of the sealed store: over a store in memory of which every bit is looked at.

use super::super::memory::MemoryStorage;
use super::*;
use crate::crypto::passphrase::Cost;
use crate::crypto::rng::SystemRng;

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

/// A store in memory whose next commits may fail, before or after they happened.
#[derive(Default)]
struct Inner {
    memory: MemoryStorage,
    fails: Mutex<Option<bool>>,
}

impl Inner {
    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let keys = self.memory.keys().unwrap().unwrap();
        let mut all: Vec<_> = keys
            .into_iter()
            .map(|key| (key.clone(), self.memory.load(&key).unwrap().unwrap().to_vec()))
            .collect();
        all.sort();
        all
    }

    fn set(&self, key: &str, value: &[u8]) {
        let mut batch = Batch::default();
        batch.put(key, value.to_vec());
        self.memory.commit(batch).unwrap();
    }

    fn remove(&self, key: &str) {
        let mut batch = Batch::default();
        batch.delete(key);
        self.memory.commit(batch).unwrap();
    }
}

impl Storage for Inner {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.memory.load(key)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        match self.fails.lock().take() {
            Some(false) => Err(Status::Storage.into()),
            Some(true) => self.memory.commit(batch).and(Err(Status::Storage.into())),
            None => self.memory.commit(batch),
        }
    }
}

fn key(byte: u8) -> Secret {
    Secret::Key(Zeroizing::new([byte; 32]))
}

fn words(text: &str) -> Secret {
    Secret::Passphrase(Zeroizing::new(text.as_bytes().to_vec()), CHEAP)
}

fn open(inner: &Arc<Inner>, secret: &Secret) -> Result<Option<SealedStorage>> {
    SealedStorage::open(inner.clone(), secret, Box::new(SystemRng))
}

fn opens(inner: &Arc<Inner>, secret: &Secret) -> bool {
    match open(inner, secret) {
        Ok(sealed) => sealed.unwrap().load("v1/account").unwrap().is_some_and(|value| *value == b"romeo"),
        Err(error) => {
            assert_eq!(error.status(), Status::StorageKey);
            false
        }
    }
}

fn status<T>(result: Result<T>) -> Status {
    result.err().map_or(Status::Ok, |error| error.status())
}

fn sealed(secret: &Secret) -> (Arc<Inner>, SealedStorage) {
    let inner = Arc::new(Inner::default());
    let sealed = SealedStorage::create(inner.clone(), secret, Box::new(SystemRng)).unwrap();
    let mut batch = Batch::default();
    batch.put("v1/account", b"romeo".to_vec());
    batch.put("v1/anchor", b"verona".to_vec());
    batch.put("v1/empty", Vec::new());
    sealed.commit(batch).unwrap();
    (inner, sealed)
}

#[test]
fn names_and_values_are_hidden_and_come_back() {
    let (inner, sealed) = sealed(&key(1));
    assert_eq!(*sealed.load("v1/account").unwrap().unwrap(), b"romeo");
    assert_eq!(*sealed.load("v1/empty").unwrap().unwrap(), b"");
    assert!(sealed.load("v1/other").unwrap().is_none());
    for (name, value) in inner.all() {
        assert!(
            name.len() <= 200 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/')),
            "{name}"
        );
        assert!(!value.windows(5).any(|window| window == b"romeo") && !name.contains("account"));
    }
    assert_eq!(inner.all().len(), 5);
    let mut batch = Batch::default();
    batch.delete("v1/account");
    sealed.commit(batch).unwrap();
    assert!(sealed.load("v1/account").unwrap().is_none() && inner.all().len() == 4);
    // The same value is another one each time.
    let before = inner.all();
    let mut batch = Batch::default();
    batch.put("v1/anchor", b"verona".to_vec());
    sealed.commit(batch).unwrap();
    assert!(inner.all() != before);
}

#[test]
fn another_key_is_refused_and_nothing_is_written() {
    for (right, wrong) in [(key(1), [key(2), words("a")]), (words("a"), [words("b"), key(1)])] {
        let (inner, _) = sealed(&right);
        let before = inner.all();
        for wrong in wrong {
            assert_eq!(status(open(&inner, &wrong)), Status::StorageKey);
        }
        assert!(inner.all() == before && opens(&inner, &right));
    }
}

#[test]
fn a_new_secret_replaces_one_record_and_the_old_one_ends() {
    let secrets = [key(1), key(2), words("a"), words("b"), key(3)];
    let (inner, sealed) = sealed(&secrets[0]);
    for pair in secrets.windows(2) {
        let before = inner.all();
        sealed.rekey(&pair[1]).unwrap();
        let changed: Vec<_> =
            std::iter::zip(before, inner.all()).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect();
        assert_eq!(changed, [SEAL]);
        assert!(opens(&inner, &pair[1]) && !opens(&inner, &pair[0]));
    }
}

#[test]
fn a_new_secret_that_failed_leaves_one_of_the_two() {
    for happened in [false, true] {
        let (inner, sealed) = sealed(&key(1));
        *inner.fails.lock() = Some(happened);
        assert_eq!(status(sealed.rekey(&words("a"))), Status::Storage);
        assert_eq!((opens(&inner, &key(1)), opens(&inner, &words("a"))), (!happened, happened));
        // The store that is open goes on with either, and the same call again settles it.
        assert_eq!(*sealed.load("v1/account").unwrap().unwrap(), b"romeo");
        sealed.rekey(&words("a")).unwrap();
        assert!(opens(&inner, &words("a")) && !opens(&inner, &key(1)));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (inner, _) = sealed(&key(1));
    let read = |inner: &Arc<Inner>| -> Result<()> {
        let sealed = open(inner, &key(1))?.unwrap();
        ["v1/account", "v1/anchor", "v1/empty"].into_iter().try_for_each(|name| sealed.load(name).map(drop))
    };
    assert_eq!(status(read(&inner)), Status::Ok);
    for (name, value) in inner.all() {
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            inner.set(&name, &flipped);
            assert_eq!(status(read(&inner)), Status::StorageCorrupt, "bit {bit} of {name}");
        }
        for len in 0..value.len() {
            inner.set(&name, &value[..len]);
            assert_eq!(status(read(&inner)), Status::StorageCorrupt, "{len} bytes of {name}");
        }
        inner.set(&name, &[value.as_slice(), &[0]].concat());
        assert_eq!(status(read(&inner)), Status::StorageCorrupt);
        inner.set(&name, &value);
    }
    assert_eq!(status(read(&inner)), Status::Ok);
}

#[test]
fn records_in_each_others_place_are_noticed() {
    let (inner, _) = sealed(&key(1));
    let all = inner.all();
    for (i, (first, a)) in all.iter().enumerate() {
        for (second, b) in &all[i + 1..] {
            inner.set(first, b);
            inner.set(second, a);
            let read = open(&inner, &key(1)).and_then(|sealed| {
                let sealed = sealed.unwrap();
                ["v1/account", "v1/anchor", "v1/empty"]
                    .into_iter()
                    .try_for_each(|name| sealed.load(name).map(drop))
            });
            assert_eq!(status(read), Status::StorageCorrupt, "{first} and {second}");
            inner.set(first, a);
            inner.set(second, b);
        }
    }
    // So are those of another store that is sealed with the same key.
    let (other, _) = sealed(&key(1));
    let seal = other.memory.load(SEAL).unwrap().unwrap();
    inner.set(SEAL, &seal);
    assert_eq!(status(open(&inner, &key(1))), Status::StorageCorrupt);
}

#[test]
fn a_missing_half_of_the_seal_is_noticed() {
    for half in [SEAL, SEAL_ID] {
        let (inner, _) = sealed(&key(1));
        inner.remove(half);
        assert_eq!(status(open(&inner, &key(1))), Status::StorageCorrupt, "{half}");
    }
}

/// What nobody can notice who keeps nothing outside of the store: docs/storage.md says so.
#[test]
fn an_older_value_of_the_same_record_is_not_noticed() {
    let (inner, sealed) = sealed(&key(1));
    let before = inner.all();
    let mut batch = Batch::default();
    batch.put("v1/account", b"rosaline".to_vec());
    sealed.commit(batch).unwrap();
    before.iter().for_each(|(name, value)| inner.set(name, value));
    assert_eq!(*sealed.load("v1/account").unwrap().unwrap(), b"romeo");
}

#[test]
fn a_passphrase_may_not_cost_without_bound() {
    let cost = |memory_kib, passes, lanes| Cost { memory_kib, passes, lanes };
    assert!(Cost::DEFAULT.is_bearable() && CHEAP.is_bearable());
    for cost in [
        cost(7, 1, 1),
        cost(300_000, 1, 1),
        cost(u32::MAX, 1, 1),
        cost(8, 0, 1),
        cost(8, 17, 1),
        cost(64, 1, 5),
    ] {
        assert!(!cost.is_bearable());
        let secret = Secret::Passphrase(Zeroizing::new(b"a".to_vec()), cost);
        let wrapped = seal::wrap(&[1; 32], &secret, &mut SystemRng);
        assert_eq!(wrapped.unwrap_err().status(), Status::StorageCorrupt);
    }
}

#[test]
fn a_value_has_to_fit_behind_the_seal() {
    let (inner, sealed) = sealed(&key(1));
    for (len, expected) in [(VALUE_BYTES - OVERHEAD, Status::Ok), (VALUE_BYTES - OVERHEAD + 1, Status::Limit)]
    {
        let mut batch = Batch::default();
        batch.put("v1/long", vec![1; len]);
        assert_eq!(status(sealed.commit(batch)), expected);
    }
    assert!(inner.all().iter().any(|(_, value)| value.len() == VALUE_BYTES));
}
