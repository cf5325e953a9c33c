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
