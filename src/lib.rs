//! OMEMO end-to-end encryption (XEP-0384) for XMPP clients, behind a C ABI.
//!
//! The path of a message: `ffi` takes the call, `manager` gathers device lists, bundles and trust and commits,
//! `protocol` turns the ratchet, `crypto` computes, `stanza` writes the XML. Imports point downwards only:
//! `ffi` knows all; `manager` knows `storage`, `protocol`, `crypto`; `stanza` knows `protocol`, `crypto`;
//! `storage` and `protocol` know `crypto`; `runtime` knows nothing of OMEMO; `error` is everybody's.
//! `docs/architecture.md` tells the whole story.

pub mod crypto;
pub mod error;
pub mod ffi;
pub mod manager;
#[cfg(omemo_planted)]
mod planted;
pub mod protocol;
pub mod runtime;
pub mod stanza;
pub mod storage;
#[cfg(test)]
mod test_support;
