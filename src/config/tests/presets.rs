//! Where presets begin, and what they rely on.

use super::*;

/// A route with the preset `micromegas` and these lines; `upstream` are more of its upstream's.
fn route(lines: &str, upstream: &str) -> String {
    format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n{upstream}\n\
         [[routes]]\nupstream = \"app\"\npreset = \"micromegas\"\n{lines}\n"
    )
}

fn without_preset(lines: &str) -> String {
    route(lines, "").replace("preset = \"micromegas\"\n", "")
}

/// The setting and the words of the only problem.
#[track_caller]
fn only(text: &str) -> (String, String) {
    let problems = bad(text);
    let [problem] = problems.as_slice() else { panic!("one problem expected: {problems:#?}") };
    (problem.path.clone(), format!("{}; {}", problem.what, problem.remedy))
}

/// Who may ask by SQL over HTTP, and at which paths.
fn asking(config: &Config) -> (Vec<String>, Vec<String>) {
    let rules = &config.routes[0].policy.rules;
    let named: Vec<_> = rules.iter().filter(|rule| rule.name == "queries-http").collect();
    let [rule] = named.as_slice() else { panic!("one rule expected: {named:#?}") };
    let texts = |list: &[crate::policy::Who]| list.iter().map(ToString::to_string).collect();
    (texts(&rule.allow), rule.when.paths.iter().map(ToString::to_string).collect())
}

#[test]
fn a_rule_that_relies_on_a_setting_is_in_effect_where_the_route_says_that_it_is_made() {
    let config = good(&route("", ""));
    assert_eq!(asking(&config).0, ["admin"]);
    assert!(config.routes[0].reliances.is_empty() && config.warnings.is_empty(), "{:?}", config.warnings);

    let config = good(&route("relies_on = \"gateway-headers\"", ""));
    assert_eq!(asking(&config).0, ["viewer"]);
    let [reliance] = config.routes[0].reliances.as_slice() else {
        panic!("{:?}", config.routes[0].reliances)
    };
    assert_eq!((reliance.method.as_str(), reliance.target.as_str()), ("POST", "/gateway/query"));
    let warned =
        |warning: &String| warning.contains("MICROMEGAS_GATEWAY_HEADERS") && warning.contains("doctor");
    assert!(config.warnings.iter().any(warned), "{:?}", config.warnings);
}

#[test]
fn what_no_preset_knows_cannot_be_relied_on() {
    let (path, said) = only(&route("relies_on = [\"gateway-header\"]", ""));
    assert_eq!(path, "routes[0].relies_on");
    assert!(said.contains("write one of gateway-headers"), "{said}");
    let (path, said) = only(&without_preset("relies_on = \"gateway-headers\""));
    assert_eq!(path, "routes[0].relies_on");
    assert!(said.contains("leave it out"), "{said}");
}

#[test]
fn paths_of_a_preset_are_below_its_root() {
    let at = |lines: &str| asking(&good(&route(lines, ""))).1;
    assert_eq!(at(""), ["/gateway/query"]);
    assert_eq!(at("path = \"/lake\""), ["/lake/gateway/query"]);
    assert_eq!(at("path = \"/gateway\"\npreset_root = \"/\""), ["/gateway/query"]);
    assert_eq!(at("path = \"/lake/gateway\"\npreset_root = \"/lake\""), ["/lake/gateway/query"]);

    // What the application is asked when the setting is tried is what it sees of these paths.
    let lines = "path = \"/lake/gateway\"\npreset_root = \"/lake\"\nstrip_prefix = \"/lake\"\n\
                 relies_on = \"gateway-headers\"";
    assert_eq!(good(&route(lines, "")).routes[0].reliances[0].target, "/gateway/query");
}

#[test]
fn a_root_that_leaves_no_rule_is_refused() {
    let (path, said) = only(&route("path = \"/gateway\"\npreset_root = \"/gate\"", ""));
    assert_eq!(path, "routes[0].preset_root");
    assert!(said.contains("none of the preset's rules would fit"), "{said}");
    let (path, _) = only(&without_preset("preset_root = \"/\""));
    assert_eq!(path, "routes[0].preset_root");
}

/// Micromegas takes everybody for an admin of whom it is told nothing under the names it knows.
#[test]
fn a_preset_that_protects_by_its_headers_is_refused_without_them() {
    let (path, said) = only(&route("", "headers = \"standard\""));
    assert_eq!(path, "routes[0].preset");
    assert!(said.contains("takes everybody for an admin"), "{said}");
    good(&route("", "headers = \"micromegas\""));
}

#[test]
fn session_cookies_are_the_upstreams_or_else_those_of_the_presets_that_lead_there() {
    let upstream = |lines: &str, presets: &[&str]| {
        let route = |(n, preset): (usize, &&str)| {
            format!("[[routes]]\nupstream = \"app\"\npath = \"/{n}\"\npreset = \"{preset}\"\n")
        };
        let routes = presets.iter().enumerate().map(route).collect::<Vec<_>>().concat();
        let text = format!("[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n{lines}\n{routes}");
        let names = |list: &[SessionCookie]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        names(&good(&text).upstreams[0].session_cookies)
    };
    assert_eq!(upstream("", &["jupyter"]), ["username-*"]);
    assert_eq!(upstream("", &["jupyter", "gradio", "jupyter"]), ["username-*", "access-token-*"]);
    assert_eq!(upstream("session_cookies = \"sid\"", &["jupyter"]), ["sid"]);
    assert!(upstream("session_cookies = []", &["jupyter"]).is_empty());
    assert!(upstream("", &["prometheus"]).is_empty());

    let config = good(
        "server.trusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nflavours = [\"nginx\"]\n\
         session_cookies = [\"sid\"]\n[[routes]]\nhosts = [\"a.example\"]\npreset = \"grafana\"\n\
         [[routes]]\nhosts = [\"b.example\"]\n",
    );
    let of = |route: usize| config.session_cookies(&config.routes[route]).iter().map(ToString::to_string);
    assert_eq!(of(0).collect::<Vec<_>>(), ["sid", "grafana_session"]);
    assert_eq!(of(1).collect::<Vec<_>>(), ["sid"]);
}

#[test]
fn what_is_no_applications_cookie_is_refused_with_what_to_write() {
    for (name, said) in [
        ("a b", "is not a cookie name; write one such as"),
        ("*", "would be any cookie; write more of the name"),
        ("__Host-doorward", "would be a cookie of the gateway's own; write the application's"),
    ] {
        let text = without_preset("").replace("url =", &format!("session_cookies = \"{name}\"\nurl ="));
        let (path, words) = only(&text);
        assert_eq!(path, "upstreams[0].session_cookies");
        assert!(words.starts_with(said), "{words}");
    }
}

#[test]
fn how_an_application_is_set_is_asked_where_it_is_and_said_where_nothing_tells() {
    let of = |preset: &str, lines: &str| {
        good(&route(lines, "").replace("preset = \"micromegas\"", &format!("preset = \"{preset}\"")))
    };
    let targets = |config: &Config| -> Vec<String> {
        config.routes[0].assumptions.iter().map(|it| format!("{} {}", it.method, it.target)).collect()
    };
    assert_eq!(targets(&of("flower", "")), ["GET /api/task/types"]);
    assert_eq!(targets(&of("flower", "path = \"/flower\"")), ["GET /flower/api/task/types"]);
    let stripped = "path = \"/flower\"\nstrip_prefix = \"/flower\"";
    assert_eq!(targets(&of("flower", stripped)), ["GET /api/task/types"]);
    let part = "path = \"/tasks\"\npreset_root = \"/\"";
    assert_eq!(targets(&of("flower", part)), [""; 0], "the part that the route is for does not answer it");

    let said = |config: &Config| {
        config.warnings.iter().any(|it| it.contains("whitelist") && it.contains("nothing tells"))
    };
    assert!(said(&of("grafana", "")) && !said(&of("flower", "")));
    assert_eq!(targets(&of("grafana", "")), [""; 0]);
}
