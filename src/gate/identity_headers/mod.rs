//! Headers that tell an upstream who is calling: first every client copy goes, then ours are set.

mod attribution;
mod encoding;
mod fields;
mod managed;
mod minting;

use std::rc::Rc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use self::attribution::Attribution;
pub use self::fields::names;
pub use self::managed::Managed;
use self::minting::Minter;
use crate::config::{HeaderEncoding, HeaderPreset, IdentityConfig};
use crate::model::jwt::RotatingKeys;
use crate::model::principal::Principal;
use crate::model::secret::Secret;
use crate::model::template::Template;
use crate::model::time::Timestamp;
use crate::policy::Enforce;

/// What one application is told of its callers: under which names, and from what.
#[derive(Debug)]
pub struct HeaderPlan {
    preset: HeaderPreset,
    encoding: HeaderEncoding,
    issuer: String,
    templates: Vec<(HeaderName, Template)>,
    /// What the gateway itself says to get in.
    credentials: Vec<(HeaderName, HeaderValue)>,
    minters: Vec<Minter>,
    attribution: Option<Attribution>,
    nobody: Rc<PreparedHeaders>,
}

/// A plan's headers for one caller, ready to be cloned into a request.
#[derive(Debug, Default)]
pub struct PreparedHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Those by which the application is to keep something from the caller: sent where refusals are kept.
    limits: Vec<(HeaderName, HeaderValue)>,
    /// When its tokens were made, and for how long they are sent.
    tokens: Option<(Timestamp, Duration)>,
}

/// What the preset and the templates make of a caller.
#[derive(Default)]
struct Values {
    told: HeaderMap,
    limits: HeaderMap,
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
            credentials: identity.credentials.iter().filter_map(credential).collect(),
            minters: minters.collect(),
            attribution: identity.attribution.clone().map(Attribution::new),
            nobody: Rc::default(),
        };
        plan.nobody = Rc::new(PreparedHeaders::of(plan.values(None), None));
        plan
    }

    /// Which preset it is made with.
    pub fn preset(&self) -> HeaderPreset {
        self.preset
    }

    /// The headers for an anonymous caller.
    pub fn nobody(&self) -> &Rc<PreparedHeaders> {
        &self.nobody
    }

    /// The headers for a caller: exactly one value for each name, and none where there is nothing to say.
    ///
    /// `keys` sign what is signed with keys of our own.
    pub fn prepare(&self, principal: &Principal, now: Timestamp, keys: &RotatingKeys) -> PreparedHeaders {
        let (mut values, mut good_for) = (self.values(Some(principal)), None);
        for minter in &self.minters {
            if let Some(minted) = minter.mint(principal, now, keys) {
                values.told.insert(&minter.header, minted.value);
                good_for = Some(good_for.map_or(minted.good_for, |span: Duration| span.min(minted.good_for)));
            }
        }
        PreparedHeaders::of(values, good_for.map(|span| (now, span)))
    }

    /// The headers for a caller without those that are signed or minted.
    pub fn facts(&self, principal: &Principal) -> HeaderMap {
        let Values { mut told, limits } = self.values(Some(principal));
        told.extend(limits);
        told
    }

    fn values(&self, principal: Option<&Principal>) -> Values {
        let Values { mut told, mut limits } = Values::default();
        for (name, field) in names(self.preset) {
            let fact = |text: &str, marks: &[char]| self.encoding.fact(text, marks);
            let value =
                field.of(principal, &self.issuer, &fact).and_then(|value| self.encoding.value(&value));
            if let Some(value) = value {
                let said = if field.limits(principal) { &mut limits } else { &mut told };
                said.insert(HeaderName::from_static(name), value);
            }
        }
        let credentials = self.credentials.iter().map(|(name, _)| name);
        for name in credentials.chain(self.templates.iter().map(|(name, _)| name)) {
            told.remove(name);
            limits.remove(name);
        }
        for (name, template) in &self.templates {
            let filled = template.fill(principal, &|text, marks| self.encoding.fact(text, marks));
            if let Some(value) = filled.and_then(|value| self.encoding.value(&value)) {
                told.insert(name, value);
            }
        }
        Values { told, limits }
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
        let credentials = self.credentials.iter().map(|(name, _)| name.clone());
        let minted = self.minters.iter().map(|minter| minter.header.clone());
        preset.chain(templates).chain(credentials).chain(minted)
    }

    /// What settings want to be told of callers and is not told of this one: headers, and claims of tokens.
    pub fn without_value(&self, principal: &Principal) -> Vec<String> {
        let Values { told, .. } = self.values(Some(principal));
        let names = self.templates.iter().map(|(name, _)| name).filter(|name| !told.contains_key(*name));
        let claims = self.minters.iter().flat_map(|minter| minter.without_value(principal));
        names.map(ToString::to_string).chain(claims).collect()
    }

    /// Sets what the gateway itself says to get in: only with what the rules allow.
    pub fn get_in(&self, headers: &mut HeaderMap, enforce: Enforce) {
        set(headers, &self.credentials, enforce);
    }

    /// Sets every header of the plan, empty where there is no value: another proxy copies what it finds, and
    /// what it does not find it may leave as the client sent it. What is not to be said at all is not there: some
    /// application may read a no in an empty one.
    pub fn set_all(&self, headers: &mut HeaderMap, prepared: &PreparedHeaders, enforce: Enforce) {
        for name in self.names().filter(|name| !prepared.withholds(name, enforce)) {
            headers.insert(name, HeaderValue::from_static(""));
        }
        prepared.set(headers, enforce);
    }
}

/// Sets headers of ours. Where refusals are not kept, a credential that the client has for the application stays in
/// its place, as without a gateway.
fn set(headers: &mut HeaderMap, ours: &[(HeaderName, HeaderValue)], enforce: Enforce) {
    for (name, value) in ours {
        if enforce == Enforce::On || headers.get(name).is_none_or(HeaderValue::is_empty) {
            headers.insert(name, value.clone());
        }
    }
}

/// A value that no log shows; the settings hold none that cannot stand in a header.
fn credential((name, secret): &(HeaderName, Secret)) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(secret.expose()).ok()?;
    value.set_sensitive(true);
    Some((name.clone(), value))
}

impl PreparedHeaders {
    fn of(values: Values, tokens: Option<(Timestamp, Duration)>) -> Self {
        let list = |headers: HeaderMap| {
            headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect::<Vec<_>>()
        };
        Self { headers: list(values.told), limits: list(values.limits), tokens }
    }

    /// Whether what it holds is still to be sent: of a token, half its life is left to the application, and none is of a
    /// time that is still to come.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.tokens.is_none_or(|(made, span)| made <= now && now < made.after(span))
    }

    /// Sets the headers. The caller has run [`Managed::strip`] before: nothing else may bear these names, but for a
    /// credential that the client has for the application.
    pub fn set(&self, headers: &mut HeaderMap, enforce: Enforce) {
        set(headers, &self.headers, enforce);
        if enforce == Enforce::On {
            set(headers, &self.limits, enforce);
        }
    }

    /// Whether a header is left out because nothing is kept from anybody.
    fn withholds(&self, name: &HeaderName, enforce: Enforce) -> bool {
        enforce != Enforce::On && self.limits.iter().any(|(limit, _)| limit == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::PrincipalKind;
    use crate::model::role::Role;
    use crate::model::token::{KeyPurpose, MasterKey};
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
        RotatingKeys::new(MasterKey::new(Secret::new("k".repeat(32))).derive(KeyPurpose::Assertion))
    }

    fn told(plan: &HeaderPlan, principal: Option<&Principal>) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        match principal {
            Some(principal) => {
                plan.prepare(principal, Timestamp(1_900_000_000), &keys()).set(&mut headers, Enforce::On);
            }
            None => plan.nobody().set(&mut headers, Enforce::On),
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
    fn what_lowers_a_caller_is_what_the_settings_warn_of_and_is_left_out_whole() {
        let (viewer, root) = (principal(), Principal { role: Role::Admin, ..principal() });
        for preset in HeaderPreset::ALL {
            let plan = plan(preset, &[]);
            let mut left_out: Vec<String> = Vec::new();
            for caller in [None, Some(&viewer), Some(&root)] {
                let prepared = match caller {
                    None => Rc::clone(plan.nobody()),
                    Some(caller) => Rc::new(plan.prepare(caller, Timestamp(1_900_000_000), &keys())),
                };
                let all = |enforce| {
                    let mut headers = HeaderMap::new();
                    plan.set_all(&mut headers, &prepared, enforce);
                    headers
                };
                let (kept, logged) = (all(Enforce::On), all(Enforce::Log));
                assert_eq!(all(Enforce::Off), logged);
                left_out
                    .extend(kept.keys().filter(|name| !logged.contains_key(*name)).map(ToString::to_string));
                for (name, value) in &logged {
                    assert_eq!(kept.get(name), Some(value), "{preset:?}");
                    assert!(
                        ![&b"false"[..], b"Viewer", b"Editor"].contains(&value.as_bytes()),
                        "{preset:?} {name}"
                    );
                }
            }
            left_out.sort();
            left_out.dedup();
            let said = preset.limits().map(|(names, _)| names.iter().map(|name| name.to_ascii_lowercase()));
            assert_eq!(left_out, said.into_iter().flatten().collect::<Vec<_>>(), "{preset:?}");
        }
    }

    #[test]
    fn tokens_are_sent_for_half_their_life_and_none_of_a_time_to_come() {
        let made = Timestamp(1_900_000_000);
        let prepared = |tokens| PreparedHeaders { headers: Vec::new(), limits: Vec::new(), tokens };
        let with = prepared(Some((made, Duration::from_secs(30))));
        let at = |seconds| with.holds(Timestamp(made.0 + seconds));
        assert!(at(0) && at(29) && !at(30) && !at(-1));
        assert!(prepared(None).holds(Timestamp(0)), "what is no token stays");
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
        plan.set_all(&mut all, plan.nobody(), Enforce::On);
        assert_eq!(all.remove("x-fixed").unwrap(), "a b", "what says nothing of anybody is always said");
        assert!(all.values().all(HeaderValue::is_empty), "{all:?}");
        assert_eq!(all.len(), 7, "{all:?}");
    }

    #[test]
    fn nobody_is_no_admin_to_a_server_that_takes_silence_for_one() {
        let plan = plan(HeaderPreset::Micromegas, &[("x-scope-orgid", "fixed")]);
        let constant = ("x-scope-orgid", "fixed");
        let nothing = pairs(&[constant, ("x-allow-delegation", "false"), ("x-auth-is-admin", "false")]);
        assert_eq!(told(&plan, None), nothing);
        let root = Principal { role: Role::Admin, email: Some("r@x.org".into()), ..principal() };
        let wanted = [
            ("x-auth-subject", "user:u1"),
            ("x-auth-email", "r@x.org"),
            ("x-auth-issuer", "http://127.0.0.1:8080"),
            ("x-auth-is-admin", "true"),
            ("x-scope-orgid", "fixed"),
            ("x-allow-delegation", "false"),
        ];
        assert_eq!(told(&plan, Some(&root)), pairs(&wanted));
    }
}
