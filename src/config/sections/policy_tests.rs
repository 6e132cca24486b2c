//! `[[tests]]`: expectations about the rules, read but not yet checked.

use http::Method;
use http::uri::PathAndQuery;

use crate::config::reading::{
    HostName, InvalidValue, ReferenceName, Required, Section, SettingLocation, SettingsReader, choice,
    section, text,
};
use crate::model::principal::{ClientAddress, IdentitySource, Principal, PrincipalKind};
use crate::model::role::Role;
use crate::model::target;
use crate::model::target::RequestKind;
use crate::model::user;
use crate::model::user::UserId;

section! {
    /// One claim about the rules, checked whenever the settings are read and by `doorward test`. It is about what
    /// the rules say: `enforce` changes nothing.
    Test {
        /// The caller. Without it, an anonymous one.
        caller or as: Option<TestCaller>, r#"{ role = "viewer" }"#;
        /// Method and path, perhaps with a query.
        request: Required<RequestLine>, r#""POST /v1/datasets/upload""#;
        /// Which host is asked for. By default that of `public_url`.
        host: Option<HostName>, r#""app.example.com""#;
        /// Address of the client; `unknown` where no trusted proxy says it in a way that can be read.
        client: ClientAddress = r#""127.0.0.1""#, r#""10.1.2.3""#;
        /// What the request asks for: `plain`, `websocket` (any switch of protocol) or `grpc`. Rules tell a gRPC call
        /// by its path alone, so `grpc` is decided as `plain`.
        kind: RequestKind = r#""plain""#, r#""websocket""#;
        /// The GraphQL document in its body.
        graphql: Option<GraphqlText>, r#""mutation { deleteProject(id: 1) { id } }""#;
        /// The message of the Model Context Protocol in its body: a method, and after a blank the tool that it calls.
        mcp: Option<McpMessage>, r#""tools/call search""#;
        /// The second place, of `COPY` and `MOVE`: what stands in `Destination`.
        destination: Option<SecondPlace>, r#""/archive/report.pdf""#;
        /// `allow`, `deny`, or `sign-in` for a refusal that signing in may help against.
        expect: Required<Expect>, r#""deny""#;
        /// The rule that must decide.
        rule: Option<ReferenceName>, r#""writes""#;
    }
}

section! {
    /// Who asks in a test.
    TestCaller {
        /// `admin`, `member`, `viewer` or `agent`.
        role: Required<Role>, r#""viewer""#;
        /// Username.
        user: Option<ReferenceName>, r#""alice""#;
        /// Groups.
        group or groups: Vec<GroupName> = "[]", r#"["data"]"#;
        /// Name of a system key that is used, instead of a session.
        key: Option<ReferenceName>, r#""ingest""#;
        /// Which provider vouches for the caller: `local` for users and keys of the gateway.
        provider: ReferenceName = r#""local""#, r#""okta""#;
    }
}

/// One claim about the rules.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// Its TOML path.
    pub path: String,
    /// Where it was written.
    pub location: SettingLocation,
    /// The caller; `None` is anonymous.
    pub caller: Option<Principal>,
    /// Method.
    pub method: Method,
    /// Path and query, as a client would send them.
    pub target: PathAndQuery,
    /// Host, if not the public URL's.
    pub host: Option<String>,
    /// Where the client is.
    pub client: ClientAddress,
    /// What the request asks for.
    pub kind: RequestKind,
    /// The GraphQL document in its body.
    pub graphql: Option<String>,
    /// The message of the Model Context Protocol in its body: a method, and after a blank a tool.
    pub mcp: Option<String>,
    /// What stands in `Destination`.
    pub destination: Option<String>,
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
    /// It is refused because the caller is anonymous.
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

pub(in crate::config) fn policy_tests(written: Vec<Test>, reader: &SettingsReader) -> Vec<PolicyTest> {
    written.into_iter().filter_map(|test| policy_test(test, reader)).collect()
}

/// `None` where a problem was noted.
fn policy_test(test: Test, reader: &SettingsReader) -> Option<PolicyTest> {
    let location = reader.location(test.location());
    let path = test.location().to_owned();
    let request = test.request.0?;
    let caller = match test.caller {
        Some(caller) => Some(principal(caller)?),
        None => None,
    };
    Some(PolicyTest {
        path,
        location,
        caller,
        method: request.0,
        target: request.1,
        host: test.host.map(|host| host.0),
        client: test.client,
        kind: test.kind,
        graphql: test.graphql.map(|document| document.0),
        mcp: test.mcp.map(|message| message.0),
        destination: test.destination.map(|location| location.0),
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
    let source = IdentitySource::named(&caller.provider.0);
    Some(Principal { groups, source, ..Principal::example(kind, &name, caller.role.0?) })
}

/// A method and a path.
#[derive(Clone, Debug)]
pub(in crate::config) struct RequestLine(pub(in crate::config) Method, pub(in crate::config) PathAndQuery);

/// A GraphQL document; what cannot be parsed counts as a mutation, as it would in a request.
#[derive(Clone, Debug)]
pub(in crate::config) struct GraphqlText(pub(in crate::config) String);

/// What stands in `Destination`; one that cannot be read is refused, as it would be in a request.
#[derive(Clone, Debug)]
pub(in crate::config) struct SecondPlace(pub(in crate::config) String);

/// A group, as users are in one.
#[derive(Clone, Debug)]
pub(in crate::config) struct GroupName(pub(in crate::config) String);

/// A message of the Model Context Protocol: a method, and after a blank the tool that it calls.
#[derive(Clone, Debug)]
pub(in crate::config) struct McpMessage(pub(in crate::config) String);

choice! {
    Role {
        "admin" => Self::Admin,
        "member" => Self::Member,
        "viewer" => Self::Viewer,
        "agent" => Self::Agent,
    }
    RequestKind { "plain" => Self::Plain, "websocket" => Self::WebSocket, "grpc" => Self::Grpc }
    Expect { "allow" => Self::Allow, "deny" => Self::Deny, "sign-in" => Self::SignIn }
}

text! {
    GroupName, "a group", |text| match user::check_group(text) {
        Ok(()) => Ok(Self(text.to_owned())),
        Err(bad) => Err(bad.to_string().into()),
    };
    McpMessage, "a method and perhaps a tool, such as \"tools/call search\"", |text| {
        let mut words = text.split(' ');
        if words.clone().count() <= 2 && words.all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a message: write a method, and after a blank the tool that it calls, such as \"tools/call search\"".into())
    };
    RequestLine, "a method and a path such as \"GET /v1/projects\"", |text| {
        target::request_line(text).map(|(method, path)| Self(method, path)).map_err(InvalidValue::from)
    };
    GraphqlText, "a GraphQL document", |text| Ok(Self(text.to_owned()));
    ClientAddress, "an address such as \"10.1.2.3\", or unknown",
        |text| text.parse().map_err(|_| "is not an address: write one such as \"10.1.2.3\", or unknown".into());
    SecondPlace, "an absolute path, or an address of this gateway", |text| Ok(Self(text.to_owned()));
}
