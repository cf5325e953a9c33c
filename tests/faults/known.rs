//! Entries that go wrong for a reason that is known and not mended here.

use crate::matrix::Entry;

/// An entry by its flow and kind, and why.
pub struct Known {
    matrix: &'static str,
    flow: &'static str,
    kind: &'static str,
    #[expect(dead_code, reason = "for people")]
    why: &'static str,
}

const KNOWN: &[Known] = &[];

/// The exception that an entry falls under.
pub fn find(entry: &Entry) -> Option<usize> {
    let name = entry.name();
    KNOWN.iter().position(|known| {
        name.starts_with(&format!("{}:", known.flow)) && name.ends_with(&format!(":{}", known.kind))
    })
}

/// Fails for exceptions under which nothing went wrong.
pub fn assert_none_is_idle(matrix: &str, met: &[usize]) {
    let all = KNOWN.iter().enumerate().filter(|(_, known)| known.matrix == matrix);
    let idle = all.filter(|(index, _)| !met.contains(index));
    let idle: Vec<String> = idle.map(|(_, known)| format!("{}:{}", known.flow, known.kind)).collect();
    assert!(idle.is_empty(), "exceptions that are none any more: {idle:?}");
}
