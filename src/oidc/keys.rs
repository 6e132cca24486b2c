//! The keys of a provider (RFC 7517), as far as they verify signatures.
//!
//! They are read one by one: what is unknown, for encryption, too weak or damaged is left out, and takes no other with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::error::DocumentError;
use crate::config::SigningAlgorithm;

/// Keys in a document.
const MOST_KEYS: usize = 100;
/// Keys that are tried for a token that names none.
const MOST_TRIED: usize = 10;
/// Bits of an RSA key (RFC 7518, 3.3).
const SMALLEST_RSA: usize = 2048;

/// Keys that verify signatures by the configured algorithms; at least one.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The configured algorithms that it verifies.
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

impl KeySet {
    pub(super) fn read(document: &Value, configured: &[SigningAlgorithm]) -> Result<Self, DocumentError> {
        let keys = document.get("keys").and_then(Value::as_array).ok_or(DocumentError::Shape)?;
        if keys.len() > MOST_KEYS {
            return Err(DocumentError::TooManyKeys);
        }
        let keys: Vec<Key> = keys.iter().filter_map(|key| Key::read(key, configured)).collect();
        if keys.is_empty() { Err(DocumentError::NoKey) } else { Ok(Self(keys)) }
    }

    /// The keys that may have signed a token: those of this name, or a few if it has none.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let is_named = move |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let fits = move |key: &&Key| key.algorithms.contains(&algorithm);
        self.0.iter().filter(is_named).filter(fits).take(MOST_TRIED).map(|key| &key.public)
    }
}

impl Key {
    fn read(value: &Value, configured: &[SigningAlgorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let signs =
            jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies =
            jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let fits = |algorithm: &Algorithm| {
            let is_own = jwk.common.key_algorithm.is_none_or(|own| own == (*algorithm).into());
            is_own && is_of_kind(&jwk.algorithm, *algorithm)
        };
        let algorithms: Vec<Algorithm> = configured.iter().copied().map(algorithm).filter(fits).collect();
        if algorithms.is_empty() {
            return None;
        }
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithms, public })
    }
}

/// Whether a key is of the kind that an algorithm needs (RFC 7518, 3.1; RFC 8037, 3.1). A shared secret is of none.
fn is_of_kind(key: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match key {
        AlgorithmParameters::RSA(key) => {
            matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512) && is_strong(key)
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => algorithm == ES256,
            EllipticCurve::P384 => algorithm == ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519 && algorithm == EdDSA,
        _ => false,
    }
}

/// Whether an RSA key is long enough, and its exponent one that signatures are made for: odd and more than 1.
fn is_strong(key: &RSAKeyParameters) -> bool {
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let start = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes.get(start..)?.to_vec())
    };
    let (Some(modulus), Some(exponent)) = (number(&key.n), number(&key.e)) else { return false };
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let is_odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    modulus.len() * 8 - zeros >= SMALLEST_RSA && is_odd && exponent != [1]
}

/// An algorithm in the words of the library that verifies.
pub(super) fn algorithm(configured: SigningAlgorithm) -> Algorithm {
    match configured {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Rs384 => Algorithm::RS384,
        SigningAlgorithm::Rs512 => Algorithm::RS512,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::Ps384 => Algorithm::PS384,
        SigningAlgorithm::Ps512 => Algorithm::PS512,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Es384 => Algorithm::ES384,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}
