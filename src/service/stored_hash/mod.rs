//! Stored password hashes: our own, and those of systems that people come from, read into what verifies them.
//!
//! Every form that is known stands in [`StoredHash::read`]. What an origin does with a password (how bcrypt cuts it)
//! is done here as there.

use std::fmt;
use std::num::NonZeroU32;

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use blowfish::Blowfish;
use sha2::Digest as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::ServiceError;
use crate::model::audit::hex;

/// Each bound is what takes about thirty times as long as a hash of ours.
const MOST_ARGON2_WORK: u64 = 30 * 2 * 19_456;
/// KiB.
const MOST_ARGON2_MEMORY: u32 = 256 * 1024;
/// Two to this power are the rounds.
const MOST_BCRYPT_COST: u32 = 14;
const MOST_PBKDF2_ROUNDS: u64 = 4_000_000;
/// N times r times p; times 128, the bytes of memory where p is one.
const MOST_SCRYPT_WORK: u64 = 1 << 21;

/// Bytes that a password is cut to by bcrypt, its terminating zero counted.
const BCRYPT_TAKES: usize = 72;
/// Bytes of a hash: fewer could be guessed, more are nobody's.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;
/// Characters of a stored hash.
const LONGEST: usize = 512;

/// bcrypt's own alphabet; some origins leave bits in the last character of a salt.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// A hash that can be verified at a bounded cost.
pub(super) enum StoredHash {
    Argon2(Box<PasswordHash>),
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        hash: [u8; 23],
        /// Whether the password goes through SHA-256 first, so that nothing of it is cut.
        digested: bool,
    },
    Pbkdf2 {
        prf: pbkdf2::Algorithm,
        rounds: NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

/// Why a hash cannot be verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFault {
    /// Of no form that is known.
    Unknown,
    /// Of this form, and not readable.
    Malformed(&'static str),
    /// Of this form, and more work than is done for anybody.
    TooCostly(&'static str),
}

impl fmt::Display for HashFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "is of no known form: argon2, bcrypt ($2a$, $2b$, $2y$), PBKDF2 or scrypt as PHC, passlib, \
                 Django or Werkzeug write them, or phoenix:SALT:HASH in hexadecimal digits",
            ),
            Self::Malformed(form) => write!(f, "looks like {form}, but is not whole: copy all of it"),
            Self::TooCostly(form) => write!(
                f,
                "is {form} with parameters that cost more than thirty times what ours cost: add its owner \
                 without it, with a password to be changed"
            ),
        }
    }
}

impl From<HashFault> for ServiceError {
    fn from(fault: HashFault) -> Self {
        Self::invalid("hash", fault.to_string())
    }
}

impl StoredHash {
    /// Reads any form there is.
    pub(super) fn read(text: &str) -> Result<Self, HashFault> {
        if text.len() > LONGEST {
            return Err(HashFault::Unknown);
        }
        let parts: Vec<&str> = text.split('$').collect();
        match *parts.as_slice() {
            // PHC, passlib and crypt
            ["", name, ..] if name.starts_with("argon2") => argon2(text),
            ["", "2a" | "2b" | "2y", cost, rest] | ["bcrypt", "", "2a" | "2b" | "2y", cost, rest] => {
                bcrypt(cost, rest, false)
            }
            ["", name, rounds, salt, hash] if name.starts_with("pbkdf2") => {
                let rounds = parameter(rounds, "i").unwrap_or(rounds);
                Pbkdf2Text { prf: name.strip_prefix("pbkdf2").unwrap_or_default(), rounds }
                    .with(of_base64(salt), of_base64(hash))
            }
            ["", "scrypt", parameters, salt, hash] => {
                let log_n = parameter(parameters, "ln").and_then(|log_n| log_n.parse().ok());
                let [r, p] = ["r", "p"].map(|name| parameter(parameters, name).unwrap_or_default());
                scrypt(log_n, r, p, of_base64(salt), of_base64(hash))
            }
            // Django
            ["argon2", ..] => argon2(text.strip_prefix("argon2").unwrap_or_default()),
            ["bcrypt_sha256", "", "2a" | "2b" | "2y", cost, rest] => bcrypt(cost, rest, true),
            [name @ ("pbkdf2_sha256" | "pbkdf2_sha1"), rounds, salt, hash] => {
                Pbkdf2Text { prf: name.strip_prefix("pbkdf2").unwrap_or_default(), rounds }
                    .with(Some(salt.into()), of_base64(hash))
            }
            ["scrypt", n, salt, r, p, hash] => scrypt(log2(n), r, p, Some(salt.into()), of_base64(hash)),
            // Werkzeug
            [method, salt, hash] => match *method.split(':').collect::<Vec<_>>().as_slice() {
                ["pbkdf2", prf, rounds] => Pbkdf2Text { prf, rounds }.with(Some(salt.into()), of_hex(hash)),
                ["scrypt", n, r, p] => scrypt(log2(n), r, p, Some(salt.into()), of_hex(hash)),
                _ => Err(HashFault::Unknown),
            },
            // Phoenix: two columns of its table `users`
            [columns] => match *columns.split(':').collect::<Vec<_>>().as_slice() {
                ["phoenix", salt, hash] => {
                    Pbkdf2Text { prf: "sha256", rounds: "10000" }.with(of_hex(salt), of_hex(hash))
                }
                _ => Err(HashFault::Unknown),
            },
            _ => Err(HashFault::Unknown),
        }
    }

    /// Whether this is the hash of `password`. One with a zero byte has none: origins refuse it, end it there, or take it
    /// for the one without.
    pub(super) fn verifies(&self, password: &[u8]) -> bool {
        if self.is_foreign() && password.contains(&0) {
            return false;
        }
        match self {
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Bcrypt { cost, salt, hash, digested: false } => {
                bcrypt_hash(*cost, salt, password).is_some_and(|made| made.ct_eq(hash).into())
            }
            Self::Bcrypt { cost, salt, hash, digested: true } => {
                let digest = Zeroizing::new(hex(&Sha256::digest(password)));
                bcrypt_hash(*cost, salt, digest.as_bytes()).is_some_and(|made| made.ct_eq(hash).into())
            }
            Self::Pbkdf2 { prf, rounds, salt, hash } => {
                pbkdf2::verify(*prf, *rounds, salt, password, hash).is_ok()
            }
            Self::Scrypt { params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                scrypt::scrypt(password, salt, params, &mut made).is_ok() && made.ct_eq(hash).into()
            }
        }
    }

    /// Whether verifying looks at less than the whole password, so that one that fits may not be the one that is known.
    pub(super) fn cuts(&self, password: &[u8]) -> bool {
        matches!(self, Self::Bcrypt { digested: false, .. }) && password.len() > BCRYPT_TAKES
    }

    /// Whether it was made with exactly these parameters.
    pub(super) fn is_argon2id(&self, version: u32, parameters: &[(&str, u32)]) -> bool {
        matches!(self, Self::Argon2(hash) if hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
            && hash.version == Some(version)
            && parameters.iter().all(|(name, wanted)| hash.params.get_decimal(*name) == Some(*wanted)))
    }

    /// Whether it is not argon2, whose cost is about ours wherever people have chosen it.
    pub(super) fn is_foreign(&self) -> bool {
        !matches!(self, Self::Argon2(_))
    }
}

/// PHC, in which a hash without a version is from before there were versions.
fn argon2(text: &str) -> Result<StoredHash, HashFault> {
    const FORM: &str = "argon2";
    let malformed = |_| HashFault::Malformed(FORM);
    let mut hash = PasswordHash::new(text).map_err(malformed)?;
    Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashFault::Unknown)?;
    let parameter = |name: &str| hash.params.get_decimal(name).ok_or(HashFault::Malformed(FORM));
    let (memory, passes, _) = (parameter("m")?, parameter("t")?, parameter("p")?);
    if memory > MOST_ARGON2_MEMORY || u64::from(memory) * u64::from(passes) > MOST_ARGON2_WORK {
        return Err(HashFault::TooCostly(FORM));
    }
    Params::try_from(&hash).map_err(|_| HashFault::Malformed(FORM))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashFault::Malformed(FORM));
    }
    hash.version = hash.version.or(Some(0x10));
    Ok(StoredHash::Argon2(Box::new(hash)))
}

fn bcrypt(cost: &str, rest: &str, digested: bool) -> Result<StoredHash, HashFault> {
    const FORM: &str = "bcrypt";
    let read = || {
        let (salt, hash) = rest.split_at_checked(22)?;
        let decode = |text: &str| BCRYPT_BASE64.decode(text).ok();
        let cost = cost.parse::<u32>().ok().filter(|_| cost.len() == 2)?;
        Some((cost, decode(salt)?.try_into().ok()?, decode(hash)?.try_into().ok()?))
    };
    let (cost, salt, hash) = read().ok_or(HashFault::Malformed(FORM))?;
    match cost {
        4..=MOST_BCRYPT_COST => Ok(StoredHash::Bcrypt { cost, salt, hash, digested }),
        0..4 => Err(HashFault::Malformed(FORM)),
        _ => Err(HashFault::TooCostly(FORM)),
    }
}

/// bcrypt as OpenBSD's `$2b$`: the password with a zero behind it, cut to 72 bytes.
fn bcrypt_hash(cost: u32, salt: &[u8; 16], password: &[u8]) -> Option<[u8; 23]> {
    let mut key = Zeroizing::new([password, &[0]].concat());
    key.truncate(BCRYPT_TAKES);
    let mut state: Blowfish = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u64 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut made = Vec::with_capacity(24);
    for block in b"OrpheanBeholderScryDoubt".chunks(8) {
        let half = |at: usize| Some(u32::from_be_bytes(*block.get(at..)?.first_chunk()?));
        let mut words = [half(0)?, half(4)?];
        for _ in 0..64 {
            words = state.bc_encrypt(words);
        }
        made.extend(words.into_iter().flat_map(u32::to_be_bytes));
    }
    made.first_chunk().copied()
}

/// What texts say of PBKDF2: the hash function, with `-` or `_` before it or none at all, and the rounds.
struct Pbkdf2Text<'t> {
    prf: &'t str,
    rounds: &'t str,
}

impl Pbkdf2Text<'_> {
    fn with(self, salt: Option<Vec<u8>>, hash: Option<Vec<u8>>) -> Result<StoredHash, HashFault> {
        const FORM: &str = "PBKDF2";
        let (prf, block) = match self.prf.trim_start_matches(['-', '_']) {
            "" | "sha1" => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            "sha256" => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            "sha512" => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
            _ => return Err(HashFault::Unknown),
        };
        let rounds = self.rounds.parse::<NonZeroU32>().map_err(|_| HashFault::Malformed(FORM))?;
        let (salt, hash) = salt_and_hash(salt, hash).ok_or(HashFault::Malformed(FORM))?;
        if u64::from(rounds.get()) * hash.len().div_ceil(block) as u64 > MOST_PBKDF2_ROUNDS {
            return Err(HashFault::TooCostly(FORM));
        }
        Ok(StoredHash::Pbkdf2 { prf, rounds, salt, hash })
    }
}

fn scrypt(
    log_n: Option<u8>,
    r: &str,
    p: &str,
    salt: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
) -> Result<StoredHash, HashFault> {
    const FORM: &str = "scrypt";
    let malformed = HashFault::Malformed(FORM);
    let (salt, hash) = salt_and_hash(salt, hash).ok_or(malformed)?;
    let log_n = log_n.filter(|log_n| *log_n > 0).ok_or(malformed)?;
    let [r, p] = [r, p].map(|number| number.parse::<u32>().map_err(|_| malformed));
    let (r, p) = (r?, p?);
    let work = 1_u64.checked_shl(log_n.into()).and_then(|n| n.checked_mul(r.into())?.checked_mul(p.into()));
    if work.is_none_or(|work| work > MOST_SCRYPT_WORK) {
        return Err(HashFault::TooCostly(FORM));
    }
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| malformed)?;
    Ok(StoredHash::Scrypt { params, salt, hash })
}

fn salt_and_hash(salt: Option<Vec<u8>>, hash: Option<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
    let salt = salt.filter(|salt| !salt.is_empty())?;
    Some((salt, hash.filter(|hash| LENGTHS.contains(&hash.len()))?))
}

/// The value of one parameter in `a=1,b=2`.
fn parameter<'t>(parameters: &'t str, name: &str) -> Option<&'t str> {
    parameters.split(',').find_map(|each| each.strip_prefix(name)?.strip_prefix('='))
}

fn log2(n: &str) -> Option<u8> {
    let n = n.parse::<u64>().ok().filter(|n| n.is_power_of_two())?;
    u8::try_from(n.trailing_zeros()).ok()
}

/// Padded or not, with `+` or, as passlib writes it, with `.` instead.
fn of_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace('.', "+")).ok()
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii() && text.len().is_multiple_of(2);
    let pairs = digits.then(|| text.as_bytes().chunks(2))?;
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
