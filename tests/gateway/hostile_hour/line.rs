//! A connection of a client's that is kept, and what is said on it.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::raw::{Answer, read_answer};

/// One client, by the address that a trusted proxy gives for it.
pub struct Line {
    gateway: SocketAddr,
    client: IpAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Line {
    pub fn of(gateway: SocketAddr, client: IpAddr) -> Self {
        Self { gateway, client, stream: None }
    }

    /// The proxy goes on with the next client.
    pub fn becomes(&mut self, client: IpAddr) {
        self.client = client;
    }

    pub async fn get(&mut self, path: &str, headers: &str) -> Answer {
        let host = self.gateway.to_string();
        self.get_at(&host, path, headers).await
    }

    pub async fn get_at(&mut self, host: &str, path: &str, headers: &str) -> Answer {
        let client = self.client;
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: {client}\r\naccept: text/html\r\n{headers}\r\n"
        ))
        .await
    }

    /// Posts one of the gateway's own forms from its own origin.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)], headers: &str) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let (host, client, length) = (self.gateway, self.client, form.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nx-forwarded-for: {client}\r\n{headers}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{form}"
        ))
        .await
    }

    async fn send(&mut self, request: &str) -> Answer {
        // One that was kept may have been closed meanwhile.
        for kept in [true, false] {
            let stream = match self.stream.take().filter(|_| kept) {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect(self.gateway).await.unwrap()),
            };
            let stream = self.stream.insert(stream);
            let _ = stream.write_all(request.as_bytes()).await;
            let answer = read_answer(stream).await;
            if answer.status != 0 {
                self.stream.take_if(|_| !answer.complete || answer.header("connection") == Some("close"));
                return answer;
            }
        }
        Answer::default()
    }
}

/// The cookies that an answer sets, as a header of a request.
pub fn cookies(answer: &Answer) -> String {
    let set = answer.headers("set-cookie");
    let pairs: Vec<&str> = set.iter().filter_map(|cookie| cookie.split(';').next()).collect();
    format!("cookie: {}\r\n", pairs.join("; "))
}
