//! `doorward key`: API keys.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use http::Method;
use ipnet::IpNet;
use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::TextTable;
use super::output::listed;
use super::services::CommandServices;
use super::span;
use crate::model::api_key::ApiKey;
use crate::model::api_key::KeyScope;
use crate::model::network;
use crate::model::role::Role;
use crate::model::time::Timestamp;
use crate::policy::PathPattern;
use crate::service::ServiceError;
use crate::service::api_keys::NewKey;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a key and print it, once
    #[command(after_help = "Examples:
  doorward key create ingest --role agent --path /v1/traces --method POST --network 10.0.0.0/8
  doorward key create notebook --role viewer --owner alice --expires 90d
  doorward key create grafana --role viewer --may-act-for-users")]
    Create(Create),
    /// List keys; never shows the keys themselves
    #[command(after_help = "Example:
  doorward key list --owner alice")]
    List {
        /// Only keys of this user: username or e-mail address
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
    },
    /// Revoke a key by its id
    #[command(after_help = "Example:
  doorward key revoke 0Qx3fGh7kLm2NpRs")]
    Revoke {
        /// The id, as `doorward key list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call the key
    #[arg(value_name = "NAME")]
    name: String,
    /// admin, member, viewer or, without an owner, agent
    #[arg(long)]
    role: Role,
    /// Make it a user's key, which can do no more than the user: username or e-mail address
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Only for this path, a pattern as in rules; may be repeated
    #[arg(long = "path", value_name = "PATH", value_parser = path)]
    paths: Vec<String>,
    /// Only for this method; may be repeated. No method stands for a WebSocket or another switch of protocol
    #[arg(long = "method", value_name = "METHOD", value_parser = method)]
    methods: Vec<Method>,
    /// Only from this network; may be repeated
    #[arg(long = "network", value_name = "NETWORK", value_parser = network::parse)]
    networks: Vec<IpNet>,
    /// Believe the key on whose behalf it asks, where an upstream has `attribution`; opens nothing more
    #[arg(long, conflicts_with = "owner")]
    may_act_for_users: bool,
    /// Ends after this: 90d, 12h [default: never]
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    expires: Option<Duration>,
}

pub(super) async fn run(command: Command, common: &Common, output: Output) -> Result<(), Failure> {
    let services = CommandServices::open(common).await?;
    match command {
        Command::Create(create) => issue(create, &services, output).await,
        Command::List { owner } => list(owner.as_deref(), &services, output).await,
        Command::Revoke { id } => {
            if !services.api_keys.revoke(&services.by, &id).await? {
                return Err(ServiceError::NotFound { what: "live key" }.into());
            }
            services.show_spread(output, json!({ "id": id }), &format!("Key {id} is revoked")).await
        }
    }
}

async fn issue(create: Create, services: &CommandServices, output: Output) -> Result<(), Failure> {
    let owner = match &create.owner {
        Some(name) => Some(services.user(name).await?),
        None => None,
    };
    let new = NewKey {
        name: create.name,
        owner: owner.as_ref().map(|user| user.id.clone()),
        role: create.role,
        scope: KeyScope {
            paths: create.paths,
            methods: create.methods,
            networks: create.networks,
            may_act_for_users: create.may_act_for_users,
        },
        expires_at: create.expires.map(|span| services.clock.now().after(span)),
    };
    let (text, key) = services.api_keys.issue(&services.by, new).await?;
    let value = json!({
        "id": key.id,
        "name": key.name,
        "role": key.role.as_str(),
        "owner": owner.map(|user| user.username),
        "expires_at": key.expires_at.map(Timestamp::rfc3339),
        "key": text.expose(),
    });
    output.show(&value, &format!("{}\nKept here only as a digest: it cannot be shown again.", text.expose()))
}

async fn list(owner: Option<&str>, services: &CommandServices, output: Output) -> Result<(), Failure> {
    let owner = match owner {
        Some(name) => Some(services.user(name).await?.id),
        None => None,
    };
    let keys = services.api_keys.list(&services.by, owner.as_ref()).await?;
    let users = services.accounts.list(&services.by).await?;
    let names: HashMap<&str, &str> =
        users.iter().map(|user| (user.id.0.as_str(), user.username.as_str())).collect();
    let owner_of = |key: &ApiKey| {
        key.owner.as_ref().map(|id| names.get(id.0.as_str()).map_or(id.0.clone(), |name| (*name).to_owned()))
    };
    let mut table = TextTable::new(
        &["ID", "NAME", "ROLE", "OWNER", "STATE", "PATHS", "METHODS", "NETWORKS", "LAST USED"],
        "there is no key",
    );
    let now = services.clock.now();
    for key in &keys {
        table.row(vec![
            key.id.clone(),
            key.name.clone(),
            key.role.to_string(),
            owner_of(key).unwrap_or_else(|| "-".to_owned()),
            state(key, now),
            listed(&key.scope.paths),
            listed(&key.scope.methods),
            listed(&key.scope.networks),
            key.last_used_at.map_or_else(|| "never".to_owned(), Timestamp::rfc3339),
        ]);
    }
    let values: Vec<Value> = keys.iter().map(|key| whole(key, owner_of(key).as_deref(), now)).collect();
    output.list("keys", &values, &table)
}

fn state(key: &ApiKey, now: Timestamp) -> String {
    match (&key.revoked, key.expires_at) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(_)) if !key.is_live(now) => "expired".to_owned(),
        (None, Some(end)) => format!("until {}", end.rfc3339()),
        (None, None) => "active".to_owned(),
    }
}

fn whole(key: &ApiKey, owner: Option<&str>, now: Timestamp) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role.as_str(),
        "owner": owner,
        "active": key.is_live(now),
        "paths": key.scope.paths,
        "methods": key.scope.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "networks": key.scope.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "may_act_for_users": key.scope.may_act_for_users,
        "created_at": key.created_at.rfc3339(),
        "created_by": key.created_by,
        "expires_at": key.expires_at.map(Timestamp::rfc3339),
        "last_used_at": key.last_used_at.map(Timestamp::rfc3339),
        "revoked_at": key.revoked.as_ref().map(|(at, _)| at.rfc3339()),
        "revoked_by": key.revoked.as_ref().map(|(_, by)| by),
    })
}

fn path(text: &str) -> Result<String, String> {
    PathPattern::parse(text).map(|pattern| pattern.as_str().to_owned())
}

fn method(text: &str) -> Result<Method, String> {
    let wrong = || "write a method in upper case, such as POST".to_owned();
    let upper = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if upper { Method::from_bytes(text.as_bytes()).map_err(|_| wrong()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_could_not_match_is_refused_when_typed() {
        assert_eq!(method("POST"), Ok(Method::POST));
        assert_eq!(path("/v1/*").as_deref(), Ok("/v1/*"));
        for wrong in ["", "post", "PO ST", "read"] {
            assert!(method(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "v1"] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }
}
