//! Entries that go wrong for a reason that is known and not mended here.

use crate::matrix::Entry;

/// An entry by its name, and why.
pub struct Known {
    matrix: &'static str,
    entry: &'static str,
    why: &'static str,
}

/// The store is empty, and says that emptying it failed: until the manager is freed, its calls find no account where there
/// was one, and say so as `StorageCorrupt`, not as `Cancelled`. The next start makes a new account, as it should.
const EMPTIED: &str =
    "an account whose deletion was stored and is said to have failed counts as corrupt until the restart";

const KNOWN: &[Known] = &[
    Known { matrix: "storage", entry: "delete-account:8:commit-stores-everything", why: EMPTIED },
    Known { matrix: "storage", entry: "delete-account:24:commit-stores-everything", why: EMPTIED },
];

/// The exception that an entry falls under.
pub fn find(entry: &Entry) -> Option<usize> {
    let name = entry.name();
    KNOWN.iter().position(|known| known.entry == name)
}

/// Fails for exceptions under which nothing went wrong.
pub fn assert_none_is_idle(matrix: &str, met: &[usize]) {
    let all = KNOWN.iter().enumerate().filter(|(_, known)| known.matrix == matrix);
    for (index, known) in all {
        assert!(met.contains(&index), "{} does not go wrong any more: {}", known.entry, known.why);
    }
}
