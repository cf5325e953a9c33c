//! Stanzas and bundles changed as an enemy on the way would change them.

/// The sender's device id.
pub fn sid(stanza: &str) -> u32 {
    let (_, rest) = stanza.split_once("sid='").expect("a header with a sid");
    let (id, _) = rest.split_once('\'').expect("its end");
    id.parse().expect("a number")
}

/// The stanza as if another device had sent it.
pub fn with_sid(stanza: &str, id: u32) -> String {
    stanza.replacen(&format!("sid='{}'", sid(stanza)), &format!("sid='{id}'"), 1)
}

/// Without its payload.
pub fn without_payload(stanza: &str) -> String {
    let (start, rest) = stanza.split_once("<payload>").expect("a payload");
    let (_, end) = rest.split_once("</payload>").expect("its end");
    format!("{start}{end}")
}

/// The text of the first element of this name.
pub fn text(xml: &str, element: &str) -> String {
    let (start, end) = span(xml, element);
    xml[start..end].to_owned()
}

/// Another text in the first element of this name.
pub fn with_text(xml: &str, element: &str, text: &str) -> String {
    let (start, end) = span(xml, element);
    format!("{}{text}{}", &xml[..start], &xml[end..])
}

/// One letter of the base64 in the first element of this name changed, at this share of its length.
pub fn flip(xml: &str, element: &str, percent: usize) -> String {
    let (start, end) = span(xml, element);
    let place = start + (end - start) * percent / 100;
    let letter = if xml.as_bytes()[place] == b'A' { "B" } else { "A" };
    format!("{}{letter}{}", &xml[..place], &xml[place + 1..])
}

/// Where the text of the first element of this name stands.
fn span(xml: &str, element: &str) -> (usize, usize) {
    let name = [format!("<{element}>"), format!("<{element} ")];
    let open = name.iter().find_map(|name| xml.find(name.as_str())).expect("such an element");
    let start = open + xml[open..].find('>').expect("its end") + 1;
    (start, start + xml[start..].find('<').expect("a closing tag"))
}
