//! Where signing in may lead: our own origin or a host of ours, anyone who reads the address.
//!
//! Input: the address.

use doorward::config::PublicUrl;
use doorward::edge::web::{Destinations, ReturnTarget};
use url::Url;

const OWN: &str = "https://gate.example/base";

/// R24: any address, read by two readers.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let public = PublicUrl::parse(OWN).expect("it is a URL");
    let to = Destinations::new(public, [String::from("app.example.org"), String::from("::1")]);
    let target = ReturnTarget::parse(text, &to);
    let led = target.as_str();
    assert!(led.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{led:?}");

    // As browsers read it, from any page of ours.
    for base in
        ["https://gate.example/base/_doorward/login", "https://gate.example/base/", "https://gate.example/"]
    {
        let url = Url::parse(base).and_then(|base| base.join(led)).expect("it is an address");
        let host = url.host_str().unwrap_or_default();
        let away = matches!(host, "app.example.org" | "[::1]");
        assert!(host == "gate.example" || away, "{led:?} leads to {url}");
        let local = host == "[::1]" && url.scheme() == "http";
        assert!(url.scheme() == "https" || local, "{led:?} leads to {url}");
        assert!(url.username().is_empty() && url.password().is_none(), "{led:?}");
        assert_eq!(away || led.starts_with("https://"), target.away().is_some(), "{led:?}");
    }
    // As somebody reads it who knows nothing of the standard.
    if target.away().is_none() {
        let mut start = led.chars();
        assert_eq!(start.next(), Some('/'), "{led:?}");
        assert!(!matches!(start.next(), Some('/' | '\\')), "{led:?}");
    } else {
        let rest = led.split_once("://").expect("it has a scheme").1;
        let host = rest.split(['/', '?', '#', '\\', '@']).next().unwrap_or_default();
        let name = host.strip_suffix(":443").unwrap_or(host);
        let plain = matches!(name, "gate.example" | "app.example.org") || name.starts_with("[::1]");
        assert!(plain, "{led:?} leads to {host:?}");
    }
    assert_eq!(ReturnTarget::parse(led, &to).as_str(), led, "it stays what it is");
}
