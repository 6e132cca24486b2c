//! Radicale: appointments are moved between calendars.

use std::process::Command;

use crate::support::client::Answer;
use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, servers_python};

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:1@x\r\n\
    DTSTAMP:20260101T000000Z\r\nDTSTART:20260101T100000Z\r\nSUMMARY:Tea\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

/// Behind TLS, and below a prefix that Radicale is told of: it wants every address as clients write it.
#[tokio::test]
async fn radicale_moves_appointments_only_where_both_calendars_are_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let server = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(servers_python());
    command.args([
        "-m",
        "radicale",
        "--config",
        "",
        "--server-hosts",
        &server,
        "--auth-type",
        "http_x_remote_user",
    ]);
    command.arg("--storage-filesystem-folder").arg(directory.path().join("calendars"));
    let process = Process::start("radicale", directory.path(), &command);
    let _process = process.ready(&format!("http://{server}/.web/"), PATIENCE).await;

    let gateway = Gateway::start(&format!(
        r#"
        public_url = "https://{ADDRESS}"
        [server]
        listen = ["{ADDRESS}"]
        trusted_proxies = ["127.0.0.1"]
        [[upstreams]]
        name = "calendars"
        url = "http://{server}"
        addresses = "client"
        set_headers = {{ X-Remote-User = "{{user}}", X-Script-Name = "/calendars" }}
        [[routes]]
        upstream = "calendars"
        path = "/calendars"
        strip_prefix = "/calendars"
        rules = [
            {{ name = "kept", path = "/calendars/mia/kept", methods = ["DELETE", "PUT"], allow = "admin" }},
            {{ name = "own", allow = "member" }},
        ]
        "#
    ))
    .await;
    let key = gateway.key("mia", "member", &[]).key;
    let send = async |method: &str, path: &str, more: &[(&str, &str)], body: &'static str| -> Answer {
        let headers = [&[("x-forwarded-proto", "https")], more].concat();
        gateway.post(method.parse().unwrap(), &format!("/calendars{path}"), &key, &headers, body).await
    };
    let address = |path: &str| gateway.url.replace("http://", "https://") + "/calendars" + path;
    for calendar in ["/mia/work/", "/mia/home/", "/mia/kept/"] {
        let made = send("MKCALENDAR", calendar, &[], "").await;
        assert_eq!(made.status, 201, "{calendar}: {made:?}");
    }
    let put = send("PUT", "/mia/work/1.ics", &[("content-type", "text/calendar")], EVENT).await;
    assert_eq!(put.status, 201, "{put:?}");

    for place in ["/mia/kept/1.ics", "/mia/kep%74/1.ics"] {
        let answer = send("MOVE", "/mia/work/1.ics", &[("destination", &address(place))], "").await;
        assert_eq!(answer.refusal(), Some(403), "{place}: {answer:?}");
    }
    let moved = send("MOVE", "/mia/work/1.ics", &[("destination", &address("/mia/home/1.ics"))], "").await;
    assert!(matches!(moved.status, 201 | 204), "{moved:?}");
    assert_eq!(send("GET", "/mia/work/1.ics", &[], "").await.status, 404);
    let there = send("GET", "/mia/home/1.ics", &[], "").await;
    assert!(there.status == 200 && there.body.contains("SUMMARY:Tea"), "{there:?}");
}
