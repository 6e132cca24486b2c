//! What routes say for themselves, and what shipped rule sets come to in settings.

use super::*;
use crate::policy::shadowed;

const HEAD: &str = "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"\n";

fn route(more: &str) -> String {
    format!("[[routes]]\nupstream = \"app\"\n{more}\n")
}

#[test]
fn credentials_of_a_route_are_its_own_or_its_upstreams_or_those_for_all() {
    let config = good(&format!(
        "[keys]\nheaders = [\"X-Api-Key\", \"X-Token\"]\n{HEAD}pass_authorization = true\n{}{}{}",
        route("path = \"/a\""),
        route(
            "path = \"/b\"\npass_authorization = false\npass_api_key = true\nkey_headers = \"X-Hose\"\nbasic = true"
        ),
        route("path = \"/c\"\nkey_headers = []"),
    ));
    let seen: Vec<_> = config
        .routes
        .iter()
        .map(|route| &route.credentials)
        .map(|it| (it.key_headers.len(), it.pass_authorization, it.pass_api_key, it.basic))
        .collect();
    assert_eq!(seen, [(2, true, false, false), (1, false, true, true), (0, true, false, false)]);
    assert_eq!(config.key_headers(), ["x-api-key", "x-token", "x-hose"]);
}

#[test]
fn what_the_gateway_fills_itself_no_route_leaves_to_clients() {
    for (own, named) in [
        ("token = \"quiet-herons\"", "upstream `app`"),
        ("basic = { username = \"a\", password = \"quiet herons\" }", "upstream `app`"),
        (
            "bearer = { algorithm = \"hs256\", key = \"Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=\" }",
            "upstream `app`",
        ),
    ] {
        let settings = format!("{HEAD}{own}\n{}", route("pass_authorization = true"));
        let problems = bad(&settings);
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(problem.path, "routes[0].pass_authorization");
        assert!(problem.remedy.contains(named), "{problem:?}");
        good(&settings.replace("pass_authorization = true", "pass_authorization = false"));
    }
}

#[test]
fn no_rule_of_a_preset_and_no_word_of_one_is_dead() {
    for preset in Preset::ALL {
        let name = preset.as_str();
        let file = preset.file(&mut sections::presets::reader());
        let relied =
            file.reliances.iter().map(|it| format!("relies_on = \"{}\"", it.name.0.as_ref().unwrap().0));
        for more in relied.chain([String::new()]) {
            for path in ["/", "/app"] {
                let text = format!("path = \"{path}\"\npreset = \"{name}\"\n{more}");
                let config = good(&format!("{HEAD}{}", route(&text)));
                let rules = &config.routes[0].policy.rules;
                for (at, rule) in rules.iter().enumerate() {
                    assert_eq!(shadowed(&rules[..at], rule), [], "{text}: {}", rule.name);
                }
            }
        }
    }
}

/// What a preset opens is open on its own route, whatever else leads to the same server.
#[test]
fn spellings_of_a_preset_are_those_of_its_route() {
    let config = good(&format!(
        "{HEAD}paths.allow = \"semicolon\"\n{}{}",
        route("path = \"/lab\"\npreset = \"jupyter\""),
        route("path = \"/b\"")
    ));
    let seen: Vec<_> =
        config.routes.iter().map(|route| (route.paths.encoded_slash, route.paths.semicolon)).collect();
    assert_eq!(seen, [(true, true), (false, true)]);
}

const APP: &str = "[[upstreams]]\nname = \"app\"\nurl = \"builtin:sample\"\n";

/// Warnings of a file that has this about its only route.
fn warned(route: &str) -> Vec<String> {
    good(&format!("{APP}[[routes]]\nupstream = \"app\"\n{route}\n")).warnings
}

#[test]
fn graphql_is_told_to_the_standard_rules_alone_and_below_their_route() {
    let config =
        good(&format!("{APP}[[routes]]\nupstream = \"app\"\npath = \"/app\"\ngraphql = \"/app/graphql\"\n"));
    let names: Vec<&str> = config.routes[0].policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["standard-queries", "standard-changes", "standard-reads", "standard-writes"]);
    for (route, remedy) in [
        ("path = \"/app\"\ngraphql = \"/graphql\"", "`/app/graphql`"),
        ("graphql = \"/graphql\"\nrules = [{ allow = \"viewer\" }]", "graphql = \"query\""),
        ("graphql = \"/graphql\"\npreset = \"mlflow\"", "graphql = \"query\""),
    ] {
        let problems = bad(&format!("{APP}[[routes]]\nupstream = \"app\"\n{route}\n"));
        let [problem] = problems.as_slice() else { panic!("{route}: {problems:#?}") };
        assert_eq!(problem.path, "routes[0].graphql", "{route}");
        assert!(problem.remedy.contains(remedy), "{route}: {}", problem.remedy);
    }
}

#[test]
fn an_endpoint_of_graphql_without_rules_for_it_is_warned_of() {
    for (route, warns) in [
        ("path = \"/api/GraphQL\"", true),
        ("rules = [{ path = \"/graphql\", allow = \"member\" }, { allow = \"viewer\" }]", true),
        ("path = \"/graphql\"\ngraphql = \"/graphql\"", false),
        ("rules = [{ path = \"/graphql\", graphql = \"query\", allow = \"viewer\" }]", false),
        ("path = \"/graphql-docs\"", false),
        ("preset = \"phoenix\"", false),
    ] {
        let warnings = warned(route);
        let found = warnings.iter().filter(|warning| warning.contains("looks like an endpoint of GraphQL"));
        assert_eq!(found.count(), usize::from(warns), "{route}: {warnings:?}");
    }
}

#[test]
fn rules_that_need_a_body_are_warned_of_where_another_proxy_keeps_it() {
    let asked =
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nflavours = [\"nginx\"]\n[upstreams]\n";
    let asked = asked.replace("[upstreams]\n", "");
    for (route, names) in [
        ("graphql = \"/graphql\"", Some("rule `standard-queries` of route")),
        (
            "rules = [{ name = \"tools\", path = \"/mcp\", mcp = \"read\", allow = \"viewer\" }]",
            Some("rule `tools` of route"),
        ),
        ("preset = \"mlflow\"", Some("of route")),
        ("", None),
    ] {
        let config_dir = ConfigDir::new(&format!("{asked}[[routes]]\n{route}\n"));
        let warnings = config_dir.load().unwrap().warnings;
        let found: Vec<_> = warnings.iter().filter(|warning| warning.contains("cannot see bodies")).collect();
        assert_eq!(found.len(), usize::from(names.is_some()), "{route}: {warnings:?}");
        assert!(found.iter().all(|warning| warning.contains(names.unwrap())), "{found:?}");
    }
    assert!(!warned("graphql = \"/graphql\"").iter().any(|warning| warning.contains("cannot see bodies")));
}

#[test]
fn a_condition_that_fits_no_websocket_is_warned_of_beside_it() {
    for (rule, says) in [
        ("methods = \"websocket\", graphql = \"subscription\"", Some("rule `r` never fits")),
        (
            "methods = [\"POST\", \"websocket\"], graphql = [\"query\", \"subscription\"]",
            Some("`websocket` in `methods`"),
        ),
        ("methods = \"websocket\", graphql = \"mutation\", fields = \"a\"", Some("without `graphql`")),
        ("methods = \"websocket\", mcp = \"read\"", Some("without `mcp`")),
        ("methods = \"websocket\", graphql = [\"subscription\", \"mutation\"]", None),
        ("methods = \"websocket\", graphql = \"query\", any_field = \"a\"", None),
        ("methods = \"websocket\", mcp = \"write\"", None),
        ("methods = \"websocket\"", None),
        ("graphql = \"subscription\"", None),
    ] {
        let warnings =
            warned(&format!("rules = [{{ name = \"r\", path = \"/x\", {rule}, allow = \"viewer\" }}]"));
        let found: Vec<_> = warnings.iter().filter(|warning| warning.contains("is not read")).collect();
        assert_eq!(found.len(), usize::from(says.is_some()), "{rule}: {warnings:?}");
        assert!(found.iter().all(|warning| warning.contains(says.unwrap())), "{found:?}");
    }
}

#[test]
fn a_rule_for_a_provider_that_nobody_comes_from_is_warned_of() {
    let sso = "[[providers]]\nname = \"sso\"\nissuer = \"https://sso.example\"\nclient_id = \"doorward\"\n\
               token_auth = \"none\"\n";
    let found = |rule: &str| {
        let text = format!(
            "{APP}{sso}[[routes]]\nupstream = \"app\"\nrules = [{{ {rule} }}, {{ allow = \"viewer\" }}]\n"
        );
        let warnings = good(&text).warnings;
        warnings.into_iter().filter(|it| it.contains("is nobody")).collect::<Vec<_>>()
    };
    for (rule, nobody) in [
        ("allow = \"provider:ssso\"", "provider:ssso"),
        ("allow = [\"admin\", \"provider:SSO\"]", "provider:SSO"),
        ("deny = \"provider:okta\"", "provider:okta"),
    ] {
        let warned = found(rule);
        assert!(warned.len() == 1 && warned[0].contains(nobody), "{rule}: {warned:?}");
    }
    for name in ["sso", "local", "imported", "break-glass", "client-certificate"] {
        let rule = format!("allow = \"provider:{name}\"");
        assert!(found(&rule).is_empty(), "{name}: {:?}", found(&rule));
    }
}
