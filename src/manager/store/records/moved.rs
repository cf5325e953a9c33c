//! What a copy from store to store leaves: in the store that was copied that it has ended, in the other one whether it
//! may be opened.

use super::{corrupt, record};
use crate::crypto::silent::silent;
use crate::error::Result;
use prost::Message;

silent! { MovedRecord }
record!(MovedRecord, "the last copy", []);

const ENDED: u32 = 1;
const UNFINISHED: u32 = 2;
const ARRIVED: u32 = 3;

/// How far a copy has come, as one of its two stores knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager::store) enum Moved {
    /// The account has left this store: it is never opened again.
    Ended,
    /// All records are here, and the other store may still be in use.
    Unfinished,
    /// The account lives here.
    Arrived,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct MovedRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// 1: ended, 2: unfinished, 3: arrived.
    #[prost(uint32, tag = "2")]
    state: u32,
    /// 16 random bytes, the same in both stores: which copy it was.
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::manager::store) copy: Vec<u8>,
}

impl MovedRecord {
    pub(in crate::manager::store) fn new(state: Moved, copy: &[u8]) -> MovedRecord {
        let state = match state {
            Moved::Ended => ENDED,
            Moved::Unfinished => UNFINISHED,
            Moved::Arrived => ARRIVED,
        };
        MovedRecord { version: 0, state, copy: copy.to_vec() }
    }

    pub(in crate::manager::store) fn state(&self) -> Result<Moved> {
        match self.state {
            ENDED => Ok(Moved::Ended),
            UNFINISHED => Ok(Moved::Unfinished),
            ARRIVED => Ok(Moved::Arrived),
            _ => Err(corrupt("the last copy", "names an unknown state")),
        }
    }
}
