//! What an error stanza says (RFC 6120 8.3): a condition of a fixed set, and a text that anybody may have written.

use std::fmt::Write as _;

/// Code points of an error's text that are kept, escapes included.
pub const TEXT_CHARS: usize = 200;

macro_rules! conditions {
    ($($variant:ident = $name:literal,)*) => {
        /// A defined condition of RFC 6120 8.3.3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Condition {
            $(#[doc = concat!("`<", $name, "/>`.")] $variant,)*
        }

        impl Condition {
            /// All of them.
            pub const ALL: &[Condition] = &[$(Condition::$variant,)*];

            /// Returns the name of its element, which is safe to be logged.
            pub fn name(self) -> &'static str {
                match self {
                    $(Condition::$variant => $name,)*
                }
            }
        }
    };
}

conditions! {
    BadRequest = "bad-request",
    Conflict = "conflict",
    FeatureNotImplemented = "feature-not-implemented",
    Forbidden = "forbidden",
    Gone = "gone",
    InternalServerError = "internal-server-error",
    ItemNotFound = "item-not-found",
    JidMalformed = "jid-malformed",
    NotAcceptable = "not-acceptable",
    NotAllowed = "not-allowed",
    NotAuthorized = "not-authorized",
    PolicyViolation = "policy-violation",
    RecipientUnavailable = "recipient-unavailable",
    Redirect = "redirect",
    RegistrationRequired = "registration-required",
    RemoteServerNotFound = "remote-server-not-found",
    RemoteServerTimeout = "remote-server-timeout",
    ResourceConstraint = "resource-constraint",
    ServiceUnavailable = "service-unavailable",
    SubscriptionRequired = "subscription-required",
    UndefinedCondition = "undefined-condition",
    UnexpectedRequest = "unexpected-request",
}

impl Condition {
    /// Returns the condition of this name.
    pub fn from_name(name: &str) -> Option<Condition> {
        Condition::ALL.iter().copied().find(|condition| condition.name() == name)
    }
}

/// What an error stanza says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StanzaError {
    /// Its condition, if it has one that RFC 6120 defines.
    pub condition: Option<Condition>,
    /// Its text, shortened and escaped by [`clean_text`]; it may hold JIDs and must not reach a log.
    pub text: Option<String>,
}

/// Returns a text of somebody else's as it may be shown: without control and bidirectional formatting characters, which
/// stand in it as `\u{…}`, and at most [`TEXT_CHARS`] code points long.
pub fn clean_text(text: &str) -> String {
    let (mut clean, mut count) = (String::new(), 0_usize);
    for c in text.chars() {
        let mut shown = String::new();
        if is_hidden(c) {
            // Writing to a string does not fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
        count = count.saturating_add(shown.chars().count());
        if count > TEXT_CHARS {
            break;
        }
        clean.push_str(&shown);
    }
    clean
}

/// Characters that end a line, move a cursor, or turn the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_rfc_and_lead_back() {
        assert_eq!(Condition::ALL.len(), 22);
        for condition in Condition::ALL {
            assert_eq!(Condition::from_name(condition.name()), Some(*condition));
            assert!(condition.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        }
        assert_eq!(Condition::from_name("text"), None);
    }

    #[test]
    fn texts_are_short_and_show_what_they_hide() {
        assert_eq!(clean_text("Not allowed \u{e4}\u{1f600}"), "Not allowed \u{e4}\u{1f600}");
        assert_eq!(
            clean_text("a\nb\u{1b}[2Jc\u{202e}d\u{2066}e\u{7f}f\u{85}"),
            "a\\u{a}b\\u{1b}[2Jc\\u{202e}d\\u{2066}e\\u{7f}f\\u{85}"
        );
        assert_eq!(clean_text(&"\u{e9}".repeat(201)).chars().count(), 200);
        // No escape is cut in two.
        let cut = clean_text(&format!("{}\n", "x".repeat(198)));
        assert_eq!(cut, "x".repeat(198));
        assert!(clean_text(&"\u{202e}".repeat(1_000_000)).ends_with("\\u{202e}"));
    }
}
