//! Floor 3, beside the services: OpenID Connect as a relying party (OpenID Connect Core 1.0, authorization code flow).
//!
//! A [`RelyingParty`] speaks with one provider, a [`Github`] with GitHub, which has OAuth 2.0 and an interface of its own. Either
//! makes the address that a browser is sent to, and of what the browser brings back an [`Authentication`]: who signed in, and
//! what the provider says of them. It knows no cookies, pages, accounts or store, and remembers nothing of a sign-in: state,
//! nonce and code verifier are the caller's.
//!
//! Discovery document and keys are fetched when they are first needed and kept in memory, so that a provider that is down
//! neither stops the gateway from starting nor touches another provider. Whatever cannot be verified is refused with one of
//! the closed reasons in `error`, which hold no token and no secret.
//!
//! Signatures are verified by `jsonwebtoken`, and what a token says is checked here, on one path for ID tokens and signed
//! userinfo. The crate `openidconnect` was read for that and left out: its verifier checks neither `azp` nor lengths, takes
//! subjects and optional claims of the exact type only, gives up where a token without `kid` fits several keys, and knows no
//! template of issuers; its discovery reads the address below the issuer and no other; its token request has neither
//! `private_key_jwt` nor lenient lifetimes. What is left are an address with parameters and a form, for seventy packages
//! more, among them `rsa` (RUSTSEC-2023-0071).

mod authorization;
mod cached_document;
mod client_authentication;
mod directory;
mod error;
mod github;
mod id_token;
mod jwt;
mod keys;
mod logout_token;
mod metadata;
mod product_api;
mod refresh;
mod response;
mod scopes;
mod sign_out;
mod token_endpoint;
mod userinfo;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

pub use self::authorization::AuthenticationRequest;
use self::cached_document::{CacheTimes, CachedDocument};
use self::client_authentication::ClientAuthentication;
use self::directory::{Directory, Subject};
pub use self::error::{
    DocumentError, ErrorCode, Lookup, LookupError, OidcError, OidcErrorKind, ResponseRefusal, SetupError,
    TokenEndpointError, TokenRefusal,
};
pub use self::github::{Github, access_page as github_access_page};
use self::id_token::{Binding, IdToken};
use self::jwt::TokenKind;
use self::keys::KeySet;
pub use self::logout_token::LogoutToken;
use self::metadata::Metadata;
pub use self::refresh::{Refreshed, RefreshedClaims};
pub use self::response::AuthorizationResponse;
pub use self::scopes::OFFLINE;
pub use self::sign_out::{EndSession, EndSessionRequest};
use self::token_endpoint::{Grant, TokenResponse};
use crate::config::{DirectoryConfig, ProviderConfig};
use crate::egress::tls::TlsError;
use crate::egress::{EgressClient, EgressLimits, EgressRequest, EgressSettings, NameResolution, origin};
use crate::model::secret::Secret;
use crate::model::session::LogoutNames;
use crate::model::time::Clock;
use crate::policy::claims::ClaimSet;

/// For a discovery document or a set of keys.
const DOCUMENT_TIME: Duration = Duration::from_secs(5);
/// For any other call: a code is spent by then, so a slow answer is worth waiting for.
const CALL_TIME: Duration = Duration::from_secs(10);
/// For a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Bytes of any answer.
const LARGEST_ANSWER: usize = 1024 * 1024;
/// Calls to one provider at once: enough for all sign-ins that may wait for it.
const CONCURRENT: usize = 48;

/// The gateway as a client of one provider.
pub struct RelyingParty {
    config: ProviderConfig,
    redirect_uri: String,
    /// Whether a response has to name its issuer, also where the provider does not announce that its own do.
    wants_issuer: bool,
    clock: Arc<dyn Clock>,
    egress: EgressClient,
    authentication: ClientAuthentication,
    directory: Option<Directory>,
    metadata: Arc<CachedDocument<Metadata>>,
    keys: Arc<CachedDocument<KeySet>>,
}

/// What the caller kept of a sign-in since [`RelyingParty::authorization_url`].
#[derive(Clone, Copy)]
pub struct ExpectedResponse<'a> {
    /// The `nonce` that the ID token must have.
    pub nonce: &'a str,
    /// The `code_verifier` (RFC 7636, 4.1).
    pub verifier: &'a Secret,
}

/// Somebody who signed in at the provider, verified.
pub struct Authentication {
    /// The issuer: the configured one, or that of the tenant.
    pub issuer: String,
    /// The claim that identifies somebody at this provider, `sub` or the one that the settings name: 1 to 255 characters.
    pub subject: String,
    /// `sub`, and `sid` where the ID token has one: by these a logout token names the sign-in (OpenID Connect Back-Channel
    /// Logout 1.0, 2.1).
    pub names: LogoutNames,
    /// The claims of the ID token, and beside them those of userinfo and groups of a directory where these were asked. Of GitHub
    /// what its interface says.
    pub claims: ClaimSet,
    /// Userinfo was needed and could not be had. What these claims lack is not known to be missing, so no default may raise
    /// anybody's rights because of it.
    pub lacks_userinfo: bool,
    /// The ID token as it came, for sign-out at the provider. GitHub has none.
    pub id_token: Option<Secret>,
    /// What a refresh needs: the refresh token, where the provider gives one.
    pub refresh_token: Option<Secret>,
    /// For how long what was said holds: the access token's lifetime, or five minutes; at most a day. Of GitHub an hour.
    pub lifetime: Duration,
}

impl RelyingParty {
    /// `redirect_uri` is exactly what is registered at the provider, made of the public URL. Calls nobody.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the file of authorities or of the private key cannot be used.
    pub fn new(
        config: ProviderConfig,
        redirect_uri: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let egress = egress(&config)?;
        Ok(Self {
            authentication: ClientAuthentication::new(&config.client_id, &config.credentials)?,
            directory: Directory::new(&config, &egress),
            config,
            redirect_uri,
            wants_issuer: false,
            clock,
            egress,
            metadata: Arc::new(CachedDocument::new(CacheTimes::DISCOVERY)),
            keys: Arc::new(CachedDocument::new(CacheTimes::KEYS)),
        })
    }

    /// The same with the documents that a former client knows, if the same settings decide what they may say. Where
    /// authorities are of the user's own they are fetched anew: those may have changed.
    #[must_use]
    pub fn with_documents_of(self, former: &Self) -> Self {
        let (ours, theirs) = (&self.config, &former.config);
        let alike = ours.issuer == theirs.issuer && ours.algorithms == theirs.algorithms;
        if !alike || ours.ca_file.is_some() || theirs.ca_file.is_some() {
            return self;
        }
        Self { metadata: Arc::clone(&former.metadata), keys: Arc::clone(&former.keys), ..self }
    }

    /// The same for a redirect URI that another provider has too: only a response that names its issuer is believed, since the
    /// address does not tell whose it is (RFC 9700, 4.4.2).
    #[must_use]
    pub fn sharing_its_redirect_uri(self) -> Self {
        Self { wants_issuer: true, ..self }
    }

    /// The provider's name in the settings.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Where a browser is sent to sign in (RFC 6749, 4.1.1; OpenID Connect Core 1.0, 3.1.2.1; RFC 7636, 4.3).
    ///
    /// # Errors
    ///
    /// [`OidcError::Discovery`] if the provider's discovery document cannot be had or used.
    pub async fn authorization_url(&self, request: &AuthenticationRequest<'_>) -> Result<String, OidcError> {
        let metadata = self.metadata().await?;
        Ok(authorization::url(&self.config, &self.redirect_uri, &metadata.authorization_endpoint, request))
    }

    /// Makes a verified answer of what the browser brought back. The caller has checked `state` before, and lets each come
    /// back once.
    ///
    /// # Errors
    ///
    /// [`OidcError`]; the authorization code is spent then, and another sign-in has to begin.
    pub async fn complete(
        &self,
        response: &AuthorizationResponse,
        expected: ExpectedResponse<'_>,
    ) -> Result<Authentication, OidcError> {
        let metadata = self.metadata().await?;
        let is_issuer = |issuer: &str| id_token::is_issuer(issuer, &self.config.issuer);
        let has_issuer = metadata.responses_have_issuer || self.wants_issuer;
        let (code, response_issuer) = response.code(self.name(), is_issuer, has_issuer)?;
        let grant = Grant::Code { code, redirect_uri: &self.redirect_uri, verifier: expected.verifier };
        let tokens = self.tokens(&metadata, &grant).await?;
        scopes::check(&self.config, &tokens).map_err(OidcError::Token)?;
        let id_token = tokens.id_token.as_ref().ok_or(OidcError::Token(TokenEndpointError::NoIdToken))?;
        let binding = Binding::SignIn { nonce: expected.nonce, max_age: self.config.max_age };
        let verified = self.id_token(&metadata, id_token, &tokens.access_token, binding).await?;
        if response_issuer.is_some_and(|issuer| issuer != verified.issuer) {
            return Err(OidcError::Response(ResponseRefusal::OtherIssuer));
        }
        let (claims, lacks_userinfo) = self.claims(&metadata, &verified, &tokens.access_token).await?;
        let subject = id_token::subject(claims.get(&self.config.subject_claim));
        Ok(Authentication {
            subject: subject.ok_or(OidcError::IdToken(TokenRefusal::Subject))?,
            names: LogoutNames {
                session: id_token::session(&verified.claims),
                subject: Some(verified.subject),
            },
            issuer: verified.issuer,
            claims,
            lacks_userinfo,
            id_token: Some(id_token.clone()),
            refresh_token: tokens.refresh_token,
            lifetime: tokens.lifetime,
        })
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let fetched = self.metadata.get(self.name(), async {
            let document = self.document(&self.config.issuer.discovery_url).await?;
            Metadata::read(document, &self.config.issuer, &self.egress)
        });
        fetched.await.map_err(OidcError::Discovery)
    }

    /// A document of the provider as JSON.
    async fn document(&self, url: &str) -> Result<Value, DocumentError> {
        let sent = timeout(DOCUMENT_TIME, self.egress.send(EgressRequest::get(url))).await;
        Ok(sent.map_err(|_| DocumentError::Slow)??.json()?)
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Arc<KeySet>, OidcError> {
        self.keys.get(self.name(), self.key_set(metadata)).await.map_err(OidcError::Keys)
    }

    async fn key_set(&self, metadata: &Metadata) -> Result<KeySet, DocumentError> {
        KeySet::read(&self.document(&metadata.jwks_uri).await?, &self.config.algorithms)
    }

    /// Keys first: a code or a refresh token is spent by one use, whatever fails afterwards.
    async fn tokens(&self, metadata: &Metadata, grant: &Grant<'_>) -> Result<TokenResponse, OidcError> {
        self.keys(metadata).await?;
        let sent = token_endpoint::send(
            &self.egress,
            &self.authentication,
            &metadata.token_endpoint,
            grant,
            &*self.clock,
        );
        sent.await.map_err(|error| {
            error.log(self.name());
            if error.is_invalid_client() && self.authentication.is_changed_by_encoding() {
                tracing::warn!(
                    provider = self.name(),
                    "the client secret has characters that are form-encoded for `client_secret_basic` (RFC 6749, 2.3.1); if this \
                     provider does not decode them, set `token_auth = \"client_secret_post\"`"
                );
            }
            OidcError::Token(error)
        })
    }

    async fn id_token(
        &self,
        metadata: &Metadata,
        token: &Secret,
        access_token: &Secret,
        binding: Binding<'_>,
    ) -> Result<IdToken, OidcError> {
        let (algorithm, claims) = self.signed_claims(metadata, token.expose(), TokenKind::Any).await?;
        let checked = IdToken::check(claims, &self.config, self.clock.now(), binding);
        let checked = checked.and_then(|checked| checked.of_access_token(algorithm, access_token));
        checked.map_err(OidcError::IdToken)
    }

    /// What a token says whose signature is the provider's. Keys that do not verify it are fetched anew once.
    async fn signed_claims(
        &self,
        metadata: &Metadata,
        token: &str,
        kind: TokenKind,
    ) -> Result<(jsonwebtoken::Algorithm, Map<String, Value>), OidcError> {
        let token =
            jwt::SignedToken::read(token, kind, &self.config.algorithms).map_err(OidcError::IdToken)?;
        let keys = self.keys(metadata).await?;
        let verified = match token.verify(&keys) {
            Err(refusal @ (TokenRefusal::UnknownKey | TokenRefusal::Signature)) => {
                match self.keys.newer_than(&keys, self.name(), self.key_set(metadata)).await {
                    Some(keys) => token.verify(&keys),
                    None => Err(refusal),
                }
            }
            verified => verified,
        };
        Ok((token.algorithm(), verified.map_err(OidcError::IdToken)?))
    }

    /// Claims of the ID token with groups of the directory and those of userinfo, and whether that was needed and could not be
    /// had. The directory comes first: userinfo need not be asked for what it brings.
    async fn claims(
        &self,
        metadata: &Metadata,
        id_token: &IdToken,
        access_token: &Secret,
    ) -> Result<(ClaimSet, bool), OidcError> {
        let own = ClaimSet::new(id_token.claims.clone())?;
        let own = self.with_directory(own, &id_token.subject, access_token).await?;
        if !userinfo::is_needed(&self.config, &own) || metadata.userinfo_endpoint.is_none() {
            return Ok((own, false));
        }
        match self.userinfo(metadata, id_token, access_token).await? {
            Some(further) => Ok((ClaimSet::new(userinfo::merged(own.all(), further))?, false)),
            None => Ok((own, true)),
        }
    }

    async fn with_directory(
        &self,
        claims: ClaimSet,
        subject: &str,
        access_token: &Secret,
    ) -> Result<ClaimSet, OidcError> {
        match &self.directory {
            Some(directory) => {
                directory.complete(Subject { id: subject, claims: &claims, access_token }, &*self.clock).await
            }
            None => Ok(claims),
        }
    }

    /// What userinfo says of somebody; `None` where it says nothing that can be used.
    async fn userinfo(
        &self,
        metadata: &Metadata,
        id_token: &IdToken,
        access_token: &Secret,
    ) -> Result<Option<Map<String, Value>>, OidcError> {
        let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
        let answered = match userinfo::ask(&self.egress, endpoint, access_token).await {
            Ok(userinfo::Answer::Plain(claims)) => Ok(claims),
            Ok(userinfo::Answer::Signed(token)) => {
                match self.signed_claims(metadata, &token, TokenKind::Any).await {
                    Ok((_, claims)) => {
                        userinfo::check_signed(&claims, &self.config, &id_token.issuer).map(|()| claims)
                    }
                    Err(error) => Err(userinfo::UserinfoError::Unverified(Box::new(error))),
                }
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(claims) if id_token::subject(claims.get("sub")).as_ref() == Some(&id_token.subject) => {
                Ok(Some(claims))
            }
            Ok(_) => Err(OidcError::UserinfoSubject),
            Err(error) => {
                let provider = self.name();
                tracing::warn!(provider, %error, "userinfo cannot be used, so the ID token's claims are all there is");
                Ok(None)
            }
        }
    }
}

/// The way out to one provider: to its own addresses, and to others only by https on the internet.
fn egress(config: &ProviderConfig) -> Result<EgressClient, TlsError> {
    let issuer = &config.issuer;
    let graph = match &config.directory {
        Some(DirectoryConfig::Graph(graph)) => Some(&graph.url),
        _ => None,
    };
    let named = [&issuer.issuer, &issuer.discovery_url].into_iter().chain(graph);
    EgressClient::new(EgressSettings {
        named: named.filter_map(|url| origin(url).ok()).collect(),
        named_hosts: issuer.allowed_hosts.clone(),
        ca: config.ca_file.clone(),
        limits: EgressLimits {
            connect: CONNECT_TIME,
            total: CALL_TIME,
            response_bytes: LARGEST_ANSWER,
            concurrent: CONCURRENT,
        },
        names: NameResolution::System,
    })
}

impl fmt::Debug for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelyingParty").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
