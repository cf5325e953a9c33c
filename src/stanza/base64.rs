//! Bytes as the base64 text of an element.
//!
//! Reads what clients really send: white space, line breaks, missing padding. Lengths are judged before anything is
//! decoded, and room that a stranger asks for is reserved in a way that can fail.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::xml::{Element, Event, Reader, is_space};
use crate::error::{Error, Result, Status};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads the element to its end. `None` if it holds no base64; [`Status::Limit`] if it holds more than `max` bytes.
pub(super) fn read(reader: &mut Reader<'_>, element: &Element<'_>, max: usize) -> Result<Option<Vec<u8>>> {
    // 4 characters for every 3 bytes begun, padding included.
    let max_text = max.div_ceil(3).saturating_mul(4);
    let mut text: Vec<u8> = Vec::new();
    let mut readable = true;
    let level = element.level();
    while reader.level() >= level {
        match reader.next()? {
            Event::Text(piece) if reader.level() == level => {
                let dense = piece.bytes().filter(|&byte| !is_space(byte.into()));
                let total = text.len().saturating_add(dense.clone().count());
                if total > max_text {
                    return Err(too_long());
                }
                text.try_reserve(dense.clone().count()).map_err(|_| too_long())?;
                text.extend(dense);
            }
            Event::Char(c) if reader.level() == level => match u8::try_from(c) {
                _ if is_space(c) => {}
                Ok(_) if text.len() >= max_text => return Err(too_long()),
                Ok(byte) => text.push(byte),
                Err(_) => readable = false,
            },
            _ => {}
        }
    }
    if !readable {
        return Ok(None);
    }
    decode(&text, max)
}

fn decode(text: &[u8], max: usize) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(base64::decoded_len_estimate(text.len())).map_err(|_| too_long())?;
    match BASE64.decode_vec(text, &mut bytes) {
        Ok(()) if bytes.len() > max => Err(too_long()),
        Ok(()) => Ok(Some(bytes)),
        Err(_) => Ok(None),
    }
}

/// Reads an element that must hold exactly `N` bytes. `None` if it does not.
pub(super) fn read_array<const N: usize>(
    reader: &mut Reader<'_>,
    element: &Element<'_>,
) -> Result<Option<[u8; N]>> {
    // A few bytes more are not "too long" yet, but of the wrong length.
    let bytes = read(reader, element, crate::protocol::limits::MESSAGE_KEY_BYTES)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
}

/// `N` bytes in the base64 of an attribute.
pub(super) fn array_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let dense: Vec<u8> =
        text.bytes().filter(|&byte| !is_space(byte.into())).take(N.saturating_mul(2)).collect();
    decode(&dense, N).ok()??.try_into().ok()
}

/// Base64 with padding and without line breaks.
pub(super) fn write(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn too_long() -> Error {
    Error::new(Status::Limit, "An element contains more base64 than allowed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(content: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let xml = format!("<a>{content}</a>");
        let mut reader = Reader::new(xml.as_bytes()).unwrap();
        let element = reader.child(0).unwrap().unwrap();
        let bytes = read(&mut reader, &element, max)?;
        assert!(reader.child(0).unwrap().is_none());
        Ok(bytes)
    }

    #[test]
    fn white_space_and_line_breaks_are_ignored() {
        for content in [
            "aGVsbG8=",
            " aGVs\r\nbG8=\n",
            "aGVsbG8",
            "aGVs<!-- -->bG8&#61;",
            "aGVs<x>zzz</x>bG8=",
            "<![CDATA[aGVsbG8=]]>",
        ] {
            assert_eq!(read_text(content, 5).unwrap().as_deref(), Some(&b"hello"[..]), "{content}");
        }
        assert_eq!(read_text("", 5).unwrap().as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for content in ["a", "aGVs*G8=", "a-_b", "====", "aGVs\u{e9}", "&#233;", "&#x1F600;"] {
            assert_eq!(read_text(content, 64).unwrap(), None, "{content}");
        }
    }

    #[test]
    fn the_limit_counts_bytes_not_characters() {
        assert_eq!(read_text("aGVsbG8=", 4).unwrap_err().status(), Status::Limit);
        assert_eq!(read_text("aGVsbG8gd29ybGQ=", 5).unwrap_err().status(), Status::Limit);
        assert_eq!(read_text("&#97;&#97;&#97;&#97;&#97;", 2).unwrap_err().status(), Status::Limit);
        assert!(read_text(&" ".repeat(1_000), 1).unwrap().is_some());
    }

    #[test]
    fn arrays_have_their_length() {
        assert_eq!(array_of::<5>("aGVs bG8=\n"), Some(*b"hello"));
        assert_eq!(array_of::<4>("aGVsbG8="), None);
        assert_eq!(array_of::<6>("aGVsbG8="), None);
        assert_eq!(array_of::<5>(&"aGVsbG8=".repeat(9)), None);
    }
}
