//! The mistakes that a newcomer makes most likely: each is answered with what to do instead.

use super::*;

/// What `doorward check` says about settings that it does not take.
fn refused(toml: &str) -> String {
    let output = Place::new(toml).run(&["check"]);
    assert_eq!(output.status.code(), Some(2), "{toml}\n{output:?}");
    text(&output.stderr)
}

const APP: &str =
    "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"\n[[routes]]\nupstream = \"app\"\n";

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn a_misspelt_setting_names_the_right_one() {
    says(
        &refused(&format!("[server]\nlisen = [\"127.0.0.1:1\"]\n{APP}")),
        &["doorward.toml:2", "server.lisen", "did you mean `listen`?"],
    );
    says(&refused(&format!("listen = [\"127.0.0.1:1\"]\n{APP}")), &["`listen` belongs in [server]"]);
    let place = Place::new(APP);
    let mut command = place.command(&["check"]);
    let output = command.env("DOORWARD_SERVER_LISTEN", "127.0.0.1:1").output().unwrap();
    says(&text(&output.stderr), &["did you mean `DOORWARD_SERVER__LISTEN`?"]);
}

#[test]
fn a_wrong_type_shows_the_right_one() {
    says(
        &refused(&format!("[server]\nworkers = \"four\"\n{APP}")),
        &["a whole number", "write for example 4"],
    );
    says(&refused(&format!("[server]\ndrain = 30\n{APP}")), &["a duration", "write for example \"10s\""]);
}

#[test]
fn a_file_that_is_missing_is_to_be_looked_for() {
    let output = Place::new("").run(&["check", "--config", "dorward.toml"]);
    says(&text(&output.stderr), &["dorward.toml", "check the name after --config"]);
    let tls = "[server]\ntls = { certificate = \"tls.crt\", key = \"tls.key\" }\n";
    says(&refused(&format!("{tls}{APP}")), &["server.tls.certificate", "check its name"]);
    says(&refused(&format!("secret_file = \"secret\"\n{APP}")), &["secret_file", "check its name"]);
}

#[test]
fn an_address_for_others_needs_a_public_url() {
    says(
        &refused(&format!("[server]\nlisten = [\"0.0.0.0:8080\"]\n{APP}")),
        &["0.0.0.0:8080 can be reached", "add `public_url = \"https://app.example.com\"`"],
    );
}

#[test]
fn plain_http_for_others_is_to_become_https() {
    says(
        &refused(&format!("public_url = \"http://app.example.com\"\n{APP}")),
        &["passwords and cookies could be read", "write https://", "insecure = true"],
    );
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::with_upstream("builtin:sample", "");
    let output = place.run(&["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    says(
        &text(&output.stderr),
        &[&format!("cannot listen on {address}: choose another with server.listen or --listen")],
    );
    assert!(!place.path("doorward.db").exists(), "a start that fails leaves nothing behind");
}

#[test]
fn while_nobody_has_an_account_the_sign_in_page_says_how_to_make_one() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    gateway.said.wait_for("Make the first admin here, once, within 24 hours");
    gateway.said.wait_for("/_doorward/setup?token=");
    let hint = "<code>doorward user add NAME --role admin</code>";
    let page = gateway.get("/_doorward/login", "");
    says(&page.body, &["Nobody has an account here yet", "set-up link in the gateway's log", hint]);
    let added =
        place.run_with_input(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD);
    assert!(added.status.success(), "{added:?}");
    assert!(!gateway.get("/_doorward/login", "").body.contains(hint), "somebody is there now");
}

#[test]
fn an_application_that_is_not_running_is_named_in_the_log_and_explained_on_the_page() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with_upstream(&format!("http://{nobody}"), "");
    let (key, _) = place.key("reader", "viewer");
    let gateway = place.serve();
    let answer = gateway.get("/", &format!("Authorization: Bearer {key}\r\nAccept: text/html\r\n"));
    assert_eq!(answer.status, 502, "{answer:?}");
    says(&answer.body, &["The application is not reachable", "gateway is up", "tell its operator"]);
    let logged = gateway.said.wait_for("an upstream failed");
    says(&logged, &["start it, or correct its url", "app", "refused"]);
}

#[test]
fn a_key_in_the_wrong_place_is_told_the_right_one() {
    let place = Place::with_upstream("builtin:sample", "");
    let (key, _) = place.key("reader", "viewer");
    let gateway = place.serve();
    for wrong in
        [format!("Api-Key: {key}"), format!("Authorization: {key}"), format!("Authorization: Token {key}")]
    {
        let answer = gateway.get("/", &format!("{wrong}\r\n"));
        assert_eq!(answer.status, 401, "{wrong}");
        says(&answer.body, &["`Authorization: Bearer KEY`"]);
        assert!(!answer.body.contains(&key));
    }
    assert_eq!(gateway.get_with_key("/", &key).status, 200);
}

#[test]
fn a_public_url_that_is_not_where_people_are_is_named_by_the_form_they_send() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    // A proxy in front that passes its own Host on, as many do unasked.
    let form = "username=a&password=b&rd=%2F";
    let answer = gateway.send(&format!(
        "POST /_doorward/login HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.com\r\n\
         Accept: text/html\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(answer.status, 403, "{answer:?}");
    says(&answer.body, &["a page at https://app.example.com", "set public_url to it"]);
    // The same for what pages of the application send.
    let root =
        place.run_with_input(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD);
    assert!(root.status.success());
    let cookie = gateway.sign_in("root", PASSWORD).cookie();
    let foreign = "Origin: https://app.example.com\r\nContent-Length: 0\r\nConnection: close\r\n";
    let answer = gateway.send(&format!("POST / HTTP/1.1\r\nHost: localhost\r\n{cookie}{foreign}\r\n"));
    assert_eq!(answer.status, 403, "{answer:?}");
    says(&answer.body, &["correct public_url", "server.trusted_origins"]);
}

#[test]
fn a_page_opened_over_http_says_that_its_cookie_would_be_lost() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve_with(&[("DOORWARD_PUBLIC_URL", "https://app.example.com")]);
    let root =
        place.run_with_input(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD);
    assert!(root.status.success());
    let sign_in = |host: &str| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("username", "root"), ("password", PASSWORD), ("rd", "/")])
            .finish();
        gateway.send(&format!(
            "POST /_doorward/login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))
    };
    let lost = sign_in("app.example.com");
    assert_eq!((lost.status, lost.header("set-cookie")), (409, None), "{lost:?}");
    says(
        &lost.body,
        &["opened over http, at http://app.example.com", "Open https://app.example.com instead"],
    );
    // Pages live at the public URL: elsewhere nobody signs in, whatever the form says.
    for host in ["192.168.1.5:8080", "localhost:8080"] {
        let led = sign_in(host);
        assert_eq!((led.status, led.header("set-cookie")), (303, None), "{led:?}");
        assert!(led.header("location").is_some_and(|there| there.starts_with("https://app.example.com/")));
    }
}

#[test]
fn a_proxy_that_is_not_trusted_is_noticed_by_check_and_in_the_log() {
    let place = Place::with_upstream("builtin:sample", "");
    let mut check = place.command(&["check"]);
    let output = check.env("DOORWARD_PUBLIC_URL", "https://app.example.com").output().unwrap();
    says(
        &text(&output.stdout),
        &["warning: server.listen", "name the proxy that ends TLS in server.trusted_proxies"],
    );
    let gateway = place.serve();
    assert_eq!(gateway.get("/", "").status, 401);
    assert!(!gateway.said.everything().contains("trusted_proxies"));
    for _ in 0..3 {
        gateway.get("/", "X-Forwarded-For: 192.0.2.1\r\n");
    }
    says(&gateway.said.wait_for("are not believed"), &["127.0.0.1", "name it in server.trusted_proxies"]);
    assert_eq!(gateway.said.everything().matches("are not believed").count(), 1);
}
