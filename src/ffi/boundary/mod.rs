//! What every function of the C API goes through: the guard of a call, and all checks and casts of what crosses the border.

pub(super) mod args;
pub(super) mod guard;
pub(super) mod handles;
pub(super) mod ids;
pub(super) mod returns;
pub(super) mod sized_table;
pub mod user_data;
