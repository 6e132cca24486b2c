//! What real servers and frameworks make of header names and values: alone, and behind the gateway.
//! `docs/readings.md` is the table of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use doorward::model::header_names::{FAMILIES, NAMES};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxies::door::system;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python};

/// A line, the fact that it moves where it arrives, and to what.
type Moves = (&'static str, &'static str, &'static str);

/// `gunicorn` believes it of anyone who connects from this machine, as a gateway does.
const SCRIPT_NAME: Moves = ("SCRIPT_NAME: /health", "path", "/private/x");
const SCHEME: Moves = ("X-Forwarded-Proto: https", "scheme", "https");
const CLIENT: Moves = ("X-Forwarded-For: 6.6.6.6", "client", "6.6.6.6");
const HOST: Moves = ("X-Forwarded-Host: evil.test", "host", "evil.test");

/// Servers, with what moves a request there.
const SERVERS: [(&str, &[Moves]); 14] = [
    ("gunicorn", &[SCRIPT_NAME, SCHEME]),
    ("flask", &[SCRIPT_NAME, SCHEME, CLIENT, HOST, ("X-Forwarded-Prefix: /health", "script", "/health")]),
    ("django", &[SCRIPT_NAME, SCHEME, HOST]),
    ("waitress", &[("X-Script-Name: /health", "path", "/private/x"), ("X-Scheme: https", "scheme", "https")]),
    ("bottle", &[]),
    ("uvicorn", &[SCHEME, CLIENT, ("Content_Type: text/plain", "type", "text/plain")]),
    ("hypercorn", &[("X_Auth_User: root", "who", "root"), ("Content_Length: 5", "length", "5")]),
    (
        "cheroot",
        &[
            ("Content_Type: text/plain", "type", "text/plain"),
            ("X_Api_Key: theirs", "key", "theirs"),
            ("X_Auth_User: root", "who", "root"),
        ],
    ),
    ("wsgiref", &[("X_Api_Key: theirs", "key", "theirs"), ("X_Auth_User: root", "who", "root")]),
    (
        "uwsgi",
        &[
            ("Content_Type: text/plain", "type", "text/plain"),
            ("Content_Length: 5", "length", "5"),
            ("X_Api_Key: theirs", "key", "theirs"),
            ("X_Forwarded_Proto: https", "scheme", "https"),
        ],
    ),
    ("node", &[("X-Auth-User: root", "who", "root")]),
    ("express", &[SCHEME, CLIENT, HOST]),
    (
        "php",
        &[
            ("Content.Type: text/plain", "type", "text/plain"),
            ("X_Api_Key: theirs", "key", "theirs"),
            ("X.Auth.User: root", "who", "root"),
        ],
    ),
    ("apache", &[("X-Auth-User: root", "who", "root")]),
];

/// Below a path that is everybody's, in a part that would not be.
const REQUEST: &str = "GET /health/private/x?a=1 HTTP/1.1\r\nconnection: close\r\n";

/// Header lines in one request.
const LINES: usize = 80;

async fn start(name: &'static str, port: u16, folder: &Path) -> Process {
    let own = |file: &str| repository("tests/peers/readings").join(file);
    let bind = format!("127.0.0.1:{port}");
    let module = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(servers_python().with_file_name(program));
        command.env("PYTHONPATH", own("")).args(arguments);
        command
    };
    let number = port.to_string();
    let command = match name {
        "gunicorn" => module("gunicorn", &["--bind", &bind, "reports:wsgi"]),
        "flask" => module("gunicorn", &["--bind", &bind, "reports:flask_behind_proxy()"]),
        "django" => module("gunicorn", &["--bind", &bind, "reports:django_application()"]),
        "waitress" => module("waitress-serve", &["--listen", &bind, "--call", "reports:below_a_prefix"]),
        "bottle" => module("waitress-serve", &["--listen", &bind, "--call", "reports:bottle_application"]),
        "uvicorn" => module("uvicorn", &["--port", &number, "--no-access-log", "reports:asgi"]),
        "hypercorn" => module("hypercorn", &["--bind", &bind, "reports:asgi"]),
        "uwsgi" => {
            let mut command = Command::new("uwsgi");
            command.args([
                "--plugin",
                "python3",
                "--die-on-term",
                "--http-socket",
                &bind,
                "--callable",
                "wsgi",
            ]);
            command.arg("--wsgi-file").arg(own("reports.py"));
            command
        }
        "node" | "express" => {
            let mut command = Command::new("node");
            command.env("NODE_PATH", repository(".tests/node/node_modules"));
            command.arg(own("reports.js")).args([name, &number]);
            command
        }
        "php" => {
            let mut command = Command::new("php");
            command.args(["-S", &bind]).arg(own("reports.php"));
            command
        }
        "apache" => {
            let modules = "/usr/lib/apache2/modules";
            let mut text =
                format!("ServerRoot {0}\nPidFile {0}/pid\nListen {bind}\nServerName app\n", folder.display());
            for module in ["mpm_prefork", "authz_core", "alias", "cgi"] {
                _ = writeln!(text, "LoadModule {module}_module {modules}/mod_{module}.so");
            }
            _ = writeln!(text, "ErrorLog /dev/stderr\n<Directory />\nRequire all granted\n</Directory>");
            _ = writeln!(text, "ScriptAlias / {}/", own("reports.cgi").display());
            std::fs::write(folder.join("apache.conf"), text).unwrap();
            let mut command = Command::new(system("apache2"));
            command.args(["-X", "-f"]).arg(folder.join("apache.conf"));
            command
        }
        _ => {
            let mut command = Command::new(servers_python());
            command.arg(own("reports.py")).args([name, &number]);
            command
        }
    };
    Process::start(name, folder, &command).ready(&format!("http://127.0.0.1:{port}/ready"), PATIENCE).await
}

/// What an application is told of a request with more lines; nothing if it does not answer so.
async fn told(address: &str, host: &str, lines: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{REQUEST}host: {host}\r\n{lines}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("no end of the answer to {lines}")).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let json = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
    serde_json::from_str(json).ok().filter(|_| answer.split(' ').nth(1) == Some("200"))
}

/// What moves a request at one server, shown there, moves nothing behind the gateway, and nor does any other name.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_moves_a_request_at_fourteen_servers_behind_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let (mut starting, mut settings) = (Vec::new(), String::new());
    for (name, moves) in SERVERS {
        let (port, own) = (free_port(), folder.path().join(name));
        std::fs::create_dir(&own).unwrap();
        _ = writeln!(
            settings,
            "[[upstreams]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}\"\n\
             [[routes]]\nupstream = \"{name}\"\nhost = \"{name}.test\"\n\
             rules = [{{ path = \"/health\", allow = \"anyone\" }}]"
        );
        starting.push(async move { (name, moves, port, start(name, port, &own).await) });
    }
    let servers = futures_util::future::join_all(starting).await;
    let gateway = Gateway::start(&format!("server.workers = 1\n{settings}")).await;
    let address = gateway.url.trim_start_matches("http://");
    let whole = NAMES.iter().map(|(name, _)| (*name).to_owned());
    let names = whole.chain(FAMILIES.iter().map(|(family, _)| format!("{family}x")));
    let lines: Vec<String> = names
        .flat_map(|name| [name.replace('-', "_"), name.replace('-', "."), name])
        .map(|name| format!("{name}: /health\r\n"))
        .collect();

    for (name, moves, port, _running) in &servers {
        let (alone, host) = (format!("127.0.0.1:{port}"), format!("{name}.test"));
        let plain = told(&alone, &host, "").await.unwrap();
        let honest = told(address, &host, "").await.unwrap();
        assert_eq!(honest["path"], plain["path"], "{name}");
        for (line, fact, to) in *moves {
            let moved = told(&alone, &host, &format!("{line}\r\n")).await.unwrap();
            assert_eq!(moved[fact], *to, "{name} alone, {line}");
            assert_ne!(plain[fact], *to, "{name} alone, without {line}");
            let kept = told(address, &host, &format!("{line}\r\n")).await.unwrap();
            assert_eq!(kept, honest, "{name} behind the gateway, {line}");
        }
        for lines in lines.chunks(LINES).map(<[String]>::concat) {
            let kept = told(address, &host, &lines).await.unwrap();
            assert_eq!(kept, honest, "{name} behind the gateway, {lines}");
        }
        for line in ["connection: content-type, x-request-id\r\ncontent-type: application/json\r\n"] {
            let kept = told(address, &host, line).await.unwrap();
            assert_eq!(kept["type"], "application/json", "{name} behind the gateway, {line}");
        }
    }
}

/// Names of people, as each encoding's own reader reads them.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_people_are_read_whole_in_every_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _running = start("names", port, folder.path()).await;
    let mut settings = String::new();
    for encoding in ["percent", "utf-8", "quoted-printable", "rfc2047"] {
        _ = writeln!(
            settings,
            "[[upstreams]]\nname = \"{encoding}\"\nurl = \"http://127.0.0.1:{port}\"\nencoding = \"{encoding}\"\n\
             [[routes]]\nupstream = \"{encoding}\"\nhost = \"{encoding}.test\"\nrules = [{{ allow = \"viewer\" }}]"
        );
    }
    let gateway = Gateway::start(&format!("server.workers = 1\n{settings}")).await;
    let address = gateway.url.trim_start_matches("http://");
    for name in ["J\u{fc}rgen=4", "\u{5c0f}\u{6797}.\u{1d11e}", "plain"] {
        let key = gateway.key(name, "viewer", &[]).key;
        for encoding in ["percent", "utf-8", "quoted-printable", "rfc2047"] {
            let line = format!("authorization: Bearer {key}\r\nx-read-as: {encoding}\r\n");
            let read = told(address, &format!("{encoding}.test"), &line).await.unwrap();
            assert_eq!(read["user"], name, "{encoding}: {read}");
        }
    }
}
