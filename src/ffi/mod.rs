//! The C ABI: thin and boring, and the only place of unsafe code.
#![allow(unsafe_code)]
