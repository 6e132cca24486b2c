//! What is printed, for every proxy.

use super::*;
use crate::config;
use crate::config::BearerConfig;
use crate::config::ConfigSource;
use crate::config::Flags;
use crate::gate::identity_headers::Managed;
use crate::model::jwt::JwtAlgorithm;
use crate::model::jwt::JwtKey;
use crate::model::secret::Secret;
use crate::model::template::Template;
use crate::policy::{Enforce, PathPattern, Policy};
use http::HeaderName;

const EVERY: [(Flavour, Option<SnippetFile>, bool); 8] = [
    (Flavour::Nginx, None, false),
    (Flavour::Traefik, None, false),
    (Flavour::Traefik, Some(SnippetFile::Static), false),
    (Flavour::Caddy, None, false),
    (Flavour::Haproxy, None, false),
    (Flavour::Haproxy, Some(SnippetFile::Lua), false),
    (Flavour::Envoy, None, false),
    (Flavour::Envoy, None, true),
];

fn config() -> Config {
    let flags = Flags { upstream: Some("builtin:sample".to_owned()), ..Flags::default() };
    config::load(&ConfigSource { file: None, environment: Vec::new().into_iter().collect() }, &flags).unwrap()
}

fn printed(
    config: &Config,
    proxy: Flavour,
    part: Option<SnippetFile>,
    grpc: bool,
) -> Result<String, Failure> {
    let arguments = Arguments {
        proxy,
        app: plain_url("http://app.internal:3000").unwrap(),
        listen: "[::1]:8000".parse().unwrap(),
        gateway: None,
        grpc,
        part,
    };
    print(&arguments, config)
}

#[test]
fn nothing_is_left_to_fill_in_and_what_the_settings_lack_is_said() {
    let mut config = config();
    for (proxy, part, grpc) in EVERY {
        let text = printed(&config, proxy, part, grpc).ok().unwrap();
        assert!(!text.contains("{{"), "{text}");
        assert_eq!(text.matches("MISSING").count(), 2, "{text}");
    }
    config.forward_auth.flavours = Flavour::ALL.to_vec();
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    for (proxy, part, grpc) in EVERY {
        assert!(!printed(&config, proxy, part, grpc).ok().unwrap().contains("MISSING"));
    }
}

#[test]
fn headers_of_every_route_are_copied_and_those_of_other_products_dropped() {
    let mut config = config();
    config.forward_auth.headers = HeaderPreset::Authelia;
    config.routes.first_mut().unwrap().headers = Some(HeaderPreset::Grafana);
    let text = printed(&config, Flavour::Nginx, None, false).ok().unwrap();
    for name in ["Remote_User", "X_Webauth_Role"] {
        let (header, variable) = (name.replace('_', "-"), name.to_lowercase());
        assert!(text.contains(&format!("proxy_set_header {header} $doorward_{variable};")), "{text}");
        assert!(text.contains(&format!("$doorward_{variable} $upstream_http_{variable};")), "{text}");
    }
    assert!(text.contains("proxy_set_header X-Auth-User \"\";"), "{text}");
}

#[test]
fn what_is_left_of_credentials_is_taken_from_the_answer_whatever_the_settings() {
    for pass in [false, true] {
        let mut config = config();
        config.forward_auth.pass_authorization = pass;
        let hose = HeaderName::from_static("x-amz-firehose-access-key");
        config.routes.first_mut().unwrap().credentials.key_headers.push(hose);
        for name in ["Cookie", "Authorization", "X-Api-Key", "X-Amz-Firehose-Access-Key"] {
            let lower = name.to_lowercase();
            let variable = lower.replace('-', "_");
            for (proxy, part, line) in [
                (Flavour::Nginx, None, format!("proxy_set_header {name} $doorward_{variable};")),
                (Flavour::Traefik, None, format!("          - {name}\n")),
                (Flavour::Caddy, None, format!("request_header {name} {{http.reverse_proxy.header.{name}}}")),
                (Flavour::Caddy, None, format!("request_header @no_{variable} -{name}")),
                (Flavour::Haproxy, Some(SnippetFile::Lua), format!("  \"{lower}\",\n")),
                (Flavour::Envoy, None, format!("- {{ exact: \"{lower}\" }}")),
            ] {
                let text = printed(&config, proxy, part, false).ok().unwrap();
                assert!(text.contains(&line), "{line}: {text}");
            }
        }
    }
}

#[test]
fn what_settings_add_is_copied_and_a_minted_token_takes_the_clients_place() {
    let mut config = config();
    let template = Template::parse("{user}").unwrap();
    config.forward_auth.identity.templates = vec![(HeaderName::from_static("x-scope-orgid"), template)];
    let key = JwtKey::from_text(JwtAlgorithm::Hs256, &Secret::new("k".repeat(32))).unwrap();
    config.forward_auth.identity.bearer = Some(BearerConfig {
        key,
        issuer: None,
        audience: None,
        lifetime: std::time::Duration::from_mins(5),
        claims: Vec::new(),
    });
    let text = |proxy, part| printed(&config, proxy, part, false).ok().unwrap();
    let nginx = text(Flavour::Nginx, None);
    assert!(nginx.contains("proxy_set_header X-Scope-Orgid $doorward_x_scope_orgid;"), "{nginx}");
    assert!(nginx.contains("proxy_set_header Authorization $doorward_authorization;"), "{nginx}");
    assert!(!nginx.contains("proxy_set_header Authorization \"\";"), "{nginx}");
    assert_eq!(nginx.matches("proxy_set_header Authorization ").count(), 1, "{nginx}");
    let caddy = text(Flavour::Caddy, None);
    assert!(!caddy.contains("@no_authorization") && caddy.contains("\tAuthorization\n"), "{caddy}");
    let traefik = text(Flavour::Traefik, None);
    assert_eq!(traefik.matches("- Authorization\n").count(), 1, "{traefik}");
    assert!(!traefik.contains(" Authorization: \"\""), "{traefik}");
    let envoy = text(Flavour::Envoy, None);
    assert!(
        envoy.contains("{ exact: \"authorization\" }") && !envoy.contains("remove: \"authorization\""),
        "{envoy}"
    );
    assert!(!text(Flavour::Haproxy, None).contains("del-header Authorization"));
    assert!(text(Flavour::Haproxy, Some(SnippetFile::Lua)).contains("\"x-scope-orgid\","));
}

#[test]
fn every_name_that_no_client_may_send_is_one_that_our_own_proxy_strips() {
    for name in MEMBERS {
        assert!(Managed::default().has(name.as_bytes()), "{name}");
        assert!(NAMES.iter().all(|(known, _)| known != name), "{name}");
    }
    assert!(MEMBERS.is_sorted());
}

/// The line by which a printed configuration removes or overwrites a name, and all that begin with it.
fn removing(proxy: Flavour, name: &str) -> (String, Option<String>) {
    let written = capitalized(name);
    match proxy {
        Flavour::Nginx => (format!("proxy_set_header {written} "), None),
        Flavour::Traefik => (format!("          {written}: \"\"\n"), None),
        Flavour::Caddy => {
            (format!("request_header -{written}\n"), Some(format!("request_header -{written}*\n")))
        }
        Flavour::Haproxy => {
            (format!("del-header {written}\n"), Some(format!("del-header {written} -m beg\n")))
        }
        Flavour::Envoy => {
            (format!("- remove: \"{name}\"\n"), Some(format!("key_matcher: {{ prefix: \"{name}\" }}")))
        }
    }
}

#[test]
fn the_page_says_which_names_the_printed_configurations_remove() {
    let (config, mut by_pattern) = (config(), Vec::new());
    for (proxy, shown) in [
        (Flavour::Nginx, "nginx"),
        (Flavour::Traefik, "Traefik"),
        (Flavour::Caddy, "Caddy"),
        (Flavour::Haproxy, "HAProxy"),
        (Flavour::Envoy, "Envoy"),
    ] {
        let text = printed(&config, proxy, None, false).ok().unwrap();
        for (name, _) in NAMES {
            assert!(text.contains(&removing(proxy, name).0), "{shown}: {name}");
        }
        let patterns =
            |family: &&(&str, _)| removing(proxy, family.0).1.is_some_and(|line| text.contains(&line));
        let families: Vec<_> = FAMILIES.iter().filter(patterns).map(|(family, _)| *family).collect();
        let left = FAMILIES.len() - families.len();
        if left == 1 && !families.contains(&"x-forwarded-") {
            by_pattern.push(shown);
            assert!(text.contains(&removing(proxy, "x-forwarded-user").0), "{shown}");
            assert!(!text.contains(&removing(proxy, "remote-addr").0), "{shown} says it twice");
        } else {
            assert!(families.is_empty(), "{shown}: {families:?}");
            for name in MEMBERS {
                assert!(text.contains(&removing(proxy, name).0), "{shown}: {name}");
            }
        }
    }
    let page = include_str!("../../../docs/forward-auth/README.md");
    let (last, first) = by_pattern.split_last().unwrap();
    for claim in [
        "the printed configurations remove every whole name of that table",
        &format!(
            "{} and {last} remove the families (`*`) too, of `X-Forwarded-*` only known members",
            first.join(", ")
        ),
        "nginx and Traefik know no patterns, and remove known members of them",
    ] {
        assert!(page.contains(claim), "{claim}");
    }
}

#[test]
fn a_header_that_brings_keys_is_not_removed_before_the_question() {
    let mut config = config();
    config.keys.headers = ["x-doorward-key", "x-userinfo"].map(HeaderName::from_static).to_vec();
    for proxy in Flavour::ALL {
        let text = printed(&config, proxy, None, false).ok().unwrap();
        assert!(!text.contains(&removing(proxy, "x-userinfo").0) || proxy == Flavour::Nginx, "{text}");
        assert!(text.contains(&removing(proxy, "x-doorward-assertion").0), "{text}");
        let whole = removing(proxy, "x-doorward-").1;
        assert!(whole.is_none_or(|line| !text.contains(&line)), "{text}");
    }
}

#[test]
fn istio_repeats_in_a_question_what_the_printed_envoy_does() {
    let page = include_str!("../../../docs/forward-auth/istio-gateway-api.md");
    let listed = |key: &str| {
        let list = page.split_once(key).unwrap().1.split_once(']').unwrap().0;
        let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
        let names = lines.flat_map(|line| line.split([',', '[', ' '])).filter(|name| !name.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    let envoy = printed(&config(), Flavour::Envoy, None, false).ok().unwrap();
    let exact = |part: &str| {
        let names = part.split("{ exact: \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let (asked, told) = envoy.split_once("allowed_upstream_headers:").unwrap();
    assert_eq!(listed("includeRequestHeadersInCheck:"), exact(asked));
    assert_eq!(listed("headersToUpstreamOnAllow:"), exact(told));
}

#[test]
fn rules_that_no_proxy_sends_a_body_for_are_noted() {
    let rules = |note: bool| {
        let mut config = config();
        for route in &mut config.routes {
            let policy = Policy::standard(Enforce::On);
            let paths = [PathPattern::parse("/graphql").unwrap()];
            route.policy = if note { policy.with_graphql(&paths) } else { policy };
        }
        config
    };
    for proxy in Flavour::ALL {
        for note in [true, false] {
            let text = printed(&rules(note), proxy, None, false).ok().unwrap();
            let noted = text.contains("So to rule `standard-queries` of route");
            assert_eq!(noted, note, "{proxy:?}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let config = config();
    for (proxy, part, grpc) in [
        (Flavour::Nginx, Some(SnippetFile::Static), false),
        (Flavour::Traefik, Some(SnippetFile::Lua), false),
        (Flavour::Caddy, None, true),
    ] {
        assert!(matches!(printed(&config, proxy, part, grpc), Err(Failure::Usage(_))), "{proxy:?}");
    }
    for url in ["", "app:3000", "https://app", "http://app/path", "http://u@app", "http://a;b", "http://a\"b"]
    {
        assert!(plain_url(url).is_err(), "{url}");
    }
    assert!(flavour("apache").is_err());
}
