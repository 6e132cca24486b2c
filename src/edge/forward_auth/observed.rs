//! A subrequest as it arrived, for `doorward doctor`: its headers and what was read from them.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::AuthCheck;
use super::original::BadSubrequest;
use crate::config::Flavour;
use crate::service::doctor;

/// Headers of a question whose value is told. Of every other one only the name is: it may be a secret.
const TOLD: &[&str] = &[
    "accept",
    "connection",
    "host",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-upgrade",
    "x-original-url",
    "x-real-ip",
    "x-requested-with",
];
/// Characters of a value that are told.
const LONGEST_VALUE: usize = 512;
/// Headers that are told.
const MOST_HEADERS: usize = 100;

/// A question before anything was decided about it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'q> {
    /// Who asks.
    pub flavour: Flavour,
    /// From where.
    pub peer: IpAddr,
    /// Whether that is a trusted proxy.
    pub trusted: bool,
    /// Method of the question.
    pub method: &'q Method,
    /// Path and query of the question.
    pub target: &'q str,
    /// Its headers.
    pub headers: &'q HeaderMap,
}

impl Observed<'_> {
    /// The nonce of the probe that this question is about, if it is about one.
    pub fn nonce(&self) -> Option<&str> {
        let value = |name: &str| self.headers.get(name)?.to_str().ok();
        doctor::nonce_in(self.target)
            .or_else(|| value("x-original-url").and_then(doctor::nonce_in))
            .or_else(|| value("x-forwarded-uri").and_then(doctor::nonce_in))
            .or_else(|| value(doctor::HEADER).and_then(doctor::nonce_of))
    }

    /// The report: one JSON object.
    pub fn report(&self, read: Result<&AuthCheck, &BadSubrequest>) -> String {
        let headers: Vec<Value> = self
            .headers
            .iter()
            .take(MOST_HEADERS)
            .map(|(name, value)| {
                let told = TOLD.contains(&name.as_str()).then(|| {
                    let text = String::from_utf8_lossy(value.as_bytes());
                    text.chars().take(LONGEST_VALUE).collect::<String>()
                });
                json!([name.as_str(), told])
            })
            .collect();
        let (understood, unclear) = match read {
            Ok(check) => {
                let target = &check.original.target;
                let understood = json!({
                    "method": target.method().as_str(),
                    "url": check.original.url(),
                    "client": check.client.address.to_string(),
                    "websocket": target.kind().may_switch(),
                });
                (Some(understood), None)
            }
            Err(unclear) => (None, Some(unclear.to_string())),
        };
        json!({
            "flavour": self.flavour.as_str(),
            "peer": self.peer.to_string(),
            "trusted": self.trusted,
            "method": self.method.as_str(),
            "headers": headers,
            "understood": understood,
            "unclear": unclear,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn credentials_are_named_but_never_told() {
        let mut headers = HeaderMap::new();
        for name in ["cookie", "authorization", "x-api-key", "sec-websocket-key", "x-anything", "host"] {
            headers.insert(name, HeaderValue::from_static("canary"));
        }
        let observed = Observed {
            flavour: Flavour::Nginx,
            peer: IpAddr::from([192, 0, 2, 1]),
            trusted: false,
            method: &Method::GET,
            target: "/_doorward/auth/nginx",
            headers: &headers,
        };
        let report = observed.report(Err(&BadSubrequest::Missing(HeaderName::from_static("x-original-url"))));
        assert_eq!(report.matches("canary").count(), 1, "{report}");
        assert!(report.contains(r#"["host","canary"]"#) && report.contains(r#"["cookie",null]"#), "{report}");
        assert!(report.contains("x-original-url is missing"), "{report}");
        assert_eq!(observed.nonce(), None);
    }
}
