//! Stored password hashes: our own, and those of systems that people come from, read into what verifies them.
//!
//! Every form that is known stands in [`StoredHash::read`]. What an origin does with a password (how bcrypt cuts it)
//! is done here as there. Each form is read strictly: a number that readers could take for different ones is refused.

mod argon2_hash;

use std::fmt;
use std::num::NonZeroU32;

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

pub(super) use self::argon2_hash::Argon2Hash;
pub(super) use self::argon2_hash::hasher;
use super::{Field, ServiceError};
use crate::model::audit::hex;
use crate::model::token::random_bytes;

/// Each bound is what takes about twenty times as long as a hash of ours. Two to this power are the rounds.
const MOST_BCRYPT_COST: u32 = 13;
/// Of SHA-1 and SHA-256, for each block of the hash; one of SHA-512 counts twice.
const MOST_PBKDF2_ROUNDS: u64 = 2_000_000;
/// N times r times p; times 128, the bytes of memory where p is one.
const MOST_SCRYPT_WORK: u64 = 1 << 20;
/// r times p; times 128, the bytes that PBKDF2 makes and takes beside that work.
const MOST_SCRYPT_BLOCKS: u64 = 256;

/// Bytes that a password is cut to by bcrypt, its terminating zero counted.
const BCRYPT_TAKES: usize = 72;
/// Bytes of a hash: fewer could be guessed, more are not used.
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
    Argon2(Argon2Hash),
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
            Self::Malformed(form) => {
                write!(f, "looks like {form}, but is not as {form} is written: copy all of it")
            }
            Self::TooCostly(form) => write!(
                f,
                "is {form} with parameters that cost more than about twenty times what ours cost: add its \
                 owner without it, with a password to be changed"
            ),
        }
    }
}

impl From<HashFault> for ServiceError {
    fn from(fault: HashFault) -> Self {
        Self::invalid(Field::Hash, fault.to_string())
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
            ["", name, ..] if name.starts_with("argon2") => Argon2Hash::read(text).map(Self::Argon2),
            ["", "2a" | "2b" | "2y", cost, rest] | ["bcrypt", "", "2a" | "2b" | "2y", cost, rest] => {
                bcrypt(cost, rest, false)
            }
            ["", "pbkdf2", rounds, salt, hash] => Pbkdf2Text { prf: "sha1", rounds }.of_base64(salt, hash),
            ["", name, rounds, salt, hash] if name.starts_with("pbkdf2-") => {
                let prf = name.strip_prefix("pbkdf2-").unwrap_or_default();
                Pbkdf2Text { prf, rounds }.of_base64(salt, hash)
            }
            ["", "scrypt", text, salt, hash] => {
                let numbers = parameters(text, ["ln", "r", "p"]);
                let numbers = numbers.and_then(|[log_n, r, p]| Some((u8::try_from(log_n).ok()?, r, p)));
                scrypt(numbers, of_base64(salt), of_base64(hash))
            }
            // Django
            ["argon2", ..] => {
                Argon2Hash::read(text.strip_prefix("argon2").unwrap_or_default()).map(Self::Argon2)
            }
            ["bcrypt_sha256", "", "2a" | "2b" | "2y", cost, rest] => bcrypt(cost, rest, true),
            [name @ ("pbkdf2_sha256" | "pbkdf2_sha1"), rounds, salt, hash] => {
                let prf = name.strip_prefix("pbkdf2_").unwrap_or_default();
                Pbkdf2Text { prf, rounds }.with(decimal(rounds), Some(salt.into()), of_base64(hash))
            }
            ["scrypt", n, salt, r, p, hash] => {
                scrypt(scrypt_numbers(n, r, p), Some(salt.into()), of_base64(hash))
            }
            // Werkzeug
            [method, salt, hash] => match *method.split(':').collect::<Vec<_>>().as_slice() {
                ["pbkdf2", prf, rounds] => {
                    Pbkdf2Text { prf, rounds }.with(decimal(rounds), Some(salt.into()), of_hex(hash))
                }
                ["scrypt", n, r, p] => scrypt(scrypt_numbers(n, r, p), Some(salt.into()), of_hex(hash)),
                _ => Err(HashFault::Unknown),
            },
            // Phoenix: two columns of its table `users`
            [columns] => match *columns.split(':').collect::<Vec<_>>().as_slice() {
                ["phoenix", salt, hash] => {
                    Pbkdf2Text { prf: "sha256", rounds: "" }.with(Some(10_000), of_hex(salt), of_hex(hash))
                }
                _ => Err(HashFault::Unknown),
            },
            _ => Err(HashFault::Unknown),
        }
    }

    /// Whether this is the hash of `password`. One with a zero byte has none: origins refuse it, end it there, or take it
    /// for the one without.
    pub(super) fn verifies(&self, password: &[u8]) -> bool {
        if !matches!(self, Self::Argon2(_)) && password.contains(&0) {
            return false;
        }
        match self {
            Self::Argon2(hash) => hash.verifies(password),
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

    /// One of the same kind, cost and lengths that nothing is known to fit: salt and hash are random.
    pub(super) fn unmatchable(mut self) -> Self {
        match &mut self {
            Self::Argon2(argon2) => argon2.redraw(),
            Self::Bcrypt { salt, hash, .. } => {
                redraw(salt);
                redraw(hash);
            }
            Self::Pbkdf2 { salt, hash, .. } | Self::Scrypt { salt, hash, .. } => {
                redraw(salt);
                redraw(hash);
            }
        }
        self
    }

    /// What verifying it takes, by its parameters: about as much as others of this number, of whichever kind.
    pub(super) fn work(&self) -> u64 {
        // Each bound is about the same work.
        let of_bound = |work: u64, bound: u64| work.saturating_mul(1 << 20) / bound;
        match self {
            Self::Argon2(hash) => of_bound(hash.work(), argon2_hash::MOST_WORK),
            Self::Bcrypt { cost, .. } => of_bound(1 << cost, 1 << MOST_BCRYPT_COST),
            Self::Pbkdf2 { prf, rounds, hash, .. } => {
                let (block, weight) = block_and_weight(*prf);
                of_bound(pbkdf2_work(*rounds, hash, block, weight), MOST_PBKDF2_ROUNDS)
            }
            Self::Scrypt { params, .. } => {
                let work = (u64::from(params.r()) * u64::from(params.p())) << params.log_n();
                of_bound(work, MOST_SCRYPT_WORK)
            }
        }
    }

    /// Its form and parameters, the same for all whose verification is the same work.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Argon2(hash) => format!("argon2 {:?}", hash.shape()),
            Self::Bcrypt { cost, digested, .. } => format!("bcrypt {cost:02} {digested}"),
            Self::Pbkdf2 { prf, rounds, salt, hash } => {
                let (block, _) = block_and_weight(*prf);
                format!("PBKDF2 {block} {rounds} {} {}", salt.len(), hash.len())
            }
            Self::Scrypt { params, salt, hash } => {
                let (log_n, r, p) = (params.log_n(), params.r(), params.p());
                format!("scrypt {log_n} {r} {p} {} {}", salt.len(), hash.len())
            }
        }
    }

    /// Whether verifying looks at less than the whole password, so that one that fits may not be the one that is known.
    pub(super) fn cuts(&self, password: &[u8]) -> bool {
        matches!(self, Self::Bcrypt { digested: false, .. }) && password.len() > BCRYPT_TAKES
    }

    /// Whether it was made as ours are today.
    pub(super) fn is_current(&self) -> bool {
        matches!(self, Self::Argon2(hash) if hash.is_current())
    }

    /// Whether verifying it may take more or less time than verifying ours.
    pub(super) fn is_foreign(&self) -> bool {
        !matches!(self, Self::Argon2(hash) if hash.costs_as_ours())
    }
}

/// Random bytes in place of others.
fn redraw(bytes: &mut [u8]) {
    for some in bytes.chunks_mut(32) {
        some.iter_mut().zip(random_bytes()).for_each(|(byte, drawn)| *byte = drawn);
    }
}

fn bcrypt(cost: &str, rest: &str, digested: bool) -> Result<StoredHash, HashFault> {
    const FORM: &str = "bcrypt";
    let read = || {
        let (salt, hash) = rest.split_at_checked(22)?;
        let decode = |text: &str| BCRYPT_BASE64.decode(text).ok();
        let cost = cost.parse::<u32>().ok().filter(|_| cost.len() == 2 && is_digits(cost))?;
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

/// What texts say of PBKDF2: the hash function and the rounds.
struct Pbkdf2Text<'t> {
    prf: &'t str,
    rounds: &'t str,
}

impl Pbkdf2Text<'_> {
    /// As passlib and PHC strings have it: rounds alone, or `i=` with them, and perhaps `l=` with the bytes of the hash.
    fn of_base64(&self, salt: &str, hash: &str) -> Result<StoredHash, HashFault> {
        let hash = of_base64(hash);
        let length = hash.as_ref().and_then(|hash| u32::try_from(hash.len()).ok());
        let alone = || decimal(self.rounds).or_else(|| parameters(self.rounds, ["i"]).map(|[rounds]| rounds));
        let rounds = match parameters(self.rounds, ["i", "l"]) {
            Some([rounds, l]) => Some(rounds).filter(|_| Some(l) == length),
            None => alone(),
        };
        self.with(rounds, of_base64(salt), hash)
    }

    fn with(
        &self,
        rounds: Option<u32>,
        salt: Option<Vec<u8>>,
        hash: Option<Vec<u8>>,
    ) -> Result<StoredHash, HashFault> {
        const FORM: &str = "PBKDF2";
        let prf = match self.prf {
            "sha1" => pbkdf2::PBKDF2_HMAC_SHA1,
            "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
            "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(HashFault::Unknown),
        };
        let (block, weight) = block_and_weight(prf);
        let rounds = rounds.and_then(NonZeroU32::new).ok_or(HashFault::Malformed(FORM))?;
        let (salt, hash) = salt_and_hash(salt, hash).ok_or(HashFault::Malformed(FORM))?;
        if pbkdf2_work(rounds, &hash, block, weight) > MOST_PBKDF2_ROUNDS {
            return Err(HashFault::TooCostly(FORM));
        }
        Ok(StoredHash::Pbkdf2 { prf, rounds, salt, hash })
    }
}

/// Bytes that PBKDF2 makes at a time, and what a round for them takes.
fn block_and_weight(prf: pbkdf2::Algorithm) -> (usize, u64) {
    if prf == pbkdf2::PBKDF2_HMAC_SHA512 {
        (64, 2)
    } else if prf == pbkdf2::PBKDF2_HMAC_SHA256 {
        (32, 1)
    } else {
        (20, 1)
    }
}

fn pbkdf2_work(rounds: NonZeroU32, hash: &[u8], block: usize, weight: u64) -> u64 {
    u64::from(rounds.get()) * hash.len().div_ceil(block) as u64 * weight
}

/// `numbers` are log N, r and p.
fn scrypt(
    numbers: Option<(u8, u32, u32)>,
    salt: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
) -> Result<StoredHash, HashFault> {
    const FORM: &str = "scrypt";
    let malformed = HashFault::Malformed(FORM);
    let (salt, hash) = salt_and_hash(salt, hash).ok_or(malformed)?;
    let (log_n, r, p) = numbers.filter(|(log_n, ..)| *log_n > 0).ok_or(malformed)?;
    let blocks = u64::from(r) * u64::from(p);
    let work = 1_u64.checked_shl(log_n.into()).and_then(|n| n.checked_mul(blocks));
    if blocks > MOST_SCRYPT_BLOCKS || work.is_none_or(|work| work > MOST_SCRYPT_WORK) {
        return Err(HashFault::TooCostly(FORM));
    }
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| malformed)?;
    Ok(StoredHash::Scrypt { params, salt, hash })
}

/// Those of scrypt where N itself is given.
fn scrypt_numbers(n: &str, r: &str, p: &str) -> Option<(u8, u32, u32)> {
    let n = decimal(n).filter(|n| n.is_power_of_two())?;
    Some((u8::try_from(n.trailing_zeros()).ok()?, decimal(r)?, decimal(p)?))
}

fn salt_and_hash(salt: Option<Vec<u8>>, hash: Option<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
    let salt = salt.filter(|salt| !salt.is_empty())?;
    Some((salt, hash.filter(|hash| LENGTHS.contains(&hash.len()))?))
}

/// The values of `a=1,b=2`, which must be exactly these parameters in this order. One that is named twice, or is not
/// known, might count elsewhere.
fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut written = text.split(',');
    let mut values = [0; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = decimal(written.next()?.strip_prefix(name)?.strip_prefix('=')?)?;
    }
    written.next().is_none().then_some(values)
}

/// A number as PHC strings have it: digits, without a sign or needless zeros.
fn decimal(text: &str) -> Option<u32> {
    let plain = is_digits(text) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Padded or not, with `+` or, as passlib writes it, with `.` instead.
fn of_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=').replace('.', "+")).ok()
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    let pairs = digits.then(|| text.as_bytes().chunks(2))?;
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
