//! A file for the library's store in SQLite, gone when nobody needs it any more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub struct StoreFile {
    directory: PathBuf,
}

impl StoreFile {
    pub fn new() -> StoreFile {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("omemo-test-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        StoreFile { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join("store")
    }
}

impl Drop for StoreFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
