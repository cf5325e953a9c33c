//! A file for the library's store in SQLite, gone when nobody needs it any more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub struct StoreFile {
    directory: PathBuf,
}

impl StoreFile {
    pub fn new() -> StoreFile {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("omemo-test-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        // In memory where there is such a place: what fsync is for is tested elsewhere.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = place.join(name);
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
