//! Names, not meaning: protocol types from and to XML. Knows no manager and no C.

pub mod answer;
mod binary;
pub mod bundle;
pub mod device_list;
mod foreign;
pub mod jid;
pub mod message;
mod pep;
pub mod push;
pub mod sce;
mod writer;
mod xml;
