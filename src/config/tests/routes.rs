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
        let file = preset.file(&mut crate::config::presets::reader());
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
