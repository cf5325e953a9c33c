//! Stanzas and bundles changed as an enemy on the way would change them.

const STRANGE: &str = "<key rid='7'>!</key><key rid='-1'/><key/>";

/// How a namespace names what these tests change.
pub struct Names {
    pub identity_key: &'static str,
    pub signed_pre_key: &'static str,
    pub signature: &'static str,
    pub pre_key: &'static str,
    /// What keys are led in by, and the same with strange ones before.
    pub keys: &'static str,
    pub strange_keys: String,
    /// A key whose attribute makes no sense.
    pub odd_key: &'static str,
    /// A key of zeros.
    pub zero_key: &'static str,
    /// The attribute of a key exchange.
    pub exchange: &'static str,
}

pub fn names(ns: &str) -> Names {
    match ns {
        super::NS_2 => Names {
            identity_key: "ik",
            signed_pre_key: "spk",
            signature: "spks",
            pre_key: "pk",
            keys: "<keys ",
            strange_keys: format!("<keys jid='x@y.z'>{STRANGE}</keys><keys new='1' "),
            odd_key: "<keys jid='a@b.c'><key rid='9' kex='maybe'>AA</key></keys>",
            zero_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            exchange: "kex=",
        },
        _ => Names {
            identity_key: "identityKey",
            signed_pre_key: "signedPreKeyPublic",
            signature: "signedPreKeySignature",
            pre_key: "preKeyPublic",
            keys: "<key ",
            strange_keys: format!("{STRANGE}<key new='1' "),
            odd_key: "<key rid='9' prekey='maybe'>AA</key>",
            zero_key: "BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            exchange: "prekey=",
        },
    }
}

/// What a key exchange tells of an identity key in Ed25519 form: legacy does not tell its sign.
pub fn as_told(ns: &str, mut key: Vec<u8>) -> Vec<u8> {
    if ns == super::NS_LEGACY {
        key[31] &= 0x7f;
    }
    key
}

/// How many of an element there are.
pub fn count(xml: &str, element: &str) -> usize {
    xml.matches(&format!("<{element} ")).count()
}

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
