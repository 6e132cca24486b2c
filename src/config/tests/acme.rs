//! Certificates by ACME, as settings.

use super::*;

const LEAST: &str = "public_url = \"https://app.example.com\"\n[server.acme]\nagree_to_terms = true\n";

#[test]
fn agreeing_is_all_that_must_be_said() {
    let config = good(LEAST);
    let acme = config.server.acme.unwrap();
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.domains, ["app.example.com"]);
    assert!(
        acme.contact.is_empty() && acme.origins.is_empty() && acme.ca.is_none() && acme.http_listen.is_none()
    );
    assert!(acme.cache.is_absolute() && acme.cache.ends_with("acme"), "beside the configuration file");
    assert_eq!(acme.challenge, AcmeChallenge::TlsAlpn01);
    assert!(matches!(config.server.listeners.as_slice(), [only] if only.tls));
}

#[test]
fn each_mistake_about_acme_is_named_with_its_remedy() {
    let with = |rest: &str| format!("{LEAST}{rest}");
    for (text, path, remedy) in [
        (LEAST.replace("true", "false"), "agree_to_terms", "terms of service"),
        (LEAST.replace("agree_to_terms = true\n", ""), "agree_to_terms", "agree_to_terms = true"),
        (LEAST.replace("app.example.com", "127.0.0.1"), "domains", "domain names"),
        (with("domains = \"localhost\""), "domains", "domain names"),
        (with("domains = \"*.example.com\""), "domains", "such as"),
        (with("contact = \"nobody\""), "contact", "ops@example.com"),
        (with("directory = \"http://ca.example/dir\""), "directory", "https://"),
        (with("origins = [\"http://ca2.example\"]"), "origins[0]", "https://"),
        (with("cache = \"\""), "cache", "acme"),
        (with("challenge = \"dns-01\""), "challenge", "http-01"),
        (with("challenge = \"http-01\""), "http_listen", "0.0.0.0:80"),
        (with("http_listen = \"127.0.0.1:8080\""), "http_listen", "another port"),
        (with("http_listen = \"systemd\""), "http_listen", "systemd:NAME"),
        (with("[[server.listeners]]\naddress = \"127.0.0.1:1\"\ntls = false"), "", "speak TLS"),
    ] {
        let problems = bad(&text);
        let [problem] = problems.as_slice() else { panic!("one problem for\n{text}\n{problems:#?}") };
        let expected = if path.is_empty() { "server.acme".to_owned() } else { format!("server.acme.{path}") };
        assert_eq!(problem.path, expected, "{problem}");
        assert!(problem.remedy.contains(remedy), "{problem}");
    }
}
