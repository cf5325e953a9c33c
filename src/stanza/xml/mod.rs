//! XML of XMPP stanzas: a reader within limits on size and depth, and a writer. Knows no OMEMO but its namespaces.

mod reader;
pub(super) mod writer;

pub(super) use reader::{Element, Event, Ns, Reader, is_legal, is_space, malformed, push_text};
