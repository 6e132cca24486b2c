//! Random tokens: the caller holds the token, the store holds only its digest.
//!
//! The only place that draws randomness for secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::secret::Secret;
use super::words::words;

/// SHA-256 of a token; the only form that is stored or looked up.
///
/// A fast hash is enough: the input is 256 random bits, so there is nothing to
/// guess. Passwords are guessable and go through `service::password` instead.
#[derive(Clone, Copy, Debug)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// The digest of a token's text.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// 43 characters of unpadded base64url.
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The digest that [`TokenDigest::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = (text.len() == 43).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl PartialEq for TokenDigest {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

/// 256 random bits from the operating system.
pub fn random_bytes() -> [u8; 32] {
    rand::random()
}

/// 256 random bits as 43 characters of unpadded base64url.
pub fn random_text() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(random_bytes()))
}

/// A temporary password a person can type: 20 characters without look-alikes, about 98 bits.
pub fn random_password() -> Secret {
    const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut text = String::with_capacity(24);
    let mut taken = 0;
    while taken < 20 {
        for byte in random_bytes() {
            // 248 is the largest multiple of 31 in a byte: above it the choice would be biased.
            if byte < 248 && taken < 20 {
                if taken > 0 && taken % 5 == 0 {
                    text.push('-');
                }
                text.push(char::from(*ALPHABET.get(usize::from(byte) % 31).unwrap_or(&b'a')));
                taken += 1;
            }
        }
    }
    Secret::new(text)
}

/// The gateway's own key, from which one key per purpose is derived.
///
/// It signs session and device cookies, so that a forged one costs no lookup. Replicas share it.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret);

impl MasterKey {
    /// Takes at least 32 bytes of key material; the caller has checked the length.
    pub fn new(material: Secret) -> Self {
        Self(material)
    }

    /// A key for one purpose. Different purposes give unrelated keys.
    pub fn derive(&self, purpose: KeyPurpose) -> SigningKey {
        SigningKey(mac(self.0.expose().as_bytes(), purpose.as_str().as_bytes()))
    }
}

words! {
    /// What a key is derived for. A word that changed would be another key: what was signed before would be worth nothing.
    KeyPurpose {
        /// Applications' session cookies.
        AppSession = "application session",
        /// What upstreams are told of callers.
        Assertion = "assertion",
        /// The audit trail.
        Audit = "audit trail",
        /// Cookies that count how often a browser was sent on.
        LoopGuard = "bounce cookie",
        /// Cookies of browsers that have signed in before.
        Device = "device cookie",
        /// Which decoy is for a name that has no password.
        Decoy = "decoy",
        /// What identity providers gave along with sign-ins.
        ProviderTokens = "provider tokens",
        /// Session cookies.
        Session = "session cookie",
        /// Cookies that hold the state of a sign-in at an identity provider.
        SignIn = "sign-in state",
    }
}

/// HMAC-SHA-256 key for values that we hand out and take back (RFC 2104).
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// `value.signature`, both base64url-safe if `value` is.
    pub fn sign(&self, value: &str) -> String {
        format!("{value}.{}", self.tag(value.as_bytes()))
    }

    /// The value back, if we signed it.
    pub fn verify<'v>(&self, signed: &'v str) -> Option<&'v str> {
        let (value, tag) = signed.rsplit_once('.')?;
        bool::from(self.tag(value.as_bytes()).as_bytes().ct_eq(tag.as_bytes())).then_some(value)
    }

    /// The whole MAC of anything.
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        mac(&self.0, message)
    }

    /// 32 bytes for one purpose. Different labels give unrelated bytes.
    pub fn bytes_for(&self, label: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(&self.0, label.as_bytes()))
    }

    /// 22 characters of unpadded base64url: 128 bits are enough for a tag that can only be tried online.
    pub fn tag(&self, message: &[u8]) -> String {
        let tag = mac(&self.0, message);
        URL_SAFE_NO_PAD.encode(tag.first_chunk::<16>().unwrap_or(&[0; 16]))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The text of an API key: `dw_s_<id>_<secret><checksum>` for system keys, `dw_u_…` for user keys.
///
/// `id` has 16 base62 characters, `secret` 43 (256 bits), `checksum` 6 (CRC-32 of all before it), so a
/// leak scanner recognises a key and a mistyped one is refused without a lookup.
#[derive(Debug)]
pub struct KeyText {
    /// The whole text, shown once.
    pub text: Secret,
    /// The public part, stored and shown.
    pub id: String,
}

/// Whom a key acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// No owner; survives its creator.
    System,
    /// A user.
    User,
}

const SYSTEM_PREFIX: &str = "dw_s_";
const USER_PREFIX: &str = "dw_u_";
const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;

impl KeyText {
    /// Draws a new key.
    pub fn draw(kind: KeyKind) -> Self {
        let prefix = match kind {
            KeyKind::System => SYSTEM_PREFIX,
            KeyKind::User => USER_PREFIX,
        };
        let id = base62(&random_bytes(), ID_LENGTH);
        let body = format!("{prefix}{id}_{}", base62(&random_bytes(), SECRET_LENGTH));
        let text = Secret::new(format!("{body}{}", checksum(&body)));
        Self { text, id }
    }

    /// The id in a key's text, if the text is well-formed and its checksum holds.
    pub fn id_of(text: &str) -> Option<&str> {
        let rest = text.strip_prefix(SYSTEM_PREFIX).or_else(|| text.strip_prefix(USER_PREFIX))?;
        let (id, secret) = rest.split_once('_')?;
        let shaped = id.len() == ID_LENGTH
            && secret.len() == SECRET_LENGTH + CHECKSUM_LENGTH
            && id.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric());
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LENGTH)?)?;
        (shaped && checksum(body) == sum).then_some(id)
    }

    /// Whether a text claims to be one of our keys, well-formed or not.
    pub fn is_claimed(text: &str) -> bool {
        Self::begins(text.as_bytes())
    }

    /// The same for bytes that may be no text.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(SYSTEM_PREFIX.as_bytes()) || bytes.starts_with(USER_PREFIX.as_bytes())
    }

    /// Whether a key, whole or mangled behind its id, stands anywhere in bytes.
    pub fn stands_in(bytes: &[u8]) -> bool {
        let has_id = |key: &[u8]| {
            let id = SYSTEM_PREFIX.len()..SYSTEM_PREFIX.len() + ID_LENGTH;
            Self::begins(key)
                && key.get(id.clone()).is_some_and(|id| id.iter().all(u8::is_ascii_alphanumeric))
                && key.get(id.end) == Some(&b'_')
        };
        // The first mark of a key is rarer than its first letter.
        memchr::memchr_iter(b'_', bytes)
            .any(|at| at.checked_sub(2).and_then(|at| bytes.get(at..)).is_some_and(has_id))
    }

    /// A text in which keys show no more than their ids: what a client put where it does not belong, for a log.
    pub fn masked(text: &str) -> Cow<'_, str> {
        let begin = |text: &str| [SYSTEM_PREFIX, USER_PREFIX].iter().filter_map(|kind| text.find(kind)).min();
        if begin(text).is_none() {
            return Cow::Borrowed(text);
        }
        let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, key)) = begin(rest).and_then(|at| rest.split_at_checked(at)) {
            let end = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(key.len());
            let (key, after) = key.split_at_checked(end).unwrap_or((key, ""));
            let id = SYSTEM_PREFIX.len() + ID_LENGTH;
            let shaped = key.as_bytes().get(id) == Some(&b'_');
            let shown = key.get(..if shaped { id } else { SYSTEM_PREFIX.len() }).unwrap_or_default();
            masked.push_str(before);
            masked.push_str(shown);
            masked.push_str("***");
            rest = after;
        }
        masked.push_str(rest);
        Cow::Owned(masked)
    }
}

fn checksum(body: &str) -> String {
    base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_LENGTH)
}

/// The number in `bytes` (big-endian) in base 62, exactly `length` digits, lowest kept.
fn base62(bytes: &[u8], length: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(length);
    for _ in 0..length {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        digits.push(*DIGITS.get(remainder as usize).unwrap_or(&b'0'));
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_it_stands_and_nothing_else_is() {
        let key = KeyText::draw(KeyKind::User);
        let text = key.text.expose();
        for around in [["", ""], ["Token ", ""], ["a=dw_s_;x", ",b"], ["https://x/?t=", "&c"], ["_dw_", "_"]]
        {
            assert!(KeyText::stands_in([around[0], text, around[1]].concat().as_bytes()), "{around:?}");
            assert!(
                KeyText::stands_in([around[0], &text[..30], around[1]].concat().as_bytes()),
                "{around:?}"
            );
        }
        for other in [
            "",
            "_",
            "dw_",
            "dw_s_",
            "dw_s_short_x",
            "adw_x_0123456789abcdef_",
            "snake_case_name",
            &text[1..],
        ] {
            assert!(!KeyText::stands_in(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_drawn_key_is_recognised_and_any_changed_character_is_not() {
        let key = KeyText::draw(KeyKind::System);
        let text = key.text.expose();
        assert_eq!(KeyText::id_of(text), Some(key.id.as_str()));
        for at in 0..text.len() {
            let mut typo = text.as_bytes().to_vec();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(KeyText::id_of(std::str::from_utf8(&typo).unwrap()), None, "position {at}");
        }
        for short in 0..text.len() {
            assert_eq!(KeyText::id_of(&text[..short]), None);
        }
    }

    #[test]
    fn a_masked_text_shows_of_a_key_its_id_alone() {
        assert!(matches!(KeyText::masked("/data/dw_x_1/dw_"), Cow::Borrowed("/data/dw_x_1/dw_")));
        let (one, other) = (KeyText::draw(KeyKind::System), KeyText::draw(KeyKind::User));
        let (first, second) = (one.text.expose(), other.text.expose());
        let text = format!("/a/{first}/b-{second}.{}/é{first}", &first[..30]);
        let (id, other) = (&one.id, &other.id);
        let masked = format!("/a/dw_s_{id}***/b-dw_u_{other}***.dw_s_{id}***/édw_s_{id}***");
        assert_eq!(KeyText::masked(&text), masked);
        for (mistyped, shown) in [
            ("dw_s_", "dw_s_***"),
            ("dw_u_secret/x", "dw_u_***/x"),
            (&first.replacen(&**id, "short", 1), "dw_s_***"),
            (&format!("{first}{second}"), &format!("dw_s_{id}***")),
        ] {
            assert_eq!(KeyText::masked(mistyped), shown);
        }
    }

    #[test]
    fn a_digest_is_read_back_from_its_text_and_from_no_other() {
        let digest = TokenDigest::of("token");
        let text = digest.to_text();
        assert_eq!(TokenDigest::from_text(&text), Some(digest));
        for other in ["", &text[1..], &format!("{text}A"), &text.replace(&text[..1], "+")] {
            assert_eq!(TokenDigest::from_text(other), None, "{other}");
        }
    }

    #[test]
    fn no_two_keys_are_alike() {
        let keys: std::collections::BTreeSet<_> =
            (0..1000).map(|_| KeyText::draw(KeyKind::User).text.expose().to_owned()).collect();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn only_our_own_signature_verifies() {
        let key = MasterKey::new(Secret::new("k".repeat(32))).derive(KeyPurpose::Session);
        let other = MasterKey::new(Secret::new("k".repeat(32))).derive(KeyPurpose::Device);
        let signed = key.sign("abc");
        assert_eq!(key.verify(&signed), Some("abc"));
        assert_eq!(other.verify(&signed), None);
        for forged in ["", ".", "abc", "abc.", &signed[1..], &signed.replace("abc", "abd")] {
            assert_eq!(key.verify(forged), None, "{forged:?}");
        }
    }

    #[test]
    fn a_temporary_password_is_long_enough_for_the_password_rules() {
        let password = random_password();
        assert_eq!(password.expose().len(), 23);
        assert_ne!(password.expose(), random_password().expose());
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let key = KeyText::draw(KeyKind::System);
        assert!(!format!("{key:?}").contains(key.text.expose()));
    }
}
