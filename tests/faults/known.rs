//! Entries that go wrong for a reason that is known and not mended here.

use crate::matrix::Entry;

/// An entry by its name, and why.
pub struct Known {
    matrix: &'static str,
    entry: &'static str,
    why: &'static str,
}

const KNOWN: &[Known] = &[];

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
