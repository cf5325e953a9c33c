//! What the manager promises, rule by rule, through its Rust face: the R-numbers of the design, each row of the table
//! of decryption, and what a store or a network that fails leaves behind; in both namespaces where it holds in both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(unreachable_pub)] // one crate, many modules

/// Makes of each function that takes a namespace two tests: `name::omemo2` and `name::legacy`.
macro_rules! in_both_namespaces {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use omemo::protocol::namespace::Namespace;

            #[test]
            fn omemo2() {
                super::$name(Namespace::Omemo2);
            }

            #[test]
            fn legacy() {
                super::$name(Namespace::Legacy);
            }
        }
    )*};
}

mod decrypt;
mod encrypt;
mod faults;
mod follow_up;
mod identity;
mod labels;
mod namespaces;
mod rotation;
mod setup;
mod sign;
mod trouble;
mod world;
