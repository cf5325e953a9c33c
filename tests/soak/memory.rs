//! What the device holds: live bytes of its library, and of its store.

/// At one moment of its life.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub day: u32,
    /// Live bytes after days of work, without its process, and right after the next start.
    pub working: isize,
    pub closed: isize,
    pub started: isize,
    pub store: usize,
    pub records: usize,
    /// Sessions in the archive.
    pub archived: usize,
    pub rss: usize,
}

impl std::fmt::Display for Sample {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { day, working, closed, started, store, records, archived, rss } = self;
        write!(
            out,
            "day {day}: {working} live bytes ({closed} when closed, {started} when started anew), {store} bytes stored in \
             {records} records, {archived} archived sessions, RSS {} KiB",
            rss / 1024
        )
    }
}

/// Bytes that live in the memory of this process, with everybody in it.
pub fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// How long this thread has computed, as far as the system tells.
pub fn cpu_ms() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000_000
}
