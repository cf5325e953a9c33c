//! Reading protobuf messages: what cannot be read, and what is missing.

use crate::error::{Error, Result, Status};
use prost::Message;

/// The failure for bytes that are no message of ours.
pub(super) fn malformed(what: &'static str) -> Error {
    Error::new(Status::Malformed, what)
}

/// Reads a protobuf message: any order, unknown fields ignored, the last of several wins.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|_| malformed("A protobuf message cannot be read."))
}

/// A field that must be there.
pub(super) fn required<T>(field: Option<T>) -> Result<T> {
    field.ok_or_else(|| malformed("A required field is missing."))
}
