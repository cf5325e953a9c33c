//! A bounded reader of XML, for what strangers send.
//!
//! Owns the XML subset of XMPP (RFC 6120 11.1): no document type, no processing instruction, no entity but the five
//! predefined ones; and the limits on bytes, depth, attributes and namespaces. It pulls and builds no tree: memory
//! does not grow with the input. Iterative, so that no input can exhaust the stack. Does not know what elements mean.

use super::element::{Element, Ns, prefix};
use super::text::{is_legal, is_space};
use crate::error::{Error, Result, Status};
use crate::protocol::limits;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event as Raw};
use std::borrow::Cow;

/// What comes next.
pub(in crate::stanza) enum Event<'a> {
    /// An element opens.
    Start(Element<'a>),
    /// The innermost element closes.
    End,
    /// Text as it stands: line ends are not normalised yet, see [`push_text`](super::push_text).
    Text(Cow<'a, str>),
    /// The character of a reference, which is no line end to be normalised.
    Char(char),
    /// The input is over, and was well-formed.
    Eof,
}

struct Binding {
    level: usize,
    prefix: Box<str>,
    uri: Box<str>,
    ns: Ns,
}

/// Pulls events out of one XML document or element.
pub(in crate::stanza) struct Reader<'a> {
    inner: quick_xml::Reader<&'a [u8]>,
    level: usize,
    began: bool,
    rooted: bool,
    bindings: Vec<Binding>,
    failure: Option<Error>,
}

impl<'a> Reader<'a> {
    /// Checks what can be checked without parsing.
    pub(in crate::stanza) fn new(xml: &'a [u8]) -> Result<Reader<'a>> {
        if xml.len() > limits::STANZA_BYTES {
            return Err(Error::new(Status::Limit, "The XML is longer than a stanza may be."));
        }
        let text = std::str::from_utf8(xml).map_err(|_| malformed("The XML is not UTF-8."))?;
        if !text.chars().all(is_legal) {
            return Err(malformed("The XML holds a character that XML cannot hold."));
        }
        let mut inner = quick_xml::Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        inner.config_mut().expand_empty_elements = true;
        Ok(Reader { inner, level: 0, began: false, rooted: false, bindings: Vec::new(), failure: None })
    }

    /// The next event. A failure is final: it comes again, however often one asks.
    pub(in crate::stanza) fn next(&mut self) -> Result<Event<'a>> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        self.pull().inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// The next element right below the element that stands at `level` (0: the root itself); `None` at its end. What
    /// was left unread of the child before is passed over.
    pub(in crate::stanza) fn child(&mut self, level: usize) -> Result<Option<Element<'a>>> {
        while self.level >= level {
            match self.next()? {
                Event::Start(element) if element.level() == level.saturating_add(1) => {
                    return Ok(Some(element));
                }
                Event::Eof => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// How many elements are open.
    pub(in crate::stanza) fn level(&self) -> usize {
        self.level
    }

    /// Goes on to the end of the element at `level`.
    pub(in crate::stanza) fn leave(&mut self, level: usize) -> Result<()> {
        while self.level >= level && !matches!(self.next()?, Event::Eof) {}
        Ok(())
    }

    fn pull(&mut self) -> Result<Event<'a>> {
        loop {
            let raw = self.inner.read_event().map_err(|_| malformed("The XML is not well-formed."))?;
            let first = !std::mem::replace(&mut self.began, true);
            match raw {
                Raw::Start(start) | Raw::Empty(start) => return self.open(start).map(Event::Start),
                Raw::End(_) => {
                    self.level = self.level.saturating_sub(1);
                    while self.bindings.last().is_some_and(|binding| binding.level > self.level) {
                        self.bindings.pop();
                    }
                    return Ok(Event::End);
                }
                Raw::Text(text) => {
                    let text = text.into_inner();
                    if self.level > 0 {
                        return Ok(Event::Text(text));
                    }
                    if !text.chars().all(is_space) {
                        return Err(malformed("There is text outside of the element."));
                    }
                }
                Raw::CData(text) if self.level > 0 => return Ok(Event::Text(text.into_inner())),
                Raw::GeneralRef(reference) if self.level > 0 => {
                    let c = match reference.resolve_char_ref() {
                        Ok(Some(c)) if is_legal(c) => Some(c),
                        Ok(None) => predefined(&reference),
                        _ => None,
                    };
                    return c
                        .map(Event::Char)
                        .ok_or_else(|| malformed("The XML refers to an entity that XMPP has not."));
                }
                Raw::Comment(_) => {}
                Raw::Decl(_) if first => {}
                Raw::Eof if self.rooted && self.level == 0 => return Ok(Event::Eof),
                Raw::Eof => return Err(malformed("The XML ends too early.")),
                Raw::CData(_) | Raw::GeneralRef(_) | Raw::Decl(_) | Raw::PI(_) | Raw::DocType(_) => {
                    return Err(malformed("The XML uses what XMPP forbids."));
                }
            }
        }
    }

    fn open(&mut self, start: BytesStart<'a>) -> Result<Element<'a>> {
        if self.level == 0 && std::mem::replace(&mut self.rooted, true) {
            return Err(malformed("The XML has more than one root."));
        }
        let level = self.level.saturating_add(1);
        let most = limits::XML_DEPTH;
        #[cfg(omemo_planted)]
        let most = if crate::planted::is_planted("xml-depth-unlimited") { usize::MAX } else { most };
        if level > most {
            return Err(Error::new(Status::Limit, "The XML is nested too deeply."));
        }
        for (count, attribute) in start.attributes().enumerate() {
            if count >= limits::XML_ATTRIBUTES {
                return Err(Error::new(Status::Limit, "An XML element has too many attributes."));
            }
            let attribute = attribute.map_err(|_| malformed("An XML attribute cannot be read."))?;
            let prefix = match attribute.key.into_inner() {
                "xmlns" => "",
                key => match key.strip_prefix("xmlns:") {
                    Some(prefix) => prefix,
                    None => continue,
                },
            };
            if self.bindings.len() >= limits::XML_NAMESPACES {
                return Err(Error::new(Status::Limit, "The XML declares too many namespaces."));
            }
            let uri = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| malformed("An XML namespace cannot be read."))?;
            self.bindings.push(Binding { level, prefix: prefix.into(), ns: Ns::of(&uri), uri: uri.into() });
        }
        self.level = level;
        let ns = self.resolve(prefix(start.name().into_inner()));
        Ok(Element { start, ns, level })
    }

    fn resolve(&self, prefix: &str) -> Ns {
        let unbound = if prefix.is_empty() { Ns::None } else { Ns::Other };
        self.binding(prefix).map_or(unbound, |found| found.ns)
    }

    /// The namespace that a prefix (empty: no prefix) stands for here: at an element right after it has opened.
    pub(in crate::stanza) fn namespace(&self, prefix: &str) -> Option<&str> {
        self.binding(prefix).map(|found| &*found.uri)
    }

    fn binding(&self, prefix: &str) -> Option<&Binding> {
        self.bindings.iter().rev().find(|binding| &*binding.prefix == prefix)
    }
}

/// Bytes from outside that cannot be read.
pub(in crate::stanza) fn malformed(detail: &'static str) -> Error {
    Error::new(Status::Malformed, detail)
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::text::push_text;
    use super::*;

    /// The whole input, as names with namespaces and texts.
    fn story(xml: &str) -> Result<String> {
        let mut reader = Reader::new(xml.as_bytes())?;
        let mut out = String::new();
        loop {
            match reader.next()? {
                Event::Start(element) => out += &format!("<{:?} {}>", element.ns(), element.name()),
                Event::End => out += "</>",
                Event::Text(text) => push_text(&mut out, &text),
                Event::Char(c) => out.push(c),
                Event::Eof => return Ok(out),
            }
        }
    }

    fn status(xml: &str) -> Status {
        story(xml).expect_err(xml).status()
    }

    #[test]
    fn namespaces_are_scoped_and_prefixes_resolved() {
        assert_eq!(
            story("<p:a xmlns:p='urn:xmpp:omemo:2' xmlns='jabber:client'><b xmlns='urn:xmpp:sce:1'><c/><d xmlns=''/></b><p:e/><b/><q:f/></p:a>")
                .unwrap(),
            "<Omemo(Omemo2) a><Sce b><Sce c></><None d></></><Omemo(Omemo2) e></><Stream b></><Other f></></>"
        );
        assert_eq!(story("<a xmlns='urn:xmpp:omemo&#58;2'/>").unwrap(), "<Omemo(Omemo2) a></>");
    }

    #[test]
    fn text_is_read_as_xml_says() {
        assert_eq!(
            story("<a>x\r\ny\rz&#13;&#x1F600;&lt;&amp;&apos;<![CDATA[<&\r\n]]><!-- no --></a>").unwrap(),
            "<None a>x\ny\nz\r\u{1f600}<&'<&\n</>"
        );
    }

    #[test]
    fn a_document_around_the_element_is_welcome() {
        assert_eq!(
            story("\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<a/>\n<!-- end -->").unwrap(),
            "<None a></>"
        );
    }

    #[test]
    fn what_is_not_well_formed_or_forbidden_is_malformed() {
        for xml in [
            "",
            " ",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>text",
            "x<a/>",
            "<a b></a>",
            "<a b=c/>",
            "<a b='c/>",
            "<a b='1' b='2'/>",
            "<a>&b;</a>",
            "<a>&</a>",
            "<a>&#0;</a>",
            "<a>&#x1;</a>",
            "<a>&#xD800;</a>",
            "<a>&#xFFFFFFFFFF;</a>",
            "<a>\u{1}</a>",
            "<a>\u{ffff}</a>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<?php ?><a/>",
            "<a><?php ?></a>",
            "<a><?xml version='1.0'?></a>",
            "<a/><?xml version='1.0'?>",
            "<![CDATA[x]]><a/>",
            "&amp;<a/>",
            "<a><![CDATA[</a>",
            "<a><!--</a>",
            "<",
            "<!",
            "<?",
            "<!-",
            "<!-->",
            "<!--->",
            "<?>",
            "<a",
        ] {
            assert_eq!(status(xml), Status::Malformed, "{xml}");
        }
        assert_eq!(Reader::new(b"<a>\xff</a>").err().map(|error| error.status()), Some(Status::Malformed));
    }

    #[test]
    fn f29_depth_attributes_namespaces_and_bytes_are_limited() {
        let nested = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        assert!(story(&nested(limits::XML_DEPTH)).is_ok());
        assert_eq!(status(&nested(limits::XML_DEPTH + 1)), Status::Limit);

        let attributes = |n: usize| (0..n).map(|i| format!(" a{i}='x'")).collect::<String>();
        assert!(story(&format!("<a{}/>", attributes(limits::XML_ATTRIBUTES))).is_ok());
        assert_eq!(status(&format!("<a{}/>", attributes(limits::XML_ATTRIBUTES + 1))), Status::Limit);

        let spaces = |n: usize| {
            (0..n).map(|i| format!("<a xmlns:b='{i}' xmlns:c{i}='x' xmlns='y'>")).collect::<String>()
        };
        assert_eq!(status(&spaces(limits::XML_NAMESPACES)), Status::Limit);
        // Closed elements give their declarations back.
        assert!(story(&format!("<a>{}</a>", "<b xmlns:c='d'/>".repeat(1_000))).is_ok());

        assert_eq!(status(&format!("<a>{}</a>", " ".repeat(limits::STANZA_BYTES))), Status::Limit);
    }

    #[test]
    fn a_failure_is_final() {
        let mut reader = Reader::new(b"<a></b></a>").unwrap();
        assert!(reader.next().is_ok());
        let first = reader.next().err().unwrap();
        assert_eq!(reader.next().err().unwrap(), first);
        assert_eq!(reader.leave(1).unwrap_err(), first);
        assert_eq!(reader.child(0).err().unwrap(), first);
    }

    #[test]
    fn children_are_found_and_grandchildren_passed_over() {
        let mut reader = Reader::new(b"<a>t<b><x><b/></x></b><c/>t</a>").unwrap();
        let root = reader.child(0).unwrap().unwrap();
        assert!(root.is(Ns::None, "a"));
        let mut names = Vec::new();
        while let Some(child) = reader.child(root.level()).unwrap() {
            names.push(child.name().to_owned());
        }
        assert_eq!(names, ["b", "c"]);
        assert!(reader.child(root.level()).unwrap().is_none());
        assert!(reader.child(0).unwrap().is_none());
    }

    #[test]
    fn attributes_are_typed() {
        let mut reader =
            Reader::new(b"<a n=' 12\n' big='4294967295' over='4294967296' t='true' o='1' f='false' z='0' y='yes' b='&bad;' i='&#1;' p:q='2'/>")
                .unwrap();
        let a = reader.child(0).unwrap().unwrap();
        assert_eq!(a.number("n"), Some(12));
        assert_eq!(a.number("big"), Some(u32::MAX));
        assert_eq!(a.number("over"), None);
        assert_eq!(a.number("absent"), None);
        assert_eq!(
            ["t", "o", "f", "z", "y", "absent"].map(|name| a.flag(name)),
            [Some(true), Some(true), Some(false), Some(false), Some(false), None]
        );
        assert_eq!(a.attribute("b"), None);
        assert_eq!(a.attribute("i"), None);
        assert_eq!(a.attribute("q"), None);
    }
}
