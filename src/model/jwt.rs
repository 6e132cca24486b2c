//! Signed tokens for servers behind us (RFC 7519): keys, signatures and public halves (RFC 7517).

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};

use super::secret::Secret;
use super::time::Timestamp;
use super::token::SigningKey;

/// Bytes of a shared secret (RFC 7518, 3.2).
pub const SHORTEST_SECRET: usize = 32;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: both sides have the key.
    Hs256,
    /// RSA.
    Rs256,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl JwtAlgorithm {
    fn registered(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::Rs256 => "rs256",
            Self::Es256 => "es256",
            Self::EdDsa => "eddsa",
        }
    }
}

/// Why a text is no key for its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtKeyError {
    /// A shared secret that could be guessed.
    #[error("is shorter than 32 bytes")]
    Short,
    /// Not a private key in PEM, or one of another kind or size.
    #[error("is not a private key for {}", .0.label())]
    Kind(JwtAlgorithm),
}

/// A key that signs, with the header of what it signs.
#[derive(Clone, Debug)]
pub struct JwtKey {
    key: EncodingKey,
    header: Header,
    public: Option<Value>,
}

impl JwtKey {
    /// A key as text: a shared secret for HS256, otherwise a private key in PEM (PKCS #8; RSA also PKCS #1).
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if it is too short, or no key for this algorithm.
    pub fn from_text(algorithm: JwtAlgorithm, text: &Secret) -> Result<Self, JwtKeyError> {
        let bytes = text.expose().as_bytes();
        let wrong = |_| JwtKeyError::Kind(algorithm);
        let key = match algorithm {
            JwtAlgorithm::Hs256 if bytes.len() < SHORTEST_SECRET => return Err(JwtKeyError::Short),
            JwtAlgorithm::Hs256 => EncodingKey::from_secret(bytes),
            JwtAlgorithm::Rs256 => EncodingKey::from_rsa_pem(bytes).map_err(wrong)?,
            JwtAlgorithm::Es256 => EncodingKey::from_ec_pem(bytes).map_err(wrong)?,
            JwtAlgorithm::EdDsa => ed25519(bytes).ok_or(JwtKeyError::Kind(algorithm))?,
        };
        Self::new(algorithm, key).ok_or(JwtKeyError::Kind(algorithm))
    }

    /// `None` where the key cannot sign: RSA of fewer than 2048 bits, another curve.
    fn new(algorithm: JwtAlgorithm, key: EncodingKey) -> Option<Self> {
        let mut header = Header::new(algorithm.registered());
        let public = if algorithm == JwtAlgorithm::Hs256 {
            None
        } else {
            let mut public = Jwk::from_encoding_key(&key, algorithm.registered()).ok()?;
            let name = public.thumbprint(ThumbprintHash::SHA256).ok()?;
            public.common.key_id = Some(name.clone());
            public.common.public_key_use = Some(PublicKeyUse::Signature);
            header.kid = Some(name);
            Some(serde_json::to_value(public).ok()?)
        };
        let key = Self { key, header, public };
        key.sign(&Map::new()).map(|_| key)
    }

    /// The key that a secret of ours and a number give: the same wherever both are known.
    fn derived(root: &SigningKey, algorithm: JwtAlgorithm, number: i64) -> Option<Self> {
        // A P-256 key is a number below the curve's order; nearly every one of 32 bytes is.
        (0..8).find_map(|attempt| {
            let seed = root.bytes_for(&format!("{} {number} {attempt}", algorithm.label()));
            let key = match algorithm {
                JwtAlgorithm::EdDsa => {
                    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).ok()?;
                    EncodingKey::from_ed_der(pair.to_pkcs8v1().ok()?.as_ref())
                }
                JwtAlgorithm::Es256 => {
                    let private = PrivateKey::from_private_key(&ECDH_P256, seed.as_slice()).ok()?;
                    let public = private.compute_public_key().ok()?;
                    let pair = EcdsaKeyPair::from_private_key_and_public_key(
                        &ECDSA_P256_SHA256_FIXED_SIGNING,
                        seed.as_slice(),
                        public.as_ref(),
                    );
                    EncodingKey::from_ec_der(pair.ok()?.to_pkcs8v1().ok()?.as_ref())
                }
                JwtAlgorithm::Hs256 | JwtAlgorithm::Rs256 => return None,
            };
            Self::new(algorithm, key)
        })
    }

    /// The claims, signed, in compact form. `None` only if the cryptography fails.
    pub fn sign(&self, claims: &Map<String, Value>) -> Option<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).ok()
    }

    /// The same with the key ID that a server has for this key, or without any.
    pub fn sign_as(&self, key_id: Option<&str>, claims: &Map<String, Value>) -> Option<String> {
        let mut header = Header::new(self.header.alg);
        header.kid = key_id.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.key).ok()
    }

    /// The public half as a JWK, where there is one.
    pub fn public(&self) -> Option<&Value> {
        self.public.as_ref()
    }
}

/// A key with or without its public half beside it (RFC 8410, 7; RFC 5958), as one without.
fn ed25519(pem: &[u8]) -> Option<EncodingKey> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?;
    Some(EncodingKey::from_ed_der(pair.to_pkcs8v1().ok()?.as_ref()))
}

/// Seconds for which one key signs: 30 days.
const PERIOD: i64 = 30 * 24 * 60 * 60;

/// Signing keys that follow one another without being stored: each is derived from a secret of ours and the
/// number of its period, so every replica has the same.
///
/// A key is published one period before it signs, and one period after: longer than anything it signed lives.
#[derive(Clone, Debug)]
pub struct RotatingKeys(SigningKey);

impl RotatingKeys {
    /// The keys of a secret.
    pub fn new(root: SigningKey) -> Self {
        Self(root)
    }

    /// The number of the period at a time: with which [`RotatingKeys::key`] signs then.
    pub fn period(now: Timestamp) -> i64 {
        now.0.div_euclid(PERIOD)
    }

    /// The key of a period. `None` only for algorithms with keys of their own, or if the cryptography fails.
    pub fn key(&self, algorithm: JwtAlgorithm, period: i64) -> Option<JwtKey> {
        JwtKey::derived(&self.0, algorithm, period)
    }

    /// The public keys to publish in a period: the last, this and the next.
    pub fn published(&self, algorithm: JwtAlgorithm, period: i64) -> Vec<Value> {
        let keys = (-1..=1).filter_map(|step| self.key(algorithm, period.saturating_add(step)));
        keys.filter_map(|key| key.public).collect()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;
    use crate::model::token::{KeyPurpose, MasterKey};

    fn keys(secret: &str) -> RotatingKeys {
        RotatingKeys::new(MasterKey::new(Secret::new(secret.repeat(32))).derive(KeyPurpose::Assertion))
    }

    fn kid(key: &Value) -> &str {
        key["kid"].as_str().unwrap()
    }

    #[test]
    fn a_key_is_the_same_wherever_the_secret_is_and_another_in_each_period() {
        for algorithm in [JwtAlgorithm::Es256, JwtAlgorithm::EdDsa] {
            let public = |secret, period| keys(secret).key(algorithm, period).unwrap().public.unwrap();
            assert_eq!(public("a", 700), public("a", 700));
            assert_ne!(kid(&public("a", 700)), kid(&public("a", 701)));
            assert_ne!(kid(&public("a", 700)), kid(&public("b", 700)));
            for secret in ["\"d\":", "\"k\":"] {
                assert!(!public("a", 700).to_string().contains(secret), "no private half is published");
            }
        }
        assert!(keys("a").key(JwtAlgorithm::Hs256, 1).is_none());
    }

    #[test]
    fn what_a_key_signs_verifies_with_its_public_half_and_no_other() {
        for algorithm in [JwtAlgorithm::Es256, JwtAlgorithm::EdDsa] {
            let claims = Map::from_iter([("sub".to_owned(), "user:u1".into())]);
            let token = keys("a").key(algorithm, 700).unwrap().sign(&claims).unwrap();
            let mut validation = Validation::new(algorithm.registered());
            validation.validate_exp = false;
            validation.required_spec_claims.clear();
            let good = |public: &Value| {
                let public: Jwk = serde_json::from_value(public.clone()).unwrap();
                let key = DecodingKey::from_jwk(&public).unwrap();
                decode::<Map<String, Value>>(&token, &key, &validation).is_ok()
            };
            let published = keys("a").published(algorithm, 700);
            assert_eq!(published.iter().map(good).collect::<Vec<_>>(), [false, true, false]);
        }
    }

    #[test]
    fn every_key_is_published_before_and_after_it_signs() {
        let start = Timestamp(1_900_000_000);
        let mut last = Vec::new();
        for hours in (0..24 * 100).step_by(6) {
            let now = start.after(std::time::Duration::from_hours(hours));
            let period = RotatingKeys::period(now);
            let published = keys("a").published(JwtAlgorithm::EdDsa, period);
            let signs = keys("a").key(JwtAlgorithm::EdDsa, period).unwrap().public.unwrap();
            assert_eq!(kid(&signs), kid(&published[1]));
            if !last.is_empty() && last != published {
                assert_eq!(kid(&last[2]), kid(&signs), "it was published before");
                assert_eq!(kid(&last[1]), kid(&published[0]), "the old one stays");
            }
            last = published;
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused_and_never_shown() {
        let ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        let short = "0123456789abcdef0123456789abcde";
        let good = |algorithm, text: &str| JwtKey::from_text(algorithm, &Secret::new(text)).is_ok();
        for (algorithm, fits) in [
            (JwtAlgorithm::Es256, [true, false]),
            (JwtAlgorithm::EdDsa, [false, true]),
            (JwtAlgorithm::Rs256, [false, false]),
        ] {
            assert_eq!([good(algorithm, &ec), good(algorithm, &ed)], fits, "{algorithm:?}");
            assert!(!good(algorithm, &other) && !good(algorithm, short) && !good(algorithm, ""));
        }
        assert!(good(JwtAlgorithm::Hs256, &format!("{short}f")) && !good(JwtAlgorithm::Hs256, short));
        let key = JwtKey::from_text(JwtAlgorithm::Hs256, &Secret::new(format!("{short}f"))).unwrap();
        assert!(!format!("{key:?}").contains("48, 49"), "{key:?}");
        assert!(key.public().is_none());
    }
}
