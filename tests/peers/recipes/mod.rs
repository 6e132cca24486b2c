//! `docs/recipes.md`, taken literally: each block of settings with the program that it is for.

mod git;
pub(crate) mod registry;

use std::path::Path;
use std::process::{Command, Output};

use http::Method;

use crate::proxies::door::{raw, system};
use crate::proxies::echo::Echo;
use crate::support::client;
use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python, wait_for};
use crate::webdav::server::{Kind, Server};

/// The block in a language below a heading, with addresses replaced.
fn block(heading: &str, language: &str, addresses: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(repository("docs/recipes.md")).unwrap();
    let below = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
    let section = below.split("\n## ").next().unwrap();
    let (_, block) =
        section.split_once(&format!("\n```{language}\n")).unwrap_or_else(|| panic!("no {language}"));
    let mut block = block.split("\n```").next().unwrap().to_owned() + "\n";
    for (written, real) in addresses {
        assert!(block.contains(written), "{heading}: {written} is not there:\n{block}");
        block = block.replace(written, real);
    }
    block
}

/// A gateway with the settings of a recipe.
async fn gateway(heading: &str, addresses: &[(&str, &str)]) -> Gateway {
    Gateway::start(&block(heading, "toml", addresses)).await
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A script of this folder that serves at a port.
async fn serve(script: &str, address: &str, folder: &Path, ready: &str) -> Process {
    let mut command = Command::new(servers_python());
    command.arg(repository(&format!("tests/peers/recipes/{script}"))).arg(address.split(':').nth(1).unwrap());
    command.env("GRADIO_ANALYTICS_ENABLED", "False").env("HF_HUB_OFFLINE", "1").env("HOME", folder);
    let process = Process::start("recipe", folder, &command);
    wait_for("the server", PATIENCE, async || {
        client::get(&format!("http://{address}{ready}")).await.ok().map(drop)
    })
    .await;
    process
}

/// A script of this folder that uses what is at a URL, with a key.
async fn run_script(script: &'static str, url: String, key: String, folder: &Path) -> Output {
    let mut command = Command::new(servers_python());
    command.arg(repository(&format!("tests/peers/recipes/{script}"))).arg(url);
    command.env("KEY", key).env("HOME", folder).env("HF_HUB_OFFLINE", "1");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn files_and_calendars() {
    let folder = tempfile::tempdir().unwrap();
    let (files, calendars) = (free_address(), free_address());
    let root = folder.path().join("files");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("a.txt"), "A").unwrap();
    let (host, port) = files.split_once(':').unwrap();
    let settings = format!(
        "host: {host}\nport: {port}\nmount_path: /files\nprovider_mapping: {{ \"/\": \"{}\" }}\n\
         simple_dc: {{ user_mapping: {{ \"*\": true }} }}\n",
        root.display()
    );
    std::fs::write(folder.path().join("wsgidav.yaml"), settings).unwrap();
    let mut dav = Command::new(repository(".tests/servers/bin/wsgidav"));
    dav.args(["--config", "wsgidav.yaml", "-q"]);
    let dav = Process::start("wsgidav", folder.path(), &dav);
    let _dav = dav.ready(&format!("http://{files}/a.txt"), PATIENCE).await;
    let mut radicale = Command::new(servers_python());
    radicale.args(["-m", "radicale", "--config", "", "--server-hosts", &calendars]);
    radicale
        .args(["--auth-type", "http_x_remote_user", "--storage-filesystem-folder"])
        .arg(folder.path().join("c"));
    let radicale = Process::start("radicale", folder.path(), &radicale);
    let _radicale = radicale.ready(&format!("http://{calendars}/.web/"), PATIENCE).await;

    let gateway =
        gateway("WebDAV and CalDAV", &[("127.0.0.1:8081", &files), ("127.0.0.1:5232", &calendars)]).await;
    let (vera, mia) = (gateway.key("vera", "viewer", &[]).key, gateway.key("mia", "member", &[]).key);
    let ask = async |key: &str, method: &str, path: &str, headers: &[(&str, &str)]| {
        gateway.post(method.parse().unwrap(), path, key, headers, "").await.status
    };
    let challenge = gateway.send("PROPFIND".parse().unwrap(), "/files/", "").await;
    let challenges = challenge.headers.get_all("www-authenticate").iter();
    let offers = challenges.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ");
    assert!(challenge.status == 401 && offers.contains("Basic"), "{challenge:?}");
    assert_eq!(listed(&gateway, &vera).await, ["/files/", "/files/a.txt"]);
    let b = format!("{}/files/b.txt", gateway.url);
    assert_eq!(ask(&vera, "COPY", "/files/a.txt", &[("destination", &b)]).await, 403);
    assert_eq!(ask(&mia, "COPY", "/files/a.txt", &[("destination", &b)]).await, 201);
    assert_eq!(std::fs::read_to_string(root.join("b.txt")).unwrap(), "A");
    let c = format!("{}/files/c.txt", gateway.url);
    assert_eq!(ask(&mia, "MOVE", "/files/b.txt", &[("destination", &c)]).await, 201);
    assert_eq!(listed(&gateway, &vera).await, ["/files/", "/files/a.txt", "/files/c.txt"]);
    assert_eq!(ask(&mia, "MKCALENDAR", "/calendars/mia/work/", &[]).await, 201);
    assert_eq!(ask(&mia, "PROPFIND", "/calendars/vera/", &[]).await, 403, "Radicale keeps people apart");
    assert_eq!(ask(&vera, "PROPFIND", "/calendars/vera/", &[]).await, 403);
}

/// What a folder's listing calls what is in it; each must lead back there.
async fn listed(gateway: &Gateway, key: &str) -> Vec<String> {
    let method: Method = "PROPFIND".parse().unwrap();
    let answer = gateway.post(method.clone(), "/files/", key, &[("depth", "1")], "").await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let mut paths = Vec::new();
    for rest in answer.body.split("href>").skip(1).step_by(2) {
        let address = rest.split('<').next().unwrap();
        let path = address.strip_prefix(&gateway.url).unwrap_or(address).to_owned();
        let there = gateway.post(method.clone(), &path, key, &[("depth", "0")], "").await;
        assert_eq!(there.status, 207, "{path}: {there:?}");
        paths.push(path);
    }
    paths.sort();
    paths
}

/// The servers that know no prefix: the same block without the two lines.
async fn files_below_their_own_path(kind: Kind) {
    let server = Server::start(kind).await;
    let calendars = free_address();
    let addresses = [("127.0.0.1:8081", server.address.as_str()), ("127.0.0.1:5232", &calendars)];
    let settings = block("WebDAV and CalDAV", "toml", &addresses);
    let left_out =
        |line: &&str| !line.starts_with("strip_prefix = \"/files\"") && !line.starts_with("addresses");
    let settings: String = settings.lines().filter(left_out).map(|line| format!("{line}\n")).collect();
    let gateway = Gateway::start(&settings).await;
    let (vera, mia) = (gateway.key("vera", "viewer", &[]).key, gateway.key("mia", "member", &[]).key);
    let ask = async |key: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &'static str| {
        gateway.post(method.parse().unwrap(), path, key, headers, body).await.status
    };
    assert_eq!(ask(&mia, "MKCOL", "/files/", &[], "").await, 201);
    assert_eq!(ask(&mia, "PUT", "/files/a.txt", &[], "A").await, 201);
    let b = format!("{}/files/b.txt", gateway.url);
    assert_eq!(ask(&vera, "COPY", "/files/a.txt", &[("destination", &b)], "").await, 403);
    assert!(matches!(ask(&mia, "COPY", "/files/a.txt", &[("destination", &b)], "").await, 201 | 204));
    assert_eq!(server.read("/files/b.txt").as_deref(), Some("A"));
    if kind == Kind::ModDav {
        assert_eq!(listed(&gateway, &vera).await, ["/files/", "/files/a.txt", "/files/b.txt"]);
    }
}

#[tokio::test]
async fn files_of_mod_dav_below_its_own_path() {
    files_below_their_own_path(Kind::ModDav).await;
}

#[tokio::test]
async fn files_of_nginx_below_its_own_path() {
    files_below_their_own_path(Kind::Nginx).await;
}

/// A plain server of files, which has this path among them.
async fn serve_files(index: &Path, path: &str) -> (String, Process) {
    let address = free_address();
    let (_, port) = address.split_once(':').unwrap();
    let mut server = Command::new(servers_python());
    server.args(["-m", "http.server", "--bind", "127.0.0.1", port, "--directory"]).arg(index);
    let server = Process::start("index", index.parent().unwrap(), &server);
    let server = server.ready(&format!("http://{address}{path}"), PATIENCE).await;
    (address, server)
}

#[tokio::test]
async fn a_package_is_installed_from_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    std::fs::create_dir_all(index.join("simple/demo")).unwrap();
    let wheel = "demo-1.0-py3-none-any.whl";
    std::fs::write(index.join("simple/demo/index.html"), format!("<a href=\"../../{wheel}\">{wheel}</a>"))
        .unwrap();
    let make = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n\
                \x20   z.writestr('demo.py', 'x = 1')\n\
                \x20   z.writestr('demo-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')\n\
                \x20   z.writestr('demo-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
                \x20   z.writestr('demo-1.0.dist-info/RECORD', '')\n";
    let built = Command::new(servers_python()).args(["-c", make]).arg(index.join(wheel)).status().unwrap();
    assert!(built.success());
    let (address, _server) = serve_files(&index, "/simple/demo/").await;

    let gateway = gateway("Package indexes", &[("127.0.0.1:8082", &address)]).await;
    let command = block("Package indexes", "sh", &[(ADDRESS, gateway.url.trim_start_matches("http://"))]);
    for (key, works) in [(gateway.key("ci", "viewer", &[]).key, true), ("dw_s_wrong".to_owned(), false)] {
        let target = folder.path().join(&key);
        let pip = command.trim().strip_prefix("pip").unwrap();
        let script = format!(
            "\"$PYTHON\" -m pip --isolated{pip} --target \"$TARGET\" --no-input --no-cache-dir --retries 0"
        );
        let mut install = Command::new("sh");
        install.arg("-c").arg(script).env("PYTHON", servers_python()).env("TARGET", &target).env("KEY", &key);
        install.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        let told = tokio::task::spawn_blocking(move || install.output().unwrap()).await.unwrap();
        assert_eq!((told.status.success(), target.join("demo.py").exists()), (works, works), "{told:?}");
    }
    let (vera, mia) = (gateway.key("vera", "viewer", &[]).key, gateway.key("mia", "member", &[]).key);
    assert_eq!(gateway.send(Method::POST, "/", &vera).await.refusal(), Some(403));
    assert_eq!(gateway.send(Method::POST, "/", &mia).await.refusal(), None);
}

#[tokio::test]
async fn a_package_with_a_scope_is_installed_by_npm() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    std::fs::create_dir_all(index.join("@team")).unwrap();
    std::fs::create_dir_all(folder.path().join("package")).unwrap();
    let manifest = "{\"name\":\"@team/demo\",\"version\":\"1.0.0\"}";
    std::fs::write(folder.path().join("package/package.json"), manifest).unwrap();
    let mut pack = Command::new("tar");
    pack.arg("czf").arg(index.join("demo.tgz")).arg("-C").arg(folder.path()).arg("package");
    assert!(pack.status().unwrap().success());
    let (address, _server) = serve_files(&index, "/demo.tgz").await;
    let heading = "Package indexes";
    let gateway = gateway(heading, &[("127.0.0.1:8082", &address)]).await;
    let about = format!(
        "{{\"name\":\"@team/demo\",\"dist-tags\":{{\"latest\":\"1.0.0\"}},\"versions\":{{\"1.0.0\":{{\"name\":\"@team/demo\",\
         \"version\":\"1.0.0\",\"dist\":{{\"tarball\":\"{}/demo.tgz\"}}}}}}}}",
        gateway.url
    );
    std::fs::write(index.join("@team/demo"), about).unwrap();
    let settings = block(heading, "ini", &[(ADDRESS, gateway.url.trim_start_matches("http://"))]);
    std::fs::write(folder.path().join("npmrc"), settings).unwrap();
    for (key, works) in [("dw_s_wrong".to_owned(), false), (gateway.key("ci", "viewer", &[]).key, true)] {
        let mut install = Command::new("npm");
        install.args([
            "install",
            "@team/demo",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
        ]);
        install
            .arg("--userconfig")
            .arg(folder.path().join("npmrc"))
            .arg("--prefix")
            .arg(folder.path().join("into"));
        install.arg("--cache").arg(folder.path().join("cache")).env("KEY", &key).env("HOME", folder.path());
        let told = tokio::task::spawn_blocking(move || install.output().unwrap()).await.unwrap();
        let there = folder.path().join("into/node_modules/@team/demo/package.json").exists();
        assert_eq!((told.status.success(), there), (works, works), "{told:?}");
    }
}

#[tokio::test]
async fn a_gradio_application_is_used_by_viewers() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _app = serve("gradio_app.py", &address, folder.path(), "/").await;
    let gateway = gateway("Gradio", &[("127.0.0.1:7860", &address)]).await;
    let (vera, agent) = (gateway.key("vera", "viewer", &[]).key, gateway.key("bot", "agent", &[]).key);
    let used = run_script("gradio_use.py", gateway.url.clone(), vera.clone(), folder.path()).await;
    assert_eq!(String::from_utf8_lossy(&used.stdout).trim(), "Hello vera", "{used:?}");
    let refused = run_script("gradio_use.py", gateway.url.clone(), agent, folder.path()).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let upload = gateway.send(Method::POST, "/gradio_api/upload", &vera).await;
    assert_eq!(upload.refusal(), Some(403), "{upload:?}");
}

#[tokio::test]
async fn the_tools_of_an_mcp_server_are_called_by_members() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _server = serve("mcp_server.py", &address, folder.path(), "/").await;
    let gateway = gateway("MCP servers", &[("127.0.0.1:8000", &address)]).await;
    let (vera, mia) = (gateway.key("vera", "viewer", &[]).key, gateway.key("mia", "member", &[]).key);
    let url = format!("{}/mcp", gateway.url);
    for (key, told, works) in [
        (mia, &["['greet', 'forget']", "Hello vera", "forgot vera"][..], true),
        (vera, &["['greet', 'forget']", "Hello vera"], false),
        (gateway.key("bot", "agent", &[]).key, &[], false),
    ] {
        let used = run_script("mcp_use.py", url.clone(), key, folder.path()).await;
        let lines: Vec<&str> = std::str::from_utf8(&used.stdout).unwrap().lines().collect();
        assert_eq!((lines.as_slice(), used.status.success()), (told, works), "{used:?}");
    }
}

#[tokio::test]
async fn prometheus_scrapes_and_writes_through_the_gateway() {
    let prometheus = |folder: &Path, address: &str, more: &[&str]| {
        let mut command = Command::new(repository(".tests/prometheus/usr/bin/prometheus"));
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).args(more);
        Process::start("prometheus", folder, &command)
    };
    let (receiver, sender) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (target, source) = (free_address(), free_address());
    std::fs::write(receiver.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let process = prometheus(receiver.path(), &target, &["--web.enable-remote-write-receiver"]);
    let _receiver = process.ready(&format!("http://{target}/-/ready"), PATIENCE).await;

    let gateway = gateway("Prometheus", &[("127.0.0.1:9100", &target), ("127.0.0.1:9090", &target)]).await;
    let (scraper, vera) = (gateway.key("scraper", "agent", &[]).key, gateway.key("vera", "viewer", &[]).key);
    std::fs::write(sender.path().join("scraper.key"), &scraper).unwrap();
    let settings = block("Prometheus", "yaml", &[(ADDRESS, gateway.url.trim_start_matches("http://"))]);
    std::fs::write(sender.path().join("prometheus.yml"), settings).unwrap();
    let process = prometheus(sender.path(), &source, &[]);
    let _sender = process.ready(&format!("http://{source}/-/ready"), PATIENCE).await;

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let query = "query=prometheus_build_info{job=\"app\"}";
    wait_for("what was scraped and written", PATIENCE, async || {
        let answer = gateway.post(Method::POST, "/api/v1/query", &vera, &form, query).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (!answer.json()["data"]["result"].as_array()?.is_empty()).then_some(())
    })
    .await;
    for (path, method, key) in [
        ("/metrics", Method::GET, &vera),
        ("/api/v1/write", Method::POST, &vera),
        ("/api/v1/query", Method::POST, &scraper),
        ("/api/v1/admin/tsdb/clean_tombstones", Method::POST, &vera),
    ] {
        assert_eq!(gateway.send(method, path, key).await.refusal(), Some(403), "{path}");
    }
}

#[tokio::test]
async fn load_balancers_see_whether_the_gateway_and_the_application_are_up() {
    let heading = "Probes of load balancers";
    let folder = tempfile::tempdir().unwrap();
    let echo = Echo::start().await;
    let gateway = gateway(heading, &[("127.0.0.1:3000", &echo.address.to_string())]).await;
    let (one, two) = (free_address(), free_address());
    let own = gateway.url.trim_start_matches("http://");
    let config =
        block(heading, "haproxy", &[("127.0.0.1:8000", &one), ("127.0.0.1:8001", &two), (ADDRESS, own)]);
    std::fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
    let mut command = Command::new(system("haproxy"));
    command.args(["-db", "-f", "haproxy.cfg"]);
    let process = Process::start("haproxy", folder.path(), &command);
    let process = process.ready(&format!("http://{one}/_doorward/healthz"), PATIENCE).await;
    let _process = process.ready(&format!("http://{two}/_doorward/healthz"), PATIENCE).await;
    wait_for("the probe at the application", PATIENCE, async || {
        echo.take().iter().any(|seen| seen.all("host") == ["app.example.com"]).then_some(())
    })
    .await;
    assert!(!process_says_down(&folder.path().join("haproxy.log")), "a server is down");
    let ask = async |address: &str, host: &str, path: &str| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: 10.1.2.3\r\nx-forwarded-proto: gopher\r\n\
             connection: close\r\n\r\n"
        );
        raw(address, head.as_bytes()).await.0
    };
    echo.take();
    for address in [&one, &two] {
        assert_eq!(ask(address, "app.example.com", "/x").await, 401);
        assert_eq!(ask(address, "doorward", "/healthz").await, 404);
        assert_eq!(ask(address, "app.example.com", "/healthz").await, 200);
        for seen in &echo.take() {
            assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1, 127.0.0.1"], "{seen:?}");
            assert_eq!(seen.all("x-forwarded-proto"), ["http"], "{seen:?}");
        }
    }
}

fn process_says_down(log: &Path) -> bool {
    std::fs::read_to_string(log).unwrap().contains("DOWN")
}

#[tokio::test]
async fn a_cache_keeps_what_anybody_may_see_and_nothing_else() {
    let heading = "CDNs and other caches";
    let folder = tempfile::tempdir().unwrap();
    let (app, cache) = (free_address(), free_address());
    // Beside the recipe's rules one that goes by the address.
    let office = "rules = [\n  { name = \"office\", path = \"/office\", networks = [\"10.0.0.0/8\"], allow = \"anyone\" },";
    let settings = block(heading, "toml", &[("127.0.0.1:3000", &app), ("rules = [", office)]);
    let gateway = Gateway::start(&settings).await;
    let own = gateway.url.trim_start_matches("http://");
    let config = block(heading, "nginx", &[("127.0.0.1:8000", &cache), (ADDRESS, own)]);
    let at = folder.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {at}/{kind};\n")).collect();
    // The application says that everybody may keep everything.
    let whole = format!(
        "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{config}\
         server {{\nlisten {app};\nlocation / {{\nadd_header Cache-Control \"public, max-age=600\";\n\
         return 200 \"$uri $http_x_forwarded_for $http_x_forwarded_proto $http_x_auth_user\\n\";\n}}\n}}\n}}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), whole).unwrap();
    let mut command = Command::new(system("nginx"));
    command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let process = Process::start("nginx", folder.path(), &command);
    let _nginx = process.ready(&format!("http://{cache}/_doorward/healthz"), PATIENCE).await;

    let bearer = format!("Bearer {}", gateway.key("vera", "viewer", &[]).key);
    let known = [("authorization", bearer.as_str())];
    let asset = async |headers: &[(&str, &str)]| {
        client::send(Method::GET, &format!("http://{cache}/assets/a.js"), headers, "").await.unwrap()
    };
    let first = asset(&known).await;
    assert_eq!(
        (first.status, first.header("x-cache"), first.body.trim()),
        (200, "MISS", "/assets/a.js 127.0.0.1, 127.0.0.1 http")
    );
    let second = asset(&[]).await;
    assert_eq!((second.status, second.header("x-cache")), (200, "HIT"), "{second:?}");
    let page = format!("{}/page", gateway.url);
    let seen = client::send(Method::GET, &page, &known, "").await.unwrap();
    assert_eq!((seen.status, seen.body.trim()), (200, "/page 127.0.0.1 http vera"));
    assert_eq!(seen.header("cache-control"), "max-age=600, private", "{seen:?}");
    let nobody = client::send(Method::GET, &page, &[], "").await.unwrap();
    assert_eq!((nobody.status, nobody.header("cache-control")), (401, "no-store"), "{nobody:?}");

    // Nobody chooses an address; what the cache itself says of one is believed.
    let claims = [
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "other.example"),
    ];
    for (url, status) in [(&cache, 401), (&own.to_owned(), 200)] {
        let answer =
            client::send(Method::GET, &format!("http://{url}/office"), &claims[..1], "").await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let office = client::send(Method::GET, &format!("http://{cache}/office"), &claims, "").await.unwrap();
    assert_eq!(office.status, 401, "{office:?}");
    let asset = client::send(Method::GET, &format!("http://{cache}/assets/b.js"), &claims, "").await.unwrap();
    assert_eq!(
        (asset.status, asset.body.trim()),
        (200, "/assets/b.js 127.0.0.1, 127.0.0.1 http"),
        "{asset:?}"
    );
}

#[tokio::test]
async fn a_manifest_is_had_without_a_cookie() {
    let echo = Echo::start().await;
    let gateway = gateway("Web manifests", &[("127.0.0.1:3000", &echo.address.to_string())]).await;
    for (path, status) in
        [("/manifest.json", 200), ("/site.webmanifest", 200), ("/", 401), ("/manifest.json/x", 200)]
    {
        let answer = gateway.send(Method::GET, path, "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    assert_eq!(gateway.send(Method::POST, "/manifest.json", "").await.status, 401);
}
