//! Floor 4, beside the gate: sign-in through identity providers, from a provider's claims to a session.
//!
//! A [`Federation`] holds the providers of a configuration. [`Federation::begin`] makes the address that a browser is sent to,
//! and [`Federation::complete`] makes of what it brings back a session or a linked identity, or one of the closed reasons in
//! `refusal`. It knows no pages and no cookies' syntax; the state between both is the browser's, sealed.
//!
//! Providers share nothing: each has its own bound, caches and failures. None is called before somebody wants to sign in.

mod assertion;
mod outage;
mod provider;
mod refresh;
mod refusal;
mod sign_out;

use std::fmt;
use std::sync::Arc;

use self::provider::Provider;
pub use self::provider::{CALLBACK, Protocol, ProviderError, redirect_uri};
pub use self::refresh::refresh_sessions;
pub use self::refusal::{Refused, SignInRefusal};
pub use self::sign_out::{BACKCHANNEL_LOGOUT, LogoutRefusal, SIGNED_OUT, SignOut};
use crate::config::{Config, ProviderConfig};
use crate::model::audit::{Actor, Event, Note, Party};
use crate::model::metrics::{ProviderCounts, ProviderSignIn};
use crate::model::network::throttle_bucket;
use crate::model::principal::{Principal, Proof};
use crate::model::secret::Secret;
use crate::model::time::{Clock, SystemClock};
use crate::oidc::{Authentication, AuthenticationRequest, AuthorizationResponse, ExpectedResponse};
use crate::service::ServiceError;
use crate::service::audit::Audit;
use crate::service::composition::Services;
use crate::service::identities::{Identities, SignUp};
use crate::service::login::{Browser, Login, SignedIn};
use crate::service::provider_sessions::{ProviderSessions, ProviderTokens};
use crate::service::sign_ins::{PendingSignIn, Purpose, ReturnedSignIn, SignInSource, SignIns};

/// The providers of a configuration, and what signing in through them needs.
pub struct Federation {
    providers: Vec<Arc<Provider>>,
    sign_ins: SignIns,
    login: Login,
    identities: Identities,
    provider_sessions: ProviderSessions,
    audit: Audit,
    counts: ProviderCounts,
    /// Where browsers come back to from signing out at a provider.
    signed_out: String,
}

/// A provider that people may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Button<'f> {
    /// Its name in the settings: a-z, 0-9, `_` and `-`.
    pub name: &'f str,
    /// What people call it.
    pub display_name: &'f str,
}

/// What a sign-in begins with.
#[derive(Debug)]
pub struct Begin<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Where to go afterwards; checked again when it comes back.
    pub target: Option<&'a str>,
    /// Who wants to sign in, as a link said it. Passed on only if the settings say so.
    pub login_hint: Option<&'a str>,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes: an address of the provider.
    pub location: String,
    /// The `state`, of which the name of the cookie is made.
    pub state: String,
    /// The value of the cookie that holds the rest.
    pub cookie: Secret,
}

/// What a browser brings back from a provider.
#[derive(Clone, Copy, Debug)]
pub struct Callback<'a> {
    /// The authorization response.
    pub response: &'a AuthorizationResponse,
    /// The cookie of the sign-in with the response's `state`.
    pub cookie: Option<&'a str>,
    /// The browser.
    pub browser: Browser<'a>,
    /// Who is signed in already, in this browser.
    pub visitor: Option<&'a Principal>,
}

/// What came of a sign-in.
#[derive(Debug)]
pub struct Completed {
    /// Where to go, as it was given at the beginning; `None` is the home page.
    pub target: Option<String>,
    /// What was done.
    pub done: Done,
}

/// What a sign-in was for, done.
#[derive(Debug)]
pub enum Done {
    /// Somebody has a session.
    SignedIn(Box<SignedIn>),
    /// The identity is linked to the visitor.
    Linked,
}

impl Federation {
    /// That of a configuration. `former` is the one before it, of which documents of providers are kept where nothing about
    /// them changes. Calls nobody.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] if a file that a provider's settings name cannot be used.
    pub fn new(config: &Config, services: &Services, former: Option<&Self>) -> Result<Self, ProviderError> {
        let clock = &services.clock;
        let made = config.providers.iter().map(|provider| {
            let before = former.and_then(|former| former.find(&provider.name));
            let shares = shares_callback(config, provider);
            Provider::new(provider, &config.public_url, clock, before, shares).map(Arc::new)
        });
        let providers = made.collect::<Result<_, _>>()?;
        let counts = former.map(|former| former.counts.clone()).unwrap_or_default();
        config.providers.iter().for_each(|provider| counts.know(&provider.name));
        let signed_out = config.public_url.url(SIGNED_OUT);
        Ok(Self { providers, counts, signed_out, ..Self::empty(services) })
    }

    /// One without providers.
    #[cfg(test)]
    pub(crate) fn of_none(services: &Services) -> Self {
        Self::empty(services)
    }

    fn empty(services: &Services) -> Self {
        Self {
            providers: Vec::new(),
            sign_ins: services.sign_ins.clone(),
            login: services.login.clone(),
            identities: services.identities.clone(),
            provider_sessions: services.provider_sessions.clone(),
            audit: services.audit.clone(),
            counts: ProviderCounts::default(),
            signed_out: String::new(),
        }
    }

    /// What came of sign-ins, refreshes and logout tokens, in this configuration and those before it.
    pub fn counts(&self) -> &ProviderCounts {
        &self.counts
    }

    /// The providers, in the order of the settings.
    pub fn buttons(&self) -> impl Iterator<Item = Button<'_>> {
        self.providers.iter().map(|provider| provider.button())
    }

    /// The provider with this name.
    pub fn button(&self, name: &str) -> Option<Button<'_>> {
        self.find(name).map(|provider| provider.button())
    }

    /// The provider that the sign-in page goes straight to, if one is.
    pub fn automatic(&self) -> Option<Button<'_>> {
        self.providers.iter().find(|provider| provider.config.auto_login).map(|provider| provider.button())
    }

    /// The provider whose answers come to the usual address with its name.
    pub fn at_callback(&self, name: &str) -> Option<Button<'_>> {
        self.find(name)
            .filter(|provider| provider.config.callback_path.is_none())
            .map(|provider| provider.button())
    }

    /// Whether a path, counted from the public URL, is one where a provider's answers come to by its settings.
    pub fn has_callback(&self, path: &str) -> bool {
        self.of_callback(path).next().is_some()
    }

    /// The provider whose answer comes to such a path; where several share it, the one at which the browser began. `None`
    /// if there is none, or the browser began nowhere.
    pub fn at_callback_path(&self, path: &str, state: &str, cookie: Option<&str>) -> Option<Button<'_>> {
        let mut all = self.of_callback(path);
        if let (Some(only), None) = (all.next(), all.next()) {
            return Some(only.button());
        }
        let name = self.sign_ins.provider_of(state, cookie?)?;
        self.of_callback(path).find(|provider| provider.config.name == name).map(|provider| provider.button())
    }

    fn of_callback<'f>(&'f self, path: &str) -> impl Iterator<Item = &'f Arc<Provider>> {
        self.providers.iter().filter(move |provider| provider.config.callback_path.as_deref() == Some(path))
    }

    fn find(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.config.name == name)
    }

    /// Begins a sign-in. Costs the store nothing; waits for the provider's discovery document if it is not known.
    ///
    /// # Errors
    ///
    /// [`SignInRefusal::NoSuchProvider`]; [`SignInRefusal::Provider`] if the provider cannot be used now.
    pub async fn begin(&self, name: &str, wanted: Begin<'_>) -> Result<Begun, SignInRefusal> {
        let provider = self.find(name).ok_or(SignInRefusal::NoSuchProvider)?;
        let outcome = self.send(provider, wanted).await;
        self.counts
            .sign_ins
            .count(name, outcome.as_ref().map_or_else(SignInRefusal::counted, |_| ProviderSignIn::Begun));
        outcome
    }

    async fn send(&self, provider: &Provider, wanted: Begin<'_>) -> Result<Begun, SignInRefusal> {
        let name = provider.config.name.as_str();
        let begun = self.sign_ins.start(provider.client(), wanted.purpose, wanted.target);
        let request = AuthenticationRequest {
            state: &begun.state,
            nonce: &begun.nonce,
            challenge: &begun.challenge,
            login_hint: wanted.login_hint,
        };
        let location = provider.protocol.authorization_url(&request).await;
        let location = location.inspect_err(|error| {
            tracing::warn!(provider = name, error = %error, "no sign-in can begin at a provider");
        })?;
        Ok(Begun { location, state: begun.state, cookie: begun.cookie })
    }

    /// Completes a sign-in: checks what the browser brings back, asks the provider who it is, and lets them in by the
    /// settings' rules and [`Identities`].
    ///
    /// # Errors
    ///
    /// [`Refused`]; what was refused of somebody who had begun here is in the audit trail, and everything is in the log.
    pub async fn complete(
        &self,
        by: &Actor,
        name: &str,
        callback: Callback<'_>,
    ) -> Result<Completed, Refused> {
        let provider = self.find(name).ok_or_else(|| Refused::from(SignInRefusal::NoSuchProvider))?;
        let outcome = self.settle(by, provider, callback).await;
        self.counts.sign_ins.count(
            name,
            match &outcome {
                Ok(Completed { done: Done::SignedIn(_), .. }) => ProviderSignIn::SignedIn,
                Ok(Completed { done: Done::Linked, .. }) => ProviderSignIn::Linked,
                Err(refused) => refused.why.counted(),
            },
        );
        outcome
    }

    async fn settle(
        &self,
        by: &Actor,
        provider: &Provider,
        callback: Callback<'_>,
    ) -> Result<Completed, Refused> {
        let name = provider.config.name.as_str();
        let source = SignInSource::of(callback.browser, &self.login);
        let returned = ReturnedSignIn {
            provider: provider.client(),
            state: callback.response.state(),
            cookie: callback.cookie,
            has_code: callback.response.has_code(),
            source: &source,
        };
        let pending = match self.sign_ins.finish(returned).await {
            Ok(pending) => pending,
            Err(error) => {
                let refused = Refused::from(error);
                // A crowd that is kept off must not fill the log.
                if !matches!(refused.why, SignInRefusal::Failed(ServiceError::Throttled { .. })) {
                    tracing::info!(
                        provider = name,
                        request.id = by.request_id(),
                        reason = %refused.why,
                        "an authorization response is not looked at"
                    );
                }
                return Err(refused);
            }
        };
        let outcome = self.enter(by, provider, callback, &pending, &source).await;
        let PendingSignIn { target, purpose, .. } = pending;
        match outcome {
            Ok(done) => Ok(Completed { target, done }),
            Err(why) => {
                self.sign_ins.failed(&source);
                let why = match self.note(by, name, callback.browser, &why).await {
                    Ok(()) => why,
                    // What cannot be written down is not told either: the store is down.
                    Err(error) => SignInRefusal::Failed(error),
                };
                Err(Refused { why, target, links: matches!(purpose, Purpose::Link(_)) })
            }
        }
    }

    async fn enter(
        &self,
        by: &Actor,
        provider: &Provider,
        callback: Callback<'_>,
        pending: &PendingSignIn,
        source: &SignInSource,
    ) -> Result<Done, SignInRefusal> {
        let place = provider.place(source).await?;
        let expected = ExpectedResponse { nonce: &pending.nonce, verifier: &pending.verifier };
        let authentication = provider.protocol.complete(callback.response, expected).await?;
        drop(place);
        let assertion = assertion::assertion(&provider.config, &authentication)?;
        match &pending.purpose {
            Purpose::SignIn => {
                let sign_up =
                    if provider.config.allow_sign_up { SignUp::Allowed } else { SignUp::InvitedOnly };
                let tokens = tokens(&provider.config, authentication);
                let entered =
                    self.identities.sign_in(by, assertion, Some(&tokens), sign_up, callback.browser).await?;
                Ok(Done::SignedIn(Box::new(entered)))
            }
            Purpose::Link(proof) => {
                let visitor = callback.visitor.ok_or(SignInRefusal::Failed(ServiceError::Refused))?;
                let Proof::Session { id, .. } = &visitor.proof else {
                    return Err(SignInRefusal::Failed(ServiceError::Refused));
                };
                by.recognise(Party::from(visitor));
                self.identities.link(by, id, proof, assertion).await?;
                Ok(Done::Linked)
            }
        }
    }

    /// Logs a refusal, and has it written down unless that was done already.
    async fn note(
        &self,
        by: &Actor,
        provider: &str,
        browser: Browser<'_>,
        why: &SignInRefusal,
    ) -> Result<(), ServiceError> {
        let (claim, request) = (why.claim(), by.request_id());
        tracing::info!(provider, claim, request.id = request, reason = %why, "a sign-in through a provider is refused");
        let Some(reason) = why.to_be_noted() else { return Ok(()) };
        let mut note = Note::failed(Event::Login, reason).with("provider", provider);
        if let Some(claim) = claim {
            note = note.with("claim", claim);
        }
        let mut whose = String::new();
        if let Some(key) = why.identity() {
            note = note.with("issuer", key.issuer()).with("subject", key.subject());
            whose = format!("{} {}", key.issuer(), key.subject());
        }
        let source = format!("{provider} {whose}@{} {reason}", throttle_bucket(browser.client));
        self.audit.note_repeatable(by, note, &source).await
    }
}

/// Whether another provider has the same redirect URI.
fn shares_callback(config: &Config, provider: &ProviderConfig) -> bool {
    let path = provider.callback_path.as_ref();
    let mut others = config.providers.iter().filter(|other| other.name != provider.name);
    path.is_some() && others.any(|other| other.callback_path.as_ref() == path)
}

/// What is kept of a sign-in for as long as its session lasts.
fn tokens(config: &ProviderConfig, authentication: Authentication) -> ProviderTokens {
    let Authentication { names, id_token, refresh_token, lifetime, .. } = authentication;
    let refresh_token = refresh_token.filter(|_| config.refresh.is_some());
    ProviderTokens { names, id_token, refresh_token, lifetime }
}

/// What would keep the providers of a configuration from being used on this machine, such as a file that they name. Calls
/// nobody.
pub fn check(config: &Config) -> impl Iterator<Item = ProviderError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let made = move |provider| Provider::new(provider, &config.public_url, &clock, None, false);
    config.providers.iter().filter_map(move |provider| made(provider).err())
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.providers.iter().map(|provider| &provider.config.name)).finish()
    }
}
