//! The affixes of an envelope (XEP-0420 4.1): random padding, the time, the sender.
//!
//! Of those received only the sender is verified: what `<to/>` and `<time/>` must agree with is known to whoever received
//! the stanza.

use super::jid;
use super::xml::writer::Writer;
use super::xml::{Ns, Reader, malformed};
use crate::crypto::rng::Rng;
use crate::error::Result;
use crate::protocol::address::BareJid;

/// Texts shorter than this are padded to it, so that "yes" and "no" look alike even without the random part.
const SHORTEST_TEXT: usize = 64;
/// Random padding has 0 to so many characters (XEP-0420 4.1).
const MOST_PADDING: u8 = 200;
/// What padding is made of: 64 characters that need no escaping.
const PADDING: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes the affixes. A time that no stamp can express is left out.
pub(super) fn write(writer: &mut Writer, padding: &str, time_ms: i64, from: &BareJid) {
    writer.leaf("rpad", padding);
    if let Some(stamp) = stamp(time_ms) {
        writer.open("time").attribute("stamp", &stamp).close("time");
    }
    writer.open("from").attribute("jid", from.as_str()).close("from");
}

/// Draws the padding of a text.
pub(super) fn padding(text: &str, rng: &mut dyn Rng) -> Result<String> {
    let mut extra = [u8::MAX];
    // Drawn again where it is too large: a remainder would prefer small numbers.
    while extra[0] > MOST_PADDING {
        rng.fill(&mut extra)?;
    }
    let mut bytes = vec![0; SHORTEST_TEXT.saturating_sub(text.len()).saturating_add(extra[0].into())];
    rng.fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| PADDING.get(usize::from(byte & 63))).map(|&c| char::from(c)).collect())
}

/// UTC as XEP-0082 writes it. Days to dates in the proleptic Gregorian calendar, in eras of 400 years that begin in
/// March.
fn stamp(time_ms: i64) -> Option<String> {
    let seconds = time_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days =
        (day_of_era / 1_460).checked_sub(day_of_era / 36_524)?.checked_add(day_of_era / 146_096)?;
    let year_of_era = day_of_era.checked_sub(leap_days)? / 365;
    let before_year =
        year_of_era.checked_mul(365)?.checked_add(year_of_era / 4)?.checked_sub(year_of_era / 100)?;
    let day_of_year = day_of_era.checked_sub(before_year)?;
    let month_from_march = day_of_year.checked_mul(5)?.checked_add(2)? / 153;
    let before_month = month_from_march.checked_mul(153)?.checked_add(2)? / 5;
    let day = day_of_year.checked_sub(before_month)?.checked_add(1)?;
    let month = if month_from_march < 10 {
        month_from_march.checked_add(3)?
    } else {
        month_from_march.checked_sub(9)?
    };
    let year = era.checked_mul(400)?.checked_add(year_of_era)?.checked_add(i64::from(month <= 2))?;
    if !(1..=9_999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Returns whether an envelope names nobody but this JID as its sender (XEP-0420 4.1); one without `<from/>` names nobody, and
/// what is no envelope neither. Resources are left out, and names compared as they are normalised.
pub(super) fn is_from(envelope: &[u8], sender: &BareJid) -> bool {
    names_only(envelope, sender).unwrap_or(true)
}

fn names_only(envelope: &[u8], sender: &BareJid) -> Result<bool> {
    let mut reader = Reader::new(envelope)?;
    let root = reader.child(0)?.ok_or_else(|| malformed("The envelope is empty."))?;
    if !root.is(Ns::Sce, "envelope") {
        return Ok(true);
    }
    let mut only = true;
    while let Some(child) = reader.child(root.level())? {
        if child.is(Ns::Sce, "from") {
            let named = child.attribute("jid").and_then(|jid| jid::bare_of(&jid).ok());
            only &= named.is_some_and(|(named, _)| named == *sender);
        }
    }
    reader.child(0)?;
    Ok(only)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::stanza) const SHORTEST: usize = SHORTEST_TEXT;

    /// Counts upwards: no randomness, but every byte is told from its neighbour.
    pub(in crate::stanza) struct Counter(pub(in crate::stanza) u8);

    impl Rng for Counter {
        fn fill(&mut self, out: &mut [u8]) -> Result<()> {
            for byte in out {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    fn romeo() -> BareJid {
        BareJid::from_normalized("romeo@montague.example")
    }

    #[test]
    fn nobody_but_the_sender_may_be_named() {
        let envelope =
            |from: &str| format!("<envelope xmlns='urn:xmpp:sce:1'><content/>{from}</envelope>").into_bytes();
        for (from, right) in [
            ("", true),
            ("<from jid='romeo@montague.example'/>", true),
            ("<from jid='Romeo@Montague.Example/orchard'/>", true),
            ("<from xmlns='urn:x' jid='juliet@capulet.example'/>", true),
            ("<from jid='juliet@capulet.example'/>", false),
            ("<from jid='montague.example'/>", false),
            ("<from jid='@'/>", false),
            ("<from/>", false),
            ("<from jid='romeo@montague.example'/><from jid='juliet@capulet.example'/>", false),
        ] {
            assert_eq!(is_from(&envelope(from), &romeo()), right, "{from}");
        }
        assert!(is_from(b"no envelope", &romeo()));
    }

    #[test]
    fn padding_has_a_least_size_and_a_random_rest() {
        let len = |text: &str, first: u8| padding(text, &mut Counter(first)).unwrap().len();
        assert_eq!(len("", 0), SHORTEST_TEXT);
        assert_eq!(len("abc", 5), SHORTEST_TEXT - 3 + 5);
        assert_eq!(len(&"a".repeat(1_000), 200), 200);
        // 201 to 255 are drawn again.
        assert_eq!(len(&"a".repeat(1_000), 201), 0);
    }

    #[test]
    fn stamps_are_utc() {
        for (ms, expected) in [
            (0, Some("1970-01-01T00:00:00Z")),
            (-1, Some("1969-12-31T23:59:59Z")),
            (951_782_400_000, Some("2000-02-29T00:00:00Z")),
            (1_709_164_800_000, Some("2024-02-29T00:00:00Z")),
            (1_709_251_200_000, Some("2024-03-01T00:00:00Z")),
            (1_735_689_599_000, Some("2024-12-31T23:59:59Z")),
            (4_107_542_400_000, Some("2100-03-01T00:00:00Z")),
            (2_147_483_648_000, Some("2038-01-19T03:14:08Z")),
            (253_402_300_799_000, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800_000, None),
            (-62_135_596_800_000, Some("0001-01-01T00:00:00Z")),
            (-62_135_596_800_001, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(stamp(ms).as_deref(), expected);
        }
    }
}
