//! API keys as stored: everything but the key itself.

use http::Method;
use ipnet::IpNet;

use super::role::Role;
use super::time::Timestamp;
use super::user::UserId;

/// A machine's key. The secret exists only at the caller; the store holds a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Public identifier, part of the key's text and safe to log.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `Some` for a user key, which acts as that user and dies with it; `None` for a system key.
    pub owner: Option<UserId>,
    /// The most this key may do; a user key is further limited to its owner's current role.
    pub role: Role,
    /// Where and how it may be used.
    pub scope: KeyScope,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it: a user id, or `cli`.
    pub created_by: String,
    /// Ends then; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Last use, written at most once a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked, and by whom.
    pub revoked: Option<(Timestamp, String)>,
}

impl ApiKey {
    /// Whether the key may still be used.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// What a key may be used for; an empty list does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScope {
    /// Path patterns, as in rules.
    pub paths: Vec<String>,
    /// Request methods.
    pub methods: Vec<Method>,
    /// Client networks.
    pub networks: Vec<IpNet>,
    /// Whether its word counts on whose behalf it asks; system keys only.
    pub may_act_for_users: bool,
}

impl KeyScope {
    /// Whether it may be used for this method. HEAD is decided as GET. No method stands for a switch of protocol,
    /// after which anything may be sent: a key limited to some makes none.
    pub fn takes(&self, method: &Method, switches: bool) -> bool {
        let named = |method| self.methods.contains(method);
        let taken = || named(method) || (*method == Method::HEAD && named(&Method::GET));
        self.methods.is_empty() || (!switches && taken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_for_get_is_one_for_head_and_for_nothing_else() {
        let scope = |methods: &[Method]| KeyScope { methods: methods.to_vec(), ..KeyScope::default() };
        for (methods, taken) in [
            (&[][..], &[Method::GET, Method::HEAD, Method::POST][..]),
            (&[Method::GET], &[Method::GET, Method::HEAD]),
            (&[Method::POST], &[Method::POST]),
            (&[Method::HEAD], &[Method::HEAD]),
        ] {
            for method in [Method::GET, Method::HEAD, Method::POST] {
                let scope = scope(methods);
                assert_eq!(scope.takes(&method, false), taken.contains(&method), "{methods:?} {method}");
                assert_eq!(scope.takes(&method, true), methods.is_empty(), "{methods:?}, a switch");
            }
        }
    }
}
