//! Faults that are planted on purpose, so that the games of `tests/games` can be seen to find them: one for each cause
//! that the manager's rules guard against. Compiled with `--cfg omemo_planted` only; no release contains any.

use std::sync::OnceLock;

/// Returns whether this fault is chosen, by its number in the environment variable `OMEMO_PLANTED`.
pub(crate) fn is_planted(fault: u8) -> bool {
    static CHOSEN: OnceLock<Option<u8>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("OMEMO_PLANTED").ok()?.parse().ok());
    *chosen == Some(fault)
}
