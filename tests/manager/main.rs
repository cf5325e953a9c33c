//! What the manager promises, rule by rule, through its Rust face: the R-numbers of the design, each row of the table
//! of decryption, and what a store or a network that fails leaves behind; in both namespaces where it holds in both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(unreachable_pub)] // one crate, many modules

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[allow(unsafe_code, reason = "a counting allocator")]
#[path = "../support/heap.rs"]
mod heap;

mod acknowledge;
mod across_namespaces;
mod advice;
mod broken_sessions;
mod care;
mod catch_up;
mod check;
mod closed_chains;
mod copying;
mod decrypt;
mod duplicates;
mod encrypt;
mod faces;
mod failures;
mod faults;
mod follow_up;
mod freshness;
mod healing;
mod help;
mod identity;
mod identity_end;
mod labels;
mod leaving;
mod log;
mod namespaces;
mod needs_api;
mod order;
mod outdated_failures;
mod own_bundle;
mod own_label;
mod own_list;
mod own_list_crossed;
mod promises;
mod provisional;
mod purge_jid;
mod quotas;
mod random_histories;
mod records;
mod replace_sessions;
mod retired;
mod retired_all;
mod rollback;
mod rotation;
mod scenarios;
mod setup;
mod sign;
mod transaction;
mod trust_policy;
mod unresponsive;
mod world;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;
