//! What an SQLite store has in its file: one table, a number that says whose the file is, and the version of the layout,
//! which steps lead up to and nothing leads down from.

use super::sqlite_error::failure;
use crate::error::{Error, Result, Status};
use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA application_id`: "OMEM".
pub(super) const APPLICATION_ID: u32 = 0x4f4d_454d;

/// What leads from each version of the layout to the next; the first makes an empty file a store. Steps are only added.
const STEPS: &[&str] = &[RECORDS];

const RECORDS: &str =
    "CREATE TABLE record (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID";

/// All that a file of the newest version contains. More, such as a trigger, is not of this library.
const CONTENT: &[(&str, &str, &str)] = &[("table", "record", RECORDS)];

/// The version of an open file; 0 for an empty one. Refuses one of a newer library.
pub(super) fn version(connection: &Connection) -> Result<usize> {
    let number: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(failure)?;
    let newest = STEPS.len();
    match usize::try_from(number) {
        Ok(version) if version <= newest => Ok(version),
        Ok(version) => Err(Error::new(
            Status::StorageVersion,
            format!(
                "The file has version {version} of the layout, and this library knows versions up to {newest}: a newer one wrote it."
            ),
        )),
        Err(_) => Err(Error::new(Status::StorageCorrupt, "The version of the file's layout is negative.")),
    }
}

/// Takes the steps that are missing, each in a transaction of its own, and looks whether the content is what it must be.
pub(super) fn migrate(connection: &mut Connection, version: usize) -> Result<()> {
    for (before, step) in STEPS.iter().enumerate().skip(version) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(failure)?;
        transaction.execute_batch(step).map_err(failure)?;
        let after = before.saturating_add(1).to_string();
        transaction.pragma_update(None, "user_version", after.as_str()).map_err(failure)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failure)?;
        transaction.commit().map_err(failure)?;
    }
    check(connection)
}

fn check(connection: &Connection) -> Result<()> {
    let mut statement =
        connection.prepare("SELECT type, name, sql FROM sqlite_master ORDER BY rowid").map_err(failure)?;
    let mut rows = statement.query(()).map_err(failure)?;
    let mut expected = CONTENT.iter();
    while let Some(row) = rows.next().map_err(failure)? {
        let found: (String, String, String) = row.try_into().map_err(failure)?;
        let known = expected
            .next()
            .is_some_and(|(kind, name, sql)| found == (kind.to_string(), name.to_string(), sql.to_string()));
        if !known {
            return Err(Error::new(
                Status::StorageCorrupt,
                "The file has tables or indexes that are not of this library.",
            ));
        }
    }
    if expected.next().is_some() {
        return Err(Error::new(Status::StorageCorrupt, "A table of the store is missing in the file."));
    }
    Ok(())
}
