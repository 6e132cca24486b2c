//! Certificates by ACME (RFC 8555): ordered, kept, renewed and put into effect while requests are served.
//!
//! What fails is logged and tried again later; the certificate that is there stays in use.

pub mod cache;
mod client;
mod issued;
pub mod plain;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};

use self::cache::AcmeCache;
use self::client::AcmeClient;
use self::issued::{Issued, Unusable};
use crate::config::{AcmeChallenge, AcmeConfig};
use crate::egress::tls::TlsError;
use crate::model::time::Clock;
use crate::server::certificates::AcmeState;

/// An order, validation included, must be done within this.
const ORDER_TIMEOUT: Duration = Duration::from_mins(5);
/// The time of day is looked at this often; it can be set, and machines sleep.
const LOOK: Duration = Duration::from_hours(1);

/// Why ACME cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cache folder, or what is in it.
    #[error("server.acme.cache: {path}")]
    Cache {
        /// The folder.
        path: String,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
    /// Trust in the authority.
    #[error("server.acme.ca")]
    Trust(#[source] TlsError),
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("the authority refused or failed")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority offers no {0} challenge for {1}")]
    NoChallenge(&'static str, String),
    #[error("the authority could not validate every domain: {0:?}")]
    NotValidated(OrderStatus),
    #[error("an authorization cannot be used: {0:?}")]
    Unauthorized(AuthorizationStatus),
    #[error("the answer to a challenge could not be made")]
    Challenge(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a key could not be made")]
    Key(#[from] rcgen::Error),
    #[error("what the authority gave cannot be used")]
    Unusable(#[from] Unusable),
    #[error("account or certificate cannot be kept in server.acme.cache")]
    Cache(#[from] io::Error),
    #[error("the account cannot be read or written")]
    Account(#[from] serde_json::Error),
    #[error("the order was not done in time")]
    Late,
}

impl OrderError {
    /// Whether the authority does not know our account, as after it was set up anew (RFC 8555, 6.7).
    fn is_unknown_account(&self) -> bool {
        matches!(self, Self::Authority(instant_acme::Error::Api(problem))
            if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"))
    }
}

/// Orders certificates for one configuration.
pub struct Acme {
    config: AcmeConfig,
    cache: AcmeCache,
    client: AcmeClient,
    clock: Arc<dyn Clock>,
    held: Arc<AcmeState>,
    current: Option<Issued>,
}

impl Acme {
    /// Opens the cache; a certificate that is kept there is in use at once, unless its time is over.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the folder or the authorities cannot be used.
    pub fn open(config: AcmeConfig, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let fail = |cause| SetupError::Cache { path: config.cache.display().to_string(), cause };
        let cache = AcmeCache::open(&config).map_err(fail)?;
        let kept = cache.certificate().map_err(fail)?;
        let client = AcmeClient::new(&config).map_err(SetupError::Trust)?;
        let held = Arc::<AcmeState>::default();
        let current = match kept.as_deref().map(Issued::read) {
            Some(Ok(issued)) if clock.now() < issued.not_after => Some(issued),
            Some(Err(error)) => {
                tracing::warn!(%error, "the certificate in server.acme.cache cannot be used; another is ordered");
                None
            }
            _ => None,
        };
        if let Some(issued) = &current {
            held.put(Arc::clone(&issued.key));
        }
        Ok(Self { config, cache, client, clock, held, current })
    }

    /// What handshakes are answered with.
    pub fn held(&self) -> Arc<AcmeState> {
        Arc::clone(&self.held)
    }

    /// Orders and renews. Never ends.
    pub async fn run(mut self) {
        let mut failures = 0;
        let mut chance = chance();
        loop {
            let now = self.clock.now();
            if let Some(issued) = &self.current {
                let due = issued.renew_at(chance);
                if now < due {
                    tokio::time::sleep(due.since(now).min(LOOK)).await;
                    continue;
                }
            }
            chance = self::chance();
            match self.renew().await {
                Ok(issued) => {
                    tracing::info!(
                        domains = ?self.config.domains,
                        until = issued.not_after.rfc3339(),
                        "a new certificate is in use"
                    );
                    self.held.put(Arc::clone(&issued.key));
                    failures = 0;
                    let now = self.clock.now();
                    let pause = issued.pause(now, chance);
                    let until = self.current.insert(issued).not_after;
                    if let Some(pause) = pause {
                        tracing::error!(
                            now = now.rfc3339(),
                            certificate.until = until.rfc3339(),
                            retry_in_seconds = pause.as_secs(),
                            "the new certificate is to be renewed already: set the clock, or have the authority \
                             issue certificates that live longer"
                        );
                        tokio::time::sleep(pause).await;
                    }
                }
                Err(error) => {
                    failures += 1;
                    let wait = issued::back_off(failures, chance);
                    let until = self.current.as_ref().map(|issued| issued.not_after.rfc3339());
                    tracing::error!(
                        error = with_causes(&error),
                        certificate.until = until,
                        retry_in_seconds = wait.as_secs(),
                        "no new certificate could be got; what is there stays in use"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Gets a new certificate and keeps it.
    async fn renew(&self) -> Result<Issued, OrderError> {
        let ordered = tokio::time::timeout(ORDER_TIMEOUT, async {
            match self.order(self.account(true).await?).await {
                Err(error) if error.is_unknown_account() => self.order(self.account(false).await?).await,
                ordered => ordered,
            }
        });
        let ordered = ordered.await.unwrap_or(Err(OrderError::Late));
        self.held.end_challenges();
        let pem = ordered?;
        let issued = Issued::read(&pem)?;
        self.cache.keep_certificate(&pem)?;
        Ok(issued)
    }

    /// The account that is kept, or a new one.
    async fn account(&self, kept: bool) -> Result<Account, OrderError> {
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        if let Some(text) = self.cache.account()?.filter(|_| kept) {
            return Ok(builder.from_credentials(serde_json::from_str(&text)?).await?);
        }
        let contact: Vec<String> =
            self.config.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        // The settings are refused unless they agree.
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, self.config.directory.clone(), None).await?;
        self.cache.keep_account(&serde_json::to_string(&credentials)?)?;
        Ok(account)
    }

    /// Orders a certificate and answers the challenges; gives key and chain.
    async fn order(&self, account: Account) -> Result<String, OrderError> {
        let domains = &self.config.domains;
        let identifiers: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                other => return Err(OrderError::Unauthorized(other)),
            }
            let (kind, word) = match self.config.challenge {
                AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
                AcmeChallenge::Http01 => (ChallengeType::Http01, "http-01"),
            };
            let domain = authorization.identifier().to_string();
            let mut challenge =
                authorization.challenge(kind).ok_or_else(|| OrderError::NoChallenge(word, domain.clone()))?;
            let answer = challenge.key_authorization();
            match self.config.challenge {
                AcmeChallenge::TlsAlpn01 => {
                    let certificate = issued::challenge_certificate(&domain, answer.digest().as_ref())
                        .map_err(OrderError::Challenge)?;
                    self.held.answer_handshake(&domain, certificate);
                }
                AcmeChallenge::Http01 => self.held.answer_request(&challenge.token, answer.as_str()),
            }
            challenge.set_ready().await?;
        }
        let retries = RetryPolicy::default().timeout(ORDER_TIMEOUT);
        let status = order.poll_ready(&retries).await?;
        if status != OrderStatus::Ready {
            return Err(OrderError::NotValidated(status));
        }
        let (key, request) = issued::signing_request(domains)?;
        order.finalize_csr(&request).await?;
        let chain = order.poll_certificate(&retries).await?;
        Ok(format!("{key}{chain}"))
    }
}

fn chance() -> f64 {
    rand::random()
}

fn with_causes(error: &OrderError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
