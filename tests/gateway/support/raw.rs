//! HTTP/1.1 as bytes: what is sent is exactly what the test wrote.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::within;

/// Fields of a WebSocket's handshake, with the key of RFC 6455, 1.3.
pub const HANDSHAKE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The head of its answer, but for the empty line.
pub const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// One answer, read to its end.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body ended as announced, not by the connection breaking off.
    pub complete: bool,
}

impl Answer {
    /// The value of a header, if it stands exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers(name).into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        header_values(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem code of one of our own refusals; `None` for anything else.
    pub fn problem(&self) -> Option<String> {
        if self.header("content-type") != Some("application/problem+json") {
            return None;
        }
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(json["code"].as_str()?.to_owned())
    }
}

pub fn header_values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// Sends bytes on a connection of their own and reads one answer.
pub async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    // A gateway that refuses early closes while we still write; what it answered is still there.
    let _ = stream.write_all(request.as_ref()).await;
    read_answer(&mut stream).await
}

/// Reads one answer. Status 0 stands for a connection that ended without one.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    within("an answer", read_answer_to(stream, false)).await
}

pub async fn read_answer_to(stream: &mut (impl AsyncRead + Unpin), to_head: bool) -> Answer {
    let Some(head) = read_head(stream).await else { return Answer::default() };
    let status = head.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: Vec::new(), complete: true };
    if to_head {
        return answer;
    }
    if header_values(&answer.head, "transfer-encoding") == ["chunked"] {
        (answer.body, answer.complete) = read_chunks(stream).await;
    } else if let Some(length) = answer.header("content-length").and_then(|text| text.parse::<usize>().ok()) {
        answer.body = vec![0; length];
        let mut at = 0;
        while at < length {
            match stream.read(&mut answer.body[at..]).await {
                Ok(0) | Err(_) => {
                    answer.body.truncate(at);
                    answer.complete = false;
                    break;
                }
                Ok(read) => at += read,
            }
        }
    }
    answer
}

/// Reads up to and including the empty line; `None` if the connection ends before.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.ok()?;
        head.push(byte);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            match stream.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(_) => return (body, false),
            }
        }
        let text = String::from_utf8_lossy(&line);
        let Ok(size) = usize::from_str_radix(text.trim().split(';').next().unwrap_or_default(), 16) else {
            return (body, false);
        };
        let mut chunk = vec![0; size + 2];
        if stream.read_exact(&mut chunk).await.is_err() {
            return (body, false);
        }
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Everything that comes until the connection ends, after these bytes were sent.
pub async fn until_closed(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_ref()).await;
    read_to_close(&mut stream).await
}

/// Everything that comes until the connection ends.
pub async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let read = async {
        let mut buffer = vec![0; 8192];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..read]);
        }
    };
    within("the end of the connection", read).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// The status of every answer in what came on a connection.
pub fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}
