//! Heads and bodies on the wire: what is read there before the HTTP library reads it is what the library reads, and
//! whatever the library would refuse was refused before.
//!
//! Input: what a client sends on a connection.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use doorward::edge::proxy::interim::Interim;
use doorward::server::connection_activity::ConnectionActivity;
use doorward::server::head::{HeadError, HeadLimits, HeadSummary};
use doorward::server::wire::{Wire, WireLimits};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const BOUNDS: HeadLimits = HeadLimits { bytes: 8192, fields: 32 };
const LIMITS: WireLimits =
    WireLimits { head: Duration::from_secs(10), idle: Duration::from_mins(1), bounds: BOUNDS };

/// Method, target and body; one that never ended is none.
type Found = (String, String, Option<Bytes>);
type Requests = Vec<Found>;

pub fn check(data: &[u8]) {
    let whole = served(data, data.len(), true);
    for step in [1, 3, 16] {
        assert_eq!(served(data, step, true), whole, "in pieces of {step}");
    }
    // The library by itself finds these requests, and may find more: it mends what is refused here.
    let bare = served(data, data.len(), false);
    let same = |at: usize, (method, target, body): &Found| {
        let last = at + 1 == whole.len();
        bare.get(at)
            .is_some_and(|(m, t, b)| m == method && t == target && (b == body || last && body.is_none()))
    };
    let all = whole.iter().enumerate().all(|(at, request)| same(at, request));
    assert!(all, "read {whole:?}, the library alone {bare:?}");
}

/// The requests that are served of these bytes, sent in pieces.
fn served(data: &[u8], step: usize, wired: bool) -> Requests {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let found = Rc::new(RefCell::new(Requests::new()));
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let send = async {
            for piece in data.chunks(step.max(1)) {
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
            answers
        };
        let ((), answers) = tokio::join!(serve(server, &found, wired), send);
        if wired {
            let text = String::from_utf8_lossy(&answers).into_owned();
            assert!(!text.contains(" 400 ") && !text.contains(" 431 ") && !text.contains(" 414 "), "{text}");
        }
        found.take()
    })
}

async fn serve(stream: DuplexStream, found: &Rc<RefCell<Requests>>, wired: bool) {
    let serving = ConnectionActivity::nothing();
    let service = service_fn(|request: Request<Incoming>| {
        let served = serving.begin();
        let broken = if wired { serving.take_broken(|| HeadSummary::of_request(&request)) } else { None };
        let known = found.borrow().len();
        if broken.is_none() {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            found.borrow_mut().push((method, target, None));
        } else {
            assert!(
                broken.as_ref().is_none_or(|broken| broken.fault != HeadError::Unread),
                "more requests than heads"
            );
        }
        async move {
            let body = tokio::time::timeout(Duration::from_secs(5), request.into_body().collect()).await;
            if let (None, Ok(Ok(body))) = (&broken, body) {
                found.borrow_mut()[known].2 = Some(body.to_bytes());
            }
            drop(served);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_header_size(BOUNDS.bytes).max_headers(BOUNDS.fields);
    let ended = if wired {
        let io = TokioIo::new(Wire::new(stream, LIMITS, serving.clone(), Interim::default()));
        builder.header_read_timeout(Duration::from_hours(720)).serve_connection(io, service).await
    } else {
        builder.header_read_timeout(LIMITS.idle).serve_connection(TokioIo::new(stream), service).await
    };
    assert!(!wired || !ended.as_ref().is_err_and(hyper::Error::is_parse), "the library refused: {ended:?}");
}
