//! `doorward refused`: what would be refused if the rules were enforced.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::Table;
use super::services::Services;
use super::span;
use crate::model::refused::Tally;
use crate::model::refused::{BESIDE_SESSION, RESEMBLES_GRAPHQL, RefusedBy};
use crate::model::time::Timestamp;

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
    let services = Services::open(common).await?;
    if arguments.clear {
        let forgotten = services.refused.clear().await?;
        return output.show(&json!({ "forgotten": forgotten }), &format!("{forgotten} forgotten"));
    }
    let since = arguments.since.map_or(Timestamp(0), |span| {
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp(services.clock.now().0.saturating_sub(span))
    });
    let mut counted = services.refused.list(since).await?;
    counted.retain(|(by, _)| arguments.route.as_ref().is_none_or(|route| *route == by.route));
    let (graphql, refused): (Vec<_>, Vec<_>) =
        counted.into_iter().partition(|(by, _)| by.code == RESEMBLES_GRAPHQL);
    let values = |counted: &[(RefusedBy, Tally)]| -> Vec<Value> {
        counted.iter().map(|(by, tally)| value(by, tally)).collect()
    };
    let value = json!({ "refused": values(&refused), "graphql": values(&graphql) });
    let mut said = advice(&refused);
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

/// The setting by which it would be left to the application what a request presented.
fn setting(by: &RefusedBy) -> Option<&'static str> {
    match by.code.as_str() {
        "invalid-token" | "unsupported-scheme" => Some("pass_authorization"),
        // A password of HTTP Basic, or a key of ours that is wrong.
        "invalid-key" if by.credential == BESIDE_SESSION => Some("pass_authorization"),
        "foreign-key" => Some("pass_api_key"),
        _ => None,
    }
}

/// What to do about credentials that are not this gateway's, for each route.
fn advice(counted: &[(RefusedBy, Tally)]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
    for (by, tally) in counted {
        if let Some(setting) = setting(by) {
            let beside_session = by.credential == BESIDE_SESSION;
            *groups.entry((&by.route, setting, beside_session)).or_default() += tally.count;
        }
    }
    let sentence = |((route, setting, beside_session), count): ((&str, &str, bool), u64)| {
        let route = route.replace(char::is_control, "?");
        let times = if count == 1 { "1 request".to_owned() } else { format!("{count} requests") };
        if beside_session {
            format!(
                "Route {route}: {times} brought a credential that is not this gateway's beside a session of it, which does \
                 not count then. Most likely that is the application's own login. Once rules are enforced it is refused \
                 with 401: write `{setting} = true` for the route, and it is the application's."
            )
        } else {
            format!(
                "Route {route}: {times} brought nothing but a credential that is not this gateway's. Once rules are \
                 enforced it is refused with 401: hand out keys, or import theirs (`keys.imported`). For those who sign \
                 in here and to the application as well, write `{setting} = true` for the route."
            )
        }
    };
    groups.into_iter().map(sentence).collect()
}

/// A row for each route, rule, reason, credential and method, with the clients it was seen from.
fn table(counted: Vec<(RefusedBy, Tally)>) -> Table {
    let mut table = Table::new(
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

fn value(by: &RefusedBy, tally: &Tally) -> Value {
    json!({
        "route": by.route,
        "rule": (!by.rule.is_empty()).then_some(&by.rule),
        "code": by.code,
        "credential": by.credential,
        "setting": setting(by),
        "client": by.client,
        "user_agent": by.agent,
        "method": by.method,
        "count": tally.count,
        "first_at": tally.first_at.rfc3339(),
        "last_at": tally.last_at.rfc3339(),
        "example": tally.example,
    })
}
