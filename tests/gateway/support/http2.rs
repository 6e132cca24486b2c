//! HTTP/2 over plain TCP: a proper client, and one that writes frames no client would.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PRIORITY: u8 = 2;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Sends one request as a proper client does; gives status, head and body.
pub async fn request(address: SocketAddr, request: Request<Bytes>) -> (u16, http::HeaderMap, Vec<u8>) {
    let exchange = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        driver.abort();
        (parts.status.as_u16(), parts.headers, body)
    };
    within("an HTTP/2 answer", exchange).await
}

/// How a stream, or its connection, ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of this status.
    Answered(u16),
    /// By `RST_STREAM`, `GOAWAY`, or the end of the connection.
    Broken,
}

/// Sends one request with exactly these header fields, and perhaps DATA, on a connection of its own.
pub async fn fields(address: SocketAddr, fields: &[(&str, &str)], data: Option<&[u8]>) -> Ended {
    let block = block(fields);
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(&mut bytes, HEADERS, END_HEADERS | if data.is_none() { END_STREAM } else { 0 }, 1, &block);
    if let Some(data) = data {
        frame(&mut bytes, DATA, END_STREAM, 1, data);
    }
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Ended::Broken;
            }
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).await.is_err() {
                return Ended::Broken;
            }
            match head[3] {
                HEADERS => return Ended::Answered(status(&payload)),
                RST_STREAM | GOAWAY => return Ended::Broken,
                _ => {}
            }
        }
    };
    within("the end of an HTTP/2 stream", exchange).await
}

/// A header block of exactly these fields.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Literal without indexing, new name, no Huffman code (RFC 7541, 6.2.2).
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A connection that says whatever it is told to.
pub struct Raw(TcpStream);

impl Raw {
    /// Connects and sends the preface with these settings.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut bytes = PREFACE.to_vec();
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frame(&mut bytes, SETTINGS, 0, 0, &payload);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        Self(stream)
    }

    /// Sends bytes while they are taken; whether all of them were.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let write = tokio::time::timeout(std::time::Duration::from_secs(3), self.0.write_all(bytes));
        matches!(write.await, Ok(Ok(())))
    }

    /// The next frame: its kind, flags, stream and payload; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Waits for the first frame of a kind; `false` if the connection ends without one.
    pub async fn sees(&mut self, kind: u8) -> bool {
        within("a frame or the end of the connection", async {
            loop {
                match self.next().await {
                    Some((found, ..)) if found == kind => return true,
                    Some(_) => {}
                    None => return false,
                }
            }
        })
        .await
    }

    /// Waits until the connection is told to end, or ends.
    pub async fn ends(&mut self) {
        self.sees(GOAWAY).await;
    }

    /// Waits until it has really ended.
    pub async fn closes(&mut self) {
        within("the end of the connection", async { while self.next().await.is_some() {} }).await;
    }
}

pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// An HPACK integer with seven bits in its first byte (RFC 7541, 5.1).
fn length(out: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        out.push(u8::try_from(value).unwrap());
        return;
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
}

/// `:status`, which is the first field: an entry of the static table, or digits under its name.
pub fn status(block: &[u8]) -> u16 {
    let block = match block {
        // A change of the table's size may stand before it.
        [first, rest @ ..] if first & 0xE0 == 0x20 => rest,
        block => block,
    };
    match block {
        [first @ 0x88..=0x8E, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [_, length, value @ ..] => {
            let value = &value[..usize::from(length & 0x7F)];
            if length & 0x80 == 0 {
                String::from_utf8_lossy(value).parse().unwrap()
            } else {
                huffman_digits(value)
            }
        }
        _ => panic!("no status in {block:?}"),
    }
}

/// Digits in Huffman code (RFC 7541, B): five bits for 0 to 2, six for 3 to 9.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut number = 0;
    let mut at = 0;
    let code = |at: usize, count: usize| {
        bits.get(at..at + count).map(|b| b.iter().fold(0, |n, b| n << 1 | u16::from(*b)))
    };
    for _ in 0..3 {
        let digit = match (code(at, 5), code(at, 6)) {
            (Some(digit @ 0..=2), _) => {
                at += 5;
                digit
            }
            (_, Some(long @ 25..=31)) => {
                at += 6;
                long - 22
            }
            other => panic!("no digit: {other:?}"),
        };
        number = number * 10 + digit;
    }
    number
}
