//! Every setting there is, described once; the file as written, before it is checked as a whole.

use std::net::SocketAddr;

use http::HeaderName;

use crate::config::reading::pem::{CertificateFile, KeyFile};
use crate::config::reading::reader::Required;
use crate::config::reading::section::section;
use crate::config::reading::values::{
    Admin, HostName, Level, LogStyle, Name, Number, Origin, PathOptIn, PersonRole, Span, TrustedNetwork,
};
use crate::config::sections::acme::Acme;
use crate::config::sections::breach_list::BreachList;
use crate::config::sections::identity::{Assertion, Attribution, Bearer, OddName};
use crate::config::sections::listen::{FileMode, ListenAddress, ProxyProtocol};
use crate::config::sections::own_credentials::UpstreamBasic;
use crate::config::sections::pages::Pages;
use crate::config::sections::policy_tests::Test;
use crate::config::sections::public_url::PublicUrl;
use crate::config::sections::routes::Route;
use crate::config::sections::servers::{Health, UpstreamUrl};
use crate::config::sections::set_headers::HeaderTemplates;
use crate::config::sections::tokens::{BreakGlass, ImportedKeys};
use crate::config::{
    Addresses, Balance, Compat, Flavour, HeaderEncoding, HeaderPreset, SameSite, UpstreamProtocol,
};
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::policy::Enforce;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MIB: u64 = 1024 * 1024;

section! {
    /// What concerns everything. These settings stand above the first `[section]`.
    Root {
        /// How browsers reach the gateway: scheme, host, perhaps a port and a path. Needed as soon as it can
        /// be reached from other machines; until then it is made from the first address in `server.listen`.
        public_url: Option<PublicUrl>, r#""https://app.example.com""#;
        /// Allows a plain `http://` public URL on a host that is not loopback. Passwords and session cookies
        /// then cross the network readable by everyone on the way.
        insecure: bool = "false", "true";
        /// Key material that signs cookies and links: at least 32 random bytes, the same on every replica.
        /// Needed with PostgreSQL; beside an SQLite database one is generated. `openssl rand -base64 32`
        /// makes one.
        secret: Option<Secret>, r#""<the output of: openssl rand -base64 32>""#;
        /// Whether what the rules refuse is refused (`on`), only written down while everything passes (`log`, read
        /// it with `doorward refused`), or nothing is decided at all (`off`). Routes and rules may differ.
        enforce: Enforce = r#""on""#, r#""log""#;
        /// Listeners and limits.
        server: Server = "{}", r#"{ listen = ["127.0.0.1:8080"] }"#;
        /// The database.
        store: Store = "{}", r#"{ url = "sqlite:doorward.db" }"#;
        /// Local sign-in.
        login: Login = "{}", "{ password = true }";
        /// Browser sessions.
        session: Session = "{}", r#"{ idle = "8h" }"#;
        /// How the gateway's own pages look.
        pages: Pages = "{}", r#"{ name = "Example Dashboards" }"#;
        /// API keys.
        keys: Keys = "{}", r#"{ header = "X-Api-Key" }"#;
        /// Tokens for emergencies: off unless one is named.
        break_glass: Vec<BreakGlass> = "[]", r#"[{ name = "on-call", token_file = "break-glass" }]"#;
        /// Logs.
        log: Log = "{}", r#"{ level = "info" }"#;
        /// The trail of who did what.
        audit: Audit = "{}", r#"{ keep = "400d" }"#;
        /// Metrics for Prometheus.
        metrics: Metrics = "{}", r#"{ listen = "127.0.0.1:9464" }"#;
        /// Answers to other proxies' questions.
        forward_auth: ForwardAuth = "{}", r#"{ flavours = ["nginx"] }"#;
        /// The servers behind the gateway.
        upstreams: Vec<Upstream> = "[]", r#"[{ name = "app", url = "http://127.0.0.1:6006" }]"#;
        /// What goes where, and who may. Among the routes that name the host, or else those for any, the longest
        /// matching path wins; what no route takes is refused.
        routes: Vec<Route> = "[]", r#"[{ upstream = "app" }]"#;
        /// What the rules must come to. Settings whose tests fail are refused, at start and at a reload.
        tests: Vec<Test> = "[]", r#"[{ as = { role = "viewer" }, request = "POST /", expect = "deny" }]"#;
    }
}

section! {
    /// Listeners and limits.
    Server {
        /// Where clients connect: addresses with port; `unix:FILE` for a socket file; `systemd` for every socket
        /// that systemd hands over, or `systemd:NAME` for those with this `FileDescriptorName`.
        listen: Vec<ListenAddress> = r#"["127.0.0.1:8080"]"#, r#"["0.0.0.0:8443", "unix:/run/doorward/doorward.sock"]"#;
        /// Further places where clients connect, each with settings of its own. With one of these and no
        /// `listen`, there is no other.
        listeners: Vec<Listener> = "[]", r#"[{ address = "unix:/run/doorward/doorward.sock", mode = "0660" }]"#;
        /// A further place that answers only `/healthz` and `/readyz`, for probes.
        ops_listen: Option<ListenAddress>, r#""127.0.0.1:9090""#;
        /// Threads that carry requests. By default one for each core.
        workers: Option<Number<1, 1024>>, "4";
        /// Certificate and key for every address in `listen`. Without it they speak plain HTTP, as socket files
        /// always do unless their table says `tls = true`.
        tls: Option<Tls>, r#"{ certificate = "tls.crt", key = "tls.key" }"#;
        /// Certificates that the gateway orders and renews by itself.
        acme: Option<Acme>, "{ agree_to_terms = true }";
        /// Addresses or networks of proxies in front of the gateway, whose `X-Forwarded-*` headers are
        /// believed; `unix`: whoever connects to a socket file. Everyone listed here can pose as any client.
        trusted_proxies: Vec<TrustedNetwork> = "[]", r#"["10.0.0.0/8"]"#;
        /// Whether every connection begins with a PROXY protocol header (version 1 or 2) that names the client:
        /// `off` or `required`. A table in `listeners` may say otherwise for itself.
        proxy_protocol: ProxyProtocol = r#""off""#, r#""required""#;
        /// Addresses or networks of proxies that may connect where the PROXY protocol is required; `unix`:
        /// whoever connects to a socket file. Everyone listed here can pose as any client; nobody else gets in.
        proxy_protocol_from: Vec<TrustedNetwork> = "[]", r#"["10.0.0.0/8"]"#;
        /// Further origins whose pages may send writes or open a WebSocket with the session cookie.
        trusted_origins: Vec<Origin> = "[]", r#"["https://app.example.com"]"#;
        /// Bounds on what a client may send or hold.
        limits: Limits = "{}", "{ header_count = 100 }";
        /// The head of a request must be complete within this.
        header_timeout: Span<1, {5 * MINUTE}> = r#""10s""#, r#""5s""#;
        /// An idle keep-alive connection is closed after this.
        keep_alive: Span<1, HOUR> = r#""60s""#, r#""2m""#;
        /// A client that takes nothing of what is sent to it for this long is cut off. One that takes a little
        /// now and then is not.
        write_timeout: Span<1, HOUR> = r#""60s""#, r#""2m""#;
        /// Over this much time in which it was waited for, a client must have sent a request body of announced
        /// length, or one that we read ourselves, at `server.limits.body_rate`.
        body_timeout: Span<1, HOUR> = r#""30s""#, r#""1m""#;
        /// After a stop signal, open requests get this long to end.
        drain: Span<0, HOUR> = r#""30s""#, r#""10s""#;
    }
}

section! {
    /// A place where clients connect.
    Listener {
        /// As in `listen`: an address with port, `unix:FILE`, `systemd` or `systemd:NAME`.
        address: Required<ListenAddress>, r#""unix:/run/doorward/doorward.sock""#;
        /// Permissions of the socket file, in octal digits. By default its owner and group may connect: `0660`.
        mode: Option<FileMode>, r#""0666""#;
        /// Whether TLS is spoken. By default where `server.tls` is set, but not on socket files.
        tls: Option<bool>, "false";
        /// `off` or `required`, instead of `server.proxy_protocol`.
        proxy_protocol: Option<ProxyProtocol>, r#""required""#;
    }
}

section! {
    /// Certificate and key: both or neither.
    Tls {
        /// PEM file of the certificate chain, leaf first.
        certificate: Required<CertificateFile>, r#""tls.crt""#;
        /// PEM file of its private key.
        key: Required<KeyFile>, r#""tls.key""#;
    }
}

section! {
    /// Bounds on what a client may send or hold. What exceeds them is refused.
    Limits {
        /// Bytes of a request head.
        header_bytes: Number<8192, MIB> = "32768", "65536";
        /// Header fields of a request.
        header_count: Number<16, 1000> = "100", "200";
        /// Bytes of a request target: path and query.
        uri_bytes: Number<256, 65536> = "8192", "16384";
        /// Open connections in total.
        connections: Number<1, 1_000_000> = "10000", "50000";
        /// Open connections of one client; for IPv6, of one /64. Not applied to `server.trusted_proxies`.
        connections_per_client: Number<1, 1_000_000> = "256", "1000";
        /// Concurrent HTTP/2 streams of one connection.
        http2_streams: Number<1, 10_000> = "100", "250";
        /// Least bytes a second of a request body, see `server.body_timeout`. `0`: no least. Bodies without an
        /// announced length are streams and may pause: `upstreams.timeouts.idle` ends them.
        body_rate: Number<0, MIB> = "256", "0";
        /// Bytes of a body of GraphQL or MCP that is read to decide by its operation.
        graphql_body_bytes: Number<1024, {64 * MIB}> = "1048576", "4194304";
        /// Bytes of all bodies together that were read to decide and are not sent on yet. Beyond it: 503.
        read_ahead_bytes: Number<65536, {64 * 1024 * MIB}> = "67108864", "268435456";
        /// Bytes of those of one client (IPv6: one /64), and of one account. Beyond it: 429. One body of `graphql_body_bytes` always fits.
        read_ahead_bytes_per_client: Number<65536, {64 * 1024 * MIB}> = "8388608", "33554432";
    }
}

section! {
    /// The database that holds users, keys and sessions.
    Store {
        /// `sqlite:FILE`, relative to the working directory, for one machine;
        /// `postgres://USER:PASSWORD@HOST/DATABASE` for any number of replicas.
        url: Secret = r#""sqlite:doorward.db""#, r#""sqlite:/var/lib/doorward/doorward.db""#;
        /// Most connections held open to PostgreSQL. One is for the watch over revocations, half of the others are
        /// for looking up who requests come from, and the rest for pages and changes; each has one at least.
        connections: Number<1, 1000> = "10", "20";
        /// How long remembered credentials stay good while the database cannot be asked. During that time
        /// nothing that was revoked is noticed. `0s`: not at all.
        outage_grace: Span<0, HOUR> = r#""0s""#, r#""5m""#;
    }
}

section! {
    /// Sign-in of local users.
    Login {
        /// Whether local users may sign in by password.
        password: bool = "true", "false";
        /// Role of people who are added without one.
        default_role: PersonRole = r#""viewer""#, r#""member""#;
        /// Admins, as `name=email`, made at start. Until one has a password, each start prints a link to choose it. A name or
        /// an address that somebody else has is left alone, and told.
        admins: Vec<Admin> = "[]", r#"["alice=alice@example.com"]"#;
        /// Password of the first admin, 12 to 128 characters; used only while there is no user at all.
        admin_password: Option<Secret>, r#""<at least 12 characters>""#;
        /// A file of leaked passwords, none of which anybody may choose: lines of `SHA-1:count`, sorted, as Have I
        /// Been Pwned gives them out and of any size; or plain words, up to 256 MiB.
        breach_list: Option<BreachList>, r#""pwned-passwords-sha1-ordered-by-hash.txt""#;
    }
}

section! {
    /// Sessions of browsers.
    Session {
        /// A session ends this long after its last request.
        idle: Span<{2 * MINUTE}, {90 * DAY}> = r#""8h""#, r#""30m""#;
        /// A session ends this long after sign-in, whatever happens. Never shorter than `idle`.
        absolute: Span<{2 * MINUTE}, {365 * DAY}> = r#""7d""#, r#""12h""#;
        /// When browsers send the cookie with requests that come from other sites: on top-level navigation
        /// only, or never.
        cookie_same_site: SameSite = r#""lax""#, r#""strict""#;
        /// Domain of the cookie, to share a sign-in among its hosts: the public URL's host or a parent of it,
        /// never a public suffix such as `co.uk` or `github.io`.
        /// Gives up the `__Host-` prefix, so that every host below that domain must be trusted.
        cookie_domain: Option<HostName>, r#""example.com""#;
    }
}

section! {
    /// API keys.
    Keys {
        /// The headers that may carry a key, beside `Authorization`. A route may name others.
        header or headers: Vec<HeaderName> = r#"["X-Api-Key"]"#, r#"["X-Api-Key", "X-Token"]"#;
        /// Keys of systems that were here before.
        imported: Vec<ImportedKeys> = "[]", r#"[{ name = "old", ring_file = "keys.json", role = "agent" }]"#;
    }
}

section! {
    /// Logs, written to standard output.
    Log {
        /// For people, or one JSON object a line. `auto`: `text` on a terminal, otherwise `json`.
        format: LogStyle = r#""auto""#, r#""json""#;
        /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,doorward=debug`.
        level: Level = r#""info""#, r#""debug""#;
        /// Whether each request leaves an access event.
        access: bool = "true", "false";
    }
}

section! {
    /// The trail of who did what: sign-ins, changes of users, keys and sessions, configurations.
    Audit {
        /// Rows are deleted when they are older than this, within a day. `0s`: never.
        keep: Span<0, {36_500 * DAY}> = r#""400d""#, r#""90d""#;
    }
}

section! {
    /// Metrics for Prometheus, on a listener of their own.
    Metrics {
        /// Where `GET /metrics` answers, and nothing else does. Whoever can connect can read them.
        listen: Option<SocketAddr>, r#""127.0.0.1:9464""#;
        /// Allows an address in `listen` that other machines can reach.
        allow_remote: bool = "false", "true";
    }
}

section! {
    /// Answers to proxies that ask before they let a request pass. They are answered only if they connect from
    /// an address in `server.trusted_proxies`.
    ForwardAuth {
        /// Proxies whose questions are answered, each at `/_doorward/auth/NAME`: `nginx`, `traefik`, `caddy`,
        /// `haproxy`, `envoy`.
        flavours: Vec<Flavour> = "[]", r#"["nginx"]"#;
        /// Products whose paths, parameters and headers are answered as well, so that a proxy configured for them needs a
        /// new address only: `oauth2-proxy`, `authelia`, `authentik`, `vouch`, `traefik-forward-auth`.
        compat: Vec<Compat> = "[]", r#"["authelia"]"#;
        /// Identity headers of an answer, by the names that `headers` of an upstream takes.
        headers: HeaderPreset = r#""standard""#, r#""authelia""#;
        /// How values are written that are not plain ASCII; see the same setting of an upstream.
        encoding: Option<HeaderEncoding>, r#""utf-8""#;
        /// Further headers of an answer, each with a template of its value; see the same setting of an upstream.
        set_headers: HeaderTemplates = "{}", r#"{ X-Scope-OrgID = "{group:0}" }"#;
        /// A signed statement of who is calling.
        assertion: Option<Assertion>, r#"{ audience = "app" }"#;
        /// A token of the gateway's own in `Authorization`.
        bearer: Option<Bearer>, r#"{ algorithm = "hs256", key_file = "app-key" }"#;
        /// Whether `Authorization` values that are not the gateway's own are left to the applications of routes without
        /// an upstream. A route with one obeys the upstream's setting, whoever forwards the request, and each may say
        /// otherwise for itself. The answer says what the application gets; what is the gateway's own is never left.
        pass_authorization: bool = "false", "true";
        /// The same for the headers that may carry keys (`keys.headers`).
        pass_api_key: bool = "false", "true";
        /// Spellings of paths that the applications need.
        paths: Paths = "{}", r#"{ allow = ["encoded-slash"] }"#;
        /// Names of cookies by which applications without an upstream remember who signed in to them, as the same setting
        /// of an upstream takes them. Signing in or out at their host ends them; the gateway sees no more of them there.
        session_cookies: Vec<SessionCookie> = "[]", r#"["pga4_session"]"#;
    }
}

section! {
    /// A server behind the gateway.
    Upstream {
        /// Unique name, for routes and logs.
        name: Required<Name>, r#""app""#;
        /// Where it is: `http://HOST:PORT`, `https://HOST:PORT`, `h2c://HOST:PORT` for HTTP/2 without TLS,
        /// `unix:/PATH` or `h2c+unix:/PATH` for a Unix socket, or `builtin:sample` for the sample dashboard
        /// inside the gateway. Several servers that are alike share the requests.
        url or servers: Required<Vec<UpstreamUrl>>, r#"["http://127.0.0.1:6006"]"#;
        /// Which of several servers a request goes to: the next (`round-robin`), or the one with the fewest
        /// requests at the moment (`least-connections`). Another one gets it only where the connection failed.
        balance: Balance = r#""round-robin""#, r#""least-connections""#;
        /// When a server is left out.
        health: Health = "{}", r#"{ path = "/healthz" }"#;
        /// Which HTTP an `https://` server speaks. gRPC needs `http2`.
        protocol: Option<UpstreamProtocol>, r#""http2""#;
        /// Trust and client certificate, for `https://`.
        tls: UpstreamTls = "{}", r#"{ ca = "ca.crt" }"#;
        /// Timeouts. None of them cuts a stream on which bytes move.
        timeouts: Timeouts = "{}", r#"{ response = "5m" }"#;
        /// Names of the headers that tell the server who is calling: `X-Auth-*` (`standard`),
        /// `X-Forwarded-User` and its family (`oauth2-proxy`), `Remote-*` (`authelia`), `X-WEBAUTH-*`
        /// (`grafana`), `X-authentik-*` (`authentik`), `X-Vouch-User` (`vouch`), `X-Forwarded-User` alone
        /// (`traefik-forward-auth`), `X-Auth-Subject` and what else Micromegas takes for checked
        /// (`micromegas`), or none at all.
        headers: HeaderPreset = r#""standard""#, r#""grafana""#;
        /// How values are written that are not plain ASCII: `percent` (`Zo%C3%AB`), `utf-8` (`Zoë` as bytes),
        /// `quoted-printable` (`Zo=C3=AB`) or `rfc2047` (`=?UTF-8?B?Wm/Dqw==?=`). By default as the product does
        /// that `headers` is named after: `utf-8`, for `grafana` what its `headers_encoded = true` reads
        /// (`quoted-printable`), for `standard`, `micromegas` and `none` `percent`.
        encoding: Option<HeaderEncoding>, r#""utf-8""#;
        /// Further headers, each with a template of its value: text with `{subject}`, `{user}`, `{name}`,
        /// `{email}`, `{groups}` (with commas; `{groups:|}` with another mark), `{group:0}` (the first by name),
        /// `{group:tenant-*}` (what follows `tenant-` in the first group that begins so), `{role}`,
        /// `{role:admin=ADMIN,member=OP}` (the application's word for it), `{key}`,
        /// `{kind}` or `{provider}`; `{{` and `}}` are braces. Where one has no value, as where nobody is
        /// signed in, the header is not sent; text without any always is. No client can send such a header anywhere.
        /// `NAME_file` names a file with the value instead, which is sent with every request that the rules allow, and
        /// with no other.
        set_headers: HeaderTemplates = "{}", r#"{ X-Scope-OrgID = "{group:0}" }"#;
        /// A signed statement of who is calling.
        assertion: Option<Assertion>, r#"{ audience = "app" }"#;
        /// A token of the gateway's own in `Authorization`.
        bearer: Option<Bearer>, r#"{ algorithm = "hs256", key_file = "app-key" }"#;
        /// Headers by which services say on whose behalf they ask; removed where this is not set.
        attribution: Option<Attribution>, "{}";
        /// A credential of the gateway's own, for a server that lets nobody else in.
        basic: Option<UpstreamBasic>, r#"{ username = "doorward", password_file = "app-password" }"#;
        /// The same as a token, which is sent as `Authorization: Bearer`. In any other header: `set_headers`, by a file.
        token: Option<Secret>, r#""<what the server expects>""#;
        /// Whether `Authorization` values that are not the gateway's own are left to the server, also where another proxy
        /// asks about its routes. A route may say otherwise for itself.
        pass_authorization: bool = "false", "true";
        /// The same for the headers that may carry keys (`keys.headers`).
        pass_api_key: bool = "false", "true";
        /// Names of request headers that reach it although they hold other characters than letters, digits and `-`.
        /// All others of that kind are removed, since many servers read `X_Auth_User` as `X-Auth-User`.
        odd_header_names: Vec<OddName> = "[]", r#"["X_Tenant"]"#;
        /// Whether the server sees the `Host` the client sent, or its own.
        preserve_host: bool = "true", "false";
        /// Whose addresses `Destination` and `If` of a request hold when it is sent (WebDAV): `upstream`, its own, as
        /// servers need them that know of nothing in front; `client`, as those need them that go by `X-Forwarded-*`.
        addresses: Addresses = r#""upstream""#, r#""client""#;
        /// Spellings of paths it needs that are refused otherwise.
        paths: Paths = "{}", r#"{ allow = ["encoded-slash"] }"#;
        /// Names of cookies by which it remembers who signed in to it. One goes back to it for the person or key alone
        /// that it was set for, and signing in or out ends it. A `*` at the end stands for any ending, as of
        /// `app_session.0`. Not for cookies that scripts of its pages read: their values get longer. By default as the
        /// `preset` of its routes says.
        session_cookies: Vec<SessionCookie> = "[]", r#"["pga4_session"]"#;
    }
}

section! {
    /// Trust and client certificate towards an `https://` upstream.
    UpstreamTls {
        /// PEM file of the authorities to trust, instead of the system's.
        ca: Option<CertificateFile>, r#""ca.crt""#;
        /// PEM file of the client certificate; needs `key`.
        certificate: Option<CertificateFile>, r#""client.crt""#;
        /// PEM file of the client certificate's private key; needs `certificate`.
        key: Option<KeyFile>, r#""client.key""#;
        /// Name to look for in the server's certificate, where it differs from the URL's host.
        server_name: Option<HostName>, r#""app.internal""#;
    }
}

section! {
    /// Timeouts towards an upstream.
    Timeouts {
        /// Until connected, TLS included.
        connect: Span<1, {5 * MINUTE}> = r#""3s""#, r#""10s""#;
        /// From the last byte of the request to the head of the response. For gRPC and event streams
        /// `idle` counts instead: they may be silent before their first byte.
        response: Span<1, DAY> = r#""60s""#, r#""5m""#;
        /// A body, stream or tunnel on which nothing moves ends after this. `0s`: never.
        idle: Span<0, {30 * DAY}> = r#""5m""#, r#""1h""#;
    }
}

section! {
    /// Spellings of paths that are refused unless an upstream needs them. Rules are then matched on the plain
    /// and the decoded form, and the stricter answer wins.
    Paths {
        /// `encoded-slash` (`%2F`), `semicolon` (`;`), `empty-segment` (`//`, though never at the start),
        /// `disguised-separator` (characters that some programs read as `/`, `\`, `.`, `%`, `;`, `?` or `#`, such as
        /// U+FF0F `／`, U+2026 `…` or U+FF1F `？` in names of files).
        allow: Vec<PathOptIn> = "[]", r#"["encoded-slash"]"#;
    }
}
