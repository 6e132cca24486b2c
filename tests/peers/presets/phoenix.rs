//! Phoenix's own routes, GraphQL operations and permissions beside those of its preset.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use super::surface::{requests, surface};
use super::walk;
use crate::phoenix::Phoenix;
use crate::support::{python, repository};

#[tokio::test]
async fn phoenix_has_the_routes_and_operations_of_its_page_and_the_preset_is_nowhere_laxer() {
    let asked = tokio::task::spawn_blocking(|| surface(&python(), "phoenix_surface.py"));
    let (surface, app) = tokio::join!(asked, Phoenix::shared());
    let surface = surface.unwrap();
    let everybody: BTreeSet<String> = ["admin", "member", "viewer"].map(str::to_owned).into();
    for answer in &surface.answers {
        let demands = if answer.demands.contains("anyone") { &everybody } else { &answer.demands };
        assert_eq!(&answer.seen, demands, "Phoenix lets others in than it says: {answer:?}");
    }
    let requests = requests("phoenix.md", &surface.answers);
    assert_eq!(hidden(), surface.ways, "the names that lead to fields with permissions of their own");
    walk::walk("phoenix", app.address(), &requests).await;
}

/// What no document of others than admins may mention.
fn hidden() -> BTreeSet<String> {
    let preset = std::fs::read_to_string(repository("presets/phoenix.toml")).unwrap();
    let list = preset.split_once("\nmentions = [").expect("a rule that mentions names").1;
    let list = list.split_once(']').unwrap().0;
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

#[tokio::test]
async fn secrets_of_phoenix_are_for_admins_by_whatever_way() {
    let app = Phoenix::shared().await;
    let gateway = super::gateway("phoenix", app.address(), "").await;
    let [admin, member, viewer] = ["admin", "member", "viewer"].map(|role| gateway.key(role, role, &[]).key);
    let ask = async |key: &str, document: &str| {
        let body = json!({ "query": document }).to_string();
        gateway.post(Method::POST, "/graphql", key, &[("content-type", "application/json")], body).await
    };
    let set = |value: &str| {
        let secret = format!("{{key: \"KEPT\", value: \"{value}\"}}");
        format!("mutation {{ upsertOrDeleteSecrets(input: {{secrets: [{secret}]}}) {{ __typename }} }}")
    };
    let made = ask(&admin, &set("of-an-admin")).await;
    assert!(made.refusal().is_none() && made.json().get("errors").is_none(), "{made:?}");

    let value = "value { ... on DecryptedSecret { value } }";
    let node = "node(id: \"U2VjcmV0OktFUFQ=\")"; // Secret:KEPT
    let ways = [
        format!("{{ secrets {{ edges {{ node {{ key {value} }} }} }} }}"),
        format!("{{ {node} {{ ... on Secret {{ key {value} }} }} }}"),
        format!("query Q {{ n: {node} {{ ...F }} }} fragment F on Secret {{ key {value} }}"),
        format!(
            "mutation {{ deleteTraces(traceIds: []) {{ secrets {{ edges {{ node {{ key {value} }} }} }} }} }}"
        ),
    ];
    for document in ways {
        for key in [&viewer, &member] {
            let refused = ask(key, &document).await;
            assert_eq!(refused.refusal(), Some(403), "{document}: {refused:?}");
        }
        // Phoenix itself has nothing against it.
        let shown = ask(&admin, &document).await;
        assert!(shown.refusal().is_none(), "{document}: {shown:?}");
        assert!(document.starts_with("mutation") || shown.body.contains("KEPT"), "{document}: {shown:?}");
    }
    for key in [&viewer, &member] {
        let refused = ask(key, &set("of-somebody-else")).await;
        assert_eq!(refused.refusal(), Some(403), "{refused:?}");
    }
    // What the pages ask of nodes is asked as before.
    let project = ask(&viewer, "{ node(id: \"UHJvamVjdDox\") { ... on Project { name } } }").await;
    assert!(project.refusal().is_none() && project.body.contains("default"), "{project:?}");
}
