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

    /// Tells whether another element says the same: the order of attributes means nothing.
    pub fn says_the_same(&self, other: &Element) -> bool {
        let same = |(one, other): (&Node, &Node)| match (one, other) {
            (Node::Element(one), Node::Element(other)) => one.says_the_same(other),
            _ => one == other,
        };
        self.name == other.name
            && same_attributes(&self.attributes, &other.attributes)
            && self.children.len() == other.children.len()
            && self.children.iter().zip(&other.children).all(same)
    }
}

/// Tells whether two elements have the same attributes, in whatever order; each stands once.
pub(crate) fn same_attributes(one: &[Attribute], other: &[Attribute]) -> bool {
    one.len() == other.len() && one.iter().all(|attribute| other.contains(attribute))
}
