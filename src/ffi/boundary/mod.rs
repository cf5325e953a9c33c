//! What every function of the C API goes through: the guard of a call, and all checks and casts of what crosses the border.

pub(super) mod guard;
pub(super) mod numbers;
pub(super) mod table;
pub(super) mod text;
pub mod user_data;
