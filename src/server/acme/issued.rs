//! An issued key and certificate chain, and their validity.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::model::time::Timestamp;

/// Between two orders that succeeded at least this long passes, unless certificates live too short for that.
const BETWEEN_ORDERS: Duration = Duration::from_hours(1);

/// Why a key and chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// The text is not a key and certificates.
    #[error("it holds no key and certificates in PEM form")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The chain is empty.
    #[error("it holds no certificate")]
    Empty,
    /// The first certificate cannot be read.
    #[error("its certificate cannot be read")]
    Certificate,
    /// The key is of no kind we know, or belongs to another certificate.
    #[error("its key cannot be used with its certificate")]
    Key(#[from] rustls::Error),
}

/// A key and its chain.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) key: Arc<CertifiedKey>,
    not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Issued {
    /// Reads a key and the chain that follows it.
    pub(super) fn read(pem: &str) -> Result<Self, Unusable> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let leaf = chain.first().ok_or(Unusable::Empty)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| Unusable::Certificate)?;
        let validity = leaf.validity();
        let not_before = Timestamp(validity.not_before.timestamp());
        let not_after = Timestamp(validity.not_after.timestamp());
        let key = CertifiedKey::new(chain, any_supported_type(&key)?);
        key.keys_match()?;
        Ok(Self { key: Arc::new(key), not_before, not_after })
    }

    /// When another should be ordered: at two thirds of its life, and a little earlier, by `chance` from 0 to 1, so
    /// that gateways that were started together do not ask together.
    pub(super) fn renew_at(&self, chance: f64) -> Timestamp {
        let life = self.not_after.since(self.not_before);
        let early = (life / 30).mul_f64(chance.clamp(0.0, 1.0));
        self.not_before.after((life * 2 / 3).saturating_sub(early))
    }

    /// How long no other is ordered though this one, which has just come, is due: another one would be due as
    /// well, for ever. The clock is ahead, or its life began long ago. `None` where it is not due so soon, or will
    /// be by right because it lives short.
    pub(super) fn pause(&self, now: Timestamp, chance: f64) -> Option<Duration> {
        let left = self.renew_at(chance).since(now);
        let lives_short = self.renew_at(1.0).since(self.not_before) < BETWEEN_ORDERS;
        let too_soon = left.is_zero() || (left < BETWEEN_ORDERS && !lives_short);
        too_soon.then_some(BETWEEN_ORDERS)
    }
}

/// How long to wait after so many failures in a row: two minutes, then twice as long each time, at most six hours,
/// and by `chance` from 0 to 1 up to a quarter longer. Authorities allow five failures for a name and hour.
pub(super) fn back_off(failures: u32, chance: f64) -> Duration {
    let minutes = 2_u64.saturating_pow(failures.clamp(1, 16)).min(6 * 60);
    Duration::from_secs(minutes * 60).mul_f64(1.0 + chance.clamp(0.0, 1.0) / 4.0)
}

/// The certificate that answers a challenge in a handshake (RFC 8737, 3).
pub(super) fn challenge_certificate(domain: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, BoxError> {
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let pair = KeyPair::generate()?;
    let certificate = params.self_signed(&pair)?;
    let key = PrivateKeyDer::try_from(pair.serialize_der())?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key)?)))
}

/// A new key, as PEM, and the request for a certificate for it, as DER.
pub(super) fn signing_request(domains: &[String]) -> Result<(String, Vec<u8>), rcgen::Error> {
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    let pair = KeyPair::generate()?;
    let request = params.serialize_request(&pair)?;
    Ok((pair.serialize_pem(), request.der().to_vec()))
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(days: i64) -> String {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = time::OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
        params.not_after = params.not_before + time::Duration::days(days);
        let pair = KeyPair::generate().unwrap();
        format!("{}{}", pair.serialize_pem(), params.self_signed(&pair).unwrap().pem())
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_or_a_little_earlier() {
        let issued = Issued::read(&pem(90)).unwrap();
        let day = 86_400;
        assert_eq!(issued.not_after, Timestamp(1_900_000_000 + 90 * day));
        assert_eq!(issued.renew_at(0.0), Timestamp(1_900_000_000 + 60 * day));
        assert_eq!(issued.renew_at(1.0), Timestamp(1_900_000_000 + 57 * day));
    }

    #[test]
    fn a_certificate_that_is_due_as_it_comes_is_not_followed_by_another_at_once() {
        let hour = Duration::from_hours(1);
        let began = Timestamp(1_900_000_000);
        let long = Issued::read(&pem(90)).unwrap();
        let days = |days: u64| began.after(hour * 24 * u32::try_from(days).unwrap());
        assert_eq!(long.pause(began, 0.0), None);
        assert_eq!(long.pause(days(59), 0.0), None, "due tomorrow");
        for now in [days(60), days(80), days(91), Timestamp(days(60).0 - 1)] {
            assert_eq!(
                long.pause(now, 0.0),
                Some(hour),
                "a clock that is ahead, or a life that began long ago"
            );
        }
        let mut short = Issued { not_after: Timestamp(began.0 + 60), ..long };
        assert_eq!(short.pause(began, 0.0), None, "due in forty seconds by right");
        assert_eq!(short.pause(Timestamp(began.0 + 40), 0.0), Some(hour));
        short.not_after = began;
        assert_eq!(short.pause(began, 0.0), Some(hour), "no life at all");
    }

    #[test]
    fn what_does_not_fit_together_is_not_used() {
        let (one, other) = (pem(1), pem(1));
        let (_, chain) = one.split_at(one.find("-----BEGIN CERTIFICATE").unwrap());
        let (key, _) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
        assert!(matches!(Issued::read(&format!("{key}{chain}")), Err(Unusable::Key(_))));
        assert!(matches!(Issued::read(key), Err(Unusable::Empty)));
        assert!(matches!(Issued::read(chain), Err(Unusable::Pem(_))));
        assert!(Issued::read("").is_err());
        assert!(Issued::read(&one).is_ok());
    }

    #[test]
    fn failures_make_the_next_try_wait_longer_up_to_six_hours() {
        let minutes = |failures| back_off(failures, 0.0).as_secs() / 60;
        assert_eq!([1, 2, 3, 8, 9, 1000].map(minutes), [2, 4, 8, 256, 360, 360]);
        assert_eq!(back_off(1, 1.0), Duration::from_secs(150));
        let tries = (1..).scan(0, |passed, failures| {
            *passed += minutes(failures);
            Some(*passed)
        });
        assert_eq!(tries.take_while(|passed| *passed < 60).count(), 4, "further tries within an hour");
    }
}
