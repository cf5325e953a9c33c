//! Labels: the public name of a device, signed with its identity key (XEP-0384 5.3.1). Only omemo:2 has them.

use super::limits;
use crate::crypto::identity::{IdentityKey, IdentityKeyPair};
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};

/// A label and its signature, as a device list announces them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedLabel {
    /// The name.
    pub text: String,
    /// The signature of its UTF-8 bytes. Neither JID nor device id is signed.
    pub signature: [u8; 64],
}

impl SignedLabel {
    /// Signs a label of this device.
    ///
    /// The same key signs signed pre keys, of which nothing but the 32 (or 33) bytes of the public key is signed. A label
    /// of that length would be a signed pre key whose private key somebody else may know, so it is refused.
    pub fn sign(identity: &IdentityKeyPair, text: &str, rng: &mut dyn Rng) -> Result<SignedLabel> {
        let refused = |why: &'static str| Err(Error::new(Status::Label, why));
        if text.is_empty() {
            return refused("A label cannot be empty.");
        }
        if text.chars().nth(limits::OWN_LABEL_CHARS).is_some() {
            return refused("A label has at most 52 code points.");
        }
        if !text.chars().all(is_printable) {
            return refused("A label cannot contain control characters.");
        }
        if matches!(text.len(), 32 | 33) {
            return refused("A label cannot be 32 or 33 bytes long, since a signed pre key is.");
        }
        Ok(SignedLabel { text: text.to_owned(), signature: identity.sign(text.as_bytes(), rng)? })
    }

    /// Returns whether the holder of a key has signed it. Where the sign of the key's Ed25519 form is not known, either
    /// will do: it is the same private key.
    pub fn is_signed_by(&self, ed: &[u8; 32]) -> bool {
        let mut other = *ed;
        if let Some(last) = other.last_mut() {
            *last ^= 0x80;
        }
        let signed = |ed: &[u8; 32]| {
            IdentityKey::from_ed(ed).and_then(|key| key.verify(self.text.as_bytes(), &self.signature)).is_ok()
        };
        signed(ed) || signed(&other)
    }
}

/// Whether XML can carry a character as it is, in an attribute, and people can see it: no line breaks, tabs or noncharacters.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rng::SystemRng;

    fn signed(text: &str) -> Result<SignedLabel> {
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let label = SignedLabel::sign(&identity, text, &mut SystemRng)?;
        assert!(label.is_signed_by(identity.public().ed()));
        Ok(label)
    }

    #[test]
    fn a_label_is_short_printable_and_no_signed_pre_key() {
        for good in ["a", "Gajim on Ubuntu", "\u{1f339} & <Romeo>'s \"phone\"", &"\u{fc}".repeat(52)] {
            assert_eq!(signed(good).unwrap().text, good);
        }
        let long = "x".repeat(53);
        for bad in ["", "two\nlines", "tab\tbed", "nul\0", "\u{ffff}", "\u{2028}", "\u{85}", &long] {
            assert_eq!(signed(bad).unwrap_err().status(), Status::Label, "{bad:?}");
        }
        // By bytes, however many characters these are.
        for (character, most) in [("x", 52), ("\u{fc}", 52), ("\u{20ac}", 52), ("\u{1f339}", 52)] {
            for chars in 1..=most {
                let text = character.repeat(chars);
                assert_eq!(signed(&text).is_err(), matches!(text.len(), 32 | 33), "{} bytes", text.len());
            }
        }
    }

    #[test]
    fn only_the_key_that_signed_it_verifies_a_label_whatever_its_sign() {
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let label = SignedLabel::sign(&identity, "phone", &mut SystemRng).unwrap();
        let mut other_sign = *identity.public().ed();
        other_sign[31] ^= 0x80;
        assert!(label.is_signed_by(&other_sign));
        let stranger = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        assert!(!label.is_signed_by(stranger.public().ed()));
        let renamed = SignedLabel { text: "Phone".into(), ..label.clone() };
        assert!(!renamed.is_signed_by(identity.public().ed()));
        let mut forged = label;
        forged.signature[0] ^= 1;
        assert!(!forged.is_signed_by(identity.public().ed()));
        assert!(!forged.is_signed_by(&[0xff; 32]));
    }
}
