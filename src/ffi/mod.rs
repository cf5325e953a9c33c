//! The C ABI: thin and boring, and the only place of unsafe code.
//!
//! `api` has one file for each section of `include/omemo.h`, which cbindgen makes of them: a doc comment here is the manual
//! there. `boundary` is what every function goes through, and where all that crosses the border is checked and cast.
//! `runtime` holds the contract about events, operations and the end of a manager.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "types have the names that C knows them by")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract at the top of the header says what a caller promises"
)]
#![allow(clippy::doc_lazy_continuation, reason = "these comments are printed in the header as they stand")]

pub mod api;
pub mod boundary;
pub mod runtime;
