//! Commands beside a running gateway, over the same store.

use std::time::Instant;

use serde_json::Value;

use crate::{PASSWORD, PATIENCE, Place};

#[test]
fn a_user_added_while_the_gateway_runs_signs_in() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    assert_ne!(gateway.sign_in("alice", PASSWORD).status, 303);
    let arguments = ["user", "add", "alice", "--role", "viewer", "--password-stdin"];
    let added = place.run_with_input(&arguments, PASSWORD);
    assert!(added.status.success(), "{added:?}");
    assert_ne!(gateway.sign_in("alice", "another long password").status, 303);
    let signed_in = gateway.sign_in("alice", PASSWORD);
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/")), "{signed_in:?}");
    let page = gateway.get("/", &signed_in.cookie());
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("alice"), "{}", page.body);
    assert_eq!(gateway.get("/", "").status, 401);
    assert!(place.run(&["user", "disable", "alice"]).status.success());
    assert_eq!(gateway.get("/", &signed_in.cookie()).status, 401);
}

#[test]
fn the_trail_is_read_and_verified_while_the_gateway_writes_it() {
    let place = Place::with_upstream("http://127.0.0.1:9", "");
    place.json(&["store", "create"]);
    place.run_with_input(&["user", "add", "zelda", "--role", "viewer", "--password-stdin"], PASSWORD);
    let gateway = place.serve();
    assert_eq!(gateway.sign_in("zelda", "wrong").status, 401);
    assert_eq!(gateway.sign_in("zelda", PASSWORD).status, 303);
    place.key("ingest", "agent");
    // A failed sign-in is written within moments, the rest at once.
    let begun = Instant::now();
    let events = loop {
        let told = place.json(&["audit", "list", "--since", "1h"])["events"].as_array().unwrap().clone();
        if told.len() == 5 {
            break told;
        }
        assert!(begun.elapsed() < PATIENCE, "{told:?}");
    };
    let mut told: Vec<_> = events.iter().map(|row| row["event"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["config.load", "key.create", "login", "login", "user.create"]);
    let by_zelda = |row: &&Value| row["event"] == "login" && row["actor_name"] == "zelda";
    assert_eq!(events.iter().filter(by_zelda).count(), 1);
    assert_eq!(place.json(&["audit", "verify"])["last"], 5);
}

#[test]
fn a_key_revoked_while_the_gateway_runs_is_refused_at_the_very_next_request() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    let (key, id) = place.key("reader", "viewer");
    let (other, _) = place.key("other", "viewer");
    assert_eq!(gateway.get_with_key("/", &key).status, 200);
    let revoked = place.json(&["key", "revoke", &id]);
    assert_eq!(revoked["effective_on"], 1, "{revoked}");
    let refused = gateway.get_with_key("/", &key);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(gateway.get_with_key("/", &other).status, 200);
    let again = place.run(&["key", "revoke", &id]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

/// What is reported, once it says how many requests it must be.
fn report(place: &Place, requests: u64) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = place.json(&["refused"])["refused"].as_array().unwrap().clone();
        let sum: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
        if sum == requests {
            return rows;
        }
        assert!(sum < requests && Instant::now() < deadline, "{sum} of {requests}: {rows:?}");
    }
}

#[test]
fn refused_lists_by_route_rule_and_credential() {
    let place = Place::with_upstream("builtin:sample", "enforce = \"log\"");
    let file = place.path("doorward.toml");
    let routes = "name = \"live\"\nrules = [\n\
         { name = \"ingest\", path = \"/v1\", methods = [\"POST\"], allow = \"agent\" },\n\
         { name = \"reads\", methods = \"read\", allow = \"member\" }]\n\
         [[routes]]\nname = \"other\"\nupstream = \"app\"\npath = \"/other\"\n\
         [[routes]]\nname = \"strict\"\nupstream = \"app\"\npath = \"/strict\"\nenforce = \"on\"\n";
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + routes).unwrap();
    let (viewer, _) = place.key("grafana", "viewer");
    let (member, _) = place.key("backup", "member");
    let gateway = place.serve();
    gateway.said.wait_for("route `live` lets everything through and writes down what would be refused");
    let post = |path: &str, headers: &str| {
        gateway
            .send(&format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
            ))
            .status
    };
    for _ in 0..3 {
        assert_ne!(post("/v1/traces?secret=1", "User-Agent: otel/1.2 (linux)\r\n"), 401);
    }
    for _ in 0..2 {
        assert_eq!(gateway.get_with_key("/", &viewer).status, 200);
    }
    assert_eq!(gateway.get_with_key("/", &member).status, 200, "is allowed");
    assert_eq!(gateway.get("/strict", "").status, 401, "is refused");
    assert_ne!(gateway.get("/other", "").status, 401);

    let rows = report(&place, 6);
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let words = ["route", "rule", "code", "credential", "method", "count", "example"]
                .map(|name| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned));
            assert!(
                row["last_at"].as_str() >= row["first_at"].as_str() && row["client"] == "127.0.0.1",
                "{row}"
            );
            words.join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "live ingest sign-in-required nobody POST 3 /v1/traces",
            "live reads forbidden key:grafana GET 2 /",
            "other standard-reads sign-in-required nobody GET 1 /other",
        ]
    );
    assert_eq!(rows[0]["user_agent"], "otel/1.2");

    // For people: a line for each, the most frequent first.
    let shown = |arguments: &[&str]| {
        let output = place.run(&[&["refused"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = shown(&[]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["ROUTE", "RULE", "WHY", "CREDENTIAL", "METHOD", "COUNT", "LAST", "EXAMPLE", "CLIENTS"]
    );
    assert_eq!(lines.len(), 4, "{table}");
    for (line, told) in lines[1..].iter().zip(&told) {
        let told: Vec<&str> = told.split(' ').collect();
        assert_eq!((&line[..6], line[7]), (&told[..6], told[6]), "{table}");
    }
    assert_eq!(lines[1][8..], ["127.0.0.1", "(otel/1.2)"], "{table}");

    let other = shown(&["--route", "other"]);
    assert!(other.lines().count() == 2 && other.contains("/other") && !other.contains("live"), "{other}");
    assert_eq!(shown(&["--route", "nowhere"]).trim(), "nothing would be refused");
    assert_eq!(shown(&["--since", "1h"]), table);
    let lately = || {
        let rows = place.json(&["refused", "--since", "3s"])["refused"].as_array().unwrap().clone();
        rows.into_iter().map(|row| row["route"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while !lately().is_empty() {
        assert!(Instant::now() < deadline, "three seconds have passed");
    }
    let mut again = 0;
    let since = loop {
        assert_ne!(gateway.get("/other", "").status, 401);
        again += 1;
        let since = lately();
        if !since.is_empty() {
            break since;
        }
        assert!(Instant::now() < deadline, "{again} requests are not in the report");
    };
    assert_eq!(since, ["other"], "what happened again");
    report(&place, 6 + again);

    assert_eq!(place.json(&["refused", "--clear"])["forgotten"], 3);
    assert_eq!(shown(&[]).trim(), "nothing would be refused");
    assert_eq!(place.json(&["refused"])["refused"], serde_json::json!([]));
    assert_eq!(place.run(&["refused", "--clear", "--route", "live"]).status.code(), Some(2));
    assert_ne!(gateway.get("/other", "").status, 401);
    assert_eq!(report(&place, 1)[0]["count"], 1, "counting begins anew");
}

#[test]
fn the_report_says_what_leaves_an_applications_own_login_to_it() {
    let place = Place::with_upstream("builtin:sample", "enforce = \"log\"");
    let gateway = place.serve();
    for (count, headers) in [
        (3, "Authorization: Bearer whsec\r\nCookie: a=1; doorward=x\r\n"),
        (2, "Authorization: token whsec\r\nCookie: doorward=x\r\n"),
        (1, "X-Api-Key: whsec\r\n"),
        (1, "Authorization: Bearer dw_s_mistyped\r\n"),
    ] {
        for _ in 0..count {
            let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
            assert_eq!(gateway.send(&head).status, 200, "{headers}");
        }
    }
    for row in report(&place, 7) {
        let beside = ["invalid-token", "unsupported-scheme"].contains(&row["code"].as_str().unwrap());
        assert_eq!(row["credential"], if beside { "nobody, beside a session" } else { "nobody" }, "{row}");
        let setting = match row["code"].as_str().unwrap() {
            "foreign-key" => "pass_api_key".into(),
            "invalid-key" => Value::Null,
            _ => "pass_authorization".into(),
        };
        assert_eq!(row["setting"], setting, "{row}");
    }
    let output = place.run(&["refused"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = shown.lines().filter(|line| line.starts_with("Route /:")).collect();
    assert_eq!(said.len(), 2, "{shown}");
    assert!(
        said[0].contains("1 request brought nothing but") && said[0].contains("`pass_api_key = true`"),
        "{shown}"
    );
    let login = said[1].contains("5 requests brought") && said[1].contains("beside a session of it");
    assert!(login && said[1].contains("`pass_authorization = true`"), "{shown}");
    assert!(!shown.contains("whsec"), "{shown}");
}

#[test]
fn the_report_says_where_graphql_seems_to_be_spoken_without_rules_for_it() {
    let place = Place::with_upstream("builtin:sample", "enforce = \"log\"");
    let gateway = place.serve();
    let body = "{\"query\":\"query Q { a }\"}";
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ";
    gateway.send(&format!("POST /api/graphql HTTP/1.1\r\n{head}{}\r\n\r\n{body}", body.len()));
    report(&place, 1);
    let all = place.json(&["refused"]);
    let seen = all["graphql"].as_array().unwrap();
    assert_eq!(
        (seen.len(), &seen[0]["example"], &seen[0]["route"]),
        (1, &"/api/graphql".into(), &"/".into())
    );
    assert_eq!(all["refused"][0]["code"], "sign-in-required", "it is not a refusal: {all}");
    let shown = String::from_utf8(place.run(&["refused"]).stdout).unwrap();
    let said = "Route /: /api/graphql looks like an endpoint of GraphQL (asked by 127.0.0.1)";
    assert!(shown.contains(said) && shown.contains("`graphql = [\"/api/graphql\"]`"), "{shown}");
    assert!(!shown.contains("graphql-without-rules"), "{shown}");
    place.json(&["refused", "--clear"]);
    assert_eq!(place.json(&["refused"])["graphql"], serde_json::json!([]));
}
