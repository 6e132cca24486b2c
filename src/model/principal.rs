//! Who is calling, once a credential has been accepted.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::api_key::KeyScope;
use super::network;
use super::role::Role;
use super::time::Timestamp;
use super::user::UserId;
use super::words::words;

/// An authenticated subject with its rights, as of the last look at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What kind of subject it is.
    pub kind: PrincipalKind,
    /// Username, or the name of a key or token without an owner.
    pub name: String,
    /// Address, where one is known.
    pub email: Option<String>,
    /// What pages show, where it is known.
    pub display_name: Option<String>,
    /// Rights now: for a user key the weaker of key and owner.
    pub role: Role,
    /// Sorted, without duplicates.
    pub groups: Vec<String>,
    /// Who vouches for the subject.
    pub source: IdentitySource,
    /// Nothing but changing the password is allowed.
    pub must_change_password: bool,
    /// How the subject proved itself, and until when that proof holds.
    pub proof: Proof,
}

/// What a principal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person in a browser.
    User(UserId),
    /// A person's key.
    UserKey {
        /// The owner.
        user: UserId,
        /// The key's public id.
        key: String,
    },
    /// A machine's own key.
    SystemKey {
        /// The key's public id.
        key: String,
    },
    /// A key of another system, kept in a ring file.
    ImportedKey {
        /// The ring's name in the settings.
        ring: String,
        /// The key's name in its ring.
        key: String,
    },
    /// A token for emergencies, from the settings.
    BreakGlass {
        /// Its name there.
        name: String,
    },
    /// A client certificate that a proxy has verified, from the settings.
    ClientCertificate {
        /// Its name there.
        name: String,
    },
}

impl PrincipalKind {
    /// The word for it in headers: a person in a browser is a `user`, everything else is what it presents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            kind => kind.credential().as_str(),
        }
    }

    /// By which kind of credential it is recognised.
    pub fn credential(&self) -> CredentialKind {
        match self {
            Self::User(_) => CredentialKind::Session,
            Self::UserKey { .. } => CredentialKind::UserKey,
            Self::SystemKey { .. } => CredentialKind::SystemKey,
            Self::ImportedKey { .. } => CredentialKind::ImportedKey,
            Self::BreakGlass { .. } => CredentialKind::BreakGlass,
            Self::ClientCertificate { .. } => CredentialKind::ClientCertificate,
        }
    }

    /// Whether a person stands behind it, whose name is a username.
    pub fn is_person(&self) -> bool {
        matches!(self, Self::User(_) | Self::UserKey { .. })
    }

    /// Whether it is a machine's key, whose name an administrator chose.
    pub fn is_named_key(&self) -> bool {
        matches!(self, Self::SystemKey { .. } | Self::ImportedKey { .. })
    }
}

words! {
    /// By what the sender of a request is recognised: the same word in logs, metrics and explanations.
    CredentialKind {
        /// A session cookie.
        Session = "session",
        /// A user's key.
        UserKey = "user-key",
        /// A system key.
        SystemKey = "system-key",
        /// A key of another system.
        ImportedKey = "imported-key",
        /// A token for emergencies.
        BreakGlass = "break-glass",
        /// A client certificate that a trusted proxy names.
        ClientCertificate = "client-certificate",
    }
}

/// The source of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// The store of the gateway: its own users and keys.
    Local,
    /// A ring of keys of another system, which the settings name.
    Ring,
    /// A token for emergencies, which the settings name.
    BreakGlass,
    /// The issuer of a client certificate, which a trusted proxy verified.
    ClientCertificate,
    /// A provider, by its id.
    Provider(String),
}

impl IdentitySource {
    /// The source of a subject of this kind, where no other is given.
    fn of(kind: &PrincipalKind) -> Self {
        match kind {
            PrincipalKind::User(_) | PrincipalKind::UserKey { .. } | PrincipalKind::SystemKey { .. } => {
                Self::Local
            }
            PrincipalKind::ImportedKey { .. } => Self::Ring,
            PrincipalKind::BreakGlass { .. } => Self::BreakGlass,
            PrincipalKind::ClientCertificate { .. } => Self::ClientCertificate,
        }
    }

    /// The source that a word stands for, as rules and tests of rules name it.
    pub fn named(word: &str) -> Self {
        let known = [Self::Local, Self::Ring, Self::BreakGlass, Self::ClientCertificate];
        known
            .into_iter()
            .find(|source| source.as_str() == word)
            .unwrap_or_else(|| Self::Provider(word.to_owned()))
    }

    /// The word for it, as in `provider:WORD`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local => "local",
            Self::Ring => "imported",
            Self::BreakGlass => "break-glass",
            Self::ClientCertificate => "client-certificate",
            Self::Provider(id) => id,
        }
    }
}

/// How long an accepted credential stays accepted without another look at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A session cookie.
    Session {
        /// The session's public id.
        id: String,
        /// Ends then, whatever happens.
        expires_at: Timestamp,
        /// Last use known when it was looked up.
        last_seen_at: Timestamp,
        /// The one host it counts at, if it is bound to one.
        host: Option<String>,
    },
    /// An API key.
    Key {
        /// Ends then, if ever.
        expires_at: Option<Timestamp>,
        /// Where and how it may be used.
        scope: KeyScope,
        /// The key's name, as rules say `key:NAME`.
        name: String,
        /// Last use known when it was looked up.
        last_used_at: Option<Timestamp>,
    },
}

impl Principal {
    /// Somebody of this kind, of whom no more than a name and a role is known.
    pub fn example(kind: PrincipalKind, name: &str, role: Role) -> Self {
        let forever = Timestamp(i64::MAX / 4);
        let proof = match &kind {
            PrincipalKind::User(_) => {
                Proof::Session { id: String::new(), expires_at: forever, last_seen_at: forever, host: None }
            }
            _ => Proof::Key {
                expires_at: None,
                scope: KeyScope::default(),
                name: name.to_owned(),
                last_used_at: None,
            },
        };
        Self {
            source: IdentitySource::of(&kind),
            kind,
            name: name.to_owned(),
            email: None,
            display_name: None,
            role,
            groups: Vec::new(),
            must_change_password: false,
            proof,
        }
    }

    /// The id of the holder of the rights: of a person, or of a key without an owner. Tokens of the settings, of which
    /// the store knows nothing, hold theirs by name.
    pub fn holder(&self) -> &str {
        match &self.kind {
            PrincipalKind::User(user) | PrincipalKind::UserKey { user, .. } => &user.0,
            PrincipalKind::SystemKey { key } | PrincipalKind::ImportedKey { key, .. } => key,
            PrincipalKind::BreakGlass { name } | PrincipalKind::ClientCertificate { name } => name,
        }
    }

    /// Whether the proof counts in a request to this host.
    pub fn is_for(&self, host: &str) -> bool {
        match &self.proof {
            Proof::Session { host: Some(own), .. } => own == host,
            _ => true,
        }
    }

    /// The stable identifier that logs and upstreams see: `user:<id>`, `key:<id>`, `imported:<ring>/<key>` or
    /// `break-glass:<name>`, or `client-certificate:<name>`.
    pub fn subject(&self) -> String {
        match &self.kind {
            PrincipalKind::User(user) | PrincipalKind::UserKey { user, .. } => format!("user:{user}"),
            PrincipalKind::SystemKey { key } => format!("key:{key}"),
            PrincipalKind::ImportedKey { ring, key } => format!("imported:{ring}/{key}"),
            PrincipalKind::BreakGlass { name } => format!("break-glass:{name}"),
            PrincipalKind::ClientCertificate { name } => format!("client-certificate:{name}"),
        }
    }

    /// Whether its word counts on whose behalf it asks. Says nothing about what it may do.
    pub fn may_act_for_users(&self) -> bool {
        matches!(&self.proof, Proof::Key { scope, .. } if scope.may_act_for_users)
    }

    /// Who it is as the audit trail says it: keys by their own id, not their owner's.
    pub fn party_id(&self) -> String {
        match self.key_id() {
            Some(key) => format!("key:{key}"),
            None => self.subject(),
        }
    }

    /// Who it is to people who read reports: `user:NAME`, with a key perhaps `key:ID`, `key:NAME` or
    /// `break-glass:NAME`, or `client-certificate:NAME`.
    pub fn reported(&self) -> String {
        let name = &self.name;
        match &self.kind {
            PrincipalKind::User(_) => format!("user:{name}"),
            PrincipalKind::UserKey { key, .. } => format!("user:{name} key:{key}"),
            PrincipalKind::SystemKey { .. } | PrincipalKind::ImportedKey { .. } => format!("key:{name}"),
            PrincipalKind::BreakGlass { .. } => format!("break-glass:{name}"),
            PrincipalKind::ClientCertificate { .. } => format!("client-certificate:{name}"),
        }
    }

    /// The key that was presented, if it is one of the store's.
    pub fn key_id(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::UserKey { key, .. } | PrincipalKind::SystemKey { key } => Some(key),
            PrincipalKind::User(_)
            | PrincipalKind::ImportedKey { .. }
            | PrincipalKind::BreakGlass { .. }
            | PrincipalKind::ClientCertificate { .. } => None,
        }
    }
}

/// A principal or an anonymous caller; avoids `Option<Principal>`.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// No credential was presented.
    Anonymous,
    /// A credential was presented and accepted.
    Known(&'a Principal),
}

/// The far end of a request, as decided from the socket and trusted proxies only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub address: ClientAddress,
    /// Whether the client reached us (or our trusted proxy) over TLS.
    pub secure: bool,
    /// Whether a trusted proxy hands the request on, so that a header that only such a proxy may send is its word.
    pub by_proxy: bool,
}

/// Where a client is, if that can be told. What cannot be read is never taken for the proxy that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    nearest: IpAddr,
    known: bool,
}

impl ClientAddress {
    /// Exactly here. IPv4-mapped IPv6 is IPv4; a peer on a socket file has no address.
    pub fn at(address: IpAddr) -> Self {
        let nearest = address.to_canonical();
        Self { nearest, known: nearest != network::UNIX_PEER }
    }

    /// Somewhere behind this peer, who does not say where in a way that can be read.
    pub fn behind(peer: IpAddr) -> Self {
        Self { nearest: peer.to_canonical(), known: false }
    }

    /// Nowhere that is known.
    pub fn unknown() -> Self {
        Self::behind(network::UNIX_PEER)
    }

    /// Its own address, where it is known: the only one that a right may depend on.
    pub fn known(self) -> Option<IpAddr> {
        self.known.then_some(self.nearest)
    }

    /// Its own address, or that of the peer it is behind: what attempts are counted by and records tell. Never
    /// for a right.
    pub fn nearest(self) -> IpAddr {
        self.nearest
    }

    /// Whether it lies in one of `networks`; `None` where that cannot be told.
    pub fn is_within(self, networks: &[IpNet]) -> Option<bool> {
        self.known().map(|address| network::contains(networks, address))
    }
}

/// The address, or `unknown` (RFC 7239, 6.2).
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl std::str::FromStr for ClientAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unknown" { Ok(Self::unknown()) } else { text.parse().map(Self::at) }
    }
}

/// Whom a key's text stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// This caller.
    Caller(Box<Principal>),
    /// No principal now: its owner is disabled, or of a role that it cannot act under. That may change.
    Barred(UserId),
    /// No principal, now or later: it is mistyped, unknown, past its end, revoked, or its owner is deleted.
    NotFound,
}

impl Holder {
    /// The caller, if there is one now.
    pub fn caller(self) -> Option<Principal> {
        match self {
            Self::Caller(principal) => Some(*principal),
            Self::Barred(_) | Self::NotFound => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_words_of_their_own() {
        for source in [
            IdentitySource::Local,
            IdentitySource::Ring,
            IdentitySource::BreakGlass,
            IdentitySource::ClientCertificate,
            IdentitySource::Provider("okta".to_owned()),
        ] {
            assert_eq!(IdentitySource::named(source.as_str()), source);
        }
    }
}
