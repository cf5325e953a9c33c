//! What SQLite says when it fails: its own words, and its result code by name. Neither holds a value or a key.

use crate::error::{Error, Status};
use rusqlite::ffi;

macro_rules! code_names {
    ($($name:ident)*) => {
        /// The name of a result code; for extended codes that are not listed, the name of the code that they extend.
        fn code_name(code: i32) -> &'static str {
            match code {
                $(ffi::$name => stringify!($name),)*
                _ if code > PRIMARY => code_name(code & PRIMARY),
                _ => "SQLITE_ERROR",
            }
        }
    };
}

/// The bits of a result code that are left when what extends it is taken away.
const PRIMARY: i32 = 0xff;

code_names! {
    SQLITE_INTERNAL SQLITE_PERM SQLITE_ABORT SQLITE_BUSY SQLITE_LOCKED SQLITE_NOMEM SQLITE_READONLY SQLITE_INTERRUPT
    SQLITE_IOERR SQLITE_CORRUPT SQLITE_NOTFOUND SQLITE_FULL SQLITE_CANTOPEN SQLITE_PROTOCOL SQLITE_EMPTY SQLITE_SCHEMA
    SQLITE_TOOBIG SQLITE_CONSTRAINT SQLITE_MISMATCH SQLITE_MISUSE SQLITE_NOLFS SQLITE_AUTH SQLITE_FORMAT SQLITE_RANGE
    SQLITE_NOTADB
    SQLITE_IOERR_READ SQLITE_IOERR_SHORT_READ SQLITE_IOERR_WRITE SQLITE_IOERR_FSYNC SQLITE_IOERR_DIR_FSYNC
    SQLITE_IOERR_TRUNCATE SQLITE_IOERR_FSTAT SQLITE_IOERR_UNLOCK SQLITE_IOERR_RDLOCK SQLITE_IOERR_DELETE
    SQLITE_IOERR_NOMEM SQLITE_IOERR_ACCESS SQLITE_IOERR_LOCK SQLITE_IOERR_CLOSE SQLITE_IOERR_SEEK
    SQLITE_IOERR_DELETE_NOENT SQLITE_BUSY_RECOVERY SQLITE_BUSY_SNAPSHOT SQLITE_CANTOPEN_ISDIR SQLITE_CANTOPEN_FULLPATH
    SQLITE_CORRUPT_INDEX SQLITE_READONLY_RECOVERY SQLITE_READONLY_CANTLOCK SQLITE_READONLY_ROLLBACK
    SQLITE_READONLY_DBMOVED SQLITE_READONLY_DIRECTORY
}

/// The library's error for one of SQLite.
pub(super) fn failure(error: rusqlite::Error) -> Error {
    let (code, words) = match error {
        rusqlite::Error::SqliteFailure(code, words) => {
            let words = words.unwrap_or_else(|| code.to_string());
            (code.extended_code, words)
        }
        // Only a new SQLite tells where in the statement it fails.
        #[cfg(feature = "bundled-sqlite")]
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.extended_code, msg),
        rusqlite::Error::SqliteSingleThreadedMode => {
            return refused(
                "The SQLite of this program was built or configured for one thread only.".to_owned(),
            );
        }
        // A column of another type than ours, or no row where there must be one.
        _ => (ffi::SQLITE_CORRUPT, "the file holds what this library does not write".to_owned()),
    };
    let status = match code & PRIMARY {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Status::StorageLocked,
        // SQLITE_ERROR: SQL that fits the layout does not fit the file.
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB | ffi::SQLITE_ERROR | ffi::SQLITE_TOOBIG => {
            Status::StorageCorrupt
        }
        _ => Status::Storage,
    };
    let name = code_name(code);
    Error::new(status, format!("SQLite: {words} ({name}).")).with_code(name)
}

/// The library's error when SQLite does not open a file. `rusqlite` puts the path behind SQLite's words, or in their place,
/// and a path may hold a JID: only the code counts.
pub(super) fn opening_failure(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(code, _) if code.extended_code & PRIMARY == ffi::SQLITE_CANTOPEN => {
            let name = code_name(code.extended_code);
            let text = format!("SQLite: unable to open database file ({name}).");
            Error::new(Status::Storage, text).with_code(name)
        }
        rusqlite::Error::SqliteFailure(code, _) => failure(rusqlite::Error::SqliteFailure(code, None)),
        rusqlite::Error::NulError(_) | rusqlite::Error::InvalidPath(_) => {
            cannot_open("SQLite has no such names")
        }
        other => failure(other),
    }
}

/// A failure of the system before SQLite has seen the file, in the words in which SQLite begins, and those of the system,
/// which tell more.
pub(super) fn cannot_open(why: impl std::fmt::Display) -> Error {
    let name = code_name(ffi::SQLITE_CANTOPEN);
    Error::new(Status::Storage, format!("SQLite: unable to open database file: {why} ({name})."))
        .with_code(name)
}

/// A file or a system that cannot be used.
pub(super) fn refused(why: String) -> Error {
    Error::new(Status::Storage, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_that_sqlite_gives_them() {
        assert_eq!(code_name(ffi::SQLITE_FULL), "SQLITE_FULL");
        assert_eq!(code_name(ffi::SQLITE_IOERR_FSYNC), "SQLITE_IOERR_FSYNC");
        assert_eq!(code_name(ffi::SQLITE_IOERR | (200 << 8)), "SQLITE_IOERR");
        assert_eq!(code_name(99), "SQLITE_ERROR");
        assert_eq!(code_name(-1), "SQLITE_ERROR");
    }

    #[test]
    fn an_sqlite_without_threads_is_no_damage() {
        assert_eq!(failure(rusqlite::Error::SqliteSingleThreadedMode).status(), Status::Storage);
    }

    #[test]
    fn no_sentence_about_opening_holds_the_path() {
        for code in [ffi::SQLITE_CANTOPEN, ffi::SQLITE_CANTOPEN_FULLPATH, ffi::SQLITE_NOMEM] {
            let words = Some("unable to open database file: /home/romeo@montague.example".to_owned());
            let error = opening_failure(rusqlite::Error::SqliteFailure(ffi::Error::new(code), words));
            assert!(!error.to_string().contains("romeo"), "{error}");
            assert_eq!((error.status(), error.code()), (Status::Storage, Some(code_name(code))));
        }
    }

    #[test]
    fn sqlites_words_are_kept_and_its_code_is_named() {
        let full = rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_FULL),
            Some("disk is full".to_owned()),
        );
        let error = failure(full);
        assert_eq!((error.status(), error.code()), (Status::Storage, Some("SQLITE_FULL")));
        assert_eq!(error.to_string(), "SQLite: disk is full (SQLITE_FULL).");
        let busy = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY_RECOVERY), None);
        assert_eq!(failure(busy).status(), Status::StorageLocked);
        let foreign = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None);
        assert_eq!(failure(foreign).status(), Status::StorageCorrupt);
    }
}
