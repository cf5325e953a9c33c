//! Names, not meaning: protocol types from and to XML. Knows no manager and no C.

pub mod answer;
pub mod jid;
