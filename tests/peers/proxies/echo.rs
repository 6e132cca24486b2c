//! An application that answers every request with what it got, byte for byte, and echoes what comes over a
//! switched connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the application got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The running application; it ends with the test.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let list = Arc::clone(&list);
                // A connection that breaks off is the other side's affair.
                tokio::spawn(async move { drop(answer(stream, &list).await) });
            }
        });
        Self { address, seen }
    }

    /// Takes what it got since the last time.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn answer(stream: TcpStream, list: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split_ascii_whitespace();
    let mut seen = Seen {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers: Vec::new(),
    };
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length: usize = seen.all("content-length").first().map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    let key = seen.all("sec-websocket-key").first().map(|key| (*key).to_owned());
    // As careless as a server can be: whatever is asked for, however, is agreed to.
    let switched = seen.all("upgrade").join(", ");
    let body = json!({ "method": seen.method, "target": seen.target }).to_string();
    list.lock().unwrap().push(seen);
    if !switched.is_empty() {
        let accept = accept(&key.unwrap_or_default());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nx-echo: 1\r\nconnection: upgrade\r\nupgrade: {switched}\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut bytes = [0; 1024];
        loop {
            let read = stream.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(&bytes[..read]).await?;
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nx-echo: 1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

/// The answer to a handshake's key (RFC 6455, 4.2.2); the tests send one key only.
fn accept(key: &str) -> &'static str {
    if key == super::WEBSOCKET_KEY { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } else { "" }
}
