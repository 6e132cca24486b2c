//! Floor 4, the one line: route, credential, caller, policy, permit.
//!
//! Every edge asks here and nowhere else. [`Gate::identify`] finds the route and who is calling,
//! [`Asked::decide`] applies the policy and is the only place that makes a [`Permit`].

pub mod authenticator;
pub mod credential;
pub mod graphql;
pub mod identity_headers;
pub mod refusal;
pub mod route;

use std::rc::Rc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, Method};

use self::authenticator::{Authenticator, Identity};
use self::credential::{Credential, CredentialNames};
use self::refusal::{BadCredential, Refusal};
use self::route::{Route, RouteTable};
use crate::config::Config;
use crate::model::graphql::Operation;
use crate::model::network;
use crate::model::principal::{Caller, Client, Proof};
use crate::model::target::{RequestKind, RequestTarget};
use crate::policy::{Decision, Facts, PathPattern};

/// Everything a decision looks at, beside a GraphQL body.
#[derive(Clone, Copy, Debug)]
pub struct GateRequest<'a> {
    /// What is asked for.
    pub target: &'a RequestTarget,
    /// The headers as the client sent them.
    pub headers: &'a HeaderMap,
    /// Host and port the client asked for, as it wrote them.
    pub authority: &'a str,
    /// The route another proxy chose by name, instead of host and path.
    pub route: Option<&'a str>,
    /// The far end.
    pub client: Client,
}

/// What has been found out about a request so far; what the access event tells.
#[derive(Debug, Default)]
pub struct Trail {
    /// The route, once found.
    pub route: Option<Rc<Route>>,
    /// The caller, once known.
    pub identity: Option<Rc<Identity>>,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
}

/// The gate of one data-plane thread.
pub struct Gate {
    routes: RouteTable,
    authenticator: Authenticator,
    names: Rc<CredentialNames>,
    origins: Vec<String>,
}

/// A request whose route and caller are known and whose decision is still to be made.
#[derive(Debug)]
pub struct Asked {
    route: Rc<Route>,
    /// The route a careless reading of the path would take, where that is another one.
    loose_route: Option<Rc<Route>>,
    identity: Option<Rc<Identity>>,
    stale_session: bool,
    /// A CORS preflight from an origin we trust: browsers send no credential with it (Fetch, 4.8).
    preflight: bool,
}

/// Leave to forward one request: where to, and as whom.
///
/// Only [`Asked::decide`] makes one and an edge takes it by value, so there is no way to an upstream
/// around the policy.
#[derive(Debug)]
pub struct Permit {
    route: Rc<Route>,
    identity: Option<Rc<Identity>>,
}

impl Permit {
    /// Where to.
    pub fn route(&self) -> &Rc<Route> {
        &self.route
    }

    /// Uses the permit up, for an answer that carries no request.
    pub fn spend(self) -> (Rc<Route>, Option<Rc<Identity>>) {
        (self.route, self.identity)
    }

    /// As whom; `None` is nobody.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }
}

impl Gate {
    /// Builds a gate for one thread.
    pub fn new(config: &Config, authenticator: Authenticator) -> Self {
        let mut origins = vec![config.public_url.origin()];
        origins.extend(config.server.trusted_origins.iter().cloned());
        Self {
            routes: RouteTable::new(config),
            authenticator,
            names: Rc::new(CredentialNames::new(config)),
            origins,
        }
    }

    /// Origins whose pages may send what changes something, ours first.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// The origin of the public URL.
    pub fn public_origin(&self) -> &str {
        self.origins.first().map_or("", String::as_str)
    }

    /// The names under which credentials arrive, for those who must remove them.
    pub fn credential_names(&self) -> &Rc<CredentialNames> {
        &self.names
    }

    /// Finds the route and the caller. Reads headers only; awaits only where a credential is not remembered.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is no route, the path has a spelling its upstream does not opt in to, or the
    /// credential is wrong or cannot be checked now.
    pub async fn identify(&self, request: &GateRequest<'_>, trail: &mut Trail) -> Result<Asked, Refusal> {
        let target = request.target;
        let route = match request.route {
            None => self.routes.find(target.host(), target.path()),
            Some(name) => self.routes.named(name),
        };
        let route = route.ok_or(Refusal::NoRoute)?;
        trail.route = Some(Rc::clone(route));
        if let Some(odd) = target.needs().first_missing(route.paths) {
            return Err(Refusal::OddPath(odd));
        }
        let loose_route = target
            .loose_path()
            .and_then(|path| self.routes.find_loose(target.host(), path))
            .filter(|other| request.route.is_none() && !Rc::ptr_eq(other, route))
            .cloned();

        let (identity, stale_session) = self.known(request, route.pass_authorization).await?;
        trail.identity.clone_from(&identity);
        if let Some(identity) = &identity {
            self.check_use(request, identity)?;
        }
        let preflight = identity.is_none() && self.is_own_preflight(request);
        Ok(Asked { route: Rc::clone(route), loose_route, identity, stale_session, preflight })
    }

    /// Who is calling, wherever it may lead; `None` is nobody.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the credential is wrong, may not be used here, or cannot be checked now.
    pub async fn caller(&self, request: &GateRequest<'_>) -> Result<Option<Rc<Identity>>, Refusal> {
        let (identity, _) = self.known(request, false).await?;
        if let Some(identity) = &identity {
            self.check_use(request, identity)?;
        }
        Ok(identity)
    }

    /// Whether there is an application of ours at a host and path.
    pub fn has_upstream(&self, host: &str, path: &str) -> bool {
        self.routes.find(host, path).is_some_and(|route| route.upstream.is_some())
    }

    /// Whom a credential stands for, and whether there is one of a session that has ended.
    async fn known(
        &self,
        request: &GateRequest<'_>,
        pass_authorization: bool,
    ) -> Result<(Option<Rc<Identity>>, bool), Refusal> {
        let credential = Credential::extract(request.headers, &self.names, pass_authorization)
            .map_err(Refusal::BadCredential)?;
        match credential {
            Credential::None => Ok((None, false)),
            Credential::ApiKey(text) => {
                let found = self.authenticator.key(text).await?;
                Ok((Some(found.ok_or(Refusal::BadCredential(BadCredential::Key))?), false))
            }
            Credential::Session(cookie) => {
                let found = self.authenticator.session(cookie).await?;
                let found = found.filter(|identity| identity.principal.is_for(request.target.host()));
                let stale = found.is_none();
                Ok((found, stale))
            }
        }
    }

    /// What holds for a credential whatever the rules say: its scope, its origin, a pending password change.
    fn check_use(&self, request: &GateRequest<'_>, identity: &Identity) -> Result<(), Refusal> {
        let target = request.target;
        match &identity.principal.proof {
            Proof::Key { scope, .. } => {
                let network_fits =
                    scope.networks.is_empty() || network::contains(&scope.networks, request.client.address);
                let method_fits = scope.methods.is_empty() || scope.methods.contains(target.method());
                if !network_fits || !method_fits || !identity.scope_fits(target) {
                    return Err(Refusal::KeyScope);
                }
            }
            Proof::Session { .. } => {
                let changes = !target.is_read() || target.kind() != RequestKind::Plain;
                if changes && !self.is_own_origin(request) {
                    return Err(Refusal::ForeignOrigin);
                }
            }
        }
        if identity.principal.must_change_password {
            return Err(Refusal::PasswordChange);
        }
        Ok(())
    }

    /// Whether a page of ours asks whether it may ask (Fetch, 3.2.2). The answer is the application's own.
    fn is_own_preflight(&self, request: &GateRequest<'_>) -> bool {
        *request.target.method() == Method::OPTIONS
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && request.headers.contains_key(ORIGIN)
            && self.is_own_origin(request)
    }

    /// Whether a page of ours, or none, sent the request: cookies travel with requests of any page.
    ///
    /// A browser always names the origin on WebSocket handshakes, so there silence is no proof.
    fn is_own_origin(&self, request: &GateRequest<'_>) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => {
                let Ok(origin) = origin.to_str() else { return false };
                self.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
                    || is_same_host(origin, request)
            }
            (None, _) => {
                let site = request.headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
                request.target.kind() == RequestKind::Plain
                    && matches!(site, None | Some(b"same-origin" | b"none"))
            }
            _ => false,
        }
    }
}

/// Whether `origin` is exactly the scheme and authority the request came to.
fn is_same_host(origin: &str, request: &GateRequest<'_>) -> bool {
    let scheme = if request.client.secure { "https://" } else { "http://" };
    origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(request.authority))
}

impl Asked {
    /// The route it takes.
    pub fn route(&self) -> &Route {
        &self.route
    }

    fn caller(&self) -> Caller<'_> {
        match &self.identity {
            Some(identity) => Caller::Known(&identity.principal),
            None => Caller::Anonymous,
        }
    }

    /// Whether the GraphQL operation in the body must be known to decide.
    pub fn needs_graphql(&self, request: &GateRequest<'_>) -> bool {
        let facts = facts(request, None);
        let caller = self.caller();
        self.route.policy.needs_graphql(caller, &facts)
            || self.loose_route.as_ref().is_some_and(|route| route.policy.needs_graphql(caller, &facts))
    }

    /// Applies the policy. `graphql` is what [`Asked::needs_graphql`] asked for.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the policy does not allow the request.
    pub fn decide(
        self,
        request: &GateRequest<'_>,
        graphql: Option<&Operation>,
        trail: &mut Trail,
    ) -> Result<Permit, Refusal> {
        let caller = self.caller();
        let facts = facts(request, graphql);
        let mut decision = self.route.policy.evaluate(caller, &facts);
        if let (Decision::Allow { .. }, Some(other)) = (decision, &self.loose_route) {
            decision = other.policy.evaluate(caller, &facts);
        }
        let rule = match decision {
            Decision::Allow { rule } => Some(rule.to_owned()),
            Decision::Challenge { rule } | Decision::Deny { rule } => rule.map(str::to_owned),
        };
        if let Decision::Allow { .. } = decision {
            trail.rule = rule;
            return Ok(Permit { route: self.route, identity: self.identity });
        }
        trail.rule.clone_from(&rule);
        match decision {
            Decision::Challenge { .. } if self.preflight => {
                trail.rule = Some(String::from("cors-preflight"));
                Ok(Permit { route: self.route, identity: None })
            }
            Decision::Challenge { .. } if self.stale_session => {
                Err(Refusal::BadCredential(BadCredential::Session))
            }
            Decision::Challenge { .. } => Err(Refusal::Challenge { rule }),
            _ => Err(Refusal::Forbidden { rule }),
        }
    }
}

fn facts<'a>(request: &GateRequest<'a>, graphql: Option<&'a Operation>) -> Facts<'a> {
    Facts { target: request.target, client: request.client.address, graphql }
}

/// Path patterns of a key's scope; one that cannot be read matches nothing.
pub(crate) fn scope_patterns(paths: &[String]) -> Vec<PathPattern> {
    paths.iter().filter_map(|path| PathPattern::parse(path).ok()).collect()
}
