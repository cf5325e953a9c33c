//! What a manager is made of.

/// One account.
pub struct omemo_manager {}
