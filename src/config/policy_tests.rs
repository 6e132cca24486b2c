//! `[[tests]]`: claims about the rules, read but not yet checked.

use std::net::IpAddr;

use http::Method;
use http::uri::PathAndQuery;

use super::problem::Place;
use super::reader::Reader;
use super::section::Section;
use super::settings::{Test, TestCaller};
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::target::RequestKind;
use crate::model::user::UserId;

/// One claim about the rules.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// Its TOML path.
    pub path: String,
    /// Where it was written.
    pub place: Place,
    /// Who asks; `None` is nobody.
    pub caller: Option<Principal>,
    /// Method.
    pub method: Method,
    /// Path and query, as a client would send them.
    pub target: PathAndQuery,
    /// Host, if not the public URL's.
    pub host: Option<String>,
    /// Address of the client.
    pub client: IpAddr,
    /// What the request asks for.
    pub kind: RequestKind,
    /// The GraphQL document in its body.
    pub graphql: Option<String>,
    /// What the rules must come to.
    pub expect: Expect,
    /// The rule that must decide.
    pub rule: Option<String>,
}

/// What the rules must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The request is let through.
    Allow,
    /// It is refused, for whatever reason.
    Deny,
    /// It is refused because nobody is signed in.
    SignIn,
}

impl Expect {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::SignIn => "sign-in",
        }
    }
}

impl PolicyTest {
    /// The request and who makes it, in a few words.
    pub fn subject(&self) -> String {
        let who = self.caller.as_ref().map_or_else(
            || "nobody".to_owned(),
            |caller| match &caller.kind {
                PrincipalKind::SystemKey { .. } => format!("key:{}", caller.name),
                _ if caller.name.is_empty() => caller.role.to_string(),
                _ => format!("{} ({})", caller.name, caller.role),
            },
        );
        format!("{} {} by {who}", self.method, self.target)
    }
}

pub(super) fn policy_tests(written: Vec<Test>, reader: &Reader) -> Vec<PolicyTest> {
    written.into_iter().filter_map(|test| policy_test(test, reader)).collect()
}

/// `None` where a problem was noted.
fn policy_test(test: Test, reader: &Reader) -> Option<PolicyTest> {
    let place = reader.place(test.place());
    let path = test.place().to_owned();
    let request = test.request.0?;
    let caller = match test.caller {
        Some(caller) => Some(principal(caller)?),
        None => None,
    };
    Some(PolicyTest {
        path,
        place,
        caller,
        method: request.0,
        target: request.1,
        host: test.host.map(|host| host.0),
        client: test.client,
        kind: test.kind,
        graphql: test.graphql.map(|document| document.0),
        expect: test.expect.0?,
        rule: test.rule.map(|rule| rule.0),
    })
}

fn principal(caller: TestCaller) -> Option<Principal> {
    let (kind, name) = match (caller.key, caller.user) {
        (Some(key), _) => (PrincipalKind::SystemKey { key: key.0.clone() }, key.0),
        (None, Some(user)) => (PrincipalKind::User(UserId(user.0.clone())), user.0),
        (None, None) => (PrincipalKind::User(UserId(String::new())), String::new()),
    };
    let mut groups: Vec<String> = caller.group.into_iter().map(|group| group.0).collect();
    groups.sort();
    groups.dedup();
    let provider = caller.provider.0;
    Some(Principal { groups, provider, ..Principal::example(kind, &name, caller.role.0?) })
}
