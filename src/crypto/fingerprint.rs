//! How people compare identity keys (XEP-0384 8): the Curve25519 form in hexadecimal, 8 groups of 8.

/// `"01234567 89abcdef …"`: 64 digits and 7 spaces.
pub fn fingerprint(mont: &[u8; 32]) -> String {
    let groups: Vec<String> =
        mont.chunks(4).map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    groups.join(" ")
}
