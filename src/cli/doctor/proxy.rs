//! `doorward doctor PROXY`: has the proxy in front send one subrequest as it always does, and reports what is wrong
//! with it.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::super::failure::Failure;
use super::super::healthcheck;
use super::super::output::Output;
use super::super::snippet;
use super::proxy_lines::lines;
use crate::app;
use crate::config::Config;
use crate::config::Flavour;
use crate::model::time::Clock;
use crate::model::time::SystemClock;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;
use crate::service::doctor;
use crate::store::Store;

/// How long a probe waits in the store.
const LIFETIME: Duration = Duration::from_mins(1);
/// The proxy must have answered within this.
const ANSWER: Duration = Duration::from_secs(15);
/// The gateway's report must be there within this, once the proxy has answered.
const REPORT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// Headers that the probe forges and no one may trust (addresses and names for examples: RFC 5737, RFC 2606).
const FORGED_ADDRESS: &str = "192.0.2.66";
const FORGED_HOST: &str = "forged.invalid";
const FORGED_NAME: &str = "doorward-doctor";

/// What else a question needs, and what it is called.
const OTHERS: &[(&str, &str)] = &[
    ("Accept", "accept"),
    ("Destination", "destination"),
    ("Origin", "origin"),
    ("Sec-Fetch-Mode", "sec-fetch-mode"),
];

/// The result of checking one part of the subrequest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProxyFinding {
    part: &'static str,
    fine: bool,
    saw: String,
    remedy: String,
}

/// What the gateway saw.
#[derive(Debug, Deserialize)]
struct Report {
    flavour: String,
    peer: String,
    trusted: bool,
    headers: Vec<(String, Option<String>)>,
    understood: Option<Understood>,
    unclear: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Understood {
    method: String,
    url: String,
    client: String,
    websocket: bool,
}

pub(super) async fn run(
    proxy: Flavour,
    through: &str,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let (store, _) = app::open_store(config, 1, Arc::new(SystemClock)).await?;
    let page = probe(through, config, &store, false).await?;
    let socket = match page {
        Some(_) => probe(through, config, &store, true).await?,
        None => None,
    };
    store.close().await;
    let findings = judge(proxy, through, config, page.as_ref(), socket.as_ref());
    let fine = findings.iter().all(|finding| finding.fine);
    let told: Vec<_> = findings
        .iter()
        .map(|finding| {
            let remedy = (!finding.fine).then_some(&finding.remedy);
            json!({ "part": finding.part, "ok": finding.fine, "saw": finding.saw, "remedy": remedy })
        })
        .collect();
    let lines: Vec<String> = findings.iter().map(line).collect();
    output.show(&json!({ "ok": fine, "findings": told }), &lines.join("\n"))?;
    if fine { Ok(()) } else { Err(Failure::Refused("the proxy does not ask as it should".to_owned())) }
}

fn line(finding: &ProxyFinding) -> String {
    let verdict = if finding.fine { "ok   " } else { "WRONG" };
    let head = format!("{verdict}  {}: {}", finding.part, finding.saw);
    if finding.fine { head } else { format!("{head}\n       -> {}", finding.remedy) }
}

/// Sends one request through the proxy; what the gateway saw of its question, if it saw one.
async fn probe(
    through: &str,
    config: &Config,
    store: &Store,
    websocket: bool,
) -> Result<Option<Report>, Failure> {
    let nonce = random_text();
    let digest = TokenDigest::of(nonce.expose());
    let now = SystemClock.now();
    if !store.put_probe(digest, now, now.after(LIFETIME)).await? {
        return Err(Failure::Refused("too many probes wait already: try again in a minute".to_owned()));
    }
    let url = Url::parse(&doctor::marked(through, nonce.expose()))
        .map_err(|_| Failure::Usage("--through is the URL of a page behind the proxy".to_owned()))?;
    let place = healthcheck::from_url(url.as_str())?;
    let target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let sent = tokio::time::timeout(
        ANSWER,
        healthcheck::send(&place, request(&target, nonce.expose(), config, websocket)),
    );
    sent.await
        .map_err(|_| Failure::Refused("the proxy did not answer in time".to_owned()))?
        .map_err(|cause| Failure::Refused(format!("the proxy does not answer: {cause}")))?;
    let waiting = async {
        loop {
            if let Some(report) = store.probe_report(digest).await? {
                return Ok::<_, Failure>(report);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let report = match tokio::time::timeout(REPORT, waiting).await {
        Ok(report) => Some(report?),
        Err(_) => None,
    };
    store.drop_probe(digest).await?;
    match report {
        Some(text) => serde_json::from_str(&text).map(Some).map_err(|error| Failure::Failed(error.into())),
        None => Ok(None),
    }
}

/// A request that has everything a check needs, and forges headers that no one may trust.
fn request(target: &str, nonce: &str, config: &Config, websocket: bool) -> http::request::Builder {
    let mut request = Request::get(target)
        .header(doctor::HEADER, nonce)
        .header("accept", "text/html")
        .header("cookie", "doctor=1")
        .header("destination", target)
        .header("origin", config.public_url.origin())
        .header("authorization", "Doctor none")
        .header("x-forwarded-for", FORGED_ADDRESS)
        .header("x-forwarded-host", FORGED_HOST)
        .header("x-forwarded-method", "DELETE")
        .header("x-forwarded-proto", "gopher")
        .header("x-forwarded-uri", "/forged")
        .header("x-original-method", "DELETE")
        .header("x-original-url", format!("http://{FORGED_HOST}/forged"))
        .header("x-requested-with", "doctor")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document");
    for name in snippet::identity(config) {
        request = request.header(name, FORGED_NAME);
    }
    for name in config.key_headers() {
        request = request.header(name, "none");
    }
    if websocket {
        request = request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "ZG9vcndhcmQgZG9jdG9yIQ==");
    }
    request
}

fn judge(
    proxy: Flavour,
    through: &str,
    config: &Config,
    page: Option<&Report>,
    socket: Option<&Report>,
) -> Vec<ProxyFinding> {
    let Some(page) = page else {
        return vec![ProxyFinding {
            part: "question",
            fine: false,
            saw: "the proxy did not ask this gateway at all".to_owned(),
            remedy: format!(
                "the settings need [forward_auth] flavours = [\"{0}\"], and the proxy what `doorward snippet {0}` \
                 prints",
                proxy.as_str()
            ),
        }];
    };
    let mut findings = vec![
        asker(proxy, page),
        ProxyFinding {
            part: "trusted proxy",
            fine: page.trusted,
            saw: format!("the question comes from {}", page.peer),
            remedy: format!("in the settings: [server] trusted_proxies = [\"{}\"]", page.peer),
        },
    ];
    findings.push(original(proxy, through, page));
    if let Some(understood) = &page.understood
        && page.trusted
    {
        findings.push(ProxyFinding {
            part: "client address",
            fine: understood.client != FORGED_ADDRESS,
            saw: format!("the client is {}", understood.client),
            remedy: lines(proxy).client.to_owned(),
        });
    }
    findings.extend(credentials(proxy, config, page));
    findings.extend(cookies(proxy, page));
    findings.push(websocket(proxy, socket));
    let forged = snippet::identity(config);
    let seen = page.headers.iter().filter(|(name, _)| forged.contains(name)).count();
    findings.push(ProxyFinding {
        part: "forged identity headers",
        fine: true,
        saw: format!("{seen} of {} reach the question, which never looks at them", forged.len()),
        remedy: String::new(),
    });
    findings
}

/// What the question was asked as. All else is judged as if it were the proxy that was named.
fn asker(proxy: Flavour, page: &Report) -> ProxyFinding {
    let (named, asked) = (proxy.as_str(), page.flavour.as_str());
    ProxyFinding {
        part: "who asks",
        fine: named == asked,
        saw: format!("the question was asked as {asked} asks"),
        remedy: format!(
            "run `doorward doctor {asked}` if that is the proxy there; {named} asks as `doorward snippet {named}` prints it"
        ),
    }
}

/// Method, scheme, host and path as the proxy says them.
fn original(proxy: Flavour, through: &str, page: &Report) -> ProxyFinding {
    let wanted = Url::parse(through).ok();
    let (fine, saw) = match (&page.understood, &page.unclear) {
        (Some(understood), _) => {
            let seen = Url::parse(&understood.url).ok();
            let same = wanted.zip(seen).is_some_and(|(wanted, seen)| {
                wanted.scheme() == seen.scheme()
                    && wanted.host_str() == seen.host_str()
                    && wanted.port_or_known_default() == seen.port_or_known_default()
                    && wanted.path() == seen.path()
            });
            (
                same && understood.method == "GET",
                format!("{} {}", understood.method, without_mark(&understood.url)),
            )
        }
        (None, Some(unclear)) => (false, unclear.clone()),
        (None, None) => (false, "nothing that can be read".to_owned()),
    };
    ProxyFinding {
        part: "method, scheme, host and path",
        fine,
        saw,
        remedy: format!("GET {through} was sent; {}", lines(proxy).original),
    }
}

fn without_mark(url: &str) -> &str {
    url.split_once("doorward-doctor=").map_or(url, |(url, _)| url.trim_end_matches(['?', '&']))
}

/// What tells who is calling and how to answer.
fn credentials(proxy: Flavour, config: &Config, page: &Report) -> Vec<ProxyFinding> {
    let keys = config.key_headers();
    let keys = keys.iter().map(|name| ("API key header", name.as_str()));
    [("cookies", "cookie"), ("Authorization", "authorization")]
        .into_iter()
        .chain(keys)
        .chain(OTHERS.iter().copied())
        .map(|(part, name)| {
            let fine = page.headers.iter().any(|(known, _)| known == name);
            ProxyFinding {
                part,
                fine,
                saw: if fine { "reaches the question" } else { "does not reach the question" }.to_owned(),
                remedy: lines(proxy).header.replace("NAME", name),
            }
        })
        .collect()
}

/// Whether nginx takes what the application gets from the response; other proxies do not say.
fn cookies(proxy: Flavour, page: &Report) -> Option<ProxyFinding> {
    let taken = page.headers.iter().any(|(name, _)| name == "x-doorward-answer-bytes");
    (proxy == Flavour::Nginx).then(|| ProxyFinding {
        part: "what the application gets of cookies",
        fine: taken,
        saw: if taken {
            "the answer has it; the session cookie stays here only with `proxy_set_header Cookie $doorward_cookie` where \
             the application is, which cannot be seen from here"
        } else {
            "is not in the answer, which has 4 kB at most: the session cookie reaches the application, and very long \
             addresses are forgotten on the way to sign in"
        }
        .to_owned(),
        remedy: "proxy_set_header X-Doorward-Answer-Bytes and proxy_buffer_size where nginx asks, and proxy_set_header \
                 Cookie $doorward_cookie where the application is, as `doorward snippet nginx` prints them"
            .to_owned(),
    })
}

fn websocket(proxy: Flavour, socket: Option<&Report>) -> ProxyFinding {
    let known = socket.and_then(|report| report.understood.as_ref()).map(|understood| understood.websocket);
    let (fine, saw) = match known {
        Some(true) => (true, "a handshake is known as one"),
        Some(false) => (false, "a handshake looks like any other GET"),
        None => (false, "a handshake leads to no question that can be read"),
    };
    ProxyFinding {
        part: "WebSocket",
        fine,
        saw: saw.to_owned(),
        remedy: match proxy {
            Flavour::Nginx => "proxy_set_header X-Original-Upgrade $http_upgrade;".to_owned(),
            proxy => lines(proxy).header.replace("NAME", "sec-websocket-key"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ConfigSource, Flags};

    fn config() -> Config {
        let flags = Flags { upstream: Some("builtin:sample".to_owned()), ..Flags::default() };
        config::load(&ConfigSource { file: None, environment: Vec::new().into_iter().collect() }, &flags)
            .unwrap()
    }

    fn report(changed: &serde_json::Value) -> Report {
        let names =
            ["cookie", "authorization", "x-api-key", "accept", "destination", "origin", "sec-fetch-mode"];
        let headers: Vec<_> =
            names.iter().chain(&["x-doorward-answer-bytes"]).map(|name| json!([name, null])).collect();
        let mut whole = json!({
            "flavour": "nginx", "peer": "127.0.0.1", "trusted": true, "headers": headers, "unclear": null,
            "understood": { "method": "GET", "url": "http://app.example/a?doorward-doctor=x",
                            "client": "198.51.100.1", "websocket": false },
        });
        for (name, value) in changed.as_object().unwrap() {
            whole[name] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn wrong(page: &serde_json::Value) -> Vec<&'static str> {
        let socket = report(&json!({ "understood": { "method": "GET", "url": "http://app.example/a",
                                                    "client": "198.51.100.1", "websocket": true } }));
        let findings =
            judge(Flavour::Nginx, "http://app.example/a", &config(), Some(&report(page)), Some(&socket));
        findings.into_iter().filter(|finding| !finding.fine).map(|finding| finding.part).collect()
    }

    #[test]
    fn each_fault_is_named_and_nothing_else() {
        let understood = |method: &str, url: &str, client: &str| json!({ "understood": { "method": method, "url": url, "client": client, "websocket": false } });
        assert_eq!(wrong(&json!({})), Vec::<&str>::new());
        assert_eq!(wrong(&json!({ "trusted": false })), ["trusted proxy"]);
        assert_eq!(wrong(&json!({ "flavour": "haproxy" })), ["who asks"]);
        assert_eq!(
            wrong(&understood("DELETE", "http://app.example/a", "198.51.100.1")),
            ["method, scheme, host and path"]
        );
        assert_eq!(
            wrong(&understood("GET", "https://app.example/a", "198.51.100.1")),
            ["method, scheme, host and path"]
        );
        assert_eq!(
            wrong(&understood("GET", "http://app.example/forged", "198.51.100.1")),
            ["method, scheme, host and path"]
        );
        assert_eq!(wrong(&understood("GET", "http://app.example/a", FORGED_ADDRESS)), ["client address"]);
        assert_eq!(
            wrong(&json!({ "understood": null, "unclear": "x-original-url is missing" })),
            ["method, scheme, host and path"]
        );
        let few =
            json!({ "headers": [["accept", "text/html"], ["origin", "x"], ["sec-fetch-mode", "navigate"]] });
        let cookies = "what the application gets of cookies";
        assert_eq!(wrong(&few), ["cookies", "Authorization", "API key header", "Destination", cookies]);
    }

    /// nginx has to take the session cookie off by itself, and no question shows whether it does.
    #[test]
    fn the_session_cookie_is_not_said_to_stay_where_that_cannot_be_seen() {
        let told = |page| cookies(Flavour::Nginx, &report(&page)).unwrap();
        let fine = told(json!({}));
        assert!(
            fine.fine && fine.saw.contains("only with `proxy_set_header Cookie $doorward_cookie`"),
            "{fine:?}"
        );
        assert!(fine.saw.contains("cannot be seen"), "{fine:?}");
        let lacking = told(json!({ "headers": [["cookie", null]] }));
        assert!(
            !lacking.fine && lacking.remedy.contains("proxy_set_header X-Doorward-Answer-Bytes"),
            "{lacking:?}"
        );
        assert!(cookies(Flavour::Traefik, &report(&json!({}))).is_none());
    }

    #[test]
    fn silence_and_unknown_handshakes_are_told() {
        let silent = judge(Flavour::Envoy, "http://app.example/", &config(), None, None);
        assert_eq!(silent.len(), 1);
        assert!(!silent[0].fine && silent[0].remedy.contains("snippet envoy"), "{silent:?}");
        assert!(!websocket(Flavour::Envoy, None).fine);
        assert!(!websocket(Flavour::Envoy, Some(&report(&json!({})))).fine);
    }
}
