//! Settings that change under a running gateway: by signal, by file, and refused.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use crate::{Answer, PATIENCE, Place};

/// Replaces a file as editors do.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[test]
fn a_hangup_and_a_change_of_the_file_alone_put_new_settings_into_effect() {
    let place = Place::with_upstream("builtin:sample", "");
    let file = place.path("doorward.toml");
    let viewers = fs::read_to_string(&file).unwrap();
    let admins = format!("{viewers}rules = [{{ name = \"closed\", allow = \"admin\" }}]\n");
    let (key, _) = place.key("reader", "viewer");
    let gateway = place.serve();
    gateway.said.wait_for("\"config.generation\":1");
    let mut open = gateway.begin("");
    let mut ask = |wanted: u16| {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
        open.write_all(request.as_bytes()).unwrap();
        let mut answer = BufReader::new(&open);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(answer.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
        answer.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {wanted} ")), "{head}");
    };
    ask(200);
    replace(&file, &admins);
    let line = gateway.said.wait_for("\"config.generation\":2");
    assert!(line.contains("\"trigger\":\"file\"") && line.contains("\"config.sha256\":\""), "{line}");
    ask(403);

    // In place, and told of at once.
    fs::write(&file, &viewers).unwrap();
    gateway.signal("-HUP");
    gateway.said.wait_for("\"config.generation\":3");
    ask(200);
}

/// D24: a broken configuration under a running gateway.
#[test]
fn a_bad_file_is_refused_with_every_reason_and_the_old_settings_stay() {
    let place = Place::with_upstream("builtin:sample", "");
    let file = place.path("doorward.toml");
    let good = fs::read_to_string(&file).unwrap();
    let (key, _) = place.key("reader", "viewer");
    let mut gateway = place.serve();
    replace(&file, &good.replace("drain", "drian").replace("workers = 1", "workers = 0"));
    let refused = gateway.said.wait_for("was refused");
    for reason in
        ["server.drian: unknown setting", "did you mean `drain`", "server.workers", "doorward.toml:"]
    {
        assert!(refused.contains(reason), "{reason}:\n{refused}");
    }
    let said = ["\"config.generation\":1", "\"level\":\"ERROR\""];
    assert!(said.iter().all(|said| refused.contains(said)), "{refused}");
    assert_eq!(gateway.get_with_key("/", &key).status, 200);

    replace(&file, &good.replace("workers = 1", "workers = 2"));
    gateway.said.wait_for("server.workers: cannot change while the gateway runs");

    // Gone for a moment, as between two steps of a deployment.
    fs::remove_file(&file).unwrap();
    gateway.signal("-HUP");
    gateway.said.wait_for("cannot be read");
    assert_eq!(gateway.get_with_key("/", &key).status, 200);
    replace(&file, &good);
    gateway.said.wait_for("\"config.generation\":2");
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn without_a_file_a_hangup_is_harmless_and_says_so() {
    let place = Place::new("");
    fs::remove_file(place.path("doorward.toml")).unwrap();
    let gateway = place.serve_with_arguments(&["--upstream", "builtin:sample", "--listen", "127.0.0.1:0"]);
    gateway.signal("-HUP");
    gateway.said.wait_for("nothing to reload");
    assert_eq!(gateway.get("/_doorward/healthz", "").status, 200);
}

#[test]
fn the_level_of_the_log_changes_while_the_gateway_runs() {
    let place = Place::with_upstream("builtin:sample", "log.level = \"info\"");
    let file = place.path("doorward.toml");
    let text = fs::read_to_string(&file).unwrap();
    let gateway = place.serve();
    let garbage = || drop(Answer::read(&mut gateway.begin("GET / HTTP/1.1\r\nno colon here\r\n\r\n")));
    garbage();
    replace(&file, &text.replace("\"info\"", "\"debug\""));
    gateway.said.wait_for("\"config.generation\":2");
    // It changes just after that is said.
    let deadline = Instant::now() + PATIENCE;
    let debug = |said: String| said.contains("\"level\":\"DEBUG\"");
    while !debug(gateway.said.everything()) {
        assert!(Instant::now() < deadline, "{}", gateway.said.everything());
        garbage();
    }
}
