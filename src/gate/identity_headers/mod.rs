//! Headers that tell an upstream who is calling: first every client copy goes, then ours are set.

mod attribution;
mod encoding;
mod managed;
mod minting;

use std::rc::Rc;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use self::attribution::Attribution;
pub use self::managed::Managed;
use self::minting::Minter;
use crate::config::{HeaderEncoding, HeaderPreset, IdentityConfig};
use crate::model::jwt::RotatingKeys;
use crate::model::principal::Principal;
use crate::model::role::Role;
use crate::model::template::{Escape, Template};
use crate::model::time::Timestamp;

/// What one application is told of its callers: under which names, and from what.
#[derive(Debug)]
pub struct HeaderPlan {
    preset: HeaderPreset,
    encoding: HeaderEncoding,
    issuer: String,
    templates: Vec<(HeaderName, Template)>,
    minters: Vec<Minter>,
    attribution: Option<Attribution>,
    nobody: Rc<Prepared>,
}

/// A plan's headers for one caller, ready to be cloned into a request.
#[derive(Debug, Default)]
pub struct Prepared {
    headers: Vec<(HeaderName, HeaderValue)>,
    renew_at: Option<Timestamp>,
}

impl HeaderPlan {
    /// The plan of an upstream, or of answers to other proxies; `name` is that of the upstream or route.
    pub fn new(preset: HeaderPreset, identity: &IdentityConfig, name: &str, issuer: &str) -> Self {
        let assertion = identity.assertion.as_ref();
        let bearer = identity.bearer.as_ref();
        let minters = assertion
            .map(|config| Minter::assertion(config, issuer, name))
            .into_iter()
            .chain(bearer.map(|config| Minter::bearer(config, issuer, name)));
        let mut plan = Self {
            preset,
            encoding: identity.encoding.unwrap_or_else(|| preset.encoding()),
            issuer: issuer.to_owned(),
            templates: identity.templates.clone(),
            minters: minters.collect(),
            attribution: identity.attribution.clone().map(Attribution::new),
            nobody: Rc::default(),
        };
        plan.nobody = Rc::new(Prepared::of(plan.values(None), None));
        plan
    }

    /// Which preset it is made with.
    pub fn preset(&self) -> HeaderPreset {
        self.preset
    }

    /// The headers where nobody is known.
    pub fn nobody(&self) -> &Rc<Prepared> {
        &self.nobody
    }

    /// The headers for a caller: exactly one value for each name, and none where there is nothing to say.
    ///
    /// `keys` sign what is signed with keys of our own.
    pub fn prepare(&self, principal: &Principal, now: Timestamp, keys: &RotatingKeys) -> Prepared {
        let (mut headers, mut renew_at) = (self.values(Some(principal)), None);
        for minter in &self.minters {
            if let Some(minted) = minter.mint(principal, now, keys) {
                headers.insert(&minter.header, minted.value);
                renew_at = Some(renew_at.map_or(minted.renew_at, |at: Timestamp| at.min(minted.renew_at)));
            }
        }
        Prepared::of(headers, renew_at)
    }

    /// The headers for a caller without those that are signed or minted.
    pub fn facts(&self, principal: &Principal) -> HeaderMap {
        self.values(Some(principal))
    }

    /// What the preset and the templates make of a caller.
    fn values(&self, principal: Option<&Principal>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, field) in names(self.preset) {
            let fact = |text: &str, marks: &[char]| self.encoding.fact(text, marks);
            let value =
                field.of(principal, &self.issuer, &fact).and_then(|value| self.encoding.value(&value));
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        for (name, template) in &self.templates {
            let filled = template.fill(principal, &|text, marks| self.encoding.fact(text, marks));
            match filled.and_then(|value| self.encoding.value(&value)) {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
        headers
    }

    /// On whose behalf the caller says that it asks, where its word counts: to be read before
    /// [`Managed::strip`], and set after everything else.
    pub fn attributed(
        &self,
        headers: &HeaderMap,
        principal: Option<&Principal>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        match (&self.attribution, principal) {
            (Some(attribution), Some(principal)) => attribution.of(headers, principal, self.encoding),
            _ => Vec::new(),
        }
    }

    /// Every name that may be set.
    pub fn names(&self) -> impl Iterator<Item = HeaderName> {
        let preset = names(self.preset).iter().map(|(name, _)| HeaderName::from_static(name));
        let templates = self.templates.iter().map(|(name, _)| name.clone());
        preset.chain(templates).chain(self.minters.iter().map(|minter| minter.header.clone()))
    }

    /// Sets every header of the plan, empty where there is no value: another proxy copies what it finds, and
    /// what it does not find it may leave as the client sent it.
    pub fn set_all(&self, headers: &mut HeaderMap, prepared: &Prepared) {
        for name in self.names() {
            headers.insert(name, HeaderValue::from_static(""));
        }
        prepared.set(headers);
    }
}

impl Prepared {
    fn of(headers: HeaderMap, renew_at: Option<Timestamp>) -> Self {
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
        Self { headers, renew_at }
    }

    /// Whether what it holds is still to be sent: of a token, half its life is left to the application.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    /// Sets the headers. The caller has run [`Managed::strip`] before: nothing else may bear these names.
    pub fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

/// Where Grafana splits a list of groups, what quotes an item there, and what begins a list in JSON.
const GRAFANA_MARKS: [char; 4] = [',', ' ', '"', '['];

impl HeaderPreset {
    /// How the product writes what is not ASCII that the preset is named after; percent-encoding where none does.
    fn encoding(self) -> HeaderEncoding {
        match self {
            Self::Standard | Self::Micromegas | Self::None => HeaderEncoding::Percent,
            Self::Oauth2Proxy | Self::Authelia | Self::Authentik | Self::Vouch | Self::TraefikForwardAuth => {
                HeaderEncoding::Utf8
            }
            Self::Grafana => HeaderEncoding::QuotedPrintable,
        }
    }
}

impl Field {
    fn of(self, principal: Option<&Principal>, issuer: &str, fact: Escape<'_>) -> Option<String> {
        let yes_or_no = |yes: bool| Some(if yes { "true" } else { "false" }.to_owned());
        match (self, principal) {
            // A server that trusts its gateway takes silence for yes.
            (Self::IsAdmin, who) => return yes_or_no(who.is_some_and(|who| who.role == Role::Admin)),
            (Self::MayAct, who) => return yes_or_no(who.is_some_and(Principal::may_act_for_users)),
            _ => {}
        }
        let principal = principal?;
        let list = |separator: &str, marks: &[char]| -> Option<String> {
            let groups: Vec<String> = principal.groups.iter().map(|group| fact(group, marks)).collect();
            (!groups.is_empty()).then(|| groups.join(separator))
        };
        let plain = |text: &str| fact(text, &[]);
        match self {
            Self::User => Some(plain(&principal.name)),
            Self::Subject => Some(plain(&principal.subject())),
            Self::Name => principal.display_name.as_deref().map(plain),
            Self::Email => principal.email.as_deref().map(plain),
            Self::EmailOrUser => Some(plain(principal.email.as_deref().unwrap_or(&principal.name))),
            Self::Groups => list(",", &[',']),
            Self::GrafanaGroups => list(",", &GRAFANA_MARKS),
            Self::PipedGroups => list("|", &['|']),
            Self::Role => Some(principal.role.as_str().to_owned()),
            Self::GrafanaRole => Some(
                match principal.role {
                    Role::Admin => "Admin",
                    Role::Member => "Editor",
                    Role::Viewer | Role::Agent => "Viewer",
                }
                .to_owned(),
            ),
            Self::Issuer => Some(plain(issuer)),
            Self::MayAct | Self::IsAdmin => None,
        }
    }
}

/// The names a preset sets, and from what.
pub fn names(preset: HeaderPreset) -> &'static [(&'static str, Field)] {
    use Field::{
        Email, EmailOrUser, GrafanaGroups, GrafanaRole, Groups, IsAdmin, Issuer, MayAct, Name, PipedGroups,
        Role, Subject, User,
    };
    match preset {
        HeaderPreset::None => &[],
        HeaderPreset::Standard => &[
            ("x-auth-user", User),
            ("x-auth-subject", Subject),
            ("x-auth-name", Name),
            ("x-auth-email", Email),
            ("x-auth-groups", Groups),
            ("x-auth-role", Role),
        ],
        HeaderPreset::Oauth2Proxy => &[
            ("x-forwarded-user", User),
            ("x-forwarded-preferred-username", User),
            ("x-forwarded-email", Email),
            ("x-forwarded-groups", Groups),
            ("x-auth-request-user", User),
            ("x-auth-request-preferred-username", User),
            ("x-auth-request-email", Email),
            ("x-auth-request-groups", Groups),
        ],
        HeaderPreset::Authelia => &[
            ("remote-user", User),
            ("remote-name", Name),
            ("remote-email", Email),
            ("remote-groups", Groups),
        ],
        HeaderPreset::Authentik => &[
            ("x-authentik-username", User),
            ("x-authentik-uid", Subject),
            ("x-authentik-name", Name),
            ("x-authentik-email", Email),
            ("x-authentik-groups", PipedGroups),
            ("x-authentik-entitlements", PipedGroups),
        ],
        HeaderPreset::Vouch => &[("x-vouch-user", EmailOrUser)],
        HeaderPreset::TraefikForwardAuth => &[("x-forwarded-user", EmailOrUser)],
        HeaderPreset::Micromegas => &[
            ("x-auth-subject", Subject),
            ("x-auth-email", Email),
            ("x-auth-issuer", Issuer),
            ("x-allow-delegation", MayAct),
            ("x-auth-is-admin", IsAdmin),
        ],
        HeaderPreset::Grafana => &[
            ("x-webauth-user", User),
            ("x-webauth-name", Name),
            ("x-webauth-email", Email),
            ("x-webauth-groups", GrafanaGroups),
            ("x-webauth-role", GrafanaRole),
        ],
    }
}

/// What a header's value is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Username, or a system key's name.
    User,
    /// `user:<id>` or `key:<id>`.
    Subject,
    /// Display name.
    Name,
    /// Address.
    Email,
    /// Comma-separated.
    Groups,
    /// Comma-separated, for Grafana, which splits at more than commas.
    GrafanaGroups,
    /// Separated by `|`.
    PipedGroups,
    /// Address, or username where there is none.
    EmailOrUser,
    /// Our role.
    Role,
    /// Grafana's word for our role.
    GrafanaRole,
    /// Our public address: who vouches.
    Issuer,
    /// `true` where the caller may act for others.
    MayAct,
    /// `true` for admins.
    IsAdmin,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::PrincipalKind;
    use crate::model::secret::Secret;
    use crate::model::token::MasterKey;
    use crate::model::user::UserId;

    fn principal() -> Principal {
        Principal {
            display_name: Some("Zoë \r\nX-Auth-Role: admin".into()),
            groups: vec!["a,b".into(), "c%d".into()],
            ..Principal::example(PrincipalKind::User(UserId("u1".into())), "zoë", Role::Viewer)
        }
    }

    fn plan(preset: HeaderPreset, templates: &[(&'static str, &str)]) -> HeaderPlan {
        let templates = templates
            .iter()
            .map(|(name, text)| (HeaderName::from_static(name), Template::parse(text).unwrap()))
            .collect();
        let identity = IdentityConfig { templates, ..IdentityConfig::default() };
        HeaderPlan::new(preset, &identity, "app", "http://127.0.0.1:8080")
    }

    fn keys() -> RotatingKeys {
        RotatingKeys::new(MasterKey::new(Secret::new("k".repeat(32))).derive("assertion"))
    }

    fn told(plan: &HeaderPlan, principal: Option<&Principal>) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        match principal {
            Some(principal) => plan.prepare(principal, Timestamp(1_900_000_000), &keys()).set(&mut headers),
            None => plan.nobody().set(&mut headers),
        }
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_one_line_each_whatever_a_name_holds() {
        let told = told(&plan(HeaderPreset::Standard, &[]), Some(&principal()));
        let wanted = [
            ("x-auth-user", "zo%C3%AB"),
            ("x-auth-subject", "user:u1"),
            ("x-auth-name", "Zo%C3%AB   X-Auth-Role: admin"),
            ("x-auth-groups", "a%2Cb,c%25d"),
            ("x-auth-role", "viewer"),
        ];
        assert_eq!(told, pairs(&wanted), "no address, no header");
    }

    #[test]
    fn each_preset_writes_names_as_its_product_does_and_a_setting_chooses_otherwise() {
        let seen = |preset, encoding| {
            let identity = IdentityConfig { encoding, ..IdentityConfig::default() };
            let plan = HeaderPlan::new(preset, &identity, "app", "http://127.0.0.1:8080");
            let prepared = plan.prepare(&principal(), Timestamp(1_900_000_000), &keys());
            let first = prepared.headers.first().map(|(_, value)| value.as_bytes().to_vec()).unwrap();
            String::from_utf8(first).unwrap()
        };
        for preset in HeaderPreset::ALL {
            let wanted = match preset {
                HeaderPreset::None => continue,
                HeaderPreset::Micromegas => "user:u1",
                HeaderPreset::Standard => "zo%C3%AB",
                HeaderPreset::Grafana => "zo=C3=AB",
                _ => "zoë",
            };
            assert_eq!(seen(preset, None), wanted, "{preset:?}");
        }
        assert_eq!(seen(HeaderPreset::Standard, Some(HeaderEncoding::Utf8)), "zoë");
        assert_eq!(seen(HeaderPreset::Authelia, Some(HeaderEncoding::Rfc2047)), "=?UTF-8?B?em/Dqw==?=");
    }

    #[test]
    fn grafana_finds_each_group_whole() {
        let groups = vec!["a b".into(), "[\"x\"]".into(), "büro".into(), "y\",\"z".into()];
        let principal = Principal { groups, ..principal() };
        let told = told(&plan(HeaderPreset::Grafana, &[]), Some(&principal));
        let wanted = ("x-webauth-groups".to_owned(), "a%20b,%5B%22x%22],b=C3=BCro,y%22%2C%22z".to_owned());
        assert!(told.contains(&wanted), "{told:?}");
    }

    #[test]
    fn templates_are_encoded_as_presets_are_and_stand_above_them() {
        let templates = [
            ("x-scope-orgid", "{groups:|}"),
            ("x-auth-user", "team {name}"),
            ("x-auth-role", "{email}"),
            ("x-fixed", "a b"),
        ];
        let plan = plan(HeaderPreset::Standard, &templates);
        let told = told(&plan, Some(&principal()));
        let get = |name: &str| told.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(get("x-scope-orgid"), Some("a,b|c%25d"));
        assert_eq!(get("x-auth-user"), Some("team Zo%C3%AB   X-Auth-Role: admin"));
        assert_eq!(get("x-auth-role"), None, "a template without a value leaves no other");
        assert_eq!(get("x-fixed"), Some("a b"));
        let mut all = HeaderMap::new();
        plan.set_all(&mut all, plan.nobody());
        assert_eq!(all.remove("x-fixed").unwrap(), "a b", "what says nothing of anybody is always said");
        assert!(all.values().all(HeaderValue::is_empty), "{all:?}");
        assert_eq!(all.len(), 7, "{all:?}");
    }

    #[test]
    fn nobody_is_no_admin_to_a_server_that_takes_silence_for_one() {
        let plan = plan(HeaderPreset::Micromegas, &[("x-scope-orgid", "fixed")]);
        let constant = ("x-scope-orgid", "fixed");
        let nothing = pairs(&[("x-allow-delegation", "false"), ("x-auth-is-admin", "false"), constant]);
        assert_eq!(told(&plan, None), nothing);
        let root = Principal { role: Role::Admin, email: Some("r@x.org".into()), ..principal() };
        let wanted = [
            ("x-auth-subject", "user:u1"),
            ("x-auth-email", "r@x.org"),
            ("x-auth-issuer", "http://127.0.0.1:8080"),
            ("x-allow-delegation", "false"),
            ("x-auth-is-admin", "true"),
            ("x-scope-orgid", "fixed"),
        ];
        assert_eq!(told(&plan, Some(&root)), pairs(&wanted));
    }
}
