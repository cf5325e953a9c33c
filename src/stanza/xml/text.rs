//! Which characters XML holds, and how it reads line ends.

/// Appends text with its line ends as XML wants them: every CR LF and every CR is one LF.
pub(in crate::stanza) fn push_text(out: &mut String, text: &str) {
    let mut lines = text.split('\r');
    out.push_str(lines.next().unwrap_or_default());
    for line in lines {
        if !line.starts_with('\n') {
            out.push('\n');
        }
        out.push_str(line);
    }
}

/// Whether XML 1.0 can hold this character, be it by a reference.
pub(in crate::stanza) fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// White space of XML.
pub(in crate::stanza) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
