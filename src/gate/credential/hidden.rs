//! Finds our credentials inside other values: mangled, under another scheme, in a URL, escaped or in base64.

use std::borrow::Cow;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use http::HeaderValue;
use percent_encoding::percent_decode;

use super::CredentialNames;
use crate::config::SHORTEST_KEY;
use crate::model::session_cookie::own_stems;
use crate::model::token::KeyText;

/// How often one writing is looked for in another.
const LAYERS: usize = 2;

/// Which of our credentials a value contains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EmbeddedCredential {
    Nothing,
    /// Keys of the application's own that count here too.
    Imported,
    /// Our own credentials, which are secret.
    Ours,
}

impl CredentialNames {
    /// What of ours, whole or mangled, stands anywhere in a value: under a scheme of its own, quoted, doubled, in brackets, in
    /// a form or an address.
    fn held_in(&self, value: &[u8]) -> EmbeddedCredential {
        let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",;:\"".contains(byte);
        // Random keys have none of these, others may.
        let is_around = |byte: &u8| b"'`<>()[]{}&?#@|\\".contains(byte);
        let parts = value.split(is_between).flat_map(|word| {
            let within = word.split(is_around).filter(|part| part.len() < word.len());
            std::iter::once(word).chain(within)
        });
        parts.map(|part| self.held_as(part)).max().unwrap_or(EmbeddedCredential::Nothing)
    }

    /// What one word is, by itself or behind a name, a user or an address.
    fn held_as(&self, word: &[u8]) -> EmbeddedCredential {
        let token = |word: &[u8]| match std::str::from_utf8(word).ok().and_then(|word| self.tokens.find(word))
        {
            None => EmbeddedCredential::Nothing,
            Some(at) if self.tokens.is_imported(at) => EmbeddedCredential::Imported,
            Some(_) => EmbeddedCredential::Ours,
        };
        if word.split(|byte| *byte == b'=').any(KeyText::begins) {
            return EmbeddedCredential::Ours;
        }
        let after = |sign: u8| word.splitn(2, move |byte| *byte == sign).nth(1);
        let below = after(b'/');
        let last = below.and_then(|rest| rest.rsplit(|byte| *byte == b'/').next());
        let all = [Some(word), after(b'='), below, last, word.strip_suffix(b".")];
        all.into_iter().flatten().map(token).max().unwrap_or(EmbeddedCredential::Nothing)
    }

    /// The same, also where it is written in another way: escaped or in base64, twice or one in the other.
    pub(super) fn hidden_in(&self, value: &HeaderValue) -> EmbeddedCredential {
        self.hidden_below(value.as_bytes(), LAYERS)
    }

    fn hidden_below(&self, value: &[u8], layers: usize) -> EmbeddedCredential {
        let written = self.held_in(value);
        if layers == 0 {
            return written;
        }
        let plain = match Cow::from(percent_decode(value)) {
            Cow::Borrowed(_) => EmbeddedCredential::Nothing,
            Cow::Owned(plain) => self.hidden_below(&plain, layers - 1),
        };
        let decoded = in_base64(value).map(|decoded| self.hidden_below(&decoded, layers - 1));
        decoded.fold(written.max(plain), EmbeddedCredential::max)
    }

    /// Whether a value holds a credential that counts here, in any form that is looked for, or speaks of our cookies: nothing
    /// to write down.
    pub fn are_in(&self, value: &HeaderValue) -> bool {
        let names = |own: &str| {
            let mut parts = value.as_bytes().windows(own.len().max(1));
            parts.any(|part| part.eq_ignore_ascii_case(own.as_bytes()))
        };
        KeyText::stands_in(value.as_bytes())
            || own_stems(&self.cookie).any(names)
            || self.hidden_in(value) != EmbeddedCredential::Nothing
    }
}

/// Takes what careless decoders take: without its padding, and with bits left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whatever could be base64 in a value, in either alphabet (RFC 4648, 4 and 5), decoded.
pub(super) fn in_base64(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let is_between = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'));
    // Shorter ones hold no credential: chance makes many of those where bytes are no text.
    value.split(is_between).filter(|word| word.len() >= SHORTEST_KEY).filter_map(|word| {
        let standard = word.iter().map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        });
        let mut word: Vec<u8> = standard.collect();
        if word.len() % 4 == 1 {
            word.pop(); // belongs to no byte
        }
        LENIENT.decode(word).ok()
    })
}
