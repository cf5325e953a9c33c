//! Names, not meaning: protocol types from and to XML. Knows no manager and no C.

mod affixes;
mod base64;
pub mod bundle;
pub mod content;
mod delay;
pub mod device_list;
pub mod envelope;
mod foreign;
pub mod jid;
pub mod message;
pub mod pep;
mod xml;
