//! Metrics: exact under load, bounded whatever is asked for, and on a listener of their own.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, far below what a float holds exactly")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use doorward::model::role::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::support::gateway::{PASSWORD, bearer};
use super::support::{Gateway, Upstream, exchange, until, within};

/// Samples by name and labels, as the text has them.
type Samples = BTreeMap<String, f64>;

fn settings(upstream: &str) -> String {
    format!(
        "metrics.listen = \"127.0.0.1:0\"\n[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n\
         [[routes]]\nname = \"main\"\nupstream = \"app\"\nrules = [\n\
         {{ name = \"open\", path = \"/open\", allow = \"anyone\" }},\n\
         {{ name = \"rest\", allow = [\"member\", \"agent\"] }}]\n"
    )
}

async fn page(at: SocketAddr) -> String {
    let answer =
        exchange(at, format!("GET /metrics HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.headers("content-type"), ["text/plain; version=0.0.4; charset=utf-8"]);
    answer.text()
}

async fn samples(at: SocketAddr) -> Samples {
    let page = page(at).await;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn of(samples: &Samples, name: &str) -> f64 {
    samples.get(name).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn requests_are_counted_exactly_while_several_threads_serve() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    let key = bearer(&gateway.system_key("load", Role::Agent).await);
    let address = gateway.address;
    let clients = (0..8).map(|client| {
        let key = key.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                let (path, headers) = match (client + n) % 4 {
                    0 => ("/open", ""),
                    1 => ("/rest", key.as_str()),
                    2 => ("/rest", ""),
                    _ => ("/rest", "authorization: Bearer dw_s_wrong\r\n"),
                };
                exchange(address, format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n")).await;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        within("the load", client).await.unwrap();
    }
    let found = samples(at).await;
    let requests = |decision: &str, status: &str| {
        let name =
            format!("doorward_requests_total{{route=\"main\",decision=\"{decision}\",status=\"{status}\"}}");
        of(&found, &name)
    };
    assert_eq!(requests("allow", "2xx"), 200.0);
    assert_eq!(requests("challenge", "4xx"), 200.0);
    assert_eq!(of(&found, "doorward_request_duration_seconds_count{route=\"main\"}"), 400.0);
    assert_eq!(of(&found, "doorward_request_duration_seconds_bucket{route=\"main\",le=\"+Inf\"}"), 400.0);
    assert!(of(&found, "doorward_request_duration_seconds_sum{route=\"main\"}") > 0.0);
    assert_eq!(of(&found, "doorward_refusals_total{code=\"sign-in-required\"}"), 100.0);
    assert_eq!(of(&found, "doorward_refusals_total{code=\"invalid-key\"}"), 100.0);
    assert_eq!(of(&found, "doorward_requests_by_credential_total{credential=\"system-key\"}"), 100.0);
    assert_eq!(of(&found, "doorward_requests_by_credential_total{credential=\"none\"}"), 300.0);
    let cache = |result: &str| {
        of(&found, &format!("doorward_credential_cache_total{{kind=\"key\",result=\"{result}\"}}"))
    };
    assert_eq!(cache("hit") + cache("miss"), 100.0);
    assert!(cache("miss") >= 1.0 && cache("hit") >= 90.0);
    let connects = |result: &str| {
        of(&found, &format!("doorward_upstream_connects_total{{upstream=\"app\",result=\"{result}\"}}"))
    };
    assert_eq!(connects("opened") + connects("reused"), 200.0);
    assert_eq!(connects("failed"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_counted_apart() {
    let upstream = Upstream::spawn().await;
    let settings = settings(&upstream.url()).replace("rules = [", "enforce = \"log\"\nrules = [");
    let more = "[[routes]]\nname = \"strict\"\nupstream = \"app\"\npath = \"/strict\"\n\
                [[routes]]\nname = \"off\"\nupstream = \"app\"\npath = \"/off\"\nenforce = \"off\"\n";
    let gateway = Gateway::configured(&format!("{settings}{more}")).await;
    let key = bearer(&gateway.system_key("load", Role::Agent).await);
    for (path, headers, status, times) in [
        ("/rest", "", 200, 3),
        ("/rest", "authorization: Bearer dw_s_wrong\r\n", 200, 2),
        ("/rest", &*key, 200, 4),
        ("/open", "", 200, 5),
        ("/strict", "", 401, 6),
        ("/off", "", 200, 7),
    ] {
        for _ in 0..times {
            assert_eq!(gateway.get(path, headers).await.status, status, "{path} {headers}");
        }
    }
    let found = samples(gateway.metrics_address().unwrap()).await;
    let requests = |route: &str, decision: &str| -> f64 {
        let start = format!("doorward_requests_total{{route=\"{route}\",decision=\"{decision}\",");
        found.iter().filter(|(name, _)| name.starts_with(&start)).map(|(_, count)| count).sum()
    };
    for (route, allowed, shadowed, challenged) in
        [("main", 9.0, 5.0, 0.0), ("strict", 0.0, 0.0, 6.0), ("off", 7.0, 0.0, 0.0)]
    {
        assert_eq!(requests(route, "allow"), allowed, "{route} {found:?}");
        assert_eq!(requests(route, "shadow"), shadowed, "{route} {found:?}");
        assert_eq!(requests(route, "challenge"), challenged, "{route} {found:?}");
    }
}

/// D19: paths, hosts, methods and names that clients make up are no labels.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ten_thousand_made_up_requests_add_no_series() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    let key = bearer(&gateway.system_key("load", Role::Agent).await);
    for _ in 0..7 {
        gateway.post_login("nobody-0", PASSWORD).await;
    }
    let address = gateway.address;
    let mut series = Vec::new();
    for round in 0..10 {
        let clients = (0..10).map(|client| {
            let key = key.clone();
            tokio::spawn(async move {
                let connect = async || BufReader::new(TcpStream::connect(address).await.unwrap());
                let mut stream = connect().await;
                for n in 0..100 {
                    let mark = format!("r{round}c{client}n{n}");
                    let method = ["GET", "POST", "PATCH", "DELETE"][n % 4];
                    let path = [format!("/open/{mark}"), format!("/{mark}?q={mark}")][n % 2].clone();
                    let credential = match n % 5 {
                        0 => key.clone(),
                        1 => format!("cookie: doorward={mark}\r\n"),
                        2 => format!("authorization: Bearer dw_u_{mark}\r\n"),
                        _ => String::new(),
                    };
                    let request = format!(
                        "{method} {path} HTTP/1.1\r\nhost: {mark}.example\r\nuser-agent: {mark}\r\n\
                         accept: application/json\r\ncontent-length: 0\r\n{credential}\r\n"
                    );
                    stream.write_all(request.as_bytes()).await.unwrap();
                    if skip_answer(&mut stream).await {
                        stream = connect().await;
                    }
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        for client in clients {
            within("the load", client).await.unwrap();
        }
        gateway.post_login(&format!("nobody-{round}"), PASSWORD).await;
        let found = samples(at).await;
        let served: f64 = found
            .iter()
            .filter(|(name, _)| name.starts_with("doorward_requests_total{route=\"main\""))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(served, 1000.0 * f64::from(round + 1));
        series.push(found.into_keys().collect::<Vec<_>>());
    }
    assert_eq!(series.first(), series.last());
    assert!(series[0].len() < 250, "{}", series[0].len());
}

/// Reads one answer off a connection; whether the connection ends with it.
async fn skip_answer(stream: &mut BufReader<TcpStream>) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let length: usize = field("content-length:").map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    field("connection:").is_some_and(|connection| connection == "close")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_plane_does_is_counted_too() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    gateway.user("alice", Role::Member).await;
    for password in [PASSWORD, "wrong", "wrong"] {
        gateway.post_login("alice", password).await;
    }
    let found = samples(at).await;
    assert_eq!(of(&found, "doorward_logins_total{result=\"success\"}"), 1.0);
    assert_eq!(of(&found, "doorward_logins_total{result=\"wrong-password\"}"), 2.0);
    assert_eq!(of(&found, "doorward_config_loads_total{cause=\"start\",result=\"success\"}"), 1.0);
    assert_eq!(of(&found, "doorward_config_last_load_success_timestamp_seconds"), 1_900_000_000.0);
    assert!(of(&found, "doorward_revocation_age_seconds") < 10.0);
    assert!(of(&found, "doorward_revocation_revision") >= 1.0);
    assert!(of(&found, "process_resident_memory_bytes") > 1e6);
    // Of all gateways of this process.
    assert!(found.contains_key("doorward_store_errors_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_requests_and_tunnels_are_gauges_that_fall() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    let held = TcpStream::connect(gateway.address).await.unwrap();
    until("one more connection", async || of(&samples(at).await, "doorward_connections_open") >= 1.0).await;
    drop(held);
    let gauges = ["doorward_connections_open", "doorward_requests_open", "doorward_tunnels_open"];
    until("none left", async || {
        let found = samples(at).await;
        gauges.iter().all(|gauge| found.get(*gauge) == Some(&0.0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_page_is_answered() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    for line in
        ["GET /", "GET /metrics/", "POST /metrics", "HEAD /metrics", "GET /_doorward/login", "GET /healthz"]
    {
        let answer = exchange(
            at,
            format!("{line} HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert_eq!(answer.status, 404, "{line}");
    }
    assert_eq!(exchange(at, format!("GET /metrics?x=1 HTTP/1.1\r\nhost: {at}\r\n\r\n")).await.status, 200);
    let elsewhere = gateway.get("/metrics", "").await;
    assert_ne!(elsewhere.status, 200, "not among the applications");
    assert!(!elsewhere.text().contains("doorward_requests_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_listener_unless_it_is_wanted() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), "[[routes]]\nupstream = \"app\"\n").await;
    assert_eq!(gateway.metrics_address(), None);
}

/// Connections beyond the bound are closed, and those that are slow make room in time.
#[tokio::test(flavor = "multi_thread")]
async fn connections_for_metrics_are_bounded() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /metr").await.unwrap();
        held.push(stream);
    }
    let mut beyond = TcpStream::connect(at).await.unwrap();
    let mut nothing = Vec::new();
    // Closed or reset, it makes no difference.
    let _ = within("the end of one too many", beyond.read_to_end(&mut nothing)).await;
    assert_eq!(nothing, b"");
    let mut slow = held.remove(0);
    let _ = within("the end of a head that does not end", slow.read_to_end(&mut nothing)).await;
    assert!(!String::from_utf8_lossy(&nothing).contains("200 OK"));
    drop(held);
    within("room for another", async {
        loop {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let request = format!("GET /metrics HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
            let mut page = Vec::new();
            if stream.write_all(request.as_bytes()).await.is_ok()
                && stream.read_to_end(&mut page).await.is_ok()
                && page.starts_with(b"HTTP/1.1 200")
            {
                break;
            }
        }
    })
    .await;
}

/// A dashboard of names that are not there would show nothing, and nobody would notice.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_dashboard_and_the_documentation_exists() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url())).await;
    let at = gateway.metrics_address().unwrap();
    gateway.get("/open", "").await;
    let page = page(at).await;
    let families: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .chain(["doorward_tls_certificate_expiry_timestamp_seconds"]) // only with a certificate
        .collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana-dashboard.json")).unwrap();
    let documentation = include_str!("../../docs/metrics.md");
    for (text, least) in [(dashboard.to_string(), 15), (documentation.to_owned(), families.len())] {
        let named = names_in(&text);
        assert!(named.len() >= least, "{named:?}");
        for name in &named {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(families.contains(&bare.unwrap_or(name)) || families.contains(&name.as_str()), "{name}");
        }
    }
    let documented = names_in(documentation);
    for family in families {
        assert!(documented.iter().any(|name| name == family), "docs/metrics.md does not have {family}");
    }
}

fn names_in(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("doorward_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_certificate_is_told() {
    let (_folder, _, tls) = super::tls::gateway_certificate();
    let gateway = Gateway::configured(&format!(
        "metrics.listen = \"127.0.0.1:0\"\n[server]\nworkers = 1\n{tls}\
         [[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n[[routes]]\nupstream = \"app\"\n"
    ))
    .await;
    let found = samples(gateway.metrics_address().unwrap()).await;
    assert!(of(&found, "doorward_tls_certificate_expiry_timestamp_seconds") > 1.9e9);
}
