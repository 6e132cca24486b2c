//! The rules of the gateway, and what they mean, said a second time.

use std::net::IpAddr;

use doorward::model::role::Role;

use super::readers::{Action, Operation};

/// The rules that [`allowed`] knows.
pub const ROUTES: &str = r#"
[[routes]]
upstream = "app"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "private", path = "/private", allow = "admin" },
  { name = "calls", grpc = "pkg.Svc/Write", allow = "admin" },
  { name = "live", path = "/live", methods = "read", allow = "viewer" },
  { name = "live-rest", path = "/live", allow = "admin" },
  { name = "reports", path = "/report", methods = ["GET", "PURGE"], allow = "admin" },
  { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
  { name = "changes", path = "/graphql", allow = "admin" },
  { name = "sockets", methods = "websocket", allow = "admin" },
  { name = "office", path = "/office", networks = ["10.0.0.0/8", "127.0.0.0/8"], methods = "read", allow = "viewer" },
  { name = "elsewhere", path = "/office", allow = "admin" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", allow = "member" },
]
"#;

/// Whether a viewer, or a member, may have this done from here; `None` is an address that nobody knows.
pub fn allowed(action: &Action, client: Option<IpAddr>, role: Role) -> bool {
    let below = |prefix: &str| {
        action.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let reads = matches!(action.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if below("/public") {
        return true;
    }
    if below("/private") || action.path == "/pkg.svc/write" || action.switches {
        return false;
    }
    if below("/live") {
        return reads;
    }
    if below("/report") && matches!(action.method.as_str(), "GET" | "HEAD" | "PURGE") {
        return false;
    }
    if below("/graphql") {
        return action.operation == Operation::Query || (action.operation == Operation::Nothing && reads);
    }
    if below("/office") {
        return reads
            && matches!(client, Some(IpAddr::V4(address)) if [10, 127].contains(&address.octets()[0]));
    }
    reads || role == Role::Member
}
