//! XML that others wrote and that means nothing to us, kept as a tree so that it can be written again.
//!
//! Holds names, attributes, children and text, never bytes: what is written anew is well-formed whatever was read.
//! `stanza::foreign` builds it within limits on bytes and depth and writes it; nobody else can make one.

use std::sync::Arc;

/// A name with its namespace; the prefix is chosen anew by the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(crate) namespace: Arc<str>,
    pub(crate) local: Box<str>,
}

impl Name {
    /// Returns the namespace; empty: none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name without its prefix.
    pub fn local(&self) -> &str {
        &self.local
    }
}

/// An attribute; declarations of namespaces are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub(crate) name: Name,
    pub(crate) value: String,
}

impl Attribute {
    /// Returns its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text, never next to other text.
    Text(String),
}

/// An element. Nested at most [`FOREIGN_DEPTH`](super::limits::FOREIGN_DEPTH) deep, so that it may be walked and
/// dropped recursively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub(crate) name: Name,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Node>,
}

impl Element {
    /// Returns its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns its attributes.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Returns what it holds.
    pub fn children(&self) -> &[Node] {
        &self.children
    }
}
