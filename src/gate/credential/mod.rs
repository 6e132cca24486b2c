//! What callers present *to us*, at most one, and how it is removed before a request goes on: the closed list of kinds.
//!
//! Each kind has a file of its own: what it looks like, what cannot be one, and how it is looked up. What all kinds have
//! in common is here, where at most one counts, and in [`super::authenticator`], which caches what was looked up.

mod accepts;
mod api_key;
mod client_certificate;
mod header;
mod hidden;
mod session;
mod tokens;

use std::borrow::Cow;
use std::rc::Rc;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName};

pub use self::accepts::Accepts;
pub use self::client_certificate::NamedCertificates;
pub use self::header::misused;
use self::hidden::in_base64;
pub use self::tokens::OwnTokens;
use super::GateRequest;
use super::cookies::{cookies_named, strip_cookies};
use super::grounds::Grounds;
use super::identity::Identity;
use super::identity_headers::Managed;
use super::origins::names_a_page;
use super::refusal::BadCredential;
use crate::config::Config;
use crate::model::metrics::Memory;
use crate::model::principal::{CredentialKind, Holder, Principal};
use crate::model::token::KeyText;
use crate::service::ServiceError;
use crate::service::api_keys::ApiKeys;
use crate::service::sessions::Sessions;

/// A credential as presented, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'h> {
    /// Nothing.
    None,
    /// The text of an API key.
    ApiKey(Cow<'h, str>),
    /// A token that the settings name: its place in [`OwnTokens`].
    Token(usize),
    /// A client certificate that a trusted proxy names: its place in [`NamedCertificates`].
    Certificate(usize),
    /// The value of our session cookie.
    Session(&'h str),
    /// Somebody else's in a header that brings ours, and what is wrong with it where only ours are taken.
    Foreign(BadCredential),
}

/// A kind of credential, by how it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialHandling {
    /// One that is looked up, and cached.
    LookedUp(LookedUp),
    /// One that the settings name: they alone know it.
    Token,
    /// So are these.
    Certificate,
}

/// The kinds that are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookedUp {
    Session,
    ApiKey,
}

impl CredentialHandling {
    /// By which a principal is recognised.
    pub(super) fn of(principal: &Principal) -> Self {
        match principal.kind.credential() {
            CredentialKind::Session => Self::LookedUp(LookedUp::Session),
            CredentialKind::UserKey | CredentialKind::SystemKey => Self::LookedUp(LookedUp::ApiKey),
            CredentialKind::ImportedKey | CredentialKind::BreakGlass => Self::Token,
            CredentialKind::ClientCertificate => Self::Certificate,
        }
    }

    /// What one is that counts no more.
    pub(super) fn ended(self) -> BadCredential {
        match self {
            Self::LookedUp(LookedUp::Session) => BadCredential::Session,
            Self::LookedUp(LookedUp::ApiKey) => BadCredential::Key,
            Self::Token => BadCredential::Bearer,
            Self::Certificate => BadCredential::Unknown,
        }
    }

    /// Whether a browser may have sent it with a request of any page, without that page knowing it.
    pub(super) fn is_ambient(self, headers: &HeaderMap) -> bool {
        match self {
            Self::LookedUp(LookedUp::Session) => true,
            Self::LookedUp(LookedUp::ApiKey) | Self::Token => {
                header::is_basic(headers) && names_a_page(headers)
            }
            // Browsers present it on the connection for every page.
            Self::Certificate => names_a_page(headers),
        }
    }
}

impl LookedUp {
    /// How a look into the credential cache is counted: a hit and a miss.
    pub(super) fn counted(self) -> (Memory, Memory) {
        match self {
            Self::Session => (Memory::SessionHit, Memory::SessionMiss),
            Self::ApiKey => (Memory::KeyHit, Memory::KeyMiss),
        }
    }

    /// Whether its bearer counts as anonymous once it has ended: browsers send cookies by themselves, long after that. Any other that
    /// is wrong is refused.
    pub(super) fn fades(self) -> bool {
        match self {
            Self::Session => true,
            Self::ApiKey => false,
        }
    }

    /// Whether a client that tries many is made to wait. Cookies are signed: the holder of one that is looked up was signed in,
    /// alone or with a whole office.
    pub(super) fn is_throttled(self) -> bool {
        match self {
            Self::Session => false,
            Self::ApiKey => true,
        }
    }
}

/// How a presented credential is resolved.
pub(super) enum CredentialResolution<'c> {
    Nothing,
    LookUp(LookedUp, &'c str),
    /// The settings know whose it is.
    Named(Option<&'c Rc<Identity>>),
    Foreign(BadCredential),
}

/// One of something for each kind that is looked up.
#[derive(Clone)]
pub(super) struct PerKind<T> {
    session: T,
    api_key: T,
}

impl<T> PerKind<T> {
    pub(super) fn new(make: impl Fn() -> T) -> Self {
        Self { session: make(), api_key: make() }
    }

    pub(super) fn of(&self, kind: LookedUp) -> &T {
        match kind {
            LookedUp::Session => &self.session,
            LookedUp::ApiKey => &self.api_key,
        }
    }
}

/// What a kind that is looked up has of its own.
trait LookUp {
    /// Whether it could be one of ours; makes no store call.
    fn is_plausible(&self, text: &str) -> bool;

    /// Whose it is.
    async fn whose(&self, text: &str) -> Result<Holder, ServiceError>;

    /// Whom it stands for now that stood for `principal` before. No use of it.
    async fn whose_still(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError>;
}

/// The services that know whose a credential is.
#[derive(Clone)]
pub struct LookUps {
    sessions: session::ByCookie,
    keys: api_key::ByKey,
}

impl LookUps {
    /// One service for each kind.
    pub fn new(sessions: Sessions, keys: ApiKeys) -> Self {
        Self { sessions: session::ByCookie(sessions), keys: api_key::ByKey(keys) }
    }

    pub(super) fn is_plausible(&self, kind: LookedUp, text: &str) -> bool {
        match kind {
            LookedUp::Session => self.sessions.is_plausible(text),
            LookedUp::ApiKey => self.keys.is_plausible(text),
        }
    }

    pub(super) async fn whose(&self, kind: LookedUp, text: &str) -> Result<Holder, ServiceError> {
        match kind {
            LookedUp::Session => self.sessions.whose(text).await,
            LookedUp::ApiKey => self.keys.whose(text).await,
        }
    }

    pub(super) async fn whose_still(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
        match CredentialHandling::of(principal) {
            CredentialHandling::LookedUp(LookedUp::Session) => self.sessions.whose_still(principal).await,
            CredentialHandling::LookedUp(LookedUp::ApiKey) => self.keys.whose_still(principal).await,
            CredentialHandling::Token | CredentialHandling::Certificate => Ok(None),
        }
    }
}

/// The names under which credentials arrive, and what the settings say of their values.
#[derive(Debug, Default)]
pub struct CredentialNames {
    /// The headers that may carry a key beside `Authorization`, where no route names others.
    pub key_headers: Rc<[HeaderName]>,
    /// Those and every other that a route names: what is ours passes in none of them.
    pub all_key_headers: Vec<HeaderName>,
    /// Our session cookie, and the prefix all our cookies share.
    pub cookie: String,
    /// Values that are ours although they do not look like it.
    pub tokens: OwnTokens,
    /// Certificates that stand for somebody.
    pub certificates: NamedCertificates,
}

impl CredentialNames {
    /// The names a configuration chooses.
    pub fn new(config: &Config) -> Self {
        Self {
            key_headers: config.keys.headers.as_slice().into(),
            all_key_headers: config.key_headers(),
            cookie: config.session.cookie_name(&config.public_url),
            tokens: OwnTokens::new(config),
            certificates: NamedCertificates::new(config),
        }
    }

    /// Every header that brings credentials.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        [&COOKIE, &AUTHORIZATION].into_iter().chain(&self.all_key_headers).chain(self.certificates.header())
    }

    /// Reads `client-certificate:NAME`, whom only the settings know. `None` for any other text.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`] if they name no such certificate.
    pub fn certificate_holder(&self, who: &str) -> Option<Result<Principal, ServiceError>> {
        let name = who.strip_prefix("client-certificate:")?;
        let holder = self.certificates.holder(name).cloned();
        Some(holder.ok_or(ServiceError::NotFound { what: "client certificate" }))
    }

    /// What is taken where there is no route.
    pub fn accepts(&self) -> Accepts {
        Accepts { key_headers: Rc::clone(&self.key_headers), ..Accepts::default() }
    }

    /// Whom a credential that the settings name stands for now, if they still name it with the same value.
    pub(super) fn still_named(&self, identity: &Identity) -> Option<Rc<Identity>> {
        match CredentialHandling::of(&identity.principal) {
            CredentialHandling::LookedUp(_) => None,
            CredentialHandling::Token => self.tokens.still_named(identity),
            CredentialHandling::Certificate => self.certificates.still_named(identity),
        }
    }
}

impl<'h> Credential<'h> {
    /// Finds the one credential that decides: `Authorization`, then the key headers, then the session cookie. A client
    /// certificate stands alone.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for two different header credentials, two cookies of our name, or one of ours in a form
    /// that is not taken here. No header that is not left to the application falls through to the cookie.
    pub fn extract(
        request: &GateRequest<'h>,
        names: &CredentialNames,
        accepts: &Accepts,
    ) -> Result<Self, BadCredential> {
        let certificate = names.certificates.presented(request)?.map(Self::Certificate);
        let beside = match header::extract(request.headers, names, accepts)? {
            Self::None => Self::session(request.headers, &names.cookie)?,
            found => found,
        };
        match (certificate, beside) {
            (None, found) => Ok(found),
            (Some(certificate), Self::None) => Ok(certificate),
            (Some(_), _) => Err(BadCredential::Several),
        }
    }

    /// What is to be done with it.
    pub(super) fn step<'c>(&'c self, names: &'c CredentialNames) -> CredentialResolution<'c> {
        match self {
            Self::None => CredentialResolution::Nothing,
            Self::ApiKey(text) => CredentialResolution::LookUp(LookedUp::ApiKey, text),
            Self::Session(cookie) => CredentialResolution::LookUp(LookedUp::Session, cookie),
            Self::Token(at) => CredentialResolution::Named(names.tokens.identity(*at)),
            Self::Certificate(at) => CredentialResolution::Named(names.certificates.identity(*at)),
            Self::Foreign(wrong) => CredentialResolution::Foreign(*wrong),
        }
    }

    /// The same where nothing but a browser's session counts.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for two cookies of our name, and for one that is not text.
    pub fn session(headers: &'h HeaderMap, cookie: &str) -> Result<Self, BadCredential> {
        Ok(session::presented(headers, cookie)?.map_or(Self::None, Self::Session))
    }
}

/// Whether a session of ours is presented, of whatever worth.
pub fn has_session(headers: &HeaderMap, names: &CredentialNames) -> bool {
    cookies_named(headers, &names.cookie).next().is_some()
}

/// Removes what is ours, what the route drops, and `Proxy-Authorization`. Other cookies keep their bytes and order.
pub fn strip(headers: &mut HeaderMap, names: &CredentialNames, accepts: &Accepts, grounds: Grounds) {
    headers.remove(PROXY_AUTHORIZATION);
    header::strip(headers, names, accepts, grounds);
    strip_cookies(headers, &names.cookie);
    names.certificates.strip(headers);
    for name in misplaced(headers) {
        headers.remove(name);
    }
}

/// Names of headers that hold a key of ours, whatever they are for: its client's mistake, and still not the application's
/// to know.
pub fn misplaced(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .iter()
        .filter(|(name, value)| {
            // Programs in browsers put tokens there so, since they can set no other header of a handshake.
            let coded = || in_base64(value.as_bytes()).any(|decoded| KeyText::stands_in(&decoded));
            KeyText::stands_in(value.as_bytes()) || (*name == SEC_WEBSOCKET_PROTOCOL && coded())
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether a key of ours is where another proxy cannot be told to take it off. Addresses are the question's own.
pub fn is_misplaced(headers: &HeaderMap, names: &CredentialNames, managed: &Managed) -> bool {
    let expected = |name: &HeaderName| {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER].contains(name)
            || names.all_key_headers.contains(name)
            || managed.has(name.as_str().as_bytes())
    };
    headers.iter().any(|(name, value)| !expected(name) && KeyText::stands_in(value.as_bytes()))
}
