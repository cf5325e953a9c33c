//! The two namespaces of OMEMO. What differs between them on the wire stands in `profile`.

/// A namespace: one generation of OMEMO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// `urn:xmpp:omemo:2` (XEP-0384 0.8 and later).
    Omemo2,
    /// `eu.siacs.conversations.axolotl` (XEP-0384 0.3).
    Legacy,
}

impl Namespace {
    /// Both, in no order of preference.
    pub const ALL: [Namespace; 2] = [Namespace::Omemo2, Namespace::Legacy];

    /// The XML namespace.
    pub fn uri(self) -> &'static str {
        match self {
            Namespace::Omemo2 => "urn:xmpp:omemo:2",
            Namespace::Legacy => "eu.siacs.conversations.axolotl",
        }
    }

    /// The namespace with this name.
    pub fn from_uri(uri: &str) -> Option<Namespace> {
        Namespace::ALL.into_iter().find(|namespace| namespace.uri() == uri)
    }

    /// The node that holds device lists.
    pub fn device_list_node(self) -> &'static str {
        match self {
            Namespace::Omemo2 => "urn:xmpp:omemo:2:devices",
            Namespace::Legacy => "eu.siacs.conversations.axolotl.devicelist",
        }
    }

    /// The node that holds the bundle of a device; in omemo:2 those of all devices.
    pub fn bundle_node(self, device: u32) -> String {
        match self {
            Namespace::Omemo2 => "urn:xmpp:omemo:2:bundles".to_owned(),
            Namespace::Legacy => format!("eu.siacs.conversations.axolotl.bundles:{device}"),
        }
    }

    /// Whether a key in `<encrypted/>` stands under the JID of its recipient.
    pub fn names_recipients(self) -> bool {
        self == Namespace::Omemo2
    }

    /// Whether its device lists carry labels.
    pub fn has_labels(self) -> bool {
        self == Namespace::Omemo2
    }

    /// The namespace whose device lists are in this node.
    pub fn from_device_list_node(node: &str) -> Option<Namespace> {
        Namespace::ALL.into_iter().find(|namespace| namespace.device_list_node() == node)
    }

    /// The number that stands for it in stored records and in their keys.
    pub fn code(self) -> u32 {
        match self {
            Namespace::Omemo2 => 2,
            Namespace::Legacy => 1,
        }
    }

    /// The namespace with this stored number.
    pub fn from_code(code: u32) -> Option<Namespace> {
        Namespace::ALL.into_iter().find(|namespace| namespace.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0384 5.3 and 5.4 (0.8 and 0.3.0).
    #[test]
    fn nodes_have_the_names_of_the_specification() {
        let nodes = |namespace: Namespace| {
            let is_own = Namespace::from_device_list_node(namespace.device_list_node()) == Some(namespace);
            (namespace.device_list_node(), namespace.bundle_node(7), is_own, namespace.names_recipients())
        };
        let expected = ("urn:xmpp:omemo:2:devices", "urn:xmpp:omemo:2:bundles".to_owned(), true, true);
        assert_eq!(nodes(Namespace::Omemo2), expected);
        let (list, bundle) =
            ("eu.siacs.conversations.axolotl.devicelist", "eu.siacs.conversations.axolotl.bundles:7");
        assert_eq!(nodes(Namespace::Legacy), (list, bundle.to_owned(), true, false));
        assert_eq!(Namespace::from_device_list_node("urn:xmpp:omemo:2:bundles"), None);
    }

    #[test]
    fn uris_and_stored_numbers_come_back() {
        for namespace in Namespace::ALL {
            assert_eq!(Namespace::from_uri(namespace.uri()), Some(namespace));
            assert_eq!(Namespace::from_code(namespace.code()), Some(namespace));
        }
        assert_eq!([0, 3].map(Namespace::from_code), [None; 2]);
        assert_eq!(Namespace::from_uri("urn:xmpp:omemo:1"), None);
    }
}
