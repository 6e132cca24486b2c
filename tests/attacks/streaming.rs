//! H: handshakes of upgrades. What limits open streams is tested beside resilience.

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::http2::{Ended, fields};
use crate::support::oracle::{Claims, check_claims};
use crate::support::raw::read_answer_to;
use crate::support::{Gateway, Upstream, Watch, within};

const MEL: Claims<'static> = &[
    ("x-auth-user", "mel"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "mel@example.org"),
    ("x-auth-role", "member"),
];

/// H01: a handshake without a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_nobody_reaches_no_upstream() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let origin = format!("origin: http://{}\r\n", gateway.address);
    for credential in
        ["", "cookie: doorward=x\r\n", "authorization: Bearer dw_s_x\r\n", "x-auth-user: root\r\n"]
    {
        for protocol in ["websocket", "custom/1", "WebSocket"] {
            for path in ["/socket", "/admin/socket"] {
                let watch = Watch::begin(&gateway, &upstream);
                let headers = format!(
                    "connection: upgrade\r\nupgrade: {protocol}\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{origin}{credential}"
                );
                let answer = gateway.get(path, &headers).await;
                assert_eq!(answer.status, 401, "{path} {headers}");
                watch.nothing_reached(&headers).await;
            }
        }
    }
}

/// H06: a WebSocket over HTTP/2, by extended CONNECT.
#[tokio::test(flavor = "multi_thread")]
async fn extended_connect_is_no_way_around_the_handshake() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = gateway.sign_in("mel").await;
    for path in ["/public/socket", "/socket"] {
        for protocol in ["websocket", "connect-udp", ""] {
            let case = [
                (":method", "CONNECT"),
                (":protocol", protocol),
                (":scheme", "http"),
                (":path", path),
                (":authority", "app"),
                ("cookie", cookie.as_str()),
            ];
            let watch = Watch::begin(&gateway, &upstream);
            let ended = within("an extended CONNECT", fields(gateway.address, &case, None)).await;
            let refused = match ended {
                Ended::Answered(status) => (400..500).contains(&status),
                Ended::Broken => true,
            };
            assert!(refused, "{path} {protocol}: {ended:?}");
            watch.nothing_reached(protocol).await;
        }
    }
}

/// H09: a granted handshake whose `Connection` names our headers, and whose answer names the caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_granted_handshake_carries_what_any_request_would() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let session = gateway.sign_in("mel").await;
    let host = gateway.address;
    for connection in [
        "Upgrade",
        "Upgrade, x-auth-user",
        "X-AUTH-ROLE,upgrade,x-forwarded-for",
        "upgrade, cookie, host, x_auth_user",
        "keep-alive\r\nconnection: x-auth-user, upgrade",
    ] {
        upstream.answers(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade, x-auth-user\r\nupgrade: websocket\r\n\
             sec-websocket-accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\
             x-auth-user: mel\r\nX_Auth_Role: member\r\nset-cookie: doorward=evil\r\n\r\n",
        );
        let before = upstream.count();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /socket HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: {connection}\r\n\
             upgrade: websocket\r\nx-auth-user: root\r\nX_Auth_User: root\r\nx-forwarded-user: root\r\n\
             cookie: a=1; {session}\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = within("the switch", read_answer_to(&mut stream, true)).await;
        assert_eq!(answer.status, 101, "{connection}: {}", answer.head);
        for told in ["mel", "member", "evil"] {
            assert!(!answer.head.contains(told), "{connection}: {}", answer.head);
        }
        let sent = upstream.requests_after(before);
        assert_eq!(sent.len(), 1, "{connection}");
        assert_eq!(sent[0].line(), "GET /socket");
        assert_eq!(sent[0].header("cookie"), Some("a=1"), "{connection}");
        check_claims(connection, &sent[0], MEL);
    }
}
