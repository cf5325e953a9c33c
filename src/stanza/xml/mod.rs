//! XML of XMPP stanzas: a reader within limits on size and depth, and a writer. Knows no OMEMO but its namespaces.

mod element;
mod reader;
mod text;
pub(super) mod writer;

pub(super) use element::{Element, Ns};
pub(super) use reader::{Event, Reader, malformed};
pub(super) use text::{is_legal, is_space, push_text};
