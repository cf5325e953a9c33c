//! Reads what others wrote into a tree, and writes it again.
//!
//! Owns the bounds on it: bytes, depth, names. What could not be written as well-formed XML that means the same
//! (prefixes that nobody declared, names that are none) is refused when it is read. Knows no device lists.

use super::xml::writer::{Writer, escaped_attribute_len, escaped_len};
use super::xml::{self, Event, Reader, malformed, push_text};
use crate::error::{Error, Result, Status};
use crate::protocol::foreign::{Attribute, Element, Name, Node};
use crate::protocol::limits;
use std::sync::Arc;

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
/// Declarations on the way to one place, which together with those of a stanza around it stay readable.
const DECLARATIONS: usize = limits::XML_NAMESPACES / 2;

/// How many bytes may still be kept.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Budget {
        Budget(limits::FOREIGN_BYTES)
    }

    /// Returns how many bytes were taken.
    pub(super) fn used(&self) -> usize {
        limits::FOREIGN_BYTES.saturating_sub(self.0)
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            Error::new(Status::Limit, "The device list contains too much data of other clients.")
        })?;
        Ok(())
    }
}

/// Reads an element that has just opened to its end. `inherited` is the default namespace where it will be written.
pub(super) fn read(
    reader: &mut Reader<'_>,
    start: &xml::Element<'_>,
    inherited: &str,
    budget: &mut Budget,
) -> Result<Element> {
    let mut open = vec![shell(reader, start, budget, &Arc::from(inherited))?];
    // Declarations that each open element needs when it is written.
    let mut declared = vec![declarations(&open, inherited)];
    loop {
        match reader.next()? {
            Event::Start(child) => {
                if open.len() >= limits::FOREIGN_DEPTH {
                    return Err(Error::new(
                        Status::Limit,
                        "Other clients' data in the device list are nested too deeply.",
                    ));
                }
                let inherited = open.last().ok_or_else(unbalanced)?.name.namespace.clone();
                open.push(shell(reader, &child, budget, &inherited)?);
                declared.push(declarations(&open, &inherited));
                if declared.iter().fold(0_usize, |sum, count| sum.saturating_add(*count)) > DECLARATIONS {
                    return Err(Error::new(
                        Status::Limit,
                        "Other clients' data in the device list declare too many namespaces.",
                    ));
                }
            }
            Event::End => {
                declared.pop();
                let Some(done) = open.pop() else { return Err(unbalanced()) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(Node::Element(done)),
                    None => return Ok(done),
                }
            }
            Event::Text(text) => {
                budget.take(escaped_len(&text))?;
                append(open.last_mut().ok_or_else(unbalanced)?, |all| push_text(all, &text));
            }
            Event::Char(c) => {
                budget.take(escaped_len(c.encode_utf8(&mut [0; 4])))?;
                append(open.last_mut().ok_or_else(unbalanced)?, |all| all.push(c));
            }
            Event::Eof => return Err(unbalanced()),
        }
    }
}

fn unbalanced() -> Error {
    malformed("The XML ends too early.")
}

/// Appends text to what an element holds.
fn append(element: &mut Element, add: impl FnOnce(&mut String)) {
    if let Some(Node::Text(text)) = element.children.last_mut() {
        return add(text);
    }
    let mut text = String::new();
    add(&mut text);
    if !text.is_empty() {
        element.children.push(Node::Text(text));
    }
}

/// The attributes of an element, without declarations of namespaces.
pub(super) fn attributes(
    reader: &Reader<'_>,
    start: &xml::Element<'_>,
    budget: &mut Budget,
) -> Result<Vec<Attribute>> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for (prefix, local, value) in start.attributes() {
        let namespace: Arc<str> = match prefix {
            "" => Arc::from(""),
            "xml" => Arc::from(XML),
            prefix => Arc::from(declared(reader, prefix)?),
        };
        let value = value.ok_or_else(|| malformed("An attribute of what is to be kept cannot be read."))?;
        let name = name(namespace, local)?;
        if attributes.iter().any(|other| other.name == name) {
            return Err(malformed("An attribute stands twice in one element."));
        }
        let bytes = name.namespace.len().saturating_add(name.local.len()).saturating_add(16);
        budget.take(bytes.saturating_add(escaped_attribute_len(&value)))?;
        attributes.push(Attribute { name, value: value.into_owned() });
    }
    // The writer declares each namespace at the element that uses it.
    if attributes.len().saturating_add(namespaces_of(&attributes).len()) >= limits::XML_ATTRIBUTES {
        return Err(Error::new(Status::Limit, "An XML element has too many attributes."));
    }
    Ok(attributes)
}

fn shell(
    reader: &Reader<'_>,
    start: &xml::Element<'_>,
    budget: &mut Budget,
    inherited: &Arc<str>,
) -> Result<Element> {
    let namespace = match start.prefix() {
        "" => reader.namespace("").unwrap_or_default(),
        prefix => declared(reader, prefix)?,
    };
    // What is inherited costs nothing: it must take no memory either.
    let namespace = if *namespace == **inherited { inherited.clone() } else { Arc::from(namespace) };
    let name = name(namespace, start.name())?;
    if matches!(&*name.namespace, XML | XMLNS) {
        return Err(malformed("An element is in a namespace that has no elements."));
    }
    let declaration = if **inherited == *name.namespace {
        0
    } else {
        escaped_attribute_len(&name.namespace).saturating_add(" xmlns=''".len())
    };
    budget
        .take(name.local.len().saturating_mul(2).saturating_add("<></>".len()).saturating_add(declaration))?;
    Ok(Element { attributes: attributes(reader, start, budget)?, name, children: Vec::new() })
}

fn declared<'r>(reader: &'r Reader<'_>, prefix: &str) -> Result<&'r str> {
    match reader.namespace(prefix) {
        Some(uri) if !uri.is_empty() && uri != XMLNS => Ok(uri),
        _ => Err(malformed("The XML uses a prefix that nobody declared.")),
    }
}

fn name(namespace: Arc<str>, local: &str) -> Result<Name> {
    let mut chars = local.chars();
    if chars.next().is_some_and(starts_name) && chars.all(continues_name) {
        Ok(Name { namespace, local: local.into() })
    } else {
        Err(malformed("The XML has a name that is none."))
    }
}

/// NameStartChar of XML 1.0 without the colon.
fn starts_name(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// NameChar of XML 1.0 without the colon.
fn continues_name(c: char) -> bool {
    starts_name(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// The namespaces of attributes that need a prefix, each once.
fn namespaces_of(attributes: &[Attribute]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for attribute in attributes {
        let namespace = attribute.name.namespace();
        if !namespace.is_empty() && namespace != XML && !found.contains(&namespace) {
            found.push(namespace);
        }
    }
    found
}

fn declarations(open: &[Element], inherited: &str) -> usize {
    open.last().map_or(0, |element| {
        let default = usize::from(element.name.namespace() != inherited);
        namespaces_of(&element.attributes).len().saturating_add(default)
    })
}

/// Writes attributes into a tag that is open, and declares the namespaces that they need.
pub(super) fn write_attributes(writer: &mut Writer, attributes: &[Attribute]) {
    let namespaces = namespaces_of(attributes);
    for (number, namespace) in namespaces.iter().enumerate() {
        writer.attribute(&format!("xmlns:n{number}"), namespace);
    }
    for Attribute { name, value } in attributes {
        match name.namespace() {
            "" => writer.attribute(name.local(), value),
            XML => writer.attribute(&format!("xml:{}", name.local()), value),
            namespace => {
                let number = namespaces.iter().position(|other| *other == namespace).unwrap_or_default();
                writer.attribute(&format!("n{number}:{}", name.local()), value)
            }
        };
    }
}

/// Writes an element where `inherited` is the default namespace. Recursive; the tree is at most
/// [`limits::FOREIGN_DEPTH`] deep.
pub(super) fn write(writer: &mut Writer, element: &Element, inherited: &str) {
    let namespace = element.name.namespace();
    writer.open(element.name.local());
    if namespace != inherited {
        writer.attribute("xmlns", namespace);
    }
    write_attributes(writer, &element.attributes);
    for child in &element.children {
        match child {
            Node::Element(child) => write(writer, child, namespace),
            Node::Text(text) => {
                writer.text(text);
            }
        }
    }
    writer.close(element.name.local());
}
