//! Faults that are planted on purpose, so that the checks which are meant to find them can be seen to do so. Each has a name,
//! and a row in the table of `scripts/planted`, which says where it is to be found. Compiled with `--cfg omemo_planted` only;
//! no release contains any.

use std::sync::OnceLock;

/// Returns whether this fault is chosen, by its name in the environment variable `OMEMO_PLANTED`.
pub(crate) fn is_planted(fault: &str) -> bool {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("OMEMO_PLANTED").ok()).as_deref() == Some(fault)
}
