//! Signatures of tokens (RFC 7515), by the configured algorithms and the provider's keys alone. What a header says of keys
//! otherwise (`jku`, `jwk`, `x5u`, `x5c`) is not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, crypto, decode_header};
use serde_json::{Map, Value};

use super::error::TokenRefusal;
use super::keys::{KeySet, algorithm};
use crate::config::SigningAlgorithm;
use crate::model::json;

/// Bytes of a token.
const LONGEST: usize = 256 * 1024;

/// What a token says of itself by `typ` (RFC 8725, 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Nothing, or that it is a token.
    Any,
    /// The same, or that it is a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4). Few providers say that.
    Logout,
}

impl TokenKind {
    fn fits(self, typ: &str) -> bool {
        let plain = ["JWT", "JOSE", "application/jwt"];
        let logout = ["logout+jwt", "application/logout+jwt"];
        let is_one_of = |all: &[&str]| all.iter().any(|own| typ.eq_ignore_ascii_case(own));
        is_one_of(&plain) || self == Self::Logout && is_one_of(&logout)
    }
}

/// A token with a signature that has not been verified yet.
pub(super) struct SignedToken<'t> {
    text: &'t str,
    header: Header,
}

impl<'t> SignedToken<'t> {
    /// Reads the header. `algorithms` are the ones that a token may be signed by, whatever its header says.
    pub(super) fn read(
        text: &'t str,
        kind: TokenKind,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Self, TokenRefusal> {
        if text.len() > LONGEST {
            return Err(TokenRefusal::TooLong);
        }
        match text.bytes().filter(|byte| *byte == b'.').count() {
            2 => {}
            4 => return Err(TokenRefusal::Encrypted),
            _ => return Err(TokenRefusal::Malformed),
        }
        let header = decode_header(text).map_err(|_| TokenRefusal::Malformed)?;
        if !algorithms.iter().any(|allowed| algorithm(*allowed) == header.alg) {
            return Err(TokenRefusal::Algorithm);
        }
        let fits = header.typ.as_deref().is_none_or(|typ| kind.fits(typ));
        if !fits || header.cty.is_some() || header.crit.is_some() {
            return Err(TokenRefusal::Kind);
        }
        Ok(Self { text, header })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    /// The claims, if one of the keys signed them. They are not checked beyond that.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<Map<String, Value>, TokenRefusal> {
        let (message, signature) = self.text.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
        let mut refusal = TokenRefusal::UnknownKey;
        for key in keys.candidates(self.header.kid.as_deref(), self.header.alg) {
            match crypto::verify(signature, message.as_bytes(), key, self.header.alg) {
                Ok(true) => return claims(self.text),
                Ok(false) | Err(_) => refusal = TokenRefusal::Signature,
            }
        }
        Err(refusal)
    }
}

/// The claims of a token, whoever signed it.
pub(super) fn claims(text: &str) -> Result<Map<String, Value>, TokenRefusal> {
    let payload = text.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| json::read(&payload));
    claims.ok_or(TokenRefusal::Malformed)
}
