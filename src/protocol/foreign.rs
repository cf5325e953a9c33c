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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, local: &str) -> Name {
        Name { namespace: Arc::from(namespace), local: Box::from(local) }
    }

    fn attribute(local: &str, value: &str) -> Attribute {
        Attribute { name: name("a", local), value: value.to_owned() }
    }

    fn element(local: &str, attributes: Vec<Attribute>, children: Vec<Node>) -> Element {
        Element { name: name("e", local), attributes, children }
    }

    #[test]
    fn what_is_read_back_is_what_was_built() {
        let text = Node::Text("text".to_owned());
        let built = element("x", vec![attribute("id", "7")], vec![text.clone()]);
        assert_eq!((built.name().namespace(), built.name().local()), ("e", "x"));
        assert_eq!(built.attributes(), [attribute("id", "7")]);
        let [first] = built.attributes() else { panic!("one attribute") };
        assert_eq!((first.name().namespace(), first.name().local(), first.value()), ("a", "id", "7"));
        assert_eq!(built.children(), [text]);
    }

    #[test]
    fn only_the_order_of_attributes_says_nothing() {
        let (one, two) = (attribute("one", "1"), attribute("two", "2"));
        let child = |attributes| Node::Element(element("child", attributes, Vec::new()));
        let text = |text: &str| Node::Text(text.to_owned());
        let whole = |attributes, children| element("x", attributes, children);
        let built =
            whole(vec![one.clone(), two.clone()], vec![child(vec![one.clone(), two.clone()]), text("t")]);
        let turned = vec![two.clone(), one.clone()];
        assert!(built.says_the_same(&whole(turned.clone(), vec![child(turned.clone()), text("t")])));
        for (what, other) in [
            ("name", element("y", turned.clone(), built.children.clone())),
            ("an attribute less", whole(vec![one.clone()], built.children.clone())),
            (
                "an attribute more",
                whole([turned.clone(), vec![attribute("three", "3")]].concat(), built.children.clone()),
            ),
            ("another value", whole(vec![one.clone(), attribute("two", "3")], built.children.clone())),
            ("a child less", whole(turned.clone(), vec![child(turned.clone())])),
            ("a child more", whole(turned.clone(), vec![child(turned.clone()), text("t"), text("t")])),
            ("children in another order", whole(turned.clone(), vec![text("t"), child(turned.clone())])),
            ("another text", whole(turned.clone(), vec![child(turned.clone()), text("u")])),
            ("a grandchild's attribute", whole(turned.clone(), vec![child(vec![one.clone()]), text("t")])),
        ] {
            assert!(!built.says_the_same(&other) && !other.says_the_same(&built), "{what}");
        }
    }
}
