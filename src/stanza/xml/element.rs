//! The start of an element: its namespace, its name and its attributes. Does not know where it stands in the document.

use super::text::{is_legal, is_space};
use crate::protocol::namespace::Namespace;
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use std::borrow::Cow;

/// A namespace, as far as anybody here asks; they are compared when they are declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stanza) enum Ns {
    /// None at all: what was cut out of a stanza often lost its namespace.
    None,
    /// One of the two of OMEMO.
    Omemo(Namespace),
    /// `jabber:client`, or what stands for it in streams of servers (`jabber:server`) and components
    /// (`jabber:component:accept`, XEP-0114).
    Stream,
    /// Stanza errors.
    StanzaErrors,
    /// Publish-subscribe, asked.
    Pubsub,
    /// Publish-subscribe, told.
    PubsubEvent,
    /// Stanza content encryption (XEP-0420).
    Sce,
    /// Any other, and prefixes that nobody declared.
    Other,
}

impl Ns {
    pub(super) fn of(uri: &str) -> Ns {
        match uri {
            "" => Ns::None,
            "jabber:client" | "jabber:server" | "jabber:component:accept" => Ns::Stream,
            "urn:ietf:params:xml:ns:xmpp-stanzas" => Ns::StanzaErrors,
            "http://jabber.org/protocol/pubsub" => Ns::Pubsub,
            "http://jabber.org/protocol/pubsub#event" => Ns::PubsubEvent,
            "urn:xmpp:sce:1" => Ns::Sce,
            uri => Namespace::from_uri(uri).map_or(Ns::Other, Ns::Omemo),
        }
    }
}

/// The start of an element.
pub(in crate::stanza) struct Element<'a> {
    pub(super) start: BytesStart<'a>,
    pub(super) ns: Ns,
    pub(super) level: usize,
}

impl Element<'_> {
    /// Its namespace.
    pub(in crate::stanza) fn ns(&self) -> Ns {
        self.ns
    }

    /// Its name without prefix.
    pub(in crate::stanza) fn name(&self) -> &str {
        local(self.start.name().into_inner())
    }

    /// Its prefix; empty: none.
    pub(in crate::stanza) fn prefix(&self) -> &str {
        prefix(self.start.name().into_inner())
    }

    /// All attributes but declarations of namespaces: prefix, name without prefix, and the value if it can be read.
    pub(in crate::stanza) fn attributes(&self) -> impl Iterator<Item = (&str, &str, Option<Cow<'_, str>>)> {
        let mut attributes = self.start.attributes();
        attributes.with_checks(false);
        attributes.filter_map(|attribute| {
            let attribute = attribute.ok()?;
            let key = attribute.key.into_inner();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok();
            let value = value.filter(|value| value.chars().all(is_legal));
            let value = value.map(|value| Cow::Owned(value.into_owned()));
            (key != "xmlns" && prefix(key) != "xmlns").then(|| (prefix(key), local(key), value))
        })
    }

    /// How deep it is; the root has 1.
    pub(in crate::stanza) fn level(&self) -> usize {
        self.level
    }

    /// Whether this is its namespace and name.
    pub(in crate::stanza) fn is(&self, ns: Ns, name: &str) -> bool {
        self.ns == ns && self.name() == name
    }

    /// Whether it is in no namespace, or in the one of the stanza around it: a writer that gives a prefix to the element
    /// around it and none to this one leaves it there.
    pub(in crate::stanza) fn is_unqualified(&self) -> bool {
        self.prefix().is_empty() && matches!(self.ns, Ns::None | Ns::Stream | Ns::Pubsub | Ns::PubsubEvent)
    }

    /// The value of an attribute without prefix. One that cannot be read counts as absent.
    pub(in crate::stanza) fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let attribute = self
            .start
            .attributes()
            .with_checks(false)
            .filter_map(|attribute| attribute.ok())
            .find(|attribute| attribute.key.into_inner() == name)?;
        attribute.normalized_value(XmlVersion::Implicit1_0).ok().filter(|value| value.chars().all(is_legal))
    }

    /// An attribute of the type xs:unsignedInt.
    pub(in crate::stanza) fn number(&self, name: &str) -> Option<u32> {
        self.attribute(name)?.trim_matches(is_space).parse().ok()
    }

    /// An attribute of the type xs:boolean, if it is there; odd is false.
    pub(in crate::stanza) fn flag(&self, name: &str) -> Option<bool> {
        self.attribute(name).map(|value| matches!(value.trim_matches(is_space), "true" | "1"))
    }
}

pub(super) fn prefix(name: &str) -> &str {
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}
