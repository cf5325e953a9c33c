//! The file of an SQLite store before SQLite sees it: where it lies, whose it is, who else has it open, and who may read
//! it. Knows of SQLite the beginning of its files, and the names of those that it puts beside.

use super::sqlite_error::{cannot_open, refused};
use super::sqlite_schema::APPLICATION_ID;
use crate::error::{Error, Result, Status};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Device and inode: what a file is, whatever it is called.
type FileId = (u64, u64);

/// The files that this process has open. Asked before a file is opened, because closing any descriptor of a file drops
/// all locks that the process has on it, SQLite's included.
static OPEN: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// Descriptors of files that somebody else has locked, with the process that opened them. Somebody else may be another copy
/// of this library in this process, whose locks would be dropped if they were closed.
static PARKED: Mutex<BTreeMap<FileId, (u32, File)>> = Mutex::new(BTreeMap::new());

/// How SQLite's files begin, and where the number stands that says whose they are.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER: usize = 100;
const APPLICATION_ID_AT: std::ops::Range<usize> = 68..72;

/// The files that SQLite puts beside, with the database's own mode at that time.
const LOG: &str = "-wal";
const JOURNAL: &str = "-journal";
const BESIDE: [&str; 2] = [LOG, JOURNAL];

/// Bits of a mode for everybody but the owner.
const OTHERS: u32 = 0o077;
const OWN: u32 = 0o600;

/// A file that is ours alone, until this is dropped.
pub(super) struct StoreFile {
    /// Open only for its lock, which is `flock`'s: it is gone with the process, and other descriptors of the same file
    /// that come and go in this process do not drop it, as they do with the locks that SQLite takes.
    /// Nothing once it is closed.
    file: Option<File>,
    id: FileId,
    /// There was no file.
    is_new: bool,
    /// Without symbolic links, so that the names of what lies beside are the same whatever the name that was given.
    path: PathBuf,
    /// SQLite's log, once it is there.
    log: OnceLock<FileId>,
    /// File or log was found away once. What was committed since is nowhere, so that nothing makes this good again.
    is_lost: AtomicBool,
    process: u32,
}

impl StoreFile {
    /// Opens a file, or makes it; locks it; refuses what is somebody else's.
    pub(super) fn open(path: &Path) -> Result<StoreFile> {
        if path.as_os_str().is_empty() {
            return Err(cannot_open("the path is empty"));
        }
        let mut open = OPEN.lock();
        close_parked();
        let is_new = match std::fs::metadata(path) {
            Ok(known) => {
                check_known(&known, &open)?;
                if PARKED.lock().contains_key(&id_of(&known)) {
                    return Err(locked());
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(cannot_open(error)),
        };
        let file = lock(open_file(path)?)?;
        let metadata = file.metadata().map_err(cannot_open)?;
        check_known(&metadata, &open)?;
        if metadata.nlink() > 1 {
            // Under another name SQLite would not find the log, and with it the last commits.
            return Err(refused("The file has a second name (a hard link).".to_owned()));
        }
        let path = std::fs::canonicalize(path).map_err(cannot_open)?;
        let id = id_of(&metadata);
        if id_at(&path) != Some(id) {
            return Err(refused("The file was replaced while it was opened.".to_owned()));
        }
        let opened = StoreFile {
            file: Some(file),
            id,
            is_new,
            path,
            log: OnceLock::new(),
            is_lost: AtomicBool::new(false),
            process: std::process::id(),
        };
        open.insert(id);
        drop(open);
        opened.check_owner(metadata.len()).inspect_err(|_| opened.discard())?;
        Ok(opened)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> Result<&File> {
        self.file.as_ref().ok_or(Error::from(Status::Internal))
    }

    /// Removes a file that was made for nothing.
    pub(super) fn discard(&self) {
        let is_empty = || {
            self.file
                .as_ref()
                .and_then(|file| file.metadata().ok())
                .is_some_and(|metadata| metadata.len() == 0)
        };
        if self.is_new && is_empty() && id_at(&self.path) == Some(self.id) && !self.beside(JOURNAL).exists() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Refuses what is no store, without a change to it: not even SQLite's recovery may run on what is somebody else's.
    fn check_owner(&self, len: u64) -> Result<()> {
        let mut header = [0; HEADER];
        if len == 0 {
            // SQLite would delete the log of an empty file, and with it perhaps the only copy of the last commits.
            if std::fs::metadata(self.beside(LOG)).is_ok_and(|log| log.len() > 0) {
                let why = "The file is empty or missing, and a log of commits lies beside it: the two belong together.";
                return Err(Error::new(Status::StorageCorrupt, why));
            }
            return Ok(());
        }
        let foreign = || Error::new(Status::StorageCorrupt, "The file is no store of this library.");
        self.file()?.read_exact_at(&mut header, 0).map_err(|_| foreign())?;
        // The first transaction was interrupted. The rollback journal lies beside, and SQLite goes back to an empty file.
        if header == [0; HEADER] && self.beside(JOURNAL).exists() {
            return Ok(());
        }
        let ours = header.starts_with(MAGIC)
            && header.get(APPLICATION_ID_AT).is_some_and(|id| *id == APPLICATION_ID.to_be_bytes());
        if ours { Ok(()) } else { Err(foreign()) }
    }

    /// Takes from everybody else what they may do with the file, and with what a crash has left beside it. Refuses what is
    /// not ours to close. A file system that has no such modes is no reason not to open.
    pub(super) fn restrict(&self) -> Result<()> {
        let file = self.file()?;
        let mode = file.metadata().map_err(cannot_open)?.mode();
        if mode & OTHERS != 0 {
            let _ = file.set_permissions(Permissions::from_mode(mode & !OTHERS));
            check_closed(&file.metadata().map_err(cannot_open)?)?;
        }
        for suffix in BESIDE {
            let path = self.beside(suffix);
            if let Ok(metadata) = std::fs::symlink_metadata(&path)
                && metadata.is_file()
                && metadata.mode() & OTHERS != 0
            {
                let _ = std::fs::set_permissions(&path, Permissions::from_mode(metadata.mode() & !OTHERS));
                check_closed(&std::fs::symlink_metadata(&path).map_err(cannot_open)?)?;
            }
        }
        Ok(())
    }

    /// Makes the file's name durable: SQLite, which has not made it, does not care.
    pub(super) fn sync_directory(&self) -> Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        // Not every file system lets a directory be synced; SQLite ignores that, too.
        if let Ok(directory) = File::open(parent) {
            let _ = directory.sync_all();
        }
        Ok(())
    }

    /// Whether this process is the one that opened the file. A child that was forked has no lock of SQLite's.
    pub(super) fn check_process(&self) -> Result<()> {
        if std::process::id() == self.process {
            return Ok(());
        }
        Err(Error::new(
            Status::StorageLocked,
            "The store was opened by the process that this one was forked from.",
        ))
    }

    /// Keeps what the log is that SQLite has open from now on.
    pub(super) fn keep_log(&self) -> Result<()> {
        match id_at(&self.beside(LOG)) {
            Some(id) => {
                self.log.get_or_init(|| id);
                Ok(())
            }
            None => Err(refused("SQLite has no log beside the file.".to_owned())),
        }
    }

    /// Whether file and log still lie where they were opened: what is written to others would be gone. Where they do not,
    /// the store is lost for good.
    pub(super) fn check_place(&self) -> Result<()> {
        if id_at(&self.path) != Some(self.id) || id_at(&self.beside(LOG)).as_ref() != self.log.get() {
            self.is_lost.store(true, SeqCst);
        }
        self.check_lost()
    }

    /// Whether the file was in its place each time somebody looked.
    pub(super) fn check_lost(&self) -> Result<()> {
        if !self.is_lost.load(SeqCst) {
            return Ok(());
        }
        let why = "The file of the store, or its log, was moved, removed or replaced while it was open.";
        Err(refused(why.to_owned()))
    }

    /// Whether another program has a log of its own beside the file: it wrote to the file, or will.
    pub(super) fn has_foreign_log(&self) -> bool {
        id_at(&self.beside(LOG)).is_some_and(|id| Some(&id) != self.log.get())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }
}

impl Drop for StoreFile {
    fn drop(&mut self) {
        let is_ours = self.check_process().is_ok();
        let mut open = OPEN.lock();
        if let Some(file) = self.file.take()
            && is_ours
        {
            // By itself the lock would last until a child that is about to run another program has closed its copy of the
            // descriptor. In a child that is one, this would take it from the parent.
            let _ = file.unlock();
        }
        // Closed by now: who opens the file next has locks of SQLite's on it, which must not be dropped.
        open.remove(&self.id);
    }
}

/// Opens a file, or makes one that nobody else may read from the moment on when it is there.
fn open_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(OWN).open(path).map_err(cannot_open)
}

/// Locks a file. One that is locked by somebody else stays open.
fn lock(file: File) -> Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let id = id_of(&file.metadata().map_err(cannot_open)?);
            PARKED.lock().insert(id, (std::process::id(), file));
            Err(locked())
        }
        Err(TryLockError::Error(error)) => Err(cannot_open(error)),
    }
}

/// Closes the parked descriptors of files that nobody has locked any more. A process that was forked leaves those of its
/// parent alone: they share their locks.
fn close_parked() {
    PARKED.lock().retain(|_, (process, file)| *process == std::process::id() && file.try_lock().is_err());
}

fn check_closed(metadata: &Metadata) -> Result<()> {
    // Whom this process belongs to, where the system shows it as a file.
    let me = std::fs::metadata("/proc/self").ok().map(|process| process.uid());
    if may_stay_so(metadata.mode(), metadata.uid(), me) {
        return Ok(());
    }
    Err(refused(
        "Others may read the store or its log, which belongs to another user and cannot be closed to them."
            .to_owned(),
    ))
}

/// A mode that others have rights in after they were taken away may be that of a file system without modes if the file is
/// ours; it is that of somebody else's file if not.
fn may_stay_so(mode: u32, owner: u32, me: Option<u32>) -> bool {
    mode & OTHERS == 0 || me == Some(owner)
}

fn id_of(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

fn id_at(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|there| id_of(&there))
}

fn locked() -> Error {
    Error::new(Status::StorageLocked, "The store is already open, in this process or in another one.")
}

fn check_known(metadata: &Metadata, open: &BTreeSet<FileId>) -> Result<()> {
    if open.contains(&id_of(metadata)) {
        return Err(locked());
    }
    if metadata.is_dir() {
        return Err(cannot_open("it is a directory"));
    }
    if !metadata.is_file() {
        return Err(cannot_open("it is no regular file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_that_stays_open_to_others_is_refused() {
        assert!(may_stay_so(0o100_600, 1000, Some(1001)), "closed to others");
        assert!(may_stay_so(0o100_777, 1000, Some(1000)), "a file system without modes");
        for mode in [0o100_604, 0o100_640, 0o100_666] {
            assert!(!may_stay_so(mode, 1000, Some(1001)) && !may_stay_so(mode, 1000, None), "{mode:o}");
        }
        // Everybody may write to it, and no mode can be taken from it.
        let null = std::fs::metadata("/dev/null").unwrap();
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(check_closed(&null).is_ok(), null.uid() == me);
    }
}
