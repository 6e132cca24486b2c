//! The rules of a route, checked for contradictions.

use ipnet::IpNet;

use crate::config::reading::{
    HostName, InvalidValue, ReferenceName, Section, SettingsReader, choice, section, text,
};
use crate::model::graphql::OperationType;
use crate::model::mcp::CALL;
use crate::model::query::QueryParameter;
use crate::policy::Conditions;
use crate::policy::Enforce;
use crate::policy::GraphqlMatch;
use crate::policy::GrpcPattern;
use crate::policy::McpMatch;
use crate::policy::McpMethod;
use crate::policy::MethodMatch;
use crate::policy::PathPattern;
use crate::policy::Rule;
use crate::policy::Selects;
use crate::policy::Who;

section! {
    /// One rule. Every condition it has must fit; a rule without conditions fits every request.
    WrittenRule {
        /// Unique within the route, for logs and explanations. By default `rule-1`, `rule-2` and so on.
        name: Option<ReferenceName>, r#""reads""#;
        /// Hosts, without port.
        host or hosts: Vec<HostName> = "[]", r#"["app.example.com"]"#;
        /// Path prefixes by segment (`/api`), or patterns: `*` within a segment, `**` across segments. They
        /// begin at the root, not at the route's path.
        path or paths: Vec<PathPattern> = "[]", r#"["/v1/users", "/api/**/edit"]"#;
        /// `read` (GET, HEAD, OPTIONS), `write` (all others), `websocket`, or names such as `POST`. HEAD is
        /// decided as GET. `websocket` is every switch of protocol (`Upgrade`). A switch is a `write` too, and never
        /// a `read` or a method by name; and where the rule that allows it does not say `websocket`, it is allowed
        /// only to those who may read there as well.
        methods: Vec<MethodMatch> = "[]", r#"["POST", "PUT"]"#;
        /// Parameters of the URL with their values, `name=value`, of which one must stand there. Where programs could
        /// read the query in several ways (two of one name, another letter case, escapes, `;`), the rules after
        /// this one count as well, and the strictest answer wins. Forms in bodies are not looked at.
        query: Vec<QueryParameter> = "[]", r#"["service=git-receive-pack"]"#;
        /// GraphQL operations. What cannot be understood counts as a mutation.
        graphql: Vec<OperationType> = "[]", r#""query""#;
        /// GraphQL root fields: every field asked for must be one of these. It is for letting in: what asks for
        /// another field beside goes on to the next rule. Needs `graphql`.
        fields: Vec<FieldName> = "[]", r#"["projects", "viewer"]"#;
        /// GraphQL root fields: one that is asked for must be one of these, whatever else stands in the document or
        /// batch. It is for keeping back: what could not be read may ask for one, and unless all that is asked for
        /// is among these, the rules after this one count as well and the strictest answer wins. A rule for a
        /// type of operations speaks for stricter ones as well, as a batch may hold both. Needs `graphql`, and goes
        /// without `fields` and `mentions`.
        any_field: Vec<FieldName> = "[]", r#"["deleteUser", "rotateKeys"]"#;
        /// The same for names anywhere in the documents: fields at every depth, and types in conditions of
        /// fragments (`... on Secret`), used or not. The rules after it always count as well.
        mentions: Vec<FieldName> = "[]", r#"["secrets", "Secret"]"#;
        /// Messages of the Model Context Protocol, by their JSON-RPC method: `read` (what lists and reads), `write` (all
        /// others, known or not, and what cannot be understood), `response` (answers to the server), names such as
        /// `tools/call`, or `tasks/*`. They are those of `POST`; `GET` and `DELETE` of such a server carry none and are
        /// for rules with `methods`. Each message of a batch is decided, and the strictest answer wins.
        mcp: Vec<McpMethod> = "[]", r#""read""#;
        /// Names of tools: the one that is called must be one of these. Needs `mcp`.
        tools: Vec<ToolName> = "[]", r#"["search", "fetch"]"#;
        /// gRPC methods, `package.Service/Method` or `package.Service/*`. They are told by the path alone, whatever
        /// the method and the media type.
        grpc: Vec<GrpcPattern> = "[]", r#"["grpc.health.v1.Health/*"]"#;
        /// Addresses or networks of clients. A client whose address cannot be read is in none of them; where the rule
        /// refuses, it is refused as well.
        networks: Vec<IpNet> = "[]", r#"["10.0.0.0/8"]"#;
        /// Who is let through: `anyone`, `signed-in`, a role (`admin`, `member` and `viewer` include the ones
        /// below, `agent` stands alone), `group:NAME`, `user:NAME`, `key:NAME`, `provider:ID`.
        allow: Vec<Who> = "[]", r#"["member", "group:data"]"#;
        /// Who is refused, whatever `allow` says; the same words. A rule with `deny` alone leaves everyone
        /// else to the rules after it.
        deny: Vec<Who> = "[]", r#""group:guests""#;
        /// `on`, `log` or `off` for requests on which this rule decides, instead of the route's `enforce`.
        enforce: Option<Enforce>, r#""on""#;
    }
}

/// The rule, which counts only if no problem was noted.
pub(in crate::config) fn rule(
    written: &WrittenRule,
    index: usize,
    enforce: Enforce,
    reader: &mut SettingsReader,
) -> Rule {
    let broken = reader.is_broken(&written.at("allow")) || reader.is_broken(&written.at("deny"));
    if written.allow.is_empty() && written.deny.is_empty() && !broken {
        let what = "allows and denies no one";
        reader.problem(
            written.location(),
            what,
            "add for example `allow = \"viewer\"` or `deny = \"anyone\"`",
        );
    }
    let mcp = mcp(written, reader);
    let selects = selects(written, reader);
    let graphql =
        (!written.graphql.is_empty()).then(|| GraphqlMatch { kinds: written.graphql.clone(), selects });
    Rule {
        name: written.name.as_ref().map_or_else(|| format!("rule-{}", index + 1), |name| name.0.clone()),
        when: Conditions {
            hosts: written.host.iter().map(|host| host.0.clone()).collect(),
            paths: written.path.clone(),
            methods: written.methods.clone(),
            query: written.query.clone(),
            graphql,
            mcp,
            grpc: written.grpc.clone(),
            networks: written.networks.clone(),
        },
        deny: written.deny.clone(),
        allow: written.allow.clone(),
        enforce: written.enforce.unwrap_or(enforce),
    }
}

fn mcp(written: &WrittenRule, reader: &mut SettingsReader) -> Option<McpMatch> {
    if written.mcp.is_empty() {
        if !written.tools.is_empty() && !reader.is_broken(&written.at("mcp")) {
            let what = "are tools of the Model Context Protocol, but the rule has no `mcp`";
            reader.problem(&written.at("tools"), what, "add `mcp = \"tools/call\"`");
        }
        return None;
    }
    let calls = McpMethod::Named(CALL.to_owned());
    if !written.tools.is_empty()
        && !written.mcp.iter().any(|method| *method == McpMethod::Write || *method == calls)
    {
        let what = "never fit: none of the messages in `mcp` calls a tool";
        reader.problem(&written.at("tools"), what, "write `mcp = \"tools/call\"`");
    }
    if !written.graphql.is_empty() {
        let what =
            "never fits: no body is an operation of GraphQL and a message of the Model Context Protocol";
        reader.problem(&written.at("mcp"), what, "make a rule of each");
    }
    let tools = written.tools.iter().map(|tool| tool.0.clone()).collect();
    Some(McpMatch { methods: written.mcp.clone(), tools })
}

fn selects(written: &WrittenRule, reader: &mut SettingsReader) -> Selects {
    let said = [
        ("fields", &written.fields, Selects::Every as fn(Vec<String>) -> Selects),
        ("any_field", &written.any_field, Selects::Any),
        ("mentions", &written.mentions, Selects::Mentions),
    ];
    let mut said = said.into_iter().filter(|(_, fields, _)| !fields.is_empty());
    let Some((name, fields, make)) = said.next() else { return Selects::Anything };
    if let Some((other, ..)) = said.next() {
        let what = format!("stands beside `{name}`, and a rule can have only one of them");
        reader.problem(&written.at(other), what, "put one of them into a rule of its own");
    }
    if written.graphql.is_empty() && !reader.is_broken(&written.at("graphql")) {
        reader.problem(
            &written.at(name),
            "has names of GraphQL, but the rule has no `graphql`",
            "add for example `graphql = \"query\"`",
        );
    }
    make(fields.iter().map(|field| field.0.clone()).collect())
}

/// A root field of GraphQL.
#[derive(Clone, Debug)]
pub(in crate::config) struct FieldName(pub(in crate::config) String);

/// The name of a tool of the Model Context Protocol.
#[derive(Clone, Debug)]
pub(in crate::config) struct ToolName(pub(in crate::config) String);

choice! {
    Enforce { "on" => Self::On, "log" => Self::Log, "off" => Self::Off }
    OperationType { "query" => Self::Query, "mutation" => Self::Mutation, "subscription" => Self::Subscription }
}

text! {
    MethodMatch, "\"read\", \"write\", \"websocket\" or a method such as \"POST\"", |text| {
        Self::parse(text).map_err(InvalidValue::from)
    };
    McpMethod, "a method such as \"tools/call\", read, write or response", |text| Self::parse(text).map_err(InvalidValue::from);
    QueryParameter, "a parameter such as \"service=git-receive-pack\"", |text| Self::parse(text).map_err(InvalidValue::from);
    ToolName, "the name of a tool", |text| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain { Ok(Self(text.to_owned())) } else { Err("is not a tool name: write visible characters without blanks".into()) }
    };
    GrpcPattern, "a gRPC method such as \"package.Service/Method\"", |text| Self::parse(text).map_err(InvalidValue::from);
    Who, "a role, \"anyone\", \"signed-in\", \"group:NAME\", \"user:NAME\", \"key:NAME\" or \"provider:ID\"", |text| {
        Self::parse(text).map_err(InvalidValue::from)
    };
    FieldName, "the name of a GraphQL field", |text| {
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a GraphQL name: write letters, digits and _ only".into())
    };
}
