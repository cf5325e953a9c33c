//! Whether a stanza was delayed on its way (XEP-0203, and XEP-0091 before it).

use super::xml::{Element, Reader};

/// Returns whether a child of a message says so.
pub(super) fn is_delay(reader: &Reader<'_>, element: &Element<'_>) -> bool {
    let namespace = reader.namespace(element.prefix());
    matches!((namespace, element.name()), (Some("urn:xmpp:delay"), "delay") | (Some("jabber:x:delay"), "x"))
}
