//! `doorward refused`: what would be refused if the rules were enforced.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::TextTable;
use super::services::CommandServices;
use super::span;
use crate::config::Config;
use crate::gate::refusal::PassSetting;
use crate::model::refused::Tally;
use crate::model::refused::{
    AS_PASSWORD, BESIDE_FOREIGN, BESIDE_SESSION, MANGLED, RESEMBLES_GRAPHQL, RefusedBy,
};
use crate::model::time::Timestamp;
use crate::model::verdict::Code;

/// Clients that are named in one row.
const NAMED: usize = 3;

/// What `refused` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only what happened again within this span, such as 10m or 7d
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    since: Option<Duration>,
    /// Only on this route
    #[arg(long)]
    route: Option<String>,
    /// Forget everything that was counted
    #[arg(long, conflicts_with_all = ["since", "route"])]
    clear: bool,
}

pub(super) async fn run(arguments: Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    let services = CommandServices::open(common).await?;
    if arguments.clear {
        let forgotten = services.refused.clear(&services.by).await?;
        return output.show(&json!({ "forgotten": forgotten }), &format!("{forgotten} forgotten"));
    }
    let since = arguments.since.map_or(Timestamp(0), |span| {
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp(services.clock.now().0.saturating_sub(span))
    });
    let mut counted = services.refused.list(&services.by, since).await?;
    counted.retain(|(by, _)| arguments.route.as_ref().is_none_or(|route| *route == by.route));
    let (graphql, refused): (Vec<_>, Vec<_>) =
        counted.into_iter().partition(|(by, _)| by.code == RESEMBLES_GRAPHQL);
    let values = |counted: &[(RefusedBy, Tally)]| -> Vec<Value> {
        counted.iter().map(|(by, tally)| value(by, tally, &services.config)).collect()
    };
    let value = json!({ "refused": values(&refused), "graphql": values(&graphql) });
    let mut said = advice(&refused, &services.config);
    said.insert(0, table(refused).to_text());
    said.extend(sightings(&graphql));
    output.show(&value, &said.join("\n\n"))
}

/// Where requests look like GraphQL, and what to do about it.
fn sightings(seen: &[(RefusedBy, Tally)]) -> Vec<String> {
    let mut paths: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (by, tally) in seen {
        let clients = paths.entry((&by.route, &tally.example)).or_default();
        if !clients.contains(&by.client) {
            clients.push(by.client.clone());
        }
    }
    let sentence = |((route, path), mut clients): ((&str, &str), Vec<String>)| {
        let more = clients.len().saturating_sub(NAMED);
        clients.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!(
            "Route {route}: {path} looks like an endpoint of GraphQL (asked by {}{more}), and no rule of the route tells \
             queries from changes: a POST that only reads counts as a write, and whoever may POST may change. Write rules \
             with `graphql`, or, on a route without rules, `graphql = [\"{path}\"]`.",
            clients.join(", ")
        );
        text.replace(char::is_control, "?")
    };
    paths.into_iter().map(sentence).collect()
}

/// What can be done about a credential that does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Advice {
    /// It is another system's, and nothing else was presented.
    Foreign(Option<PassSetting>),
    /// It stands beside a session.
    BesideSession(Option<PassSetting>),
    /// One that counts is a password of HTTP Basic.
    AsPassword,
    /// One that counts is in a form that is taken nowhere.
    Mangled,
    /// One that counts stands beside another system's.
    BesideForeign(Option<PassSetting>),
}

impl Advice {
    fn of(by: &RefusedBy, config: &Config) -> Option<Self> {
        let foreign = match Code::named(&by.code) {
            Some(Code::InvalidToken | Code::UnsupportedScheme) => Some(PassSetting::Authorization),
            // A password of HTTP Basic, or a key of ours that is wrong.
            Some(Code::InvalidKey) if [BESIDE_SESSION, BESIDE_FOREIGN].contains(&&*by.credential) => {
                Some(PassSetting::Authorization)
            }
            Some(Code::ForeignKey) => Some(PassSetting::ApiKey),
            _ => None,
        };
        let route = config.routes.iter().find(|route| route.name == by.route);
        let is_filled = route.is_some_and(|route| config.identity_on(route).fills_authorization());
        let setting = foreign.filter(|setting| *setting != PassSetting::Authorization || !is_filled);
        match by.credential.as_str() {
            AS_PASSWORD => Some(Self::AsPassword),
            MANGLED => Some(Self::Mangled),
            _ if foreign.is_none() => None,
            BESIDE_FOREIGN => Some(Self::BesideForeign(setting)),
            BESIDE_SESSION => Some(Self::BesideSession(setting)),
            _ => Some(Self::Foreign(setting)),
        }
    }

    /// The setting by which it would pass.
    fn setting(self) -> Option<&'static str> {
        match self {
            Self::Foreign(setting) | Self::BesideSession(setting) | Self::BesideForeign(setting) => {
                setting.map(PassSetting::as_str)
            }
            Self::AsPassword => Some("basic"),
            Self::Mangled => None,
        }
    }

    /// What was brought, and what to do.
    fn words(self) -> (&'static str, String) {
        let filled =
            "no setting leaves it to the application, whose `Authorization` the gateway fills itself";
        match self {
            Self::Foreign(setting) => (
                "nothing but a credential that is not this gateway's",
                format!(
                    "hand out keys, or import theirs (`keys.imported`). {}",
                    match setting {
                        Some(setting) => format!(
                            "For those who sign in here and to the application as well, write `{setting} = true` for \
                             the route."
                        ),
                        None => format!("For those who sign in to the application as well, {filled}."),
                    }
                ),
            ),
            Self::BesideSession(setting) => (
                "a credential that is not this gateway's beside a session of it (or a cookie that claims to be one), which \
                 does not count then. Most likely that is the application's own login",
                match setting {
                    Some(setting) => {
                        format!("write `{setting} = true` for the route, and it is the application's.")
                    }
                    None => format!("{filled}: switch that login off."),
                },
            ),
            Self::AsPassword => (
                "a key that counts here as the password of HTTP Basic",
                "write `basic = true` for the route, or have the key sent as `Authorization: Bearer KEY`."
                    .to_owned(),
            ),
            Self::Mangled => (
                "a key that counts here in a form that does not",
                "have the key sent as `Authorization: Bearer KEY`, or alone in a header of `key_headers`."
                    .to_owned(),
            ),
            Self::BesideForeign(setting) => (
                "a key that counts here beside a credential that is not this gateway's",
                match setting {
                    Some(setting) => {
                        format!("write `{setting} = true` for the route, and the other is the application's.")
                    }
                    None => format!("{filled}: have the key sent alone."),
                },
            ),
        }
    }
}

/// What to do about credentials that do not count, for each route.
fn advice(counted: &[(RefusedBy, Tally)], config: &Config) -> Vec<String> {
    let mut groups: BTreeMap<(&str, Advice), u64> = BTreeMap::new();
    for (by, tally) in counted {
        if let Some(advice) = Advice::of(by, config) {
            *groups.entry((&by.route, advice)).or_default() += tally.count;
        }
    }
    let sentence = |((route, advice), count): ((&str, Advice), u64)| {
        let route = route.replace(char::is_control, "?");
        let times = if count == 1 { "1 request".to_owned() } else { format!("{count} requests") };
        let (what, remedy) = advice.words();
        format!(
            "Route {route}: {times} brought {what}. Once rules are enforced it is refused with 401: {remedy}"
        )
    };
    groups.into_iter().map(sentence).collect()
}

/// A row for each route, rule, reason, credential and method, with the clients it was seen from.
fn table(counted: Vec<(RefusedBy, Tally)>) -> TextTable {
    let mut table = TextTable::new(
        &["ROUTE", "RULE", "WHY", "CREDENTIAL", "METHOD", "COUNT", "LAST", "EXAMPLE", "CLIENTS"],
        "nothing would be refused",
    );
    let mut groups: BTreeMap<[String; 5], Vec<(RefusedBy, Tally)>> = BTreeMap::new();
    for (by, tally) in counted {
        let common = [&by.route, &by.rule, &by.code, &by.credential, &by.method].map(Clone::clone);
        groups.entry(common).or_default().push((by, tally));
    }
    let total = |group: &Vec<(RefusedBy, Tally)>| group.iter().map(|(_, tally)| tally.count).sum::<u64>();
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(total(group)));
    for ([route, rule, why, credential, method], group) in groups {
        let Some((_, last)) = group.iter().max_by_key(|(_, tally)| tally.last_at) else { continue };
        let mut clients: Vec<String> = group.iter().take(NAMED).map(|(by, _)| client(by)).collect();
        if group.len() > NAMED {
            clients.push(format!("and {} more", group.len() - NAMED));
        }
        table.row(vec![
            route,
            if rule.is_empty() { "-".to_owned() } else { rule },
            why,
            credential,
            method,
            total(&group).to_string(),
            last.last_at.rfc3339(),
            last.example.clone(),
            clients.join(", "),
        ]);
    }
    table
}

fn client(by: &RefusedBy) -> String {
    if by.agent.is_empty() { by.client.clone() } else { format!("{} ({})", by.client, by.agent) }
}

fn value(by: &RefusedBy, tally: &Tally, config: &Config) -> Value {
    json!({
        "route": by.route,
        "rule": (!by.rule.is_empty()).then_some(&by.rule),
        "code": by.code,
        "credential": by.credential,
        "setting": Advice::of(by, config).and_then(Advice::setting),
        "client": by.client,
        "user_agent": by.agent,
        "method": by.method,
        "count": tally.count,
        "first_at": tally.first_at.rfc3339(),
        "last_at": tally.last_at.rfc3339(),
        "example": tally.example,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ConfigSource, Flags};

    #[test]
    fn what_would_help_is_said_and_no_setting_that_would_not() {
        let settings = "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n\
                        [[upstreams]]\nname = \"filled\"\nurl = \"http://127.0.0.1:9\"\ntoken = \"s3cr3t-of-the-gateway-0123456789\"\n\
                        [[routes]]\nname = \"plain\"\nupstream = \"app\"\n\
                        [[routes]]\nname = \"filled\"\nupstream = \"filled\"\npath = \"/filled\"\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), settings).unwrap();
        let source = ConfigSource { file: Some(file.path().to_owned()), environment: Vec::new() };
        let config = config::load(&source, &Flags::default()).unwrap();
        let leaves = "write `pass_authorization = true` for the route";
        for (route, credential, code, setting, said) in [
            ("plain", "nobody", "invalid-token", Some("pass_authorization"), leaves),
            ("filled", "nobody", "invalid-token", None, "fills itself"),
            ("filled", "nobody", "foreign-key", Some("pass_api_key"), "`pass_api_key = true`"),
            ("plain", BESIDE_SESSION, "invalid-key", Some("pass_authorization"), leaves),
            ("filled", BESIDE_SESSION, "invalid-key", None, "switch that login off"),
            ("plain", AS_PASSWORD, "unsupported-scheme", Some("basic"), "`basic = true`"),
            ("plain", MANGLED, "invalid-token", None, "have the key sent as"),
            ("plain", MANGLED, "invalid-key", None, "have the key sent as"),
            ("plain", BESIDE_FOREIGN, "invalid-token", Some("pass_authorization"), leaves),
            ("filled", BESIDE_FOREIGN, "invalid-token", None, "have the key sent alone"),
            ("plain", "nobody", "invalid-key", None, ""),
            ("plain", "nobody", "sign-in-required", None, ""),
        ] {
            let by = RefusedBy {
                route: route.into(),
                credential: credential.into(),
                code: code.into(),
                ..RefusedBy::default()
            };
            assert_eq!(
                Advice::of(&by, &config).and_then(Advice::setting),
                setting,
                "{route} {credential} {code}"
            );
            let all = advice(&[(by, Tally::once(Timestamp(0), "/".into()))], &config);
            assert_eq!(all.len(), usize::from(!said.is_empty()), "{all:?}");
            assert!(all.concat().contains(said), "{route} {credential} {code}: {all:?}");
            assert!(setting.is_some() || !all.concat().contains("= true"), "{all:?}");
        }
    }
}
