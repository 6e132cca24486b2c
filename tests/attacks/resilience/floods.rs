//! Floods: anyone who sends too much of anything is turned away, in flat memory, while others are answered.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Ended, HEADERS, PING, PRIORITY, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, block, fields, frame,
};
use crate::support::process::Process;
use crate::support::raw::{exchange, statuses, until_closed};
use crate::support::{Upstream, within};

/// What an attack may cost at most.
const MOST_GROWTH: u64 = 16 << 20;

/// A gateway under attack.
struct Target {
    gateway: Process,
    upstream: Upstream,
    before: u64,
}

impl Target {
    async fn start() -> Self {
        let upstream = Upstream::spawn().await;
        let gateway = Process::serve(&upstream.url(), ROUTES);
        let target = Self { gateway, upstream, before: 0 };
        target.answers_others().await;
        let before = target.gateway.resident_bytes();
        Self { before, ..target }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    async fn answers_others(&self) {
        let request = "GET /public/other HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(within("an honest answer", exchange(self.gateway.address, request)).await.status, 200);
    }

    /// What must hold under and after every attack.
    async fn stands(&self, attack: &str) {
        self.answers_others().await;
        let growth = self.gateway.resident_bytes().saturating_sub(self.before);
        assert!(growth < MOST_GROWTH, "{attack}: resident memory grew by {} KiB", growth >> 10);
    }
}

fn request_block(method: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")])
}

/// Stream ids that a client may choose, in order.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|at| 2 * at + 1)
}

/// D09: streams that are opened and reset at once.
#[tokio::test(flavor = "multi_thread")]
async fn streams_reset_by_the_client_as_fast_as_it_opens_them_end_its_connection() {
    let target = Target::start().await;
    let head = request_block("GET");
    let mut attack = Vec::new();
    for stream in streams(20_000) {
        frame(&mut attack, HEADERS, END_HEADERS | END_STREAM, stream, &head);
        frame(&mut attack, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    let mut client = Raw::connect(target.address(), &[]).await;
    client.send(&attack).await;
    client.ends().await;
    target.stands("rapid reset").await;
    assert!(target.upstream.begun() < 2_000, "{} requests reached the upstream", target.upstream.begun());
}

/// D11: errors by intent, so that the resets are ours.
#[tokio::test(flavor = "multi_thread")]
async fn streams_the_client_makes_us_reset_end_its_connection() {
    let target = Target::start().await;
    let head = request_block("POST");
    let mut attack = Vec::new();
    for stream in streams(5_000) {
        frame(&mut attack, HEADERS, END_HEADERS, stream, &head);
        // An increment of zero is an error of the stream (RFC 9113, 6.9).
        frame(&mut attack, WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
    }
    let mut client = Raw::connect(target.address(), &[]).await;
    client.send(&attack).await;
    client.ends().await;
    target.stands("made to reset").await;
}

/// D10: a head in frames without end, full and empty ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_ends_its_connection() {
    let target = Target::start().await;
    let mut attack = Vec::new();
    frame(&mut attack, HEADERS, END_STREAM, 1, &request_block("GET"));
    let more = block(&[("x", &"y".repeat(1000))]);
    for _ in 0..20_000 {
        frame(&mut attack, CONTINUATION, 0, 1, &more);
    }
    let mut client = Raw::connect(target.address(), &[]).await;
    assert!(!client.send(&attack).await, "20 MiB of head were read");
    target.stands("CONTINUATION").await;

    // Empty ones cost no room, and still end.
    let mut attack = Vec::new();
    frame(&mut attack, HEADERS, END_STREAM, 1, &request_block("GET"));
    for _ in 0..200_000 {
        frame(&mut attack, CONTINUATION, 0, 1, &[]);
    }
    let mut client = Raw::connect(target.address(), &[]).await;
    client.send(&attack).await;
    client.ends().await;
    target.stands("empty CONTINUATION").await;
    assert_eq!(target.upstream.requests().iter().filter(|seen| seen.line() == "GET /public/x").count(), 0);
}

/// D13: SETTINGS, PING and whatever else costs its sender nothing.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_want_an_answer_or_none_cost_nothing_however_many_they_are() {
    let target = Target::start().await;
    let mut open = Vec::new();
    frame(&mut open, HEADERS, END_HEADERS, 1, &request_block("POST"));
    for (name, kind, stream, payload) in [
        ("SETTINGS", SETTINGS, 0, &[0, 3, 0, 0, 0, 100][..]),
        ("PING", PING, 0, &[7; 8]),
        ("PRIORITY", PRIORITY, 1, &[0, 0, 0, 0, 1]),
        ("empty DATA", DATA, 1, &[]),
        ("WINDOW_UPDATE", WINDOW_UPDATE, 1, &[0, 0, 0, 1]),
        ("unknown", 0xEE, 0, &[1; 64]),
    ] {
        let mut client = Raw::connect(target.address(), &[]).await;
        assert!(client.send(&open).await);
        let mut attack = Vec::new();
        for _ in 0..200_000 {
            frame(&mut attack, kind, 0, stream, payload);
        }
        // Nothing is read meanwhile: answers that cannot be sent must not pile up.
        client.send(&attack).await;
        target.stands(name).await;
    }
}

/// Part of D13: a head that unpacks to thirty megabytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_unpacks_to_far_more_than_it_is_goes_nowhere() {
    let target = Target::start().await;
    // One entry of 3 KiB in the table, and ten thousand references to it (RFC 7541, 6.1).
    let value = "y".repeat(3000);
    let mut bomb = request_block("GET");
    bomb.extend_from_slice(&[0x40, 1, b'x', 127, 0xB9, 22]);
    bomb.extend_from_slice(value.as_bytes());
    bomb.resize(bomb.len() + 10_000, 0xBE);
    let mut attack = Vec::new();
    frame(&mut attack, HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    let mut client = Raw::connect(target.address(), &[]).await;
    client.send(&attack).await;
    client.sees(HEADERS).await; // 431, or the end of the connection
    target.stands("HPACK bomb").await;
    let reached = target.upstream.requests();
    assert!(reached.iter().all(|seen| seen.line() == "GET /public/other"), "it reached the upstream");

    let many: Vec<(String, String)> = (0..2_000).map(|at| (format!("x-{at}"), "y".repeat(20))).collect();
    let mut head = vec![(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")];
    head.extend(many.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let ended = fields_in_pieces(target.address(), &head).await;
    assert!(matches!(ended, Ended::Answered(431) | Ended::Broken), "{ended:?}");
}

/// Sends a head of any size in as many frames as it takes.
async fn fields_in_pieces(address: SocketAddr, head: &[(&str, &str)]) -> Ended {
    let whole = block(head);
    let mut pieces = whole.chunks(16_000).peekable();
    let mut bytes = Vec::new();
    let first = pieces.next().unwrap();
    frame(&mut bytes, HEADERS, END_STREAM | if pieces.peek().is_none() { END_HEADERS } else { 0 }, 1, first);
    while let Some(piece) = pieces.next() {
        frame(&mut bytes, CONTINUATION, if pieces.peek().is_none() { END_HEADERS } else { 0 }, 1, piece);
    }
    let mut client = Raw::connect(address, &[]).await;
    client.send(&bytes).await;
    within("an answer or the end", async {
        loop {
            match client.next().await {
                Some((HEADERS, _, _, payload)) => {
                    return Ended::Answered(crate::support::http2::status(&payload));
                }
                Some((RST_STREAM | crate::support::http2::GOAWAY, ..)) | None => return Ended::Broken,
                Some(_) => {}
            }
        }
    })
    .await
}

/// Part of D13: windows that overflow and windows that are overrun.
#[tokio::test(flavor = "multi_thread")]
async fn windows_that_overflow_or_are_overrun_end_the_connection() {
    let target = Target::start().await;
    let mut client = Raw::connect(target.address(), &[]).await;
    let mut attack = Vec::new();
    for _ in 0..2 {
        frame(&mut attack, WINDOW_UPDATE, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes());
    }
    client.send(&attack).await;
    client.ends().await;

    let mut client = Raw::connect(target.address(), &[]).await;
    let mut attack = Vec::new();
    frame(&mut attack, HEADERS, END_HEADERS, 1, &request_block("POST"));
    for _ in 0..2_000 {
        frame(&mut attack, DATA, 0, 1, &[7; 16_000]);
    }
    // The upstream reads what it is sent, so a client that keeps to the window would not be refused.
    client.send(&attack).await;
    client.sees(RST_STREAM).await; // or the end of the connection; else this waits in vain
    target.stands("overrun windows").await;
    let ended = fields(
        target.address(),
        &[(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")],
        None,
    )
    .await;
    assert_eq!(ended, Ended::Answered(200), "honest streams are served as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_wait_their_turn_outside() {
    let target = Target::start().await;
    let mut client = TcpStream::connect(target.address()).await.unwrap();
    let request = "GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut reading, mut writing) = client.split();
    let flood = request.repeat(200_000);
    // As much as is taken without one answer being read.
    let taken = tokio::time::timeout(Duration::from_secs(3), writing.write_all(flood.as_bytes())).await;
    assert!(taken.is_err(), "{} MiB of requests were taken in", flood.len() >> 20);
    target.stands("pipelining").await;
    let mut buffer = vec![0; 1 << 16];
    let read = within("answers", reading.read(&mut buffer)).await.unwrap();
    let text = String::from_utf8_lossy(&buffer[..read]);
    let statuses = statuses(&text);
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

/// Chunk extensions, and chunks of one byte.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_may_be_small_and_many_and_not_adorned() {
    let target = Target::start().await;
    let head = "POST /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = format!("{head}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let text = until_closed(target.address(), long).await;
    assert!(matches!(statuses(&text)[..], [] | [400 | 502]), "{text:.100}");
    let many = format!("{head}{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "y".repeat(100)).repeat(10_000));
    let text = until_closed(target.address(), many).await;
    assert!(matches!(statuses(&text)[..], [] | [400 | 502]), "{text:.100}");
    target.stands("chunk extensions").await;

    let plain = format!("{head}{}0\r\n\r\n", "1\r\nx\r\n".repeat(10_000));
    let answer = within("an answer", exchange(target.address(), plain)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(target.upstream.last().body.len(), 10_000);
    target.stands("small chunks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_bounded() {
    let target = Target::start().await;
    let head = "POST /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    for trailers in
        [format!("x: {}\r\n\r\n", "y".repeat(1 << 20)), format!("{}\r\n", "x: y\r\n".repeat(100_000))]
    {
        let before = target.upstream.count();
        let text = until_closed(target.address(), format!("{head}{trailers}")).await;
        assert!(matches!(statuses(&text)[..], [] | [400 | 502]), "{text:.100}");
        assert_eq!(target.upstream.count(), before, "a request without its end was complete");
    }
    target.stands("trailers").await;
    let answer = exchange(target.address(), format!("{head}x: y\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
}
