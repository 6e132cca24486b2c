//! What is printed, for every proxy.

use super::*;
use crate::config;
use crate::config::BearerConfig;
use crate::config::Flags;
use crate::config::Source;
use crate::gate::identity_headers::Managed;
use crate::model::jwt::JwtAlgorithm;
use crate::model::jwt::JwtKey;
use crate::model::secret::Secret;
use crate::model::template::Template;
use http::HeaderName;

const EVERY: [(Flavour, Option<Part>, bool); 8] = [
    (Flavour::Nginx, None, false),
    (Flavour::Traefik, None, false),
    (Flavour::Traefik, Some(Part::Static), false),
    (Flavour::Caddy, None, false),
    (Flavour::Haproxy, None, false),
    (Flavour::Haproxy, Some(Part::Lua), false),
    (Flavour::Envoy, None, false),
    (Flavour::Envoy, None, true),
];

fn config() -> Config {
    let flags = Flags { upstream: Some("builtin:sample".to_owned()), ..Flags::default() };
    config::load(&Source { file: None, environment: Vec::new().into_iter().collect() }, &flags).unwrap()
}

fn printed(config: &Config, proxy: Flavour, part: Option<Part>, grpc: bool) -> Result<String, Failure> {
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
        for name in ["Cookie", "Authorization", "X-Api-Key"] {
            let lower = name.to_lowercase();
            let variable = lower.replace('-', "_");
            for (proxy, part, line) in [
                (Flavour::Nginx, None, format!("proxy_set_header {name} $doorward_{variable};")),
                (Flavour::Traefik, None, format!("          - {name}\n")),
                (Flavour::Caddy, None, format!("request_header {name} {{http.reverse_proxy.header.{name}}}")),
                (Flavour::Caddy, None, format!("request_header @no_{variable} -{name}")),
                (Flavour::Haproxy, Some(Part::Lua), format!("  \"{lower}\",\n")),
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
    assert!(text(Flavour::Haproxy, Some(Part::Lua)).contains("\"x-scope-orgid\","));
}

#[test]
fn every_name_that_no_client_may_send_is_one_that_our_own_proxy_strips() {
    for name in FORGED {
        assert!(Managed::default().has(name.as_bytes()), "{name}");
    }
    assert!(FORGED.is_sorted());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let config = config();
    for (proxy, part, grpc) in [
        (Flavour::Nginx, Some(Part::Static), false),
        (Flavour::Traefik, Some(Part::Lua), false),
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
