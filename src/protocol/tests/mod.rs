//! Tests of the protocol as a whole: published vectors, recorded conversations, messages that come late, and a key
//! exchange that is repeated.

mod late_messages;
mod recorded_conversations;
mod repeated_exchange;
mod vectors;
