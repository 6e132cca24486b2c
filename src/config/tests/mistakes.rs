//! Every mistake is named with its place and its remedy.

use super::*;

/// Exactly one problem, at this path and line, with this in its remedy.
#[track_caller]
fn check(text: &str, path: &str, line: usize, remedy: &str) {
    let problem = only_problem(text);
    assert_eq!(problem.path, path, "{problem}");
    assert_eq!(problem.location.line(), Some(line), "{problem}");
    assert!(problem.remedy.contains(remedy), "{problem}");
    assert!(!problem.what.is_empty());
}

/// C02: cookies over plain http.
/// G01: secrets that can be guessed.
/// G03: plain http beyond this machine.
/// G04: misspelt settings.
#[test]
fn each_mistake_at_the_top_is_named_with_line_and_remedy() {
    check("publik_url = \"x\"", "publik_url", 1, "`public_url`");
    check("nonsense = 1", "nonsense", 1, "the settings here are public_url");
    check("listen = [\"127.0.0.1:1\"]", "listen", 1, "belongs in [server]");
    check("\n[servers]\n", "servers", 2, "`server`");
    check("[[gateways]]\nid = \"a\"", "gateways", 1, "the settings here are");
    check("public_url = 5", "public_url", 1, "https://");
    check("public_url = \"app.example.com\"", "public_url", 1, "https://");
    check("public_url = \"http://app.example.com\"", "public_url", 1, "insecure = true");
    check("public_url = \"https://app.example.com/?a\"", "public_url", 1, "https://");
    check("public_url = \"https://u:p@app.example.com\"", "public_url", 1, "https://");
    check("insecure = \"yes\"", "insecure", 1, "write for example true");
    check("secret = \"short\"", "secret", 1, "openssl rand");
    check("secret = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "secret", 1, "openssl rand");
    check("secret = \"abcdefghijklabcdefghijklabcdefghijkl\"", "secret", 1, "openssl rand");
    check("secret = \"<the output of: openssl rand -base64 32>\"", "secret", 1, "openssl rand");
    check("secret_file = \"nowhere\"", "secret_file", 1, "check its name, which counts from /");
    check("secret_file = \"/nowhere/at/all\"", "secret_file", 1, "check its name and its owner");
    check("secret = [1]", "secret", 1, "write for example");
}

/// X11: everybody as a trusted proxy.
#[test]
fn a_public_url_is_not_made_from_a_place_browsers_cannot_open() {
    for location in ["unix:a.sock", "systemd", "0.0.0.0:80"] {
        let problems = bad(&format!("[server]\nlisten = \"{location}\""));
        let [problem] = problems.as_slice() else { panic!("one problem for {location}: {problems:#?}") };
        assert_eq!(problem.path, "public_url");
        assert!(problem.what.contains(location.trim_end_matches("a.sock")), "{problem}");
    }
}

/// G11: metrics on an address of other machines.
#[test]
fn metrics_for_other_machines_are_refused_unless_they_are_allowed() {
    for address in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"] {
        let text = format!("[metrics]\nlisten = \"{address}\"");
        check(&text, "metrics.listen", 2, "metrics.allow_remote = true");
        assert!(good(&format!("{text}\nallow_remote = true")).metrics.listen.is_some());
    }
    check("[metrics]\nlisten = \"localhost:9464\"", "metrics.listen", 2, "not a name");
    for address in ["127.0.0.1:9464", "[::1]:9464"] {
        assert!(good(&format!("[metrics]\nlisten = \"{address}\"")).metrics.listen.is_some());
    }
    assert_eq!(good("").metrics.listen, None);
}

#[test]
fn each_mistake_about_the_server_is_named_with_line_and_remedy() {
    let check =
        |text: &str, path: &str, line, remedy: &str| check(&format!("[server]\n{text}"), path, line, remedy);
    check("lisen = []", "server.lisen", 2, "`listen`");
    check("public_url = \"https://a.example\"", "server.public_url", 2, "at the top");
    check("listen = []", "server.listen", 2, "127.0.0.1:8080");
    check("listen = [\"localhost:80\"]", "server.listen[0]", 2, "not a name");
    check("listen = [\n\"127.0.0.1:1\",\n7]", "server.listen[1]", 4, "write for example");
    check("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "server.listen", 2, "leave one");
    check("ops_listen = \"127.0.0.1:8080\"", "server.ops_listen", 2, "another port");
    check("ops_listen = \"127.0.0.1\"", "server.ops_listen", 2, "a port");
    check("listen = \"unix:\"", "server.listen", 2, "unix:/run");
    check("listen = \"unix:/run/\"", "server.listen", 2, "unix:/run");
    check(&format!("listen = \"unix:{}\"", "a/".repeat(60) + "s"), "server.listen", 2, "shorter path");
    check("listen = \"systemd:\"", "server.listen", 2, "FileDescriptorName");
    check("listen = \"systemd:a b\"", "server.listen", 2, "FileDescriptorName");
    check("listeners = [{ mode = \"0660\" }]", "server.listeners[0].address", 2, "add `address");
    let table = |rest: &str| format!("[[server.listeners]]\naddress = \"unix:a.sock\"\n{rest}");
    for mode in ["rw", "+660", "1777", "0440", ""] {
        let text = table(&format!("mode = \"{mode}\""));
        check(&text, "server.listeners[0].mode", 4, "\"0660\"");
    }
    check(
        "listeners = [{ address = \"127.0.0.1:1\", mode = \"0660\" }]",
        "server.listeners[0].mode",
        2,
        "leave it out",
    );
    check(&table("tls = true"), "server.listeners[0].tls", 4, "server.tls");
    check(&table("proxy_protocol = \"optional\""), "server.listeners[0].proxy_protocol", 4, "\"required\"");
    check("proxy_protocol = \"required\"", "server.proxy_protocol_from", 1, "connects from");
    check("proxy_protocol_from = \"0.0.0.0/8\"", "server.proxy_protocol_from", 2, "your own proxies");
    check("trusted_proxies = \"::/16\"", "server.trusted_proxies", 2, "your own proxies");
    check("workers = 0", "server.workers", 2, "from 1 to 1024");
    check("workers = -1", "server.workers", 2, "from 1 to 1024");
    check("workers = 99999999999999999999999999", "server.workers", 2, "from 1 to 1024");
    check("workers = 1.5", "server.workers", 2, "from 1 to 1024");
    check("workers = \"2\"", "server.workers", 2, "write for example 4");
    check("tls = true", "server.tls", 2, "certificate");
    check("trusted_proxies = [\"0.0.0.0/0\"]", "server.trusted_proxies[0]", 2, "your own proxies");
    check("trusted_proxies = [\"10.0.0.1\", \"::/0\"]", "server.trusted_proxies[1]", 2, "your own proxies");
    check("trusted_proxies = \"*\"", "server.trusted_proxies", 2, "your own proxies");
    check("trusted_proxies = [\"10.0.0.0/7\"]", "server.trusted_proxies[0]", 2, "your own proxies");
    check("trusted_proxies = [\"fc00::/7\"]", "server.trusted_proxies[0]", 2, "your own proxies");
    check("trusted_origins = [\"*\"]", "server.trusted_origins[0]", 2, "https://");
    check("trusted_origins = [\"http://a.example\"]", "server.trusted_origins[0]", 2, "write https://");
    check("trusted_origins = [\"https://a.example/x\"]", "server.trusted_origins[0]", 2, "https://");
    check("header_timeout = \"0s\"", "server.header_timeout", 2, "at least \"1s\"");
    check("header_timeout = \"2h\"", "server.header_timeout", 2, "at most \"5m\"");
    check("keep_alive = \"1 minute\"", "server.keep_alive", 2, "\"30s\"");
    check("keep_alive = 60", "server.keep_alive", 2, "\"2m\"");
    check("drain = \"99999999999999999999d\"", "server.drain", 2, "\"30s\"");
    check("[server.limits]\nheader_bites = 1", "server.limits.header_bites", 3, "`header_bytes`");
    check("limits = { uri_bytes = 1 }", "server.limits.uri_bytes", 2, "from 256");
    check("limits = { uri_bytes = 40000 }", "server.limits.uri_bytes", 2, "at most 32768");
    check("limits.connections = 100", "server.limits.connections_per_client", 2, "at most 100");
    check("limits.open_requests = 100", "server.limits.open_requests_per_client", 2, "at most 100");
}

#[test]
fn each_mistake_about_people_and_storage_is_named_with_line_and_remedy() {
    check("[store]\nurl = \"mysql://x\"", "store.url", 2, "sqlite:FILE");
    check("[store]\nurl = \"sqlite:\"", "store.url", 2, "sqlite:FILE");
    check("[store]\nurl = \"sqlite:a.db?mode=ro\"", "store.url", 2, "sqlite:FILE");
    let postgres = |rest: &str| {
        format!("secret = \"q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+\"\n[store]\nurl = \"postgres://{rest}\"")
    };
    for bad in ["h", "u@/d?host=/run/postgresql", "h/d?sslmod=require", "h:port/d"] {
        check(&postgres(bad), "store.url", 3, "postgres://USER");
    }
    check(&postgres("h/d?sslrootcert=ca.crt"), "store.url", 3, "absolute path");
    let told = only_problem(&postgres("u@/d?host=/run/postgresql")).what;
    assert!(told.contains("with a socket write postgres:///DATABASE?host="), "{told}");
    check("[store]\nconnections = 0", "store.connections", 2, "from 1");
    check("[store]\noutage_grace = \"2h\"", "store.outage_grace", 2, "at most \"1h\"");
    check(
        "[login]\ndefault_role = \"agent\"",
        "login.default_role",
        2,
        "\"viewer\", \"member\" or \"admin\"",
    );
    check("[login]\nadmins = [\"alice\"]", "login.admins[0]", 2, "alice=alice@");
    check("[login]\nadmin_password = \"short\"", "login.admin_password", 2, "longer");
    check("[login]\nadmin_password = \"adminadminadmin\"", "login.admin_password", 2, "random words");
    check("[session]\nidle = \"1m\"", "session.idle", 2, "at least \"2m\"");
    check("[session]\nidle = \"8d\"", "session.absolute", 1, "at least \"8d\"");
    check("[session]\ncookie_same_site = \"none\"", "session.cookie_same_site", 2, "\"lax\" or \"strict\"");
    check("[session]\ncookie_domain = \"example.com\"", "session.cookie_domain", 2, "leave it out");
    let named = "public_url = \"https://a.b.example.com\"\n[session]\n";
    check(
        &format!("{named}cookie_domain = \"example.org\""),
        "session.cookie_domain",
        3,
        "\"b.example.com\"",
    );
    check(&format!("{named}cookie_domain = \"xample.com\""), "session.cookie_domain", 3, "\"b.example.com\"");
    check(&format!("{named}cookie_domain = \"com\""), "session.cookie_domain", 3, "\"b.example.com\"");
    check("[forward_auth]\nflavours = \"apache\"", "forward_auth.flavours", 2, "\"nginx\"");
    let nobody = "[server]\ntrusted_proxies = []\n[forward_auth]\n";
    check(&format!("{nobody}flavours = \"nginx\""), "server.trusted_proxies", 2, "your proxy connects from");
    check(&format!("{nobody}compat = \"vouch\""), "server.trusted_proxies", 2, "your proxy connects from");
    check("[keys]\nheader = \"Authorization\"", "keys.header", 2, "X-Api-Key");
    check("[keys]\nheader = \"a b\"", "keys.header", 2, "X-Api-Key");
    check("[log]\nlevel = \"verbose\"", "log.level", 2, "info");
    check("[log]\nformat = \"xml\"", "log.format", 2, "\"auto\", \"text\" or \"json\"");
    for (host, suffix, remedy) in [
        ("shop.example.co.uk", "co.uk", "\"example.co.uk\""),
        ("a.b.github.io", "github.io", "\"b.github.io\""),
        ("x.y.kawasaki.jp", "y.kawasaki.jp", "\"x.y.kawasaki.jp\""),
        ("nas.duckdns.org", "duckdns.org", "\"nas.duckdns.org\""),
    ] {
        let text = format!("public_url = \"https://{host}\"\n[session]\ncookie_domain = \"{suffix}\"");
        check(&text, "session.cookie_domain", 3, remedy);
    }
    for (host, domain) in [
        ("a.example.co.uk", "example.co.uk"),
        ("app.city.kawasaki.jp", "city.kawasaki.jp"),
        ("a.b.corp.internal", "corp.internal"),
    ] {
        good(&format!("public_url = \"https://{host}\"\n[session]\ncookie_domain = \"{domain}\""));
    }
    good(&format!("{named}cookie_domain = \"example.com\""));
}

#[test]
fn each_mistake_about_upstreams_is_named_with_line_and_remedy() {
    let check = |text: &str, path: &str, line, remedy: &str| {
        let text = format!("[[upstreams]]\nname = \"a\"\n{text}\n[[routes]]\nupstream = \"a\"");
        check(&text, path, line, remedy);
    };
    check("", "upstreams[0].url", 1, "add `url");
    check("url = \"127.0.0.1:6006\"", "upstreams[0].url", 3, "http://HOST:PORT");
    check("url = \"http://h/path\"", "upstreams[0].url", 3, "`add_prefix` of the route");
    check("url = \"http://u:p@h\"", "upstreams[0].url", 3, "http://HOST:PORT");
    check("url = \"unix:run/a\"", "upstreams[0].url", 3, "unix:/run/app.sock");
    check(&format!("url = \"unix:/{}\"", "a".repeat(107)), "upstreams[0].url", 3, "unix:/run/app.sock");
    check(
        "url = \"unix:/run/own\"\n[server]\nlisten = [\"127.0.0.1:8080\", \"unix:/run/own\"]",
        "upstreams[0].url",
        3,
        "behind it",
    );
    check("url = \"http+unix:/run/a\"", "upstreams[0].url", 3, "h2c+unix:/PATH");
    check("servers = []", "upstreams[0].servers", 3, "http://127.0.0.1:6006");
    check("url = \"http://h\"\nservers = [\"http://i\"]", "upstreams[0].url", 3, "keep one");
    check("servers = [\"http://h\", \"https://h\"]", "upstreams[0].servers[1]", 3, "the same scheme");
    check("servers = [\"http://h\", \"h2c://i\"]", "upstreams[0].servers[1]", 3, "the same scheme");
    check("servers = [\"http://h\", \"builtin:sample\"]", "upstreams[0].servers[1]", 3, "the same scheme");
    check("servers = [\"http://h\", \"http://h:80\"]", "upstreams[0].servers[1]", 3, "each server once");
    check("servers = [\"http://h\", \"http://127.0.0.1:8080\"]", "upstreams[0].servers", 3, "behind it");
    check("url = \"http://h\"\nbalance = \"random\"", "upstreams[0].balance", 4, "\"round-robin\"");
    check("url = \"http://h\"\nhealth.path = \"healthz\"", "upstreams[0].health.path", 4, "\"/healthz\"");
    check("url = \"http://h\"\nhealth.interval = \"1s\"", "upstreams[0].health.interval", 4, "add `path");
    check(
        "url = \"http://h\"\nhealth = { path = \"/\", status = \"600\" }",
        "upstreams[0].health.status",
        4,
        "2xx",
    );
    check("url = \"unix:/run/a\"\ntls.server_name = \"x\"", "upstreams[0].tls", 4, "https://");
    check("url = \"builtin:other\"", "upstreams[0].url", 3, "builtin:sample");
    check("url = \"http://127.0.0.1:8080\"", "upstreams[0].url", 3, "behind it");
    check("url = \"http://h\"\nprotocol = \"http2\"", "upstreams[0].protocol", 4, "h2c://");
    check("url = \"h2c://h\"\nprotocol = \"http1\"", "upstreams[0].protocol", 4, "leave `protocol` out");
    check("url = \"http://h\"\ntls.server_name = \"x\"", "upstreams[0].tls", 4, "https://");
    check("url = \"https://h\"\ntls.ca = \"none.pem\"", "upstreams[0].tls.ca", 4, "check its name");
    check("url = \"http://h\"\nheaders = \"x\"", "upstreams[0].headers", 4, "\"standard\"");
    check("url = \"http://h\"\npaths.allow = \"dots\"", "upstreams[0].paths.allow", 4, "\"encoded-slash\"");
    check("url = \"http://h\"\ntimeouts.conect = \"1s\"", "upstreams[0].timeouts.conect", 4, "`connect`");
    check(
        "url = \"http://h\"\n[[upstreams]]\nname = \"a\"\nurl = \"http://h\"",
        "upstreams[1].name",
        5,
        "its own",
    );
    check("url = \"http://h\"\n[[upstreams]]\nurl = \"http://h\"", "upstreams[1].name", 4, "add `name");
}

/// G07: malformed patterns and unknown roles.
/// G16: two routes for one place.
#[test]
fn each_mistake_about_routes_is_named_with_line_and_remedy() {
    let check = |text: &str, path: &str, line, remedy: &str| {
        let text = format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"http://h\"\n[[routes]]\nupstream = \"app\"\n{text}"
        );
        check(&text, path, line, remedy);
    };
    check("[[routes]]\nupstream = \"ap\"\npath = \"/x\"", "routes[1].upstream", 7, "`app`");
    check("[[routes]]\nupstream = \"zzz\"\npath = \"/x\"", "routes[1].upstream", 7, "one of app");
    check("[[routes]]\npath = \"/x\"", "routes[1].upstream", 6, "add `upstream");
    check("[[routes]]\nupstream = \"app\"\npath = \"/\"", "routes[1].path", 8, "another path or host");
    check("[[routes]]\nname = \"/\"\nupstream = \"app\"\npath = \"/x\"", "routes[1].name", 7, "its own");
    check("path = \"x\"", "routes[0].path", 6, "\"/app\"");
    check("path = \"/x/**\"", "routes[0].path", 6, "rule's `path`");
    check("strip_prefix = \"/app\"", "routes[0].strip_prefix", 6, "write `path = \"/app\"`");
    check(
        "path = \"/apple\"\nstrip_prefix = \"/app\"",
        "routes[0].strip_prefix",
        7,
        "what `/apple` begins with",
    );
    check("path = \"/app\"\nstrip_prefix = \"/app/x\"", "routes[0].strip_prefix", 7, "path = \"/app/x\"");
    check("strip_prefix = \"/\"", "routes[0].strip_prefix", 6, "leave it out");
    check("add_prefix = \"/a;b\"", "routes[0].add_prefix", 6, "plain segments");
    check("add_prefix = \"/a%2fb\"", "routes[0].add_prefix", 6, "plain segments");
    check("add_prefix = \"base\"", "routes[0].add_prefix", 6, "\"/base\"");
    check("add_prefix = \"/a/../b\"", "routes[0].add_prefix", 6, "\"/base\"");
    check(
        "path = \"/app\"\nstrip_prefix = \"/app\"\nrules = [{ grpc = \"a.B/C\", allow = \"agent\" }]",
        "routes[0].rules[0].grpc",
        8,
        "/app/package.Service",
    );
    check("host = \"a\"\nhosts = [\"b\"]", "routes[0].host", 6, "keep one");
    check("host = \"*.example.com\"", "routes[0].host", 6, "app.example.com");
    check("host = \"a.example:80\"", "routes[0].host", 6, "without scheme, port");
    check("rules = [{ path = \"/\" }]", "routes[0].rules[0]", 6, "allow = \"viewer\"");
    check("rules = [\n{ allow = [] }]", "routes[0].rules[0]", 7, "allow = \"viewer\"");
    check("rules = [\n{ alow = \"viewer\", deny = \"agent\" }]", "routes[0].rules[0].alow", 7, "`allow`");
    check("rules = [{ allow = [\"viewer\", \"staff\"] }]", "routes[0].rules[0].allow[1]", 6, "group:NAME");
    check(
        "rules = [{ methods = \"get\", allow = \"viewer\" }]",
        "routes[0].rules[0].methods",
        6,
        "upper case",
    );
    check("rules = [{ path = \"/a?b\", allow = \"viewer\" }]", "routes[0].rules[0].path", 6, "/v1/users");
    check(
        "rules = [{ graphql = \"reads\", allow = \"viewer\" }]",
        "routes[0].rules[0].graphql",
        6,
        "\"query\"",
    );
    for name in ["fields", "any_field", "mentions"] {
        let rule = format!("rules = [{{ {name} = \"a\", allow = \"viewer\" }}]");
        check(&rule, &format!("routes[0].rules[0].{name}"), 6, "graphql =");
    }
    check(
        "rules = [{ graphql = \"query\", fields = \"a\", mentions = \"b\", allow = \"viewer\" }]",
        "routes[0].rules[0].mentions",
        6,
        "a rule of its own",
    );
    check(
        "rules = [{ graphql = \"query\", any_field = \"a-b\", allow = \"viewer\" }]",
        "routes[0].rules[0].any_field",
        6,
        "letters, digits and _",
    );
    check("rules = [{ grpc = \"x\", allow = \"viewer\" }]", "routes[0].rules[0].grpc", 6, "grpc.health");
    check(
        "rules = [{ networks = \"x\", allow = \"viewer\" }]",
        "routes[0].rules[0].networks",
        6,
        "10.0.0.0/8",
    );
    check(
        "[[routes.rules]]\nname = \"a\"\nmethods = \"read\"\nallow = \"viewer\"\n[[routes.rules]]\nname = \"a\"\nallow = \"admin\"",
        "routes[0].rules[1].name",
        11,
        "its own",
    );
}

#[test]
fn a_problem_hides_none_of_a_setting_whose_name_only_begins_alike() {
    let told = |text: &str| ConfigDir::new(text).load().unwrap_err().to_string();
    let text = told("routes_for = 1\n[[upstreams]]\nname = \"a\"\nurl = \"http://h\"");
    assert!(text.contains("routes_for: unknown") && text.contains("routes: there is none"), "{text}");
    let asks = "[forward_auth]\nflavours = [\"nginx\"]\n[server]\n";
    let text = told(&with_least(&format!("{asks}trusted_proxies_from = 1")));
    assert!(
        text.contains("trusted_proxies_from: unknown") && text.contains("trusted_proxies: is empty"),
        "{text}"
    );
    let text = told(&with_least(&format!("{asks}trusted_proxies = [\"x\"]")));
    assert!(
        text.contains("trusted_proxies[0]: ") && !text.contains("is empty"),
        "what is inside it hides it: {text}"
    );
}

#[test]
fn what_is_missing_altogether_is_named() {
    let config_dir = ConfigDir::new("");
    let text = config_dir.load().unwrap_err().to_string();
    assert!(text.contains("upstreams: there is none") && text.contains("--upstream URL"), "{text}");
    let text =
        ConfigDir::new("[[upstreams]]\nname = \"a\"\nurl = \"http://h\"").load().unwrap_err().to_string();
    assert!(text.contains("routes: there is none") && text.contains("`upstream = \"a\"`"), "{text}");
    let text =
        ConfigDir::new(&with_least("[server]\nlisten = [\"0.0.0.0:80\"]")).load().unwrap_err().to_string();
    assert!(text.contains("public_url: is missing, but 0.0.0.0:80"), "{text}");
    let text =
        ConfigDir::new(&with_least("[store]\nurl = \"postgres://h/d\"")).load().unwrap_err().to_string();
    assert!(text.contains("secret: is missing") && text.contains("secret_file"), "{text}");
}

#[test]
fn half_a_certificate_is_a_problem() {
    let config_dir = ConfigDir::new(
        "[[upstreams]]\nname = \"a\"\nurl = \"https://h\"\ntls.certificate = \"c.pem\"\n[[routes]]\nupstream = \"a\"",
    );
    config_dir.write_pem("c.pem", "k.pem");
    let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
    assert_eq!((problem.path.as_str(), problem.location.line()), ("upstreams[0].tls.key", Some(4)));

    let config_dir = ConfigDir::new(&with_least("[server]\ntls = { certificate = \"c.pem\" }"));
    config_dir.write_pem("c.pem", "k.pem");
    let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
    assert_eq!((problem.path.as_str(), problem.location.line()), ("server.tls.key", Some(2)));
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    let problems = bad("[server]\nlisten = [\n\"a\"\n[store\nurl = 5");
    assert!(problems.iter().all(|problem| problem.what.contains("not TOML")), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.location.line() == Some(4)), "{problems:#?}");
    let problems = bad("[log]\naccess = true\naccess = false");
    assert_eq!(problems[0].location.line(), Some(3), "{problems:#?}");
}

#[test]
fn ten_mistakes_are_all_named_at_once_in_the_order_of_the_file() {
    let problems = bad(r#"public_url = "ftp://example.com"
secret = "too short"
[server]
lisen = ["127.0.0.1:1"]
workers = 0
trusted_proxies = ["0.0.0.0/0"]
keep_alive = 60
[session]
idle = "1s"
[log]
level = "loud"
[[upstreams]]
name = "app"
url = "app:6006/x"
[[routes]]
upstream = "ap"
rules = [
  { methods = "read", allow = "everyone" },
]
"#);
    let found: Vec<(Option<usize>, &str)> =
        problems.iter().map(|problem| (problem.location.line(), problem.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (Some(1), "public_url"),
            (Some(2), "secret"),
            (Some(4), "server.lisen"),
            (Some(5), "server.workers"),
            (Some(6), "server.trusted_proxies[0]"),
            (Some(7), "server.keep_alive"),
            (Some(9), "session.idle"),
            (Some(11), "log.level"),
            (Some(14), "upstreams[0].url"),
            (Some(16), "routes[0].upstream"),
            (Some(18), "routes[0].rules[0].allow"),
        ]
    );
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
}

/// Opening a pipe without a writer blocks, and a device has no end.
#[test]
fn neither_pipes_nor_devices_keep_a_start_waiting() {
    let endless = ConfigSource { file: Some("/dev/zero".into()), environment: Vec::new() };
    let error = load(&endless, &Flags::default()).unwrap_err().to_string();
    assert!(error.contains("is longer than 1 MiB"), "{error}");
    let config_dir = ConfigDir::new(
        "login.breach_list = \"pipe\"\nupstreams = [{ name = \"app\", url = \"http://127.0.0.1:1\" }]\nroutes = [{ upstream = \"app\" }]",
    );
    let made = std::process::Command::new("mkfifo").arg(config_dir.path("pipe")).status().unwrap();
    assert!(made.success());
    let error = config_dir.load().unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}
