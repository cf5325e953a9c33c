//! The smallest envelope of stanza content encryption (XEP-0420): one text.
//!
//! Owns the plaintext of omemo:2: `<envelope/>` with a body and its affixes.

use zeroize::Zeroizing;

use super::affixes;
use super::xml::writer::{Writer, escaped_len};
use super::xml::{Event, Ns, Reader, is_legal, malformed, push_text};
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::limits;

/// Whether XML can carry this text. What it cannot is refused rather than changed: a text arrives as it was sent.
pub fn check_text(text: &str) -> Result<()> {
    if text.chars().all(is_legal) {
        Ok(())
    } else {
        Err(Error::new(Status::Argument, "The text contains a control character that XML cannot represent."))
    }
}

/// The envelope around a text. `time_ms` is Unix time in milliseconds; a time that no stamp can express (before the
/// year 1 or after 9999) is left out, for a wrong clock must not stop messages.
pub fn write_body(text: &str, from: &BareJid, time_ms: i64, rng: &mut dyn Rng) -> Result<Zeroizing<String>> {
    check_text(text)?;
    let padding = affixes::padding(text, rng)?;
    // Room for everything at once: text that grows would leave copies of itself behind.
    let room = [escaped_len(text), padding.len(), from.as_str().len().saturating_mul(6), 256];
    let mut writer = Writer::with_capacity(room.into_iter().fold(0, usize::saturating_add));
    writer.open("envelope").attribute("xmlns", "urn:xmpp:sce:1");
    writer
        .open("content")
        .open("body")
        .attribute("xmlns", "jabber:client")
        .text(text)
        .close("body")
        .close("content");
    affixes::write(&mut writer, &padding, time_ms, from);
    writer.close("envelope");
    let envelope = Zeroizing::new(writer.finish());
    if envelope.len() > limits::ENVELOPE_BYTES {
        return Err(Error::new(Status::Limit, "The text is too long for one message."));
    }
    Ok(envelope)
}

/// The text in an envelope; `None` where its content is something else. Padding of any length is accepted.
pub fn read_body(envelope: &[u8]) -> Result<Option<Zeroizing<String>>> {
    let mut reader = Reader::new(envelope)?;
    let root = reader.child(0)?.ok_or_else(|| malformed("The envelope is empty."))?;
    if !root.is(Ns::Sce, "envelope") {
        return Err(malformed("This is no envelope."));
    }
    let mut content = false;
    let mut body = None;
    while let Some(child) = reader.child(root.level())? {
        if content || !child.is(Ns::Sce, "content") {
            continue;
        }
        content = true;
        while let Some(element) = reader.child(child.level())? {
            if body.is_some() || !element.is(Ns::Stream, "body") {
                continue;
            }
            // The text cannot be longer than the envelope: it never grows, and so leaves no copies behind.
            let mut text = Zeroizing::new(String::with_capacity(envelope.len()));
            while reader.level() >= element.level() {
                match reader.next()? {
                    Event::Text(piece) if reader.level() == element.level() => push_text(&mut text, &piece),
                    Event::Char(c) if reader.level() == element.level() => text.push(c),
                    _ => {}
                }
            }
            body = Some(text);
        }
    }
    reader.child(0)?;
    if content { Ok(body) } else { Err(malformed("The envelope has no content.")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::affixes::tests::{Counter, SHORTEST};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn romeo() -> BareJid {
        BareJid::from_normalized("romeo@montague.example")
    }

    #[test]
    fn the_envelope_is_exactly_this() {
        let text = "x".repeat(SHORTEST - 1);
        assert_eq!(
            *write_body(&text, &romeo(), 1_704_067_200_999, &mut Counter(2)).unwrap(),
            format!(
                "<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>{text}</body></content>\
                 <rpad>DEF</rpad><time stamp='2024-01-01T00:00:00Z'/><from jid='romeo@montague.example'/></envelope>"
            )
        );
    }

    #[test]
    fn texts_come_back_byte_by_byte() {
        for text in [
            "",
            " ",
            "Hello",
            "a\nb\r\nc\rd\te",
            "<b>&amp;]]>'\"",
            "\u{1f469}\u{200d}\u{1f680} e\u{301}",
            "\u{85}\u{2028}\u{feff}\u{7f}",
        ] {
            let envelope = write_body(text, &romeo(), 0, &mut Counter(0)).unwrap();
            assert_eq!(read_body(envelope.as_bytes()).unwrap().unwrap().as_str(), text, "{text:?}");
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_refused() {
        for text in ["\0", "a\u{1b}b", "\u{ffff}"] {
            assert_eq!(
                write_body(text, &romeo(), 0, &mut Counter(0)).unwrap_err().status(),
                Status::Argument
            );
        }
    }

    #[test]
    fn a_time_that_no_stamp_expresses_is_left_out() {
        assert!(!write_body("a", &romeo(), i64::MAX, &mut Counter(0)).unwrap().contains("stamp"));
    }

    #[test]
    fn texts_that_no_stanza_holds_are_refused() {
        let write =
            |text: String| write_body(&text, &romeo(), 0, &mut Counter(0)).map(|envelope| envelope.len());
        assert!(write("x".repeat(limits::ENVELOPE_BYTES - 500)).is_ok());
        assert_eq!(write("x".repeat(limits::ENVELOPE_BYTES)).unwrap_err().status(), Status::Limit);
        // What counts is the length once it is escaped.
        assert_eq!(write("&".repeat(limits::ENVELOPE_BYTES / 4)).unwrap_err().status(), Status::Limit);
    }

    #[test]
    fn content_without_body_is_no_error() {
        let read = |content: &str| {
            read_body(format!("<envelope xmlns='urn:xmpp:sce:1'>{content}</envelope>").as_bytes())
        };
        assert_eq!(read("<content/>").unwrap(), None);
        assert_eq!(
            read("<content><x xmlns='a'><body xmlns='jabber:client'>no</body></x></content>").unwrap(),
            None
        );
        assert_eq!(read("<content><body>wrong namespace</body></content>").unwrap(), None);
        assert_eq!(read("<content><body xmlns='jabber:client'/></content>").unwrap().unwrap().as_str(), "");
        assert_eq!(
            read("<rpad>x</rpad><other xmlns='y'/><content><a xmlns='b'/><c:body xmlns:c='jabber:client'>yes<i>no</i>!</c:body></content>")
                .unwrap()
                .unwrap()
                .as_str(),
            "yes!"
        );
        for envelope in [
            "",
            "text",
            "<body xmlns='jabber:client'/>",
            "<envelope xmlns='urn:xmpp:sce:1'/>",
            "<envelope xmlns='urn:xmpp:sce:1'><content/>",
        ] {
            assert_eq!(read_body(envelope.as_bytes()).unwrap_err().status(), Status::Malformed);
        }
        assert!(read("<content/><rpad>&x;</rpad>").is_err());
    }

    proptest! {
        #[test]
        fn every_legal_text_comes_back(text in any::<String>(), seed in any::<u8>(), time in any::<i64>()) {
            let text: String = text.chars().filter(|&c| is_legal(c)).collect();
            let envelope = write_body(&text, &romeo(), time, &mut Counter(seed)).unwrap();
            let body = read_body(envelope.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(body.as_str(), text);
        }
    }
}
