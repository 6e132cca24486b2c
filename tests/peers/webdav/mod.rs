//! `COPY` and `MOVE` (RFC 4918): `WsgiDAV`, Apache's `mod_dav`, nginx and Radicale act on what stands in
//! `Destination`, so both places are decided, and what is allowed works however the gateway is placed.

mod caldav;
pub(crate) mod server;

use http::Method;

use self::server::{Kind, Server};
use crate::proxies::door::{Door, Proxy};
use crate::support::client::{self, Answer};
use crate::support::gateway::{ADDRESS, Gateway};

/// How the gateway stands before a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    /// Nothing is changed on the way.
    Plainly,
    /// Clients speak TLS to something in front.
    BehindTls,
    /// The server knows nothing of the prefix.
    BelowPrefix,
    /// Nor of the host.
    WithOwnHost,
    /// All of it.
    AtAll,
}

impl Placed {
    const ALL: [Self; 5] =
        [Self::Plainly, Self::BehindTls, Self::BelowPrefix, Self::WithOwnHost, Self::AtAll];

    fn is_behind_tls(self) -> bool {
        matches!(self, Self::BehindTls | Self::AtAll)
    }

    fn prefix(self) -> &'static str {
        if matches!(self, Self::BelowPrefix | Self::AtAll) { "/dav" } else { "" }
    }

    async fn gateway(self, server: &str) -> Gateway {
        let scheme = if self.is_behind_tls() { "https" } else { "http" };
        let trusted = if self.is_behind_tls() { "trusted_proxies = [\"127.0.0.1\"]" } else { "" };
        let own = matches!(self, Self::WithOwnHost | Self::AtAll);
        let prefix = self.prefix();
        let strip = if prefix.is_empty() { String::new() } else { format!("strip_prefix = \"{prefix}\"") };
        let path = if prefix.is_empty() { "/" } else { prefix };
        Gateway::start(&format!(
            r#"
            public_url = "{scheme}://{ADDRESS}"
            [server]
            listen = ["{ADDRESS}"]
            {trusted}
            [[upstreams]]
            name = "files"
            url = "http://{server}"
            preserve_host = {}
            [[routes]]
            upstream = "files"
            path = "{path}"
            {strip}
            rules = [
                {{ name = "private", path = "{prefix}/private", allow = "admin" }},
                {{ name = "files", allow = "member" }},
            ]
            "#,
            !own
        ))
        .await
    }
}

/// A client of one gateway.
struct Client<'g> {
    gateway: &'g Gateway,
    placed: Placed,
    key: String,
}

impl Client<'_> {
    /// An address as clients write it.
    fn address(&self, path: &str) -> String {
        let scheme = if self.placed.is_behind_tls() { "https" } else { "http" };
        let host = self.gateway.url.trim_start_matches("http://");
        format!("{scheme}://{host}{}{path}", self.placed.prefix())
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut headers = headers.to_vec();
        if self.placed.is_behind_tls() {
            headers.push(("x-forwarded-proto", "https"));
        }
        let path = format!("{}{path}", self.placed.prefix());
        self.gateway.post(method.parse().unwrap(), &path, &self.key, &headers, body).await
    }

    async fn to(&self, method: &str, path: &str, destination: &str) -> Answer {
        self.send(method, path, &[("destination", destination)], "").await
    }
}

async fn both_places_are_decided(kind: Kind) {
    let server = Server::start(kind).await;
    let url = format!("http://{}", server.address);

    // The server itself goes by the second place alone, whatever it is called.
    let there = format!("{url}/private/known");
    let (from, copy) = (format!("{url}/a.txt"), [("destination", there.as_str())]);
    let own = client::send("COPY".parse().unwrap(), &from, &copy, "").await.unwrap();
    assert!((200..300).contains(&own.status), "{own:?}");
    assert_eq!(server.private(), ["known"], "the server does not do what is to be kept from it");

    for placed in Placed::ALL {
        let gateway = placed.gateway(&server.address).await;
        let key = gateway.key("mia", "member", &[]).key;
        let mia = Client { gateway: &gateway, placed, key };
        let name = format!("{kind:?} {placed:?}");

        let put = mia.send("PUT", "/private/evil", &[], "x").await;
        assert_eq!(put.refusal(), Some(403), "{name}: {put:?}");
        for spelling in
            ["/private/evil", "/%70rivate/evil", "/private%2E/evil", "/PRIVATE/evil", "/privat%65/evil"]
        {
            for method in ["COPY", "MOVE"] {
                for place in [mia.address(spelling), format!("{}{spelling}", placed.prefix())] {
                    let answer = mia.to(method, "/a.txt", &place).await;
                    assert_eq!(answer.refusal(), Some(403), "{name}: {method} to {place}: {answer:?}");
                }
            }
        }
        for place in [
            format!("{url}/private/evil"),
            mia.address("/b/../private/evil"),
            mia.address("/b%2f..%2fprivate/evil"),
            mia.address("//private/evil"),
            mia.address("/b#/../private/evil"),
            format!("{}, {}", mia.address("/b"), mia.address("/private/evil")),
            mia.address("/b").replace("://", "://me@"),
        ] {
            let answer = mia.to("COPY", "/a.txt", &place).await;
            assert_eq!(answer.refusal(), Some(400), "{name}: to {place}: {answer:?}");
        }
        for source in ["/private/known", "/%70rivate/known"] {
            let answer = mia.to("COPY", source, &mia.address("/stolen")).await;
            assert_eq!(answer.refusal(), Some(403), "{name}: from {source}: {answer:?}");
        }
        // What `mod_dav` takes for Netscape's way to say it.
        let path = format!("{}/private/evil", placed.prefix());
        let answer = mia.send("COPY", "/a.txt", &[("new-uri", &path)], "").await;
        assert_eq!(answer.refusal(), Some(400), "{name}: {answer:?}");
        assert_eq!((server.private(), server.read("/stolen")), (vec!["known".to_owned()], None), "{name}");

        // What is allowed works.
        let copied = mia.to("COPY", "/a.txt", &mia.address("/b%20c.txt")).await;
        assert!(matches!(copied.status, 201 | 204), "{name}: {copied:?}");
        assert_eq!(server.read("/b c.txt").as_deref(), Some("A"), "{name}");
        let by_path = format!("{}/d.txt", placed.prefix());
        let moved = mia.to("MOVE", "/b%20c.txt", &by_path).await;
        assert!(matches!(moved.status, 201 | 204), "{name}: {moved:?}");
        assert_eq!((server.read("/b c.txt"), server.read("/d.txt").as_deref()), (None, Some("A")), "{name}");
        let kept = mia.send("COPY", "/a.txt", &[("destination", &by_path), ("overwrite", "F")], "").await;
        assert_eq!((kept.status, kept.refusal()), (412, None), "{name}: {kept:?}");

        if kind != Kind::Nginx {
            locks_are_found(&mia, &name).await;
        }
        let gone = mia.send("DELETE", "/d.txt", &[], "").await;
        assert_eq!((gone.status, server.read("/d.txt")), (204, None), "{name}: {gone:?}");
    }
}

/// A locked place is written to by whoever names its lock, and the place the lock is of, in `If`.
async fn locks_are_found(mia: &Client<'_>, name: &str) {
    let body = "<?xml version=\"1.0\"?><lockinfo xmlns=\"DAV:\"><lockscope><exclusive/></lockscope>\
                <locktype><write/></locktype></lockinfo>";
    let locked = mia.send("LOCK", "/d.txt", &[("content-type", "application/xml")], body).await;
    assert_eq!(locked.status, 200, "{name}: {locked:?}");
    let token = locked.header("lock-token").to_owned();
    let place = mia.address("/d.txt");
    let answer = mia.to("COPY", "/a.txt", &place).await;
    assert_eq!((answer.status, answer.refusal()), (423, None), "{name}: {answer:?}");
    let condition = format!("<{place}> ({token})");
    let answer = mia.send("COPY", "/a.txt", &[("destination", &place), ("if", &condition)], "").await;
    assert_eq!(answer.status, 204, "{name}: {condition}: {answer:?}");
    let unlocked = mia.send("UNLOCK", "/d.txt", &[("lock-token", &token)], "").await;
    // What replaced it may have lost the lock.
    assert!(matches!(unlocked.status, 204 | 400 | 409), "{name}: {unlocked:?}");
}

#[tokio::test]
async fn wsgidav_copies_and_moves_only_where_both_places_are_allowed() {
    both_places_are_decided(Kind::Wsgidav).await;
}

#[tokio::test]
async fn mod_dav_copies_and_moves_only_where_both_places_are_allowed() {
    both_places_are_decided(Kind::ModDav).await;
}

#[tokio::test]
async fn nginx_copies_and_moves_only_where_both_places_are_allowed() {
    both_places_are_decided(Kind::Nginx).await;
}

/// The questions of other proxies, with the configuration that is printed for them.
pub(crate) async fn through(proxy: Proxy) {
    let server = Server::start(Kind::Wsgidav).await;
    let door = Door::open(proxy, &server.address).await;
    let bearer = format!("Bearer {}", door.gateway.key("mia", "member", &[]).key);
    let send = async |method: &str, headers: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        door.send(method.parse::<Method>().unwrap(), "/a.txt", &headers, "").await
    };
    for spelling in ["/admin/evil", "/%61dmin/evil", "/ADMIN/evil"] {
        for place in [spelling.to_owned(), format!("{}{spelling}", door.url)] {
            let answer = send("COPY", &[("destination", &place)]).await;
            assert_eq!(answer.status, 403, "{place}: {answer:?}");
        }
    }
    let foreign = format!("http://{}/admin/evil", server.address);
    let list = format!("{0}/b.txt, {0}/admin/evil", door.url);
    let (b, evil) = (format!("{}/b.txt", door.url), format!("{}/admin/evil", door.url));
    for headers in [
        &[("destination", foreign.as_str())][..],
        &[("destination", &list)],
        &[("destination", &b), ("destination", &evil)],
        &[("destination", &evil), ("destination", &b)],
        &[("new-uri", "/admin/evil")],
        &[],
    ] {
        let answer = send("MOVE", headers).await;
        assert!(matches!(answer.status, 400 | 403), "{headers:?}: {answer:?}");
    }
    assert_eq!(server.read("/a.txt").as_deref(), Some("A"));
    let copied = send("COPY", &[("destination", &format!("{}/in,voice.txt", door.url))]).await;
    assert_eq!((copied.status, server.read("/in,voice.txt").as_deref()), (201, Some("A")), "{copied:?}");
    let moved = send("MOVE", &[("destination", &b)]).await;
    assert_eq!((moved.status, server.read("/b.txt").as_deref()), (201, Some("A")), "{moved:?}");
    assert_eq!(server.read("/a.txt"), None);
    assert_eq!(server.kind, Kind::Wsgidav);
}
