//! Slow clients: anyone who sends or takes nothing is given up, and anyone who does it slowly is not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use doorward::model::role::Role;
use http::Version;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::{ROUTES, bearer};
use crate::support::http2::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, WINDOW_UPDATE, block, frame,
};
use crate::support::hyper::{http2, hyper_upstream};
use crate::support::patient::{flood, patient, raw_upstream};
use crate::support::process::Process;
use crate::support::raw::{exchange, read_answer, read_answer_to, read_head, read_to_close};
use crate::support::{Gateway, Upstream, within};

async fn gateway(settings: &str, upstream: &str) -> Gateway {
    Gateway::configured(&format!("{settings}\n[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n{ROUTES}"))
        .await
}

/// Sends a byte now and then, for as long as it is taken.
async fn trickle(stream: &mut (impl AsyncWriteExt + Unpin), every: Duration) {
    while stream.write_all(b"x").await.is_ok() {
        // What is tried is how slow it is.
        tokio::time::sleep(every).await;
    }
}

/// Part of D05: bodies at a byte now and then, for the application and for our own pages.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_body_that_trickles_in_is_given_up() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway("server.body_timeout = \"1s\"", &upstream.url()).await;
    for path in ["/public/x", "/_doorward/login"] {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let host = gateway.address;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: 4000\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = client.split();
        let trickled = async {
            trickle(&mut writing, Duration::from_millis(100)).await;
            std::future::pending::<String>().await
        };
        let told = async {
            let mut told = Vec::new();
            let _ = reading.read_to_end(&mut told).await;
            String::from_utf8_lossy(&told).into_owned()
        };
        let answer = within("the end of a slow body", async {
            tokio::select! { never = trickled => never, text = told => text }
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
    }
    assert_eq!(upstream.count(), 0, "no part of it was taken for the whole");
}

/// What is sent is slow, and five times what is wanted: a machine that stalls for two seconds changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_that_keeps_the_pace_and_a_stream_that_pauses_are_not_cut() {
    let upstream = Upstream::spawn().await;
    let limits = "server.body_timeout = \"3s\"\nserver.limits.body_rate = 200";
    let gateway = gateway(limits, &upstream.url()).await;
    let began = Instant::now();
    let mut steady = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /public/steady HTTP/1.1\r\nhost: a\r\ncontent-length: 7000\r\n\r\n";
    steady.write_all(head.as_bytes()).await.unwrap();
    let mut pausing = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /public/pausing HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    pausing.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..70 {
        steady.write_all(&[b'x'; 100]).await.unwrap();
        // What is tried is this pace, and the pause of the other one.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    pausing.write_all(b"1\r\ny\r\n0\r\n\r\n").await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(6), "two windows and more");
    assert_eq!(read_answer(&mut steady).await.status, 200);
    assert_eq!(read_answer(&mut pausing).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_reads_slowly_is_not_the_clients_fault() {
    let address = raw_upstream(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        // What is tried is that nothing is read for two windows and more.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let mut left = 64 << 20;
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = gateway("server.body_timeout = \"3s\"", &format!("http://{address}")).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 64 << 20);
    client.write_all(head.as_bytes()).await.unwrap();
    let block = vec![7; 1 << 20];
    for _ in 0..64 {
        within("room for more", client.write_all(&block)).await.unwrap();
    }
    assert_eq!(read_answer(&mut client).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
    let mut upstream = flood().await;
    let gateway = gateway("server.write_timeout = \"3s\"", &upstream.url()).await;
    let open = async || {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(b"GET /public/flood HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(within("the head", read_answer_to(&mut client, true)).await.status, 200);
        client
    };
    let mut slow = open().await;
    let stuck = open().await;
    let mut buffer = vec![0; 1 << 18];
    let mut looks = 0;
    // Read on, slowly, until the upstream's side of the other one has ended, and well past the limit.
    let began = Instant::now();
    let mut ended = false;
    while !ended || began.elapsed() < Duration::from_secs(7) {
        within("more", slow.read_exact(&mut buffer)).await.unwrap();
        looks += 1;
        ended |= tokio::time::timeout(Duration::from_millis(100), upstream.sees_the_end_of(&["/flood"]))
            .await
            .is_ok();
        assert!(began.elapsed() < crate::support::DEADLINE, "the stuck reader was never cut off");
    }
    assert!(looks > 10);
    drop(stuck);
}

/// H08: readers that take nothing, in numbers.
#[tokio::test(flavor = "multi_thread")]
async fn many_readers_that_take_nothing_are_held_in_bounded_memory() {
    let upstream = flood().await;
    let gateway = Process::serve(&upstream.url(), ROUTES);
    let key = gateway.system_key("k", Role::Viewer).await;
    let mut stuck = Vec::new();
    let before = gateway.resident_bytes();
    for _ in 0..40 {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("GET /flood HTTP/1.1\r\nhost: a\r\n{}\r\n", bearer(&key));
        client.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(within("the head", read_answer_to(&mut client, true)).await.status, 200);
        stuck.push(client);
    }
    upstream.comes_to_rest().await;
    let growth = gateway.resident_bytes().saturating_sub(before) / 40;
    println!("{} KiB each", growth >> 10);
    assert!(growth < 1 << 20, "{} KiB for one of them", growth >> 10);
    let health = exchange(gateway.address, "GET /_doorward/healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(health.status, 200);
}

fn get(stream: u32) -> Vec<u8> {
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")]);
    let mut bytes = Vec::new();
    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, stream, &head);
    bytes
}

/// An upstream by HTTP/2 whose answers have so many bytes.
async fn sized(bytes: usize) -> String {
    let address = hyper_upstream(move |_| async move {
        http::Response::new(Full::new(Bytes::from(vec![7; bytes])).map_err(|never| match never {}).boxed())
    })
    .await;
    format!("h2c://{address}")
}

/// Part of D13: windows that stay shut.
#[tokio::test(flavor = "multi_thread")]
async fn http2_windows_that_stay_shut_cost_the_connection() {
    let gateway =
        gateway("server.write_timeout = \"1s\"\nserver.keep_alive = \"1s\"", &sized(1 << 20).await).await;
    // No window at all, and one that fits a part of a piece.
    for window in [0, 1000] {
        let mut client = Raw::connect(gateway.address, &[(4, window)]).await;
        assert!(client.send(&[get(1), get(3)].concat()).await);
        client.closes().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_windows_that_open_slowly_are_waited_for() {
    let gateway =
        gateway("server.write_timeout = \"4s\"\nserver.keep_alive = \"1s\"", &sized(200_000).await).await;
    let mut client = Raw::connect(gateway.address, &[(4, 0)]).await;
    assert!(client.send(&get(1)).await);
    let began = Instant::now();
    // What is tried is the pace: each time a part of what is asked for in four seconds, so that a machine that stalls
    // for two changes nothing.
    for _ in 0..24 {
        let mut more = Vec::new();
        for stream in [0, 1] {
            frame(&mut more, WINDOW_UPDATE, 0, stream, &10_000_u32.to_be_bytes());
        }
        assert!(client.send(&more).await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(5));
    let mut received = 0;
    within("the whole body", async {
        loop {
            let (kind, flags, _, payload) = client.next().await.expect("the connection lives");
            assert_ne!(kind, RST_STREAM);
            if kind == 0 {
                received += payload.len();
                if flags & END_STREAM != 0 {
                    break;
                }
            }
        }
    })
    .await;
    assert_eq!(received, 200_000);
}

/// H07: connections on which nobody asks anything.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_ones_that_wait_for_an_answer_are_not() {
    let upstream = patient().await;
    let gateway = gateway("server.keep_alive = \"4s\"", &upstream.url()).await;
    let mut waiting = TcpStream::connect(gateway.address).await.unwrap();
    waiting.write_all(b"GET /public/silent HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut waiting2 = Raw::connect(gateway.address, &[]).await;
    assert!(waiting2.send(&get(1)).await);

    let idle = async {
        let mut idle = TcpStream::connect(gateway.address).await.unwrap();
        idle.write_all(b"GET /_doorward/healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut idle).await.status, 200);
        assert_eq!(read_to_close(&mut idle).await, "");
    };
    let unused = async {
        let mut unused = TcpStream::connect(gateway.address).await.unwrap();
        assert_eq!(read_to_close(&mut unused).await, "");
    };
    let idle2 = async { Raw::connect(gateway.address, &[]).await.closes().await };
    let half = async {
        let mut half = TcpStream::connect(gateway.address).await.unwrap();
        half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        read_to_close(&mut half).await;
    };
    tokio::join!(idle, unused, idle2, half);

    let quiet = tokio::time::timeout(Duration::from_millis(100), waiting.read_u8()).await;
    assert!(quiet.is_err(), "an answer is still waited for");
    within("no more than settings", async {
        while let Ok(Some((kind, ..))) =
            tokio::time::timeout(Duration::from_millis(100), waiting2.next()).await
        {
            assert_ne!(kind, GOAWAY, "told to go away");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_body_that_trickles_in_is_given_up() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway("server.body_timeout = \"1s\"", &upstream.url()).await;
    let mut client = http2(gateway.address).await;
    // What is tried is how slow it is.
    let frames = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"x"))), ()))
    });
    let request = http::Request::post("http://a/public/x")
        .version(Version::HTTP_2)
        .header("content-length", "4000")
        .body(http_body_util::StreamBody::new(Box::pin(frames)))
        .unwrap();
    let answer = within("the refusal", client.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!(upstream.count(), 0);
}
