//! argon2 in PHC form: ours, and those of other systems (RFC 9106; the PHC string format).
//!
//! What was read is what is computed with; the text is not looked at again.

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::HashFault;
use super::decimal;
use super::of_base64;
use super::parameters;
use super::redraw;
use super::salt_and_hash;

/// What a hash of ours costs, as OWASP's password storage advice has it.
pub(in crate::service) const OURS: Cost = Cost { memory: 19_456, passes: 2, lanes: 1 };
/// KiB times passes: about twenty times ours.
pub(super) const MOST_WORK: u64 = 800_000;
/// KiB.
const MOST_MEMORY: u32 = 256 * 1024;
/// Bytes of a salt, the least that RFC 9106 permits.
const LEAST_SALT: usize = 8;

const FORM: &str = "argon2";

/// What computing a hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct Cost {
    /// KiB.
    memory: u32,
    /// Passes over that memory.
    passes: u32,
    /// Lanes.
    lanes: u32,
}

impl Cost {
    /// What computes `algorithm` at this cost, with a result of so many bytes.
    fn computing(
        self,
        algorithm: Algorithm,
        version: Version,
        bytes: Option<usize>,
    ) -> Option<Argon2<'static>> {
        let params = Params::new(self.memory, self.passes, self.lanes, bytes).ok()?;
        Some(Argon2::new(algorithm, version, params))
    }
}

/// What makes hashes of ours: argon2id, version 19.
pub(in crate::service) fn hasher() -> Argon2<'static> {
    OURS.computing(Algorithm::Argon2id, Version::V0x13, None).unwrap_or_default()
}

/// A hash and what it was made with.
pub(in crate::service) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// Reads `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`; without `v=`, it is from before there were versions.
    pub(super) fn read(text: &str) -> Result<Self, HashFault> {
        let malformed = HashFault::Malformed(FORM);
        let parts: Vec<&str> = text.split('$').collect();
        let (name, version, cost, salt, hash) = match *parts.as_slice() {
            ["", name, cost, salt, hash] => (name, "v=16", cost, salt, hash),
            ["", name, version, cost, salt, hash] => (name, version, cost, salt, hash),
            _ => return Err(malformed),
        };
        let algorithm = match name {
            "argon2d" => Algorithm::Argon2d,
            "argon2i" => Algorithm::Argon2i,
            "argon2id" => Algorithm::Argon2id,
            _ => return Err(HashFault::Unknown),
        };
        let version = match version.strip_prefix("v=").and_then(decimal) {
            Some(16) => Version::V0x10,
            Some(19) => Version::V0x13,
            _ => return Err(malformed),
        };
        let [memory, passes, lanes] = parameters(cost, ["m", "t", "p"]).ok_or(malformed)?;
        if memory > MOST_MEMORY || u64::from(memory) * u64::from(passes) > MOST_WORK {
            return Err(HashFault::TooCostly(FORM));
        }
        let (salt, hash) = salt_and_hash(of_base64(salt), of_base64(hash)).ok_or(malformed)?;
        let cost = Cost { memory, passes, lanes };
        let computable = cost.computing(algorithm, version, Some(hash.len())).is_some();
        if salt.len() < LEAST_SALT || !computable {
            return Err(malformed);
        }
        Ok(Self { algorithm, version, cost, salt, hash })
    }

    pub(super) fn verifies(&self, password: &[u8]) -> bool {
        let mut made = Zeroizing::new(vec![0; self.hash.len()]);
        self.cost.computing(self.algorithm, self.version, Some(made.len())).is_some_and(|argon2| {
            argon2.hash_password_into(password, &self.salt, &mut made).is_ok()
                && made.ct_eq(&self.hash).into()
        })
    }

    /// Puts random bytes in place of salt and hash.
    pub(super) fn redraw(&mut self) {
        redraw(&mut self.salt);
        redraw(&mut self.hash);
    }

    /// What its computation takes.
    pub(super) fn shape(&self) -> impl std::fmt::Debug + use<> {
        (self.algorithm, self.version, self.cost, self.salt.len(), self.hash.len())
    }

    /// Salt and hash.
    #[cfg(test)]
    pub(super) fn secret(&self) -> (Vec<u8>, Vec<u8>) {
        (self.salt.clone(), self.hash.clone())
    }

    /// Whether it was made as ours are today.
    pub(super) fn is_current(&self) -> bool {
        self.algorithm == Algorithm::Argon2id && self.version == Version::V0x13 && self.costs_as_ours()
    }

    /// KiB times passes.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.cost.memory) * u64::from(self.cost.passes)
    }

    /// Whether verifying it takes as long as verifying ours.
    pub(super) fn costs_as_ours(&self) -> bool {
        self.cost == OURS
    }
}
