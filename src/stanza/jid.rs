//! Bare JIDs in their normal form (RFC 7622, with the stringprep profiles of RFC 6122 that servers use).
//!
//! Owns normalisation: no other file compares or folds names. Two spellings of one account end up as one string,
//! which is what storage keys, trust and key lookup compare. Servers prepare names as queries (RFC 3454 7.2): code
//! points that Unicode 3.2 did not have yet are allowed and stand for themselves, neither folded nor composed. Domains
//! are compared as U-labels. Knows no XML.

use std::borrow::Cow;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

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

/// The normal form of the bare JID of a bare or full one, and whether there was a resource.
pub fn bare_of(jid: &str) -> Result<(BareJid, bool)> {
    match jid.split_once('/') {
        Some((bare, resource)) if !resource.is_empty() => Ok((self::bare(bare)?, true)),
        Some(_) => Err(refused("The resource of a JID is empty.")),
        None => Ok((self::bare(jid)?, false)),
    }
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

fn nodeprep(local: &str) -> Result<String> {
    let prepared = prepare(local)?;
    if is_prohibited_bidirectional(&prepared) {
        return Err(refused("The localpart of a JID runs in both directions."));
    }
    let forbidden =
        |c: char| c.is_ascii_control() || matches!(c, ' ' | '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@');
    if prepared.chars().any(forbidden) {
        Err(refused("The localpart of a JID holds a character it must not."))
    } else {
        Ok(prepared)
    }
}

fn domainpart(domain: &str) -> Result<Cow<'_, str>> {
    // One dot, which means the root.
    let normalized = match settled(domain, nameprep)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('.').unwrap_or(text)),
        Cow::Owned(text) => Cow::Owned(text.strip_suffix('.').map(str::to_owned).unwrap_or(text)),
    };
    if normalized.is_empty() || normalized.len() > limits::JID_PART_BYTES {
        return Err(refused("The domainpart of a JID is empty or too long."));
    }
    let sound = match normalized.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => normalized.split('.').all(is_label),
    };
    if sound {
        Ok(normalized)
    } else {
        Err(refused("The domainpart of a JID is no host name and no address."))
    }
}

/// Nameprep, the three other full stops of IDNA (RFC 3490 3.1) as full stops, and U-labels.
fn nameprep(domain: &str) -> Result<String> {
    let mut prepared = prepare(domain)?;
    if !prepared.is_ascii() {
        prepared = prepared.replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".");
    }
    if !prepared.contains("xn--") {
        return Ok(prepared);
    }
    let labels: Vec<_> = prepared.split('.').map(unicode_label).collect();
    Ok(labels.join("."))
}

/// The U-label of an A-label. One that says something that nameprep changes (an eszett, which it writes as ss) is not the
/// name that one gets by writing its U-label, and so stays as it is, like one that cannot be decoded.
fn unicode_label(label: &str) -> Cow<'_, str> {
    if !label.starts_with("xn--") {
        return Cow::Borrowed(label);
    }
    let (unicode, decoded) = idna::domain_to_unicode(label);
    let same = decoded.is_ok()
        && is_label(&unicode)
        && prepare(&unicode).is_ok_and(|prepared| prepared == unicode)
        && idna::domain_to_ascii(&unicode).is_ok_and(|ascii| ascii == label);
    if same { Cow::Owned(unicode) } else { Cow::Borrowed(label) }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.chars().all(allowed_in_label)
}

/// What nodeprep and nameprep have in common: mapping, normalisation, and prohibited characters. Directions are for
/// nodeprep alone: labels of one domain run in different ones, and its U-labels come from the registries.
fn prepare(text: &str) -> Result<String> {
    if text.is_ascii() {
        return Ok(text.to_ascii_lowercase());
    }
    let mut prepared = String::new();
    // Unicode 3.2 neither folds nor composes what it does not know.
    let mut known = String::new();
    for c in text.chars().filter(|c| !tables::commonly_mapped_to_nothing(*c)) {
        if tables::unassigned_code_point(c) {
            prepared.extend(known.nfkc());
            known.clear();
            prepared.push(c);
        } else {
            known.extend(tables::case_fold_for_nfkc(c));
        }
    }
    prepared.extend(known.nfkc());
    if prepared.chars().any(is_prohibited) {
        return Err(refused("A part of a JID holds a character it must not."));
    }
    Ok(prepared)
}

/// Tables C.1.2, C.2.2 and C.3 to C.9 of RFC 3454.
fn is_prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
}

/// RFC 3454 6: text that runs from right to left begins and ends so, and holds nothing that runs the other way. Scripts
/// that came later have no direction there.
fn is_prohibited_bidirectional(text: &str) -> bool {
    let known = |c: char| !tables::unassigned_code_point(c);
    let right = |c: char| known(c) && tables::bidi_r_or_al(c);
    let left = |c: char| known(c) && tables::bidi_l(c);
    if !text.chars().any(right) {
        return false;
    }
    let ends = [text.chars().next(), text.chars().next_back()];
    text.chars().any(left) || !ends.into_iter().flatten().all(right)
}

/// Nameprep lets every ASCII character pass. A host name has letters, digits and hyphens; private networks have
/// underscores too.
fn allowed_in_label(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Prepares a part until it is its own normal form, or a name read back from storage would be another one.
fn settled(part: &str, prepare: fn(&str) -> Result<String>) -> Result<Cow<'_, str>> {
    let mut now = prepare(part)?;
    if now == part {
        return Ok(Cow::Borrowed(part));
    }
    for _ in 0..ROUNDS {
        let next = prepare(&now)?;
        if next == now {
            return Ok(Cow::Owned(now));
        }
        now = next;
    }
    Err(refused("A part of a JID has no stable normal form."))
}

/// Preparations of a part before it is given up; two are enough for all names that are known.
const ROUNDS: usize = 4;

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

    #[test]
    fn letters_that_came_after_unicode_3_2_stand_for_themselves() {
        for local in [
            // Tifinagh, N'Ko, Adlam (small and capital), CJK extension B and G, a modifier letter, capital lunate sigma.
            "\u{2d30}\u{2d63}",
            "\u{7ca}\u{7de}1",
            "\u{1e922}\u{1e923}",
            "\u{1e900}",
            "\u{2a6d7}",
            "\u{30000}",
            "\u{1d2c}",
            "\u{3f9}",
            "a\u{2d30}b",
            "\u{7ca}a",
        ] {
            for jid in [format!("{local}@example.org"), format!("a@{local}.example")] {
                assert_eq!(normal(&jid), jid);
            }
        }
        // What was there before is folded beside them.
        assert_eq!(normal("A\u{2d30}\u{c4}@x.example"), "a\u{2d30}\u{e4}@x.example");
        assert_eq!(normal("e\u{301}\u{2d30}e\u{301}@x.example"), "\u{e9}\u{2d30}\u{e9}@x.example");
    }

    #[test]
    fn domains_are_u_labels() {
        for (written, normalized) in [
            ("xn--bcher-kva.example", "b\u{fc}cher.example"),
            ("XN--Bcher-KVA.example.", "b\u{fc}cher.example"),
            ("B\u{dc}CHER.example", "b\u{fc}cher.example"),
            ("a.xn--bcher-kva.xn--p1ai", "a.b\u{fc}cher.\u{440}\u{444}"),
            ("\u{5d0}1.example", "\u{5d0}1.example"),
            ("xn--mgbh0fb.example", "\u{645}\u{62b}\u{627}\u{644}.example"),
            // Nameprep writes an eszett as ss, so this is another name than strasse, and than what one types.
            ("xn--strae-oqa.example", "xn--strae-oqa.example"),
            ("stra\u{df}e.example", "strasse.example"),
            // Not what anybody decodes.
            ("xn--.example", "xn--.example"),
            ("xn--a.example", "xn--a.example"),
            ("xn--99999999.example", "xn--99999999.example"),
            ("xn--bcher-kva-.example", "xn--bcher-kva-.example"),
            ("axn--b.example", "axn--b.example"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("192.0.2.1.", "192.0.2.1"),
        ] {
            assert_eq!(normal(written), normalized);
            assert_eq!(normal(&format!("A@{written}")), format!("a@{normalized}"));
            assert_eq!(normal(normalized), normalized);
        }
    }

    #[test]
    fn full_jids_have_a_bare_one() {
        let of = |jid: &str| bare_of(jid).map(|(jid, full)| (jid.as_str().to_owned(), full)).ok();
        assert_eq!(of("A@B"), Some(("a@b".to_owned(), false)));
        assert_eq!(of("A@B/C/d@e"), Some(("a@b".to_owned(), true)));
        assert_eq!(of("b/c"), Some(("b".to_owned(), true)));
        for jid in ["a@b/", "/c", "a@/c", ""] {
            assert_eq!(of(jid), None);
        }
    }

    /// What both servers do to a name without letters newer than Unicode 3.2: the crate's own profiles.
    fn as_servers_do(jid: &str) -> Option<String> {
        let (local, domain) = jid.split_once('@')?;
        // Of what Unicode 3.2 does not know the crate folds some letters, as later versions do.
        if jid.chars().any(tables::unassigned_code_point) {
            return None;
        }
        let local = stringprep::nodeprep(local).ok()?.into_owned();
        let domain = stringprep::nameprep(domain).ok()?.into_owned();
        Some(format!("{local}@{domain}"))
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(jid in "\\PC{0,12}@?\\PC{1,12}") {
            if let Ok(once) = bare(&jid) {
                prop_assert_eq!(bare(once.as_str()).unwrap(), once);
            }
        }

        #[test]
        fn names_that_are_one_to_servers_are_one_here(
            local in "[a-zA-Z\u{c0}-\u{24f}\u{370}-\u{3ff}\u{430}-\u{44f}\u{300}-\u{30f}\u{ad}\u{ff21}-\u{ff3a}]{1,6}",
            domain in "[a-zA-Z\u{c0}-\u{24f}\u{391}-\u{3c9}\u{ff21}-\u{ff3a}]{1,6}\\.?",
        ) {
            let jid = format!("{local}@{domain}");
            if let Some(prepared) = as_servers_do(&jid)
                && let Ok(normal) = bare(&prepared)
            {
                prop_assert_eq!(bare(&jid).unwrap(), normal);
            }
        }

        #[test]
        fn a_domain_is_the_same_in_both_of_its_forms(label in "[a-z\u{e0}-\u{f6}\u{3b1}-\u{3c1}\u{430}-\u{44f}\u{4e00}-\u{4e20}]{1,8}") {
            if let Ok(ascii) = idna::domain_to_ascii(&label) {
                prop_assert_eq!(bare(&ascii).unwrap(), bare(&label).unwrap());
            }
        }
    }
}
