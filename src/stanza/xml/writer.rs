//! Writes XML that any reader reads back to the same strings.
//!
//! Owns escaping. Characters that XML 1.0 cannot hold are left out: whoever must not lose any asks [`is_legal`]
//! before. Line ends and tabs are written as references where a reader would change them.

use super::text::is_legal;

/// An XML text in the making. Names are ours, and written as they are.
pub(in crate::stanza) struct Writer {
    out: String,
    in_tag: bool,
}

impl Writer {
    /// Room for so many bytes.
    pub(in crate::stanza) fn with_capacity(bytes: usize) -> Writer {
        Writer { out: String::with_capacity(bytes), in_tag: false }
    }

    /// `<name`, to be followed by attributes, content or [`Writer::close`].
    pub(in crate::stanza) fn open(&mut self, name: &str) -> &mut Writer {
        self.end_tag();
        self.out.push('<');
        self.out.push_str(name);
        self.in_tag = true;
        self
    }

    /// ` name='value'`.
    pub(in crate::stanza) fn attribute(&mut self, name: &str, value: &str) -> &mut Writer {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("='");
        escape(&mut self.out, value, Place::Attribute);
        self.out.push('\'');
        self
    }

    /// ` name='12'`.
    pub(in crate::stanza) fn number(&mut self, name: &str, value: u32) -> &mut Writer {
        self.attribute(name, &value.to_string())
    }

    /// Text.
    pub(in crate::stanza) fn text(&mut self, text: &str) -> &mut Writer {
        self.end_tag();
        escape(&mut self.out, text, Place::Text);
        self
    }

    /// `</name>`, or `/>` where nothing is inside.
    pub(in crate::stanza) fn close(&mut self, name: &str) -> &mut Writer {
        if std::mem::replace(&mut self.in_tag, false) {
            self.out.push_str("/>");
        } else {
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
        }
        self
    }

    /// `<name>text</name>`.
    pub(in crate::stanza) fn leaf(&mut self, name: &str, text: &str) -> &mut Writer {
        self.open(name).text(text).close(name)
    }

    /// What was written.
    pub(in crate::stanza) fn finish(self) -> String {
        self.out
    }

    fn end_tag(&mut self) {
        if std::mem::replace(&mut self.in_tag, false) {
            self.out.push('>');
        }
    }
}

/// Where a string stands: in an attribute, a reader changes line ends and tabs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Attribute,
}

fn escape(out: &mut String, text: &str, place: Place) {
    // Base64 and most texts are one run.
    let mut run = 0;
    for (at, c) in text.char_indices() {
        let reference = reference(c, place);
        if reference.is_none() && is_legal(c) {
            continue;
        }
        out.push_str(text.get(run..at).unwrap_or_default());
        out.push_str(reference.unwrap_or_default());
        run = at.saturating_add(c.len_utf8());
    }
    out.push_str(text.get(run..).unwrap_or_default());
}

/// How many bytes text has once it is escaped.
pub(in crate::stanza) fn escaped_len(text: &str) -> usize {
    text.chars().map(|c| reference(c, Place::Text).map_or(c.len_utf8(), str::len)).sum()
}

/// How many bytes the value of an attribute has once it is escaped.
pub(in crate::stanza) fn escaped_attribute_len(text: &str) -> usize {
    text.chars().map(|c| reference(c, Place::Attribute).map_or(c.len_utf8(), str::len)).sum()
}

fn reference(c: char, place: Place) -> Option<&'static str> {
    Some(match c {
        '<' => "&lt;",
        '>' => "&gt;",
        '&' => "&amp;",
        '\r' => "&#13;",
        '\'' if place == Place::Attribute => "&apos;",
        '\n' if place == Place::Attribute => "&#10;",
        '\t' if place == Place::Attribute => "&#9;",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Reader, push_text};
    use super::*;
    use proptest::prelude::*;

    fn write(attribute: &str, text: &str) -> String {
        let mut writer = Writer::with_capacity(0);
        writer.open("a").attribute("b", attribute).text(text).close("a");
        writer.finish()
    }

    fn read(xml: &str) -> (String, String) {
        let mut reader = Reader::new(xml.as_bytes()).unwrap();
        let attribute = reader.child(0).unwrap().unwrap().attribute("b").unwrap().into_owned();
        let mut text = String::new();
        loop {
            match reader.next().unwrap() {
                Event::Text(piece) => push_text(&mut text, &piece),
                Event::Char(c) => text.push(c),
                Event::Eof => return (attribute, text),
                _ => {}
            }
        }
    }

    #[test]
    fn markup_is_escaped_and_what_xml_cannot_hold_left_out() {
        assert_eq!(
            write("<'\"&\n\u{0}", "a]]>b&\r\u{1f}\u{ffff}"),
            "<a b='&lt;&apos;\"&amp;&#10;'>a]]&gt;b&amp;&#13;</a>"
        );
    }

    #[test]
    fn empty_elements_are_short() {
        let mut writer = Writer::with_capacity(0);
        writer.open("a").open("b").close("b").leaf("c", "").close("a");
        assert_eq!(writer.finish(), "<a><b/><c></c></a>");
    }

    proptest! {
        #[test]
        fn strings_come_back(attribute: String, text: String) {
            let legal = |text: &str| text.chars().filter(|&c| is_legal(c)).collect::<String>();
            prop_assert_eq!(read(&write(&attribute, &text)), (legal(&attribute), legal(&text)));
        }

        #[test]
        fn the_length_is_foretold(text in "[<>&'\r\né😀a]{0,40}") {
            let mut out = String::new();
            escape(&mut out, &text, Place::Text);
            prop_assert_eq!(out.len(), escaped_len(&text));
        }
    }
}
