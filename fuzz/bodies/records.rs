//! The target `records`: one record of a genuine account is replaced by the input's bytes, or edited by them; then the
//! account is opened and used.
//!
//! Either the account works, or a call says that the store is corrupt or too new. Nothing panics, nothing goes on for
//! ever, and nothing is written that could not be loaded again.

use omemo::error::{Error, Status};
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;
use zeroize::Zeroizing;

use super::bytes::Bytes;
use super::decrypt::{Fixture, fixture};
use super::world::{Account, FaultyStorage, JULIET, ROMEO, jid};

pub fn run(input: &[u8]) {
    let fixture = fixture();
    let mut bytes = Bytes::new(input);
    let keys: Vec<&String> = fixture.records.keys().collect();
    let key = bytes.pick(&keys).unwrap().as_str();
    let value = match bytes.byte() % 4 {
        0 => bytes.rest().to_vec(),
        1 => [fixture.records[key].as_slice(), bytes.rest()].concat(),
        2 => [bytes.rest(), fixture.records[key].as_slice()].concat(),
        _ => {
            let mut value = fixture.records[key].clone();
            for _ in 0..64 {
                if bytes.is_empty() {
                    break;
                }
                bytes.edit(&mut value);
            }
            value
        }
    };
    use_with(fixture, key, value, fixture.genuine.len()).ok();
}

/// Whether a failure is one that a broken record may cause.
fn check(error: &Error) {
    assert!(!matches!(error.status(), Status::Internal | Status::Storage), "{error:?}");
}

/// Opens the account with one record replaced, uses it, also for so many messages of the fixture, and returns what opening
/// it said.
pub fn use_with(fixture: &Fixture, key: &str, value: Vec<u8>, messages: usize) -> Result<(), Status> {
    let mut records = fixture.records.clone();
    records.insert(key.to_owned(), value);
    let account = match Account::open(ROMEO, FaultyStorage::of(records), 3) {
        Ok(account) => account,
        Err(error) => {
            use Status::{Limit, StorageAccount, StorageCorrupt, StorageVersion};
            let expected = [StorageCorrupt, StorageVersion, StorageAccount, Limit];
            assert!(expected.contains(&error.status()), "{error:?}");
            return Err(error.status());
        }
    };
    let manager = &account.manager;
    let juliet = jid(JULIET);
    for of in [None, Some(&juliet)] {
        if let Err(error) = manager.devices(of) {
            check(&error);
        }
    }
    for genuine in &fixture.genuine[..messages] {
        match manager.decrypt(Some(&juliet), None, &genuine.message) {
            Ok(decrypted) => check(&decrypted.error),
            Err(error) => check(&error),
        }
    }
    for (policy, connected) in [(EncryptPolicy::Now, false), (EncryptPolicy::Wait, true)] {
        if connected
            && let Err(error) = manager.connected(next_number(), omemo::manager::api::catch_up::CatchUp::None)
        {
            check(&error);
        }
        let plaintexts = Namespace::ALL.map(|namespace| (namespace, Zeroizing::new(b"text".to_vec())));
        let recipients = vec![juliet.clone()];
        let draft = Draft { recipients, plaintexts: plaintexts.to_vec(), policy, ..Draft::default() };
        if let Err(error) = manager.encrypt(next_number(), draft) {
            check(&error);
        }
        for outcome in account.run(|_| Some(Answer::Rejected(Reason::NotFound))) {
            check(&outcome.error);
            outcome.rows.iter().for_each(|row| check(&row.error));
        }
    }
    // What failed is not tried for ever.
    for _ in 0..4 {
        account.advance(61_000);
        account.run(|_| Some(Answer::Rejected(Reason::Failed)));
    }
    Ok(())
}
