//! Certificates by ACME, as settings.

use super::*;
use crate::model::origin::Origin;

const LEAST: &str = "public_url = \"https://app.example.com\"\n[server.acme]\nagree_to_terms = true\n";

#[test]
fn agreeing_is_all_that_must_be_said() {
    let config = good(LEAST);
    let acme = config.server.acme.unwrap();
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(acme.domains, ["app.example.com"]);
    assert_eq!(acme.named, [Origin::parse("https://acme-v02.api.letsencrypt.org").unwrap()]);
    assert!(acme.contact.is_empty() && acme.ca.is_none() && acme.http_listen.is_none());
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

#[test]
fn an_authority_has_an_address_that_is_called_as_it_is_written() {
    let with = |written: &str| {
        format!("{LEAST}directory = {:?}\norigins = [{written:?}]\n", format!("{written}/dir?x=1"))
    };
    for (written, same) in [
        ("https://ca.corp:9000", "https://ca.corp:9000"),
        ("https://CA.corp:443", "https://ca.corp"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[fd00::1]:9000", "https://[fd00::1]:9000"),
    ] {
        let acme = good(&with(written)).server.acme.unwrap();
        let origin = Origin::parse(same).unwrap();
        assert_eq!(acme.named, [origin.clone(), origin], "{written}");
    }
    for (written, reason) in [
        ("https://b\u{fc}cher.example", "not ASCII"),
        ("https:\\\\ca.corp", "not valid"),
        ("https://2130706433", "usual spelling"),
        ("https://0x7f.1", "usual spelling"),
        ("https://ca.corp:0443", "usual spelling"),
        ("https://[fd00:0:0:0:0:0:0:1]", "usual spelling"),
    ] {
        let problems = bad(&with(written));
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["server.acme.directory", "server.acme.origins[0]"], "{problems:#?}");
        assert!(problems.iter().all(|problem| problem.to_string().contains(reason)), "{problems:#?}");
    }
}
