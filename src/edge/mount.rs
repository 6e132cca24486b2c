//! What is mounted where: the one list of the addresses that this gateway answers itself. All others are the applications'.
//!
//! A request looks its path up here once, and whatever it finds answers it. Nothing else matches on paths, but for the paths
//! of other products ([`compat`](super::forward_auth::compat)), which are looked up from here as well.

use super::forward_auth::compat::{Action, CompatEndpoint};
use super::forward_auth::{Endpoint, ForwardAuth, ext_authz};
use super::health::Probe;
use super::methods::Methods;
use super::pages::site::Site;
use super::web::Page;
use crate::config::{Flavour, LogoFormat};
use crate::federation::Federation;

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Something of ours, below the reserved path.
    Own(&'static MountPoint),
    /// Nothing of ours, below the reserved path.
    Nothing,
    /// Another proxy's question.
    Question(Endpoint),
    /// The same, but questions of this flavour are not answered.
    SwitchedOff(Flavour),
    /// Envoy's question by gRPC.
    GrpcQuestion,
    /// Where browsers come back to from a provider, by its settings, at the public host. What is there at other hosts is beside
    /// it.
    Callback(Box<Mount>),
    /// What another product has there.
    Product(CompatEndpoint),
    /// An application, or nothing.
    Application,
}

/// One address below the reserved path.
#[derive(Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// Below the reserved path: empty, or such as `/login`.
    pub path: &'static str,
    /// Whether a name follows it, one segment.
    pub is_named: bool,
    /// What may be sent there.
    pub methods: Methods,
    /// What answers.
    pub what: InternalEndpoint,
}

/// What answers at an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalEndpoint {
    /// Whether we are well.
    Health(Probe),
    /// The keys that upstreams check our word with.
    PublicKeys,
    /// What would be decided, and why.
    Explain,
    /// A page for people.
    Page(Page),
}

impl MountPoint {
    fn is_at(&self, path: &str) -> bool {
        match path.strip_prefix(self.path) {
            Some("") => !self.is_named,
            Some(name) => self.is_named && !name.contains('/'),
            None => false,
        }
    }

    /// The page that is there, if one is, and its methods.
    pub fn page(&self) -> Option<(Page, Methods)> {
        match self.what {
            InternalEndpoint::Page(page) => Some((page, self.methods)),
            InternalEndpoint::Health(_) | InternalEndpoint::PublicKeys | InternalEndpoint::Explain => None,
        }
    }
}

const fn row(path: &'static str, methods: Methods, what: InternalEndpoint) -> MountPoint {
    MountPoint { path, is_named: false, methods, what }
}

const fn page(path: &'static str, methods: Methods, page: Page) -> MountPoint {
    row(path, methods, InternalEndpoint::Page(page))
}

/// A page for each provider, by its name; the page knows which there are.
const fn of_provider(path: &'static str, methods: Methods, page: Page) -> MountPoint {
    MountPoint { path, is_named: true, methods, what: InternalEndpoint::Page(page) }
}

/// Everything below the reserved path, but for questions: [`Endpoint`] reads whose they are from the path.
static OWN: [MountPoint; 28] = {
    use Methods::{Any, Fetch, Form, Read, Send};
    [
        row("/healthz", Any, InternalEndpoint::Health(Probe::Alive)),
        row("/readyz", Any, InternalEndpoint::Health(Probe::Ready)),
        row("/jwks.json", Read, InternalEndpoint::PublicKeys),
        row("/api/explain", Read, InternalEndpoint::Explain),
        page("", Read, Page::Account),
        page("/", Read, Page::Account),
        page("/account", Read, Page::Account),
        page("/account/name", Send, Page::Rename),
        page("/account/identities/link", Send, Page::LinkIdentity),
        page("/account/identities/unlink", Send, Page::UnlinkIdentity),
        page("/account/sessions/end", Send, Page::EndSession),
        page("/account/sessions/end-others", Send, Page::EndOtherSessions),
        page("/account/keys/new", Form, Page::NewKey),
        page("/account/keys/revoke", Send, Page::RevokeKey),
        of_provider("/backchannel-logout/", Send, Page::ProviderLogout),
        of_provider("/callback/", Fetch, Page::CompleteSignIn),
        page("/handover", Fetch, Page::Redeem),
        page("/handover/begin", Fetch, Page::Begin),
        page("/handover/grant", Fetch, Page::Grant),
        page("/login", Form, Page::Login),
        page("/logout", Form, Page::Logout),
        page("/password", Form, Page::Password),
        page("/setup", Form, Page::Setup),
        page("/signed-out", Read, Page::SignedOut),
        of_provider("/sign-in/", Fetch, Page::BeginSignIn),
        page("/static/doorward.css", Read, Page::Style),
        page("/static/logo.svg", Read, Page::Logo(LogoFormat::Svg)),
        page("/static/logo.png", Read, Page::Logo(LogoFormat::Png)),
    ]
};

/// What of ours is at a path below the reserved one.
pub fn own(path: &str) -> Option<&'static MountPoint> {
    OWN.iter().find(|row| row.is_at(path))
}

impl Mount {
    /// What is at a path, with the providers and the questions that are answered.
    pub fn at(path: &str, site: &Site, federation: &Federation, questions: &ForwardAuth) -> Self {
        if let Some(below) = site.below_reserved(path) {
            return match Endpoint::named(below) {
                Some(endpoint) if questions.answers(endpoint.flavour) => Self::Question(endpoint),
                Some(endpoint) => Self::SwitchedOff(endpoint.flavour),
                None => own(below).map_or(Self::Nothing, Self::Own),
            };
        }
        if path == ext_authz::PATH && questions.answers(Flavour::Envoy) {
            return Self::GrpcQuestion;
        }
        let other = questions.endpoint(path).map_or(Self::Application, Self::Product);
        let is_callback = site.below_public(path).is_some_and(|path| federation.has_callback(path));
        // A path at which another proxy asks stays what it is: no answer of ours there must be an allow.
        let asks = matches!(&other, Self::Product(CompatEndpoint { action: Action::Check(..), .. }));
        if is_callback && !asks { Self::Callback(Box::new(other)) } else { other }
    }

    /// Whether an address there may hold a whole address of an application, escaped.
    pub fn may_hold_another(&self) -> bool {
        !matches!(self, Self::Application | Self::GrpcQuestion)
    }

    /// What is asked there about our health, if anything is.
    pub fn probe(&self) -> Option<Probe> {
        match self {
            Self::Own(MountPoint { what: InternalEndpoint::Health(probe), .. }) => Some(*probe),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::pages::site::RESERVED;
    use crate::federation;

    #[test]
    fn every_address_stands_once_and_none_is_a_questions() {
        for (at, row) in OWN.iter().enumerate() {
            assert!(OWN[..at].iter().all(|other| other.path != row.path), "{} stands twice", row.path);
            assert!(row.path.is_empty() || row.path.starts_with('/'), "{}", row.path);
            assert_eq!(Endpoint::named(row.path), None, "{}", row.path);
        }
    }

    #[test]
    fn a_page_of_a_provider_is_at_one_segment_and_nowhere_else() {
        for (path, expected) in [
            ("/sign-in/sso", Some(Page::BeginSignIn)),
            ("/callback/sso", Some(Page::CompleteSignIn)),
            ("/backchannel-logout/sso", Some(Page::ProviderLogout)),
            ("/backchannel-logout/", None),
            ("/sign-in/", None),
            ("/sign-in", None),
            ("/sign-in/sso/", None),
            ("/sign-in/a/b", None),
            ("/callbacksso", None),
            ("/login/sso", None),
        ] {
            let page = own(path).and_then(MountPoint::page).map(|(page, _)| page);
            assert_eq!(page, expected, "{path}");
        }
        for (path, registered) in [
            ("/callback/", federation::CALLBACK),
            ("/backchannel-logout/", federation::BACKCHANNEL_LOGOUT),
            ("/signed-out", federation::SIGNED_OUT),
        ] {
            let answered = format!("{RESERVED}{path}");
            assert_eq!(answered, registered, "what is registered at providers is what is answered");
        }
    }
}
