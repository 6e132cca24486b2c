//! Audit events: who did what to whom, from where, and with which outcome. Rows hold names and public ids only:
//! nothing that could be presented as a credential.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::principal::Principal;
use super::time::Timestamp;
use super::token::SigningKey;
use super::user::{User, UserId};
use super::words::words;

/// Somebody or something, as rows name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// `user:<id>`, `key:<id>`, `session:<id>`, `cli`, `gateway` or `nobody`.
    pub id: String,
    /// What people call it, at the time.
    pub name: Option<String>,
}

impl Party {
    /// A party without a name.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), name: None }
    }

    /// A user.
    pub fn user(id: &UserId, name: &str) -> Self {
        Self::named(format!("user:{id}"), name)
    }

    /// Anything that has a name.
    pub fn named(id: impl Into<String>, name: &str) -> Self {
        Self { id: id.into(), name: Some(name.to_owned()) }
    }
}

impl From<&User> for Party {
    fn from(user: &User) -> Self {
        Self::user(&user.id, &user.username)
    }
}

impl From<&Principal> for Party {
    fn from(principal: &Principal) -> Self {
        Self::named(principal.party_id(), &principal.name)
    }
}

/// Who acts, from where, in which request. Clones are the same actor.
#[derive(Clone, Debug)]
pub struct Actor(Arc<ActorInner>);

#[derive(Debug)]
struct ActorInner {
    who: Party,
    recognised: OnceLock<Party>,
    client: Option<IpAddr>,
    request_id: Option<String>,
}

impl Actor {
    /// The gateway itself: what it does at its start, and tidying.
    pub fn gateway() -> Self {
        Self::of(Party::new("gateway"), None, None)
    }

    /// The user who runs the command line, by their user id.
    pub fn command_line(uid: u32) -> Self {
        Self::of(Party::named("cli", &format!("uid {uid}")), None, None)
    }

    /// The sender of a request, not recognised yet. See [`Actor::recognise`].
    pub fn stranger(client: IpAddr, request_id: &str) -> Self {
        let request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
        Self::of(Party::new("nobody"), Some(client), request_id)
    }

    fn of(who: Party, client: Option<IpAddr>, request_id: Option<String>) -> Self {
        Self(Arc::new(ActorInner { who, recognised: OnceLock::new(), client, request_id }))
    }

    /// Names the actor once it is recognised. The first call counts.
    pub fn recognise(&self, who: Party) {
        let _ = self.0.recognised.set(who);
    }

    /// Who it is, as far as known.
    pub fn who(&self) -> &Party {
        self.0.recognised.get().unwrap_or(&self.0.who)
    }

    /// The client's address.
    pub fn client(&self) -> Option<IpAddr> {
        self.0.client
    }

    /// What the log knows the request by.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

words! {
    /// What happened, in the order of the documentation.
    Event {
        /// Somebody signed in, or tried to.
        Login = "login",
        /// Somebody signed out.
        Logout = "logout",
        /// A session was opened otherwise: after a password change, or at another host.
        SessionOpen = "session.open",
        /// Sessions were ended by someone.
        SessionRevoke = "session.revoke",
        /// Somebody who is signed in had to show the password again, and it was wrong.
        PasswordCheck = "password.check",
        /// A user changed the own password, or tried to.
        PasswordChange = "password.change",
        /// Somebody else gave a user another password.
        PasswordReset = "password.reset",
        /// A user was added.
        UserCreate = "user.create",
        /// A user's role was changed.
        UserRole = "user.role",
        /// A user was put into a group or taken out of one.
        UserGroup = "user.group",
        /// The name that is shown of a user was changed.
        UserProfile = "user.profile",
        /// A user's e-mail address followed a change at the identity provider.
        UserEmail = "user.email",
        /// A user was stopped.
        UserDisable = "user.disable",
        /// A stopped user was let in again.
        UserEnable = "user.enable",
        /// A user was deleted.
        UserDelete = "user.delete",
        /// An identity was linked: to an invited user at the first sign-in, or on request.
        IdentityLink = "identity.link",
        /// An identity was removed from a user.
        IdentityUnlink = "identity.unlink",
        /// A key was issued.
        KeyCreate = "key.create",
        /// A key was revoked.
        KeyRevoke = "key.revoke",
        /// A named admin chose a first password by a setup link, or such a link was tried and was not good.
        Setup = "setup",
        /// A configuration took effect, or was refused.
        ConfigLoad = "config.load",
        /// The emergency token was used.
        BreakGlass = "break-glass",
        /// Old rows were deleted. Names the last of them, so that the rest can be verified.
        AuditPrune = "audit.prune",
        /// Rows at the end of the trail were gone when the next one was written.
        AuditCut = "audit.cut",
        /// The gateway's secret is another than that of the row before. Names its key, and proves the end that it left.
        AuditSecret = "audit.secret",
        /// What would have been refused, as it was counted, was forgotten.
        RefusedClear = "refused.clear",
    }

    /// Why something was refused or failed.
    Reason {
        /// Too many passwords were being looked at.
        Busy = "busy",
        /// The account is stopped.
        Disabled = "disabled",
        /// The address is of none of the domains that are let in, or not verified.
        DomainNotAllowed = "domain-not-allowed",
        /// The address belongs to a user with a password or another identity.
        EmailInUse = "email-in-use",
        /// The address belongs to an invited user, and is not verified.
        EmailUnverified = "email-unverified",
        /// The provider tells none of the groups that are let in.
        GroupNotAllowed = "group-not-allowed",
        /// The identity belongs to another user.
        IdentityInUse = "identity-in-use",
        /// A configuration that cannot take effect.
        Invalid = "invalid",
        /// A setup link that is not good.
        InvalidLink = "invalid-link",
        /// No admin would be left.
        LastAdmin = "last-admin",
        /// The network is not one it may be used from.
        Network = "network",
        /// The account has no password.
        NoPassword = "no-password",
        /// The provider, or the person there, said no.
        ProviderDenied = "provider-denied",
        /// The settings here and those at the provider do not agree.
        ProviderMisconfigured = "provider-misconfigured",
        /// The provider cannot be reached, or does not answer properly.
        ProviderUnavailable = "provider-unavailable",
        /// Several passwords were tried in vain, each for one of these reasons.
        Refused = "refused",
        /// What came back from the provider is not what was asked for.
        ResponseRefused = "response-refused",
        /// The provider tells no role that is known here.
        RoleMissing = "role-missing",
        /// There is no such user, and sign-up is not allowed.
        SignUpNotAllowed = "sign-up-not-allowed",
        /// Identities of this issuer were made of another claim.
        SubjectClaimChanged = "subject-claim-changed",
        /// Too many attempts had failed before.
        Throttled = "throttled",
        /// The assertion has more groups than a user can have.
        TooManyGroups = "too-many-groups",
        /// The user has the most identities that are allowed.
        TooManyIdentities = "too-many-identities",
        /// Rows at the end of the trail are gone.
        TrailCut = "the trail does not end where it was left",
        /// There is no user of that name.
        Unknown = "unknown",
        /// The password is another.
        WrongPassword = "wrong-password",
    }

    /// Why the configuration is read.
    Load {
        /// The gateway starts.
        Start = "start",
        /// It was changed meanwhile.
        Reload = "reload",
    }
}

/// Something to be written down.
#[derive(Clone, Debug)]
pub struct Note {
    /// What.
    pub event: Event,
    /// Why not, if it was not done; `detail` has it as `reason` too.
    pub failure: Option<Reason>,
    /// Whom or what it concerned.
    pub target: Option<Party>,
    /// Who did it, where that is not the actor at hand.
    pub actor: Option<Party>,
    /// From where, where the actor does not say.
    pub client: Option<String>,
    /// When, where that is not when it is written.
    pub at: Option<Timestamp>,
    /// What else there is to say; never a secret.
    pub detail: Map<String, Value>,
}

impl Note {
    /// Something that was done.
    pub fn done(event: Event) -> Self {
        Self { event, failure: None, target: None, actor: None, client: None, at: None, detail: Map::new() }
    }

    /// Something that was refused or failed.
    pub fn failed(event: Event, reason: Reason) -> Self {
        Self { failure: Some(reason), ..Self::done(event) }.with("reason", reason.as_str())
    }

    /// Concerning this.
    #[must_use]
    pub fn on(self, target: Party) -> Self {
        Self { target: Some(target), ..self }
    }

    /// With one more thing to say.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// The MAC of a row, and of nothing before the first.
pub type Link = [u8; 32];

/// One row of the trail.
///
/// Each holds the link of the row before it and its own, which is keyed: an attacker who can write the database, but
/// does not hold the gateway's secret, cannot make a row that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Place in the trail, from one, without gaps.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The word of an [`Event`].
    pub event: String,
    /// Whether it was done.
    pub success: bool,
    /// Who did it.
    pub actor: Party,
    /// The client's address.
    pub client: Option<String>,
    /// What the log knows the request by.
    pub request_id: Option<String>,
    /// Whom or what it concerned.
    pub target: Option<Party>,
    /// A JSON object, as text.
    pub detail: String,
    /// Which key made the link.
    pub key_id: String,
    /// The link of the row before.
    pub previous: Link,
    /// The link of this row.
    pub link: Link,
}

impl AuditRow {
    /// The link that this row should have, were its number `seq`.
    pub fn link_at(&self, seq: i64, key: &SigningKey) -> Link {
        let (seq, at) = (seq.to_be_bytes(), self.at.0.to_be_bytes());
        let target = self.target.as_ref();
        let name = |party: Option<&Party>| party.and_then(|party| party.name.clone());
        let texts = [
            Some(self.event.clone()),
            Some(if self.success { "success" } else { "failure" }.to_owned()),
            Some(self.actor.id.clone()),
            name(Some(&self.actor)),
            self.client.clone(),
            self.request_id.clone(),
            target.map(|target| target.id.clone()),
            name(target),
            Some(self.detail.clone()),
            Some(self.key_id.clone()),
        ];
        let mut content = Vec::with_capacity(512);
        for part in [self.previous.as_slice(), &seq, &at] {
            content.extend_from_slice(part);
        }
        // A length before each text, and none at all for nothing: no two rows have the same content.
        for text in texts {
            let length = text.as_ref().map_or(u64::MAX, |text| text.len() as u64);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        key.mac(&content)
    }

    /// Whether the link is the one that `key` makes.
    pub fn holds(&self, key: &SigningKey) -> bool {
        self.link_at(self.seq, key) == self.link
    }
}

/// The MAC of a trail's end, which stands beside the trail: an attacker who cuts rows off cannot make the one of an earlier end.
pub fn mark_of_end(seq: i64, link: &Link, key: &SigningKey) -> Link {
    key.mac(&[b"end of the trail".as_slice(), &seq.to_be_bytes(), link].concat())
}

/// What a row under a new secret keeps of the mark that the former one left: enough for a holder of both to tell that
/// the trail was not cut before, and nothing that could be put back in its place.
pub fn seal_of_mark(mark: Option<&Link>, key: &SigningKey) -> Link {
    let mark = mark.map_or(&[][..], Link::as_slice);
    key.mac(&[b"mark under the former secret".as_slice(), mark].concat())
}

/// Hexadecimal digits, as people compare links.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;
    use crate::model::token::{KeyPurpose, MasterKey};

    fn key(text: &str) -> SigningKey {
        MasterKey::new(Secret::new(text.repeat(32))).derive(KeyPurpose::Audit)
    }

    fn row() -> AuditRow {
        let mut row = AuditRow {
            seq: 7,
            at: Timestamp(1_900_000_000),
            event: "login".to_owned(),
            success: true,
            actor: Party::named("user:1", "alice"),
            client: Some("192.0.2.1".to_owned()),
            request_id: None,
            target: Some(Party::new("session:2")),
            detail: "{}".to_owned(),
            key_id: "k".to_owned(),
            previous: [1; 32],
            link: [0; 32],
        };
        row.link = row.link_at(row.seq, &key("a"));
        row
    }

    #[test]
    fn a_row_holds_only_as_it_was_written_and_under_its_own_key() {
        assert!(row().holds(&key("a")));
        assert!(!row().holds(&key("b")));
        let changes: [fn(&mut AuditRow); 13] = [
            |row| row.seq = 8,
            |row| row.at = Timestamp(0),
            |row| row.event = "logout".to_owned(),
            |row| row.success = false,
            |row| row.actor.id = "user:2".to_owned(),
            |row| row.actor.name = None,
            |row| row.client = None,
            |row| row.request_id = Some(String::new()),
            |row| row.target = None,
            |row| row.target = Some(Party::named("session:2", "")),
            |row| row.detail = "{ }".to_owned(),
            |row| row.key_id.clear(),
            |row| row.previous = [2; 32],
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut other = row();
            change(&mut other);
            assert!(!other.holds(&key("a")), "change {n}");
        }
    }

    #[test]
    fn text_cannot_move_from_one_field_to_the_next() {
        let mut moved = row();
        moved.actor = Party::named("user:1a", "lice");
        assert!(!moved.holds(&key("a")));
        assert_eq!(moved.link_at(7, &key("a")).len(), 32);
    }

    #[test]
    fn an_actor_is_whoever_the_request_turns_out_to_be() {
        let actor = Actor::stranger("192.0.2.1".parse().unwrap(), "r1");
        let clone = actor.clone();
        assert_eq!(clone.who().id, "nobody");
        actor.recognise(Party::named("user:1", "alice"));
        actor.recognise(Party::named("user:2", "bob"));
        assert_eq!(clone.who(), &Party::named("user:1", "alice"));
        assert_eq!(clone.client(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(clone.request_id(), Some("r1"));
    }

    #[test]
    fn every_event_has_a_word_of_its_own() {
        let mut words: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Event::ALL.len());
    }
}
