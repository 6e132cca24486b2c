//! Every limit and rule of the way out, against servers on loopback that misbehave.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::testing::{Behaviour, NAME, TestServer};
use super::*;
use crate::model::secret::Secret;

const SHORT: Duration = Duration::from_millis(200);

/// Why there is no response.
async fn fault_of(client: &EgressClient, url: &str) -> EgressFault {
    client.send(EgressRequest::get(url)).await.err().expect("there is no response").fault
}

fn with(server: &TestServer, limits: impl FnOnce(&mut EgressLimits)) -> EgressClient {
    let mut settings = server.settings(&[&server.url("")]);
    limits(&mut settings.limits);
    EgressClient::new(settings).unwrap()
}

/// A client that finds `addresses` for every name.
fn resolving(server: &TestServer, named: &[&str], addresses: &[SocketAddr]) -> EgressClient {
    let found = NameResolution::Fixed(addresses.to_vec());
    EgressClient::new(EgressSettings { names: found, ..server.settings(named) }).unwrap()
}

#[tokio::test]
async fn a_request_is_sent_as_it_is_made_and_the_whole_response_comes_back() {
    let server = TestServer::start(Behaviour::json(r#"{"keys":["k1"]}"#)).await;
    let client = server.client();
    let call = EgressRequest::get(&server.url("/jwks?v=1")).bearer(&Secret::new("t0ken"));
    let reply = client.send(call.header("x-api-version", &Secret::new("2"))).await.unwrap();
    assert_eq!((reply.status(), reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.json::<Value>().unwrap()["keys"][0], "k1");
    let form = EgressRequest::form(&server.url("/token"), &[("grant_type", "x y"), ("code", "a&b")]);
    client.send(form).await.unwrap();
    let [asked, posted] = server.requests().try_into().unwrap();
    let host = server.address;
    assert!(asked.starts_with("GET /jwks?v=1 HTTP/1.1\r\n"), "{asked}");
    for line in ["accept: application/json", "authorization: Bearer t0ken", "x-api-version: 2"] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
    assert!(asked.contains(&format!("\r\nhost: {host}\r\n")) && asked.contains("\r\nuser-agent: doorward/"));
    assert!(posted.starts_with("POST /token HTTP/1.1\r\n"), "{posted}");
    assert!(posted.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"), "{posted}");
    assert!(posted.ends_with("\r\n\r\ngrant_type=x+y&code=a%26b"), "{posted}");
}

/// Calls the function that libraries such as `instant-acme` want.
async fn as_a_library_calls<F>(send: impl Fn(Request<Vec<u8>>) -> F, url: &str) -> Response<Vec<u8>>
where
    F: Future<Output = Result<Response<Vec<u8>>, EgressError>> + Send,
{
    send(Request::get(url).body(Vec::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn libraries_are_handed_a_function_and_see_every_status_but_redirects() {
    for status in [200, 304, 400, 401, 404, 500, 503] {
        let body = if status == 304 { "" } else { "{}" };
        let server = TestServer::start(Behaviour::answer(status, "application/json", body)).await;
        let client = server.client();
        let answer = as_a_library_calls(|request| client.exchange(request), &server.url("/")).await;
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (status, body.as_bytes()));
    }
}

#[tokio::test]
async fn a_url_without_a_path_means_the_root() {
    let server = TestServer::plain(Behaviour::json("{}")).await;
    let client = server.client();
    for (url, line) in [("", "GET / HTTP/1.1"), ("?x=1", "GET /?x=1 HTTP/1.1")] {
        client.send(EgressRequest::get(&server.url(url))).await.unwrap();
        assert_eq!(server.requests().last().unwrap().lines().next(), Some(line));
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = TestServer::plain(Behaviour::json("{}")).await;
    for status in [301, 302, 303, 307, 308] {
        let to = elsewhere.url("/token");
        let answer = format!("HTTP/1.1 {status} Go\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let server = TestServer::start(Behaviour::Answer(answer.into_bytes())).await;
        let client = EgressClient::new(server.settings(&[&server.url(""), &to])).unwrap();
        let fault = fault_of(&client, &server.url("/")).await;
        assert!(matches!(fault, EgressFault::Redirect(code) if code == status), "{fault:?}");
        assert_eq!(elsewhere.connections(), 0);
    }
}

#[tokio::test]
async fn what_is_not_json_is_reported_with_status_and_content_type() {
    let html = "<html>Sign in</html>";
    for (status, content_type, body, told) in [
        (200, "text/html; charset=utf-8", html, "answered with text/html (status 200) that cannot be read"),
        (200, "application/json", "{", "answered with application/json (status 200) that cannot be read"),
        (200, "", "", "answered with no content type (status 200) that cannot be read"),
        (503, "Text/HTML", html, "answered with status 503 and text/html"),
        (401, "application/json", "{}", "answered with status 401 and application/json"),
        (204, "application/json", "", "answered with application/json (status 204) that cannot be read"),
    ] {
        let server = TestServer::start(Behaviour::answer(status, content_type, body)).await;
        let reply = server.client().send(EgressRequest::get(&server.url("/"))).await.unwrap();
        let failure = reply.json::<Value>().unwrap_err();
        assert_eq!(failure.to_string(), format!("{} {told}", server.url("")));
    }
    let long = "x".repeat(1000);
    let server = TestServer::start(Behaviour::answer(200, &long, "no")).await;
    let reply = server.client().send(EgressRequest::get(&server.url("/"))).await.unwrap();
    assert!(reply.json::<Value>().unwrap_err().to_string().contains("no content type"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_given_up() {
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".to_vec();
    for act in [Behaviour::Hold(Vec::new()), Behaviour::Hold(begun)] {
        let server = TestServer::start(act).await;
        let client = with(&server, |limits| limits.total = SHORT);
        assert!(matches!(fault_of(&client, &server.url("/")).await, EgressFault::Timeout));
    }
}

#[tokio::test]
async fn a_server_that_does_not_get_to_tls_in_time_is_given_up() {
    let server = TestServer::mute().await;
    let client = with(&server, |limits| limits.connect = SHORT);
    assert!(matches!(fault_of(&client, &server.url("/")).await, EgressFault::Timeout));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_allowed_and_no_byte_more() {
    let body = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    for (length, fits) in [(1000, true), (1001, false)] {
        let server = TestServer::start(Behaviour::json(&body(length))).await;
        let client = with(&server, |limits| limits.response_bytes = 1000);
        let answer = client.send(EgressRequest::get(&server.url("/"))).await;
        assert_eq!(answer.is_ok(), fits);
        assert!(fits || matches!(answer.err().unwrap().fault, EgressFault::TooLarge(1000)));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_when_it_is_too_large() {
    let body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let server = TestServer::start(Behaviour::Repeat(body, b"4\r\nabcd\r\n".repeat(1000))).await;
    assert!(matches!(fault_of(&server.client(), &server.url("/")).await, EgressFault::TooLarge(_)));
    for field in [b"x-pad: abcdefgh\r\n".to_vec(), b"x".to_vec()] {
        let head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let server = TestServer::start(Behaviour::Repeat(head, field.repeat(1000))).await;
        assert!(matches!(fault_of(&server.client(), &server.url("/")).await, EgressFault::Broken(_)));
    }
}

/// One byte that counts itself for as long as it is kept.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(kept: &Arc<AtomicUsize>) -> Self {
        kept.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(kept))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn chunks_of_one_byte_are_not_kept_one_by_one() {
    for (length, fits) in [(1000, true), (1001, false)] {
        let (kept, most) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let chunks = futures_util::stream::iter(0..length).map(|_| {
            let chunk = Bytes::from_owner(Counted::new(&kept));
            most.fetch_max(kept.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok(Frame::data(chunk))
        });
        match whole(StreamBody::new(chunks), 1000).await {
            Ok(body) => assert!(fits && body == b"x".repeat(length)),
            Err(fault) => assert!(!fits && matches!(fault, EgressFault::TooLarge(1000)), "{fault:?}"),
        }
        assert_eq!((most.into_inner(), kept.load(Ordering::SeqCst)), (1, 0));
    }
}

#[tokio::test]
async fn an_answer_in_chunks_of_one_byte_is_whole_or_too_large() {
    for (chunks, fits) in [(1000, true), (1001, false)] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}{}0\r\n\r\n", "1\r\n7\r\n".repeat(chunks));
        let server = TestServer::start(Behaviour::Answer(answer.into_bytes())).await;
        let client = with(&server, |limits| limits.response_bytes = 1000);
        let request = Request::get(server.url("/")).body(Vec::new()).unwrap();
        match client.exchange(request).await {
            Ok(answer) => assert!(fits && *answer.body() == b"7".repeat(chunks)),
            Err(error) => assert!(!fits && matches!(error.fault, EgressFault::TooLarge(1000)), "{error}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_none() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "",
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
    ] {
        let server = TestServer::start(Behaviour::Answer(answer.into())).await;
        let fault = fault_of(&server.client(), &server.url("/")).await;
        assert!(matches!(fault, EgressFault::Broken(_)), "{answer}: {fault:?}");
    }
}

#[tokio::test]
async fn only_a_trusted_certificate_for_the_very_name_will_do() {
    let server = TestServer::start(Behaviour::json("{}")).await;
    let other = TestServer::start(Behaviour::json("{}")).await;
    let url = server.named_url("/");
    let right = resolving(&server, &[&url], &[server.address]);
    right.send(EgressRequest::get(&url)).await.unwrap();
    // Of another authority than the one that is named, or than the system's.
    for ca in [Some(other.ca()), None] {
        let on_system = ca.is_none();
        match EgressClient::new(EgressSettings { ca, ..server.settings(&[&server.url("")]) }) {
            Ok(client) => {
                assert!(matches!(fault_of(&client, &server.url("/")).await, EgressFault::Tls(_)));
            }
            // A machine may have no authorities.
            Err(error) => assert!(on_system && matches!(error, TlsError::NoAuthorities), "{error}"),
        }
    }
    // For other names.
    let url = format!("https://other.example:{}/", server.address.port());
    let client = resolving(&server, &[&url], &[server.address]);
    assert!(matches!(fault_of(&client, &url).await, EgressFault::Tls(_)));
    assert_eq!(server.requests().len(), 1);
    // None at all.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    let client = EgressClient::new(server.settings(&[&url])).unwrap();
    let answer = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (fault, _stream) = tokio::join!(fault_of(&client, &url), answer);
    assert!(matches!(fault, EgressFault::Tls(_)), "{fault:?}");
}

#[tokio::test]
async fn the_names_of_a_foreign_certificate_do_not_fill_the_log() {
    let names = (0..500).map(|number| format!("{number}.{}.example", "n".repeat(60)));
    let server = TestServer::certified_for(names.collect(), Behaviour::json("{}")).await;
    let fault = fault_of(&server.client(), &server.url("/")).await;
    assert!(matches!(fault, EgressFault::Tls(_)), "{fault:?}");
    let told = format!("{} {fault:?}", fault.source().unwrap());
    assert!(told.contains("not valid for name") && told.len() < 600, "{} bytes: {told:.600}", told.len());
}

#[tokio::test]
async fn no_connection_goes_to_an_internal_address_that_the_configuration_does_not_name() {
    let server = TestServer::start(Behaviour::json("{}")).await;
    let plain = TestServer::plain(Behaviour::json("{}")).await;
    let elsewhere: SocketAddr = "1.1.1.1:443".parse().unwrap();
    let port = server.address.port();
    let client = EgressClient::new(server.settings(&["https://127.0.0.1:1"])).unwrap();
    for url in [server.url("/"), format!("https://localhost:{port}/")] {
        let fault = fault_of(&client, &url).await;
        assert!(matches!(fault, EgressFault::Refused(EgressRefusal::Internal(_))), "{url}: {fault:?}");
    }
    let fault_at =
        async |url: &str, addresses: &[SocketAddr]| fault_of(&resolving(&server, &[], addresses), url).await;
    let url = server.named_url("/");
    for addresses in [&[server.address] as &[_], &[server.address, elsewhere], &[elsewhere, server.address]] {
        let fault = fault_at(&url, addresses).await;
        assert!(
            matches!(fault, EgressFault::Refused(EgressRefusal::Internal(_))),
            "{addresses:?}: {fault:?}"
        );
    }
    let fault = fault_at(&format!("http://{NAME}:{port}/"), &[server.address]).await;
    assert!(matches!(fault, EgressFault::Refused(EgressRefusal::Plain)), "{fault:?}");
    let fault = fault_of(&client, &plain.url("/")).await;
    assert!(matches!(fault, EgressFault::Refused(EgressRefusal::Plain)), "{fault:?}");
    assert_eq!((server.connections(), plain.connections()), (0, 0));
    // The same servers, named.
    for server in [server, plain] {
        server.client().send(EgressRequest::get(&server.url("/"))).await.unwrap();
    }
}

#[tokio::test]
async fn no_name_leads_to_a_metadata_service_even_if_the_configuration_names_it() {
    let server = TestServer::start(Behaviour::json("{}")).await;
    let url = server.named_url("/");
    let metadata = "169.254.169.254:80".parse().unwrap();
    for addresses in [&[metadata] as &[SocketAddr], &[server.address, metadata]] {
        let client = resolving(&server, &[&url], addresses);
        let fault = fault_of(&client, &url).await;
        assert!(matches!(fault, EgressFault::Refused(EgressRefusal::Forbidden(_))), "{fault:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_address_that_refuses_or_fails_in_tls_or_is_silent_leaves_the_others() {
    let server = TestServer::start(Behaviour::json("{}")).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stranger = TestServer::start(Behaviour::json("{}")).await;
    let silent = TestServer::mute().await;
    let url = server.named_url("/");
    let client = |addresses: &[SocketAddr]| {
        let mut settings = server.settings(&[&url]);
        settings.names = NameResolution::Fixed(addresses.to_vec());
        // Half of it is for the silent address, the rest for the next.
        settings.limits.connect = Duration::from_secs(4);
        EgressClient::new(settings).unwrap()
    };
    for bad in [nobody, stranger.address, silent.address] {
        let reply = client(&[bad, server.address]).send(EgressRequest::get(&url)).await;
        assert_eq!(reply.unwrap().status(), 200, "{bad}");
    }
    assert_eq!((stranger.requests().len(), stranger.connections(), silent.connections()), (0, 1, 1));
    assert_eq!(server.requests().len(), 3);
    assert!(matches!(fault_of(&client(&[nobody]), &url).await, EgressFault::Unreachable(_)));
    assert!(matches!(fault_of(&client(&[stranger.address]), &url).await, EgressFault::Tls(_)));
    let client = resolving(&server, &[&url], &[]);
    assert!(matches!(fault_of(&client, &url).await, EgressFault::Unreachable(_)));
}

#[tokio::test]
async fn no_more_requests_are_open_at_once_than_allowed() {
    let server = TestServer::start(Behaviour::json("{}")).await;
    let client = with(&server, |limits| limits.concurrent = 2);
    let url = server.url("/");
    let calls = (0..20).map(|_| client.send(EgressRequest::get(&url)));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.unwrap().status(), 200);
    }
    assert!(server.most_unanswered() <= 2, "{}", server.most_unanswered());
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_its_turn_is_given_up() {
    let server = TestServer::start(Behaviour::Hold(Vec::new())).await;
    let client = with(&server, |limits| (limits.concurrent, limits.total) = (0, SHORT));
    assert!(matches!(fault_of(&client, &server.url("/")).await, EgressFault::Timeout));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn no_error_holds_anything_of_a_request_or_of_a_response() {
    const SECRET: &str = "s3cr3t";
    let holds = |status: u16| {
        let location = format!("location: https://x.example/{SECRET}\r\nwww-authenticate: {SECRET}\r\n");
        format!(
            "HTTP/1.1 {status} {SECRET}\r\n{location}content-type: text/html\r\ncontent-length: 6\r\n\r\n{SECRET}"
        )
    };
    let mut told = 0;
    for answer in [&holds(200), &holds(302), &holds(500), SECRET, "HTTP/1.1 200 OK\r\ns3cr3t"] {
        let server = TestServer::start(Behaviour::Answer(answer.as_bytes().to_vec())).await;
        let named = server.client();
        let unnamed = EgressClient::new(server.settings(&[])).unwrap();
        let tiny = with(&server, |limits| limits.response_bytes = 1);
        let userinfo = format!("https://{SECRET}:{SECRET}@{}/", server.address);
        for (client, url) in [
            (&named, server.url("/s3cr3t?code=s3cr3t")),
            (&unnamed, server.url("/s3cr3t?code=s3cr3t")),
            (&tiny, server.url("/s3cr3t?code=s3cr3t")),
            (&named, userinfo),
            (&named, format!("ftp://{SECRET}/")),
            (&named, format!("https://exa mple/{SECRET}")),
        ] {
            let call = EgressRequest::form(&url, &[("client_secret", SECRET)]).bearer(&Secret::new(SECRET));
            let failure = match client.send(call).await {
                Ok(reply) => reply.json::<Value>().unwrap_err(),
                Err(failure) => failure,
            };
            let mut text = format!("{failure} {failure:?}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                text = format!("{text} {error} {error:?}");
                cause = error.source();
            }
            assert!(!text.contains(SECRET), "{text}");
            told += 1;
        }
    }
    assert_eq!(told, 30);
}
