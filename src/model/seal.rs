//! Sealing: authenticated encryption of values that we hand out and take back.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::token::{KeyPurpose, MasterKey, random_bytes};

/// The most bytes that are sealed at once, as many as a token may have.
const MOST: usize = 256 * 1024;
/// Bytes of the tag at the end (NIST SP 800-38D, 5.2.1.2).
const TAG: usize = 16;
/// Bytes by which a sealed value is longer.
pub const OVERHEAD: usize = NONCE_LEN + TAG;

/// Seals and opens values for one purpose: AES-256-GCM (NIST SP 800-38D) under a key that is derived from the master key. Every
/// gateway with the same master key opens them; after the master key was replaced none does.
///
/// Nonces are random, which is safe for 2^32 values under one key (8.3 there).
#[derive(Clone)]
pub struct SealingKey(Arc<LessSafeKey>);

impl MasterKey {
    /// The key that seals for one purpose. Different purposes give unrelated keys.
    ///
    /// # Panics
    ///
    /// Never: the derived key always has the 32 bytes that AES-256 takes.
    pub fn sealing(&self, purpose: KeyPurpose) -> SealingKey {
        let bytes = self.derive(purpose).bytes_for("AES-256-GCM");
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice()).expect("AES-256 takes a key of 32 bytes");
        SealingKey(Arc::new(LessSafeKey::new(key)))
    }
}

impl SealingKey {
    /// Seals `plain`, at most 256 KiB, with `context` as associated data: what the value is, and which one, so that it cannot be
    /// put in the place of another. The result is nonce, ciphertext and tag: [`OVERHEAD`] bytes more. `None` if it is too long.
    pub fn seal(&self, plain: &[u8], context: &str) -> Option<Vec<u8>> {
        let nonce = random_bytes().first_chunk().copied()?;
        self.seal_under(nonce, plain, context.as_bytes())
    }

    fn seal_under(&self, nonce: [u8; NONCE_LEN], plain: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MOST {
            return None;
        }
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let text = sealed.get_mut(NONCE_LEN..)?;
        let tag =
            self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), text);
        sealed.extend_from_slice(tag.ok()?.as_ref());
        Some(sealed)
    }

    /// The value, if it was sealed under the same key with the same context.
    pub fn open(&self, sealed: &[u8], context: &str) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() > OVERHEAD + MOST {
            return None;
        }
        let (nonce, text) = sealed.split_first_chunk()?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(context.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    fn master(text: &str) -> MasterKey {
        MasterKey::new(Secret::new(text.repeat(32)))
    }

    fn key() -> SealingKey {
        master("k").sealing(KeyPurpose::SignIn)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Test case 16 of "The Galois/Counter Mode of Operation" (`McGrew` and Viega), appendix B.
    #[test]
    fn a_known_text_is_sealed_as_the_standard_says() {
        let known = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let key = SealingKey(Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &known).unwrap())));
        let nonce = bytes("cafebabefacedbaddecaf888");
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
             b16aedf5aa0de657ba637b39",
        );
        let context = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let sealed = key.seal_under(nonce[..].try_into().unwrap(), &plain, &context).unwrap();
        let expected = bytes(
            "cafebabefacedbaddecaf888\
             522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
             c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b",
        );
        assert_eq!(sealed, expected);
    }

    #[test]
    fn only_the_same_key_and_context_open_what_was_sealed_and_only_unchanged() {
        let sealed = key().seal(b"secret", "row 1").unwrap();
        assert_eq!(key().open(&sealed, "row 1").unwrap().as_slice(), b"secret");
        assert_eq!(sealed.len(), "secret".len() + OVERHEAD);
        assert!(key().open(&sealed, "row 2").is_none());
        assert!(master("j").sealing(KeyPurpose::SignIn).open(&sealed, "row 1").is_none(), "another secret");
        assert!(master("k").sealing(KeyPurpose::Session).open(&sealed, "row 1").is_none(), "another purpose");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key().open(&changed, "row 1").is_none(), "byte {at}");
            assert!(key().open(&sealed[..at], "row 1").is_none(), "cut off at {at}");
        }
        assert!(key().open(&[sealed.as_slice(), b"x"].concat(), "row 1").is_none());
    }

    #[test]
    fn nothing_is_sealed_alike_twice_and_nothing_too_long_at_all() {
        let key = key();
        assert_ne!(key.seal(b"", ""), key.seal(b"", ""));
        assert!(key.seal(&vec![0; MOST], "").is_some_and(|sealed| key.open(&sealed, "").is_some()));
        assert!(key.seal(&vec![0; MOST + 1], "").is_none());
        assert!(key.open(&vec![0; MOST + OVERHEAD + 1], "").is_none());
        assert_eq!(format!("{key:?}"), "SealingKey(***)");
    }
}
