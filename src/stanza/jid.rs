//! Bare JIDs in their normal form (RFC 7622, with the stringprep profiles of RFC 6122 that servers use).
//!
//! Owns normalisation: no other file compares or folds names. Two spellings of one account end up as one string,
//! which is what storage keys, trust and key lookup compare. Knows no XML.

use std::borrow::Cow;

use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::limits;

/// The normal form of a bare JID. A resource, an empty part, a part of more than 1,023 bytes and whatever stringprep
/// forbids are refused with [`Status::Jid`].
pub fn bare(jid: &str) -> Result<BareJid> {
    // Preparation may shorten a string, but a JID that needs this is no JID anybody has.
    if jid.len() > limits::JID_BYTES {
        return Err(refused("A JID of this length cannot exist."));
    }
    if jid.contains('/') {
        return Err(refused("A JID with a resource where a bare one is wanted."));
    }
    let (local, domain) = match jid.split_once('@') {
        Some((local, domain)) => (Some(local), domain),
        None => (None, jid),
    };
    let domain = domainpart(domain)?;
    let normalized = match local {
        Some(local) => format!("{}@{domain}", localpart(local)?),
        None => domain.into_owned(),
    };
    Ok(BareJid::from_normalized(&normalized))
}

fn refused(detail: &'static str) -> Error {
    Error::new(Status::Jid, detail)
}

fn localpart(local: &str) -> Result<Cow<'_, str>> {
    let normalized = settled(local, nodeprep)?;
    if normalized.is_empty() || normalized.len() > limits::JID_PART_BYTES {
        return Err(refused("The localpart of a JID is empty or too long."));
    }
    Ok(normalized)
}

fn nodeprep(local: &str) -> Result<Cow<'_, str>> {
    stringprep::nodeprep(local).map_err(|_| refused("The localpart of a JID holds a character it must not."))
}

fn domainpart(domain: &str) -> Result<Cow<'_, str>> {
    let normalized = settled(domain, nameprep)?;
    if normalized.is_empty() || normalized.len() > limits::JID_PART_BYTES {
        return Err(refused("The domainpart of a JID is empty or too long."));
    }
    let sound = match normalized.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => normalized.split('.').all(|label| !label.is_empty() && label.chars().all(allowed_in_label)),
    };
    if sound {
        Ok(normalized)
    } else {
        Err(refused("The domainpart of a JID is no host name and no address."))
    }
}

/// Nameprep, the three other full stops of IDNA (RFC 3490 3.1) as full stops, and no root dot (RFC 7622 3.2).
fn nameprep(domain: &str) -> Result<Cow<'_, str>> {
    let prepared = stringprep::nameprep(domain)
        .map_err(|_| refused("The domainpart of a JID holds a character it must not."))?;
    let dotted = match prepared.contains(['\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        true => Cow::Owned(prepared.replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".")),
        false => prepared,
    };
    Ok(match dotted {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('.').unwrap_or(text)),
        Cow::Owned(mut text) => {
            if text.ends_with('.') {
                text.pop();
            }
            Cow::Owned(text)
        }
    })
}

/// Nameprep lets every ASCII character pass. A host name has letters, digits and hyphens; private networks have
/// underscores too.
fn allowed_in_label(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Prepares a part. The result must be its own normal form, or a name read back from storage would be another one.
fn settled(part: &str, prepare: fn(&str) -> Result<Cow<'_, str>>) -> Result<Cow<'_, str>> {
    let once = prepare(part)?;
    if !part.is_ascii() && prepare(&once)? != once {
        return Err(refused("A part of a JID has no stable normal form."));
    }
    Ok(once)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(jid: &str) -> String {
        bare(jid).unwrap().as_str().to_owned()
    }

    #[test]
    fn r50_spellings_of_one_account_are_one() {
        assert_eq!(normal("Juliet@Capulet.Example"), "juliet@capulet.example");
        assert_eq!(normal("juliet@capulet.example."), "juliet@capulet.example");
        assert_eq!(normal("STRASSE@example.org"), "strasse@example.org");
        assert_eq!(normal("stra\u{df}e@example.org"), "strasse@example.org");
        assert_eq!(normal("\u{ff2a}uliet@example.org"), "juliet@example.org");
        assert_eq!(normal("\u{e9}@x.example"), normal("e\u{301}@x.example"));
        assert_eq!(normal("a\u{ad}b@x.example"), "ab@x.example");
        assert_eq!(normal("a@B\u{dc}CHER\u{3002}example"), "a@b\u{fc}cher.example");
        assert_eq!(normal("\u{3a3}\u{391}\u{3a3}@x.example"), normal("\u{3c3}\u{3b1}\u{3c2}@x.example"));
    }

    #[test]
    fn domains_alone_and_addresses_are_jids() {
        assert_eq!(normal("Conference.Example.ORG"), "conference.example.org");
        assert_eq!(normal("a@[::1]"), "a@[::1]");
        assert_eq!(normal("a@192.0.2.1"), "a@192.0.2.1");
        assert_eq!(normal("a@localhost"), "a@localhost");
        assert_eq!(normal("user\\20name@my_host"), "user\\20name@my_host");
    }

    #[test]
    fn what_is_no_bare_jid_is_refused() {
        for jid in [
            "",
            "@",
            "a@",
            "@b",
            "a@b/c",
            "b/c",
            "a@b/",
            "a@b@c",
            "a b@c",
            "a&b@c",
            "a\"b@c",
            "a'b@c",
            "a:b@c",
            "a<b@c",
            "a>b@c",
            "a@b c",
            "a@b..c",
            "a@.b",
            "a@b..",
            ".",
            "a@b<c",
            "a@b'c",
            "a@b:5222",
            "a@[::1",
            "a@[example]",
            "a\u{0}@b",
            "a@b\u{0}",
            "a@b\n",
            "\u{ad}@b",
            "\u{2100}@b",
            "a\u{e000}@b",
            "a\u{fffe}@b",
            "a\u{2028}@b",
            "a\u{202e}b@c",
            "\u{627}a@b",
            "a@\u{2100}",
            "a@\u{ff0f}",
            // Prepared twice they would become "a" and a small sigma.
            "\u{1d2c}@b",
            "a@\u{1d2c}",
            "\u{3f9}@b",
        ] {
            let error = bare(jid).expect_err(jid);
            assert_eq!(error.status(), Status::Jid);
        }
    }

    #[test]
    fn parts_have_at_most_1023_bytes() {
        let long = "a".repeat(1_023);
        let host = ["a".repeat(63).as_str(); 15].join(".") + "." + &"b".repeat(63);
        assert_eq!(host.len(), 1_023);
        assert_eq!(normal(&format!("{long}@{host}")).len(), 2_047);
        assert!(bare(&format!("{long}a@b")).is_err());
        assert!(bare(&format!("a@{host}b")).is_err());
        // U+3316 becomes 18 bytes of kana.
        assert!(bare(&format!("{}@b", "\u{3316}".repeat(56))).is_ok());
        assert!(bare(&format!("{}@b", "\u{3316}".repeat(57))).is_err());
    }

    #[test]
    fn no_error_shows_the_jid() {
        assert!(!bare("secret name@example.org").unwrap_err().to_string().contains("secret"));
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(jid in "\\PC{0,12}@?\\PC{1,12}") {
            if let Ok(once) = bare(&jid) {
                prop_assert_eq!(bare(once.as_str()).unwrap(), once);
            }
        }
    }
}
