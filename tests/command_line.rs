//! The real executable: what its commands print and how they end.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;
use sqlx::Connection as _;

/// Runs a command in `folder`, where its database is made.
fn doorward(folder: &Path, line: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A folder with a database that nothing is in.
fn with_database() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(json(folder.path(), "store create", "").get("created"), Some(&true.into()));
    folder
}

/// The JSON that a command prints when it works.
#[track_caller]
fn json(folder: &Path, line: &str, input: &str) -> Value {
    let output = doorward(folder, &format!("{line} --json"), input);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code and the message of a command that does not work.
#[track_caller]
fn refusal(folder: &Path, line: &str, input: &str) -> (i32, String) {
    let output = doorward(folder, &format!("{line} --json"), input);
    assert_eq!(output.stdout, b"", "{line}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    (output.status.code().unwrap(), error.get("error").and_then(Value::as_str).unwrap().to_owned())
}

#[test]
fn who_is_invited_has_an_address_and_no_password() {
    let folder = with_database();
    let here = folder.path();
    let dora = json(here, "user add dora --role member --email dora@example.org --invite", "");
    assert_eq!((&dora["role"], dora.get("password")), (&"member".into(), None), "no password is made");
    let shown = json(here, "user show dora", "");
    assert_eq!(
        (&shown["email"], &shown["must_change_password"]),
        (&"dora@example.org".into(), &false.into())
    );
    let listed = doorward(here, "user list", "").stdout;
    assert!(String::from_utf8_lossy(&listed).contains("no password"), "{listed:?}");
    for line in [
        "user add eve --invite",
        "user add eve --email eve@example.org --invite --password-stdin",
        "user add eve --email eve@example.org --invite --hash-stdin",
        "user add eve --email eve@example.org --invite --temporary",
    ] {
        assert_eq!(doorward(here, line, "nine bees in a bonnet\n").status.code(), Some(2), "{line}");
    }
    assert_eq!(json(here, "user list", "")["users"].as_array().unwrap().len(), 1);
}

#[test]
fn a_user_is_added_changed_listed_and_deleted() {
    let folder = with_database();
    let here = folder.path();
    let root = json(here, "user add root --role admin", "");
    assert_eq!(root["password"].as_str().unwrap().len(), 23, "a temporary password is printed");
    let line = "user add zelda --role viewer --email zelda@example.org --group ops --password-stdin";
    let zelda = json(here, line, "nine bees in a bonnet\r\n");
    assert_eq!((&zelda["username"], &zelda["role"]), (&"zelda".into(), &"viewer".into()));
    assert_eq!(zelda.get("password"), None, "a given password is not");

    assert_eq!(json(here, "user set-role zelda@example.org member", "")["id"], zelda["id"]);
    assert_eq!(json(here, "user add-group zelda dev", "")["effective_on"], 0);
    assert_eq!(json(here, "user remove-group zelda ops", "")["behind"], serde_json::json!([]));
    let users = json(here, "user list", "");
    let listed = users["users"].as_array().unwrap().iter().find(|user| user["username"] == "zelda").unwrap();
    assert_eq!((&listed["role"], &listed["groups"]), (&"member".into(), &serde_json::json!(["dev"])));
    assert_eq!((&listed["disabled"], &listed["must_change_password"]), (&false.into(), &false.into()));

    let shown = json(here, "user show ZELDA@example.org", "");
    assert_eq!((&shown["id"], &shown["groups"]), (&zelda["id"], &serde_json::json!(["dev"])));
    assert_eq!((&shown["has_identity"], &shown["identities"]), (&false.into(), &serde_json::json!([])));

    json(here, "user disable zelda", "");
    json(here, "user enable zelda", "");
    assert!(json(here, "user reset-password zelda", "")["password"].is_string());
    json(here, "user delete zelda", "");
    assert_eq!(json(here, "user list", "")["users"].as_array().unwrap().len(), 1);
}

#[test]
fn a_user_is_added_with_the_hash_that_another_system_made() {
    let folder = with_database();
    let here = folder.path();
    json(here, "user add root --role admin", "");
    let hash = "$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S";
    let added = json(here, "user add zelda --role viewer --hash-stdin", &format!("{hash}\n"));
    assert_eq!(added.get("password"), None);
    let users = json(here, "user list", "");
    let listed = users["users"].as_array().unwrap().iter().find(|user| user["username"] == "zelda").unwrap();
    assert_eq!((&listed["has_password"], &listed["must_change_password"]), (&true.into(), &false.into()));
    for (hash, told) in [
        ("$2y$15$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S", "more than about twenty times"),
        ("$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn", "copy all of it"),
        ("nine bees in a bonnet", "no known form"),
        ("", "no known form"),
    ] {
        let (code, message) = refusal(here, "user add bob --role viewer --hash-stdin", hash);
        assert!(code == 1 && message.contains(told), "{message}");
        assert!(hash.is_empty() || !message.contains(hash), "{message}");
    }
    let both = refusal(here, "user add bob --hash-stdin --password-stdin", "x");
    assert_eq!(both.0, 2);
}

#[test]
fn refusals_end_with_1_and_wrong_usage_with_2() {
    let folder = with_database();
    let here = folder.path();
    json(here, "user add root --role admin", "");
    for (line, input, code, message) in [
        ("user add root --role admin", "", 1, "username already exists"),
        ("user add weak --role viewer --password-stdin", "password1234\n", 1, "password: "),
        ("user add empty --role viewer --password-stdin", "", 1, "password: is shorter"),
        ("user add robot --role agent", "", 1, "role: "),
        ("user delete root", "", 1, "no one would be left"),
        ("user disable nobody", "", 1, "user not found"),
        ("user show nobody", "", 1, "user not found"),
        ("user unlink root --issuer https://idp.example", "", 1, "identity not found"),
        ("user unlink root", "", 2, "required"),
        ("key revoke nothing", "", 1, "live key not found"),
        ("session revoke nothing", "", 1, "session not found"),
        ("session revoke", "", 2, "required"),
        ("user add zelda --role emperor", "", 2, "emperor"),
        ("key create k --role viewer --expires tomorrow", "", 2, "tomorrow"),
        ("key create k --role viewer --path v1", "", 2, "v1"),
        ("user list --config missing.toml", "", 2, "1 problem"),
        ("healthcheck --url nowhere", "", 2, "http://"),
        ("frobnicate", "", 2, "frobnicate"),
    ] {
        let (ended, said) = refusal(here, line, input);
        assert_eq!(ended, code, "{line}: {said}");
        assert!(said.contains(message), "{line}: {said}");
    }
}

/// K01: a key shown again.
#[test]
fn a_key_is_shown_once_and_can_be_revoked() {
    let folder = with_database();
    let here = folder.path();
    json(here, "user add root --role admin", "");
    let line =
        "key create ingest --role agent --path /v1/traces --method POST --network 10.0.0.0/8 --expires 90d";
    let system = json(here, line, "");
    assert!(system["key"].as_str().unwrap().starts_with("dw_s_"));
    let user = json(here, "key create notebook --role viewer --owner root", "");
    assert!(user["key"].as_str().unwrap().starts_with("dw_u_"));

    let listing = String::from_utf8(doorward(here, "key list --json", "").stdout).unwrap();
    assert!(!listing.contains("dw_"), "{listing}");
    let keys: Value = serde_json::from_str(&listing).unwrap();
    let listed = keys["keys"].as_array().unwrap().iter().find(|key| key["id"] == system["id"]).unwrap();
    assert_eq!(listed["methods"], serde_json::json!(["POST"]));
    assert_eq!(listed["active"], true);
    let own = json(here, "key list --owner root", "");
    assert_eq!(own["keys"].as_array().unwrap().len(), 1);
    assert_eq!(own["keys"][0]["owner"], "root");

    let id = system["id"].as_str().unwrap();
    json(here, &format!("key revoke {id}"), "");
    assert_eq!(refusal(here, &format!("key revoke {id}"), "").0, 1);
}

#[test]
fn people_get_tables_and_sentences() {
    let folder = with_database();
    let here = folder.path();
    let text = |line: &str| String::from_utf8(doorward(here, line, "").stdout).unwrap();
    assert_eq!(text("user list"), "there is no user yet\n");
    assert!(text("user add root --role admin").contains("\nTemporary password: "));
    assert!(text("user list").starts_with("USERNAME  ROLE   STATE "));
    assert_eq!(text("session list"), "there is no session\n");
    assert_eq!(
        text("session revoke --user root"),
        "0 sessions of root ended; effective on 0 running gateways\n"
    );
}

#[test]
fn check_shows_the_rules_in_effect_or_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let settings =
        "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"\n[[routes]]\nupstream = \"app\"\n";
    std::fs::write(here.join("doorward.toml"), settings).unwrap();
    let checked = json(here, "check", "");
    assert_eq!(checked["routes"][0]["upstream_address"], "http://127.0.0.1:6006");
    assert_eq!(checked["routes"][0]["rules"][0]["allow"], serde_json::json!(["viewer"]));
    let text = String::from_utf8(doorward(here, "check", "").stdout).unwrap();
    assert!(text.contains("standard-reads: methods read -> allow viewer"), "{text}");

    std::fs::write(here.join("doorward.toml"), format!("nonsense = 1\nmore_nonsense = 2\n{settings}"))
        .unwrap();
    let output = doorward(here, "check --json", "");
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["problems"].as_array().unwrap().len(), 2);
    assert_eq!(error["problems"][1]["line"], 2);
}

/// Runs a command whose arguments hold blanks; exit code, output and errors.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_doorward")).args(arguments).current_dir(folder).env_clear().output();
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const GUARDED: &str = r#"
[[upstreams]]
name = "app"
url = "http://127.0.0.1:9"
[[routes]]
name = "main"
upstream = "app"
rules = [{ name = "users", path = "/users", allow = "admin" }, { name = "rest", allow = ["viewer", "agent"] }]
[[tests]]
as = { role = "member" }
request = "GET /users"
expect = "deny"
"#;

#[test]
fn explain_tells_what_a_role_a_user_and_a_key_may_do_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("doorward.toml"), GUARDED).unwrap();
    let (code, told, _) = run(here, &["explain", "GET /users/7", "--as", "role:member"]);
    assert_eq!(code, 1);
    for line in ["deny by rule `users` (forbidden)", "route: main -> app", "  users: allows others only"] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let (code, told, _) = run(here, &["explain", "GET /", "--as", "role:viewer", "--group", "data"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("users: skipped: `path` does not fit") && told.contains("groups data"), "{told}");
    assert_eq!(run(here, &["explain", "GET /"]).0, 1, "nobody is nobody");
    // A copy goes to a second place, and without that is refused before anybody is looked up.
    let copy = ["explain", "COPY /x", "--as", "role:viewer"];
    let (code, told, _) = run(here, &copy);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("add --destination PATH") && told.contains("every caller is refused"), "{told}");
    let (code, told, _) = run(here, &[&copy[..], &["--destination", "/y"]].concat());
    assert!(code == 0 && !told.contains("--destination"), "{told}");
    let (code, told, _) = run(here, &[&copy[..], &["--destination", "/users/y"]].concat());
    assert!(code == 1 && !told.contains("--destination"), "{told}");

    json(here, "store create", "");
    json(here, "user add alice --role admin", "");
    json(here, "key create ingest --role agent --path /v1", "");
    let (code, told, _) = run(here, &["explain", "DELETE /users/7", "--as", "user:alice", "--json"]);
    let why: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &why["code"]), (1, &"password-change-required".into()), "hers is a temporary one");
    let (code, told, _) = run(here, &["explain", "POST /v1/x", "--as", "key:ingest", "--json"]);
    let why: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &why["rule"], &why["caller"]["credential"]), (0, &"rest".into(), &"system-key".into()));
    let (code, told, _) = run(here, &["explain", "POST /v2", "--as", "key:ingest", "--json"]);
    let why: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &why["code"]), (1, &"key-scope".into()));
    for wrong in [&["explain", "nonsense"][..], &["explain", "GET /a", "--as", "user:alice", "--group", "x"]]
    {
        let (code, _, told) = run(here, wrong);
        assert_eq!(code, 2, "{wrong:?} {told}");
    }
    assert_eq!(run(here, &["explain", "GET /", "--as", "user:bob"]).0, 1);
    assert_eq!(run(here, &["explain", "GET /", "--as", "bob"]).0, 1);
}

#[test]
fn explain_tells_what_a_client_certificate_may_do_and_needs_no_store_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let certificates = "server.trusted_proxies = \"127.0.0.1\"\n[client_certificates]\nheader = \"X-SSL-Client-Subject\"\n[[client_certificates.known]]\n\
                        name = \"reader\"\nsubject = \"CN=reader\"\nrole = \"viewer\"\ngroup = \"data\"\n";
    std::fs::write(here.join("doorward.toml"), format!("{certificates}{GUARDED}")).unwrap();
    let reader = ["--as", "client-certificate:reader"];
    let (code, told, _) = run(here, &[&["explain", "GET /"][..], &reader].concat());
    assert_eq!(code, 0, "{told}");
    let caller = "caller: reader (client-certificate), viewer, groups data, by client-certificate";
    assert!(told.contains("allow by rule `rest`") && told.contains(caller), "{told}");
    let (code, told, _) = run(here, &[&["explain", "GET /users/7"][..], &reader].concat());
    assert!(code == 1 && told.contains("deny by rule `users` (forbidden)"), "{told}");
    for who in ["client-certificate:other", "client-certificate:", "client-certificate:CN=reader"] {
        let (code, _, told) = run(here, &["explain", "GET /", "--as", who]);
        assert!(code == 1 && told.contains("client certificate"), "{who}: {told}");
    }
    let (code, _, told) = run(here, &[&["explain", "GET /"][..], &reader, &["--group", "ops"]].concat());
    assert_eq!(code, 2, "it has its own groups: {told}");
    assert!(!here.join("doorward.db").exists(), "nothing was looked up");
}

#[test]
fn settings_whose_own_tests_fail_are_refused_and_test_tells_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let file = here.join("doorward.toml");
    std::fs::write(&file, GUARDED).unwrap();
    let (code, told, _) = run(here, &["test"]);
    assert_eq!((code, told.trim()), (0, "The one test passes."));
    assert_eq!(run(here, &["check"]).0, 0);

    std::fs::write(&file, GUARDED.replace("allow = \"admin\"", "allow = \"viewer\"")).unwrap();
    let (code, told, _) = run(here, &["test"]);
    assert_eq!(code, 1);
    assert!(
        told.contains("GET /users by member gets `allow` by rule `users`, but `deny` is expected"),
        "{told}"
    );
    assert!(told.contains("users: allows viewer") && told.contains("1 of 1 tests fail"), "{told}");
    for command in ["check", "serve"] {
        let (code, _, told) = run(here, &[command]);
        assert_eq!(code, 2, "{command} {told}");
        assert!(told.contains("doorward.toml:9  tests[0]: fails:"), "{told}");
    }
    // What does not serve is not held up by it.
    json(here, "store create", "");
    json(here, "user list", "");
}

/// A folder with settings of a provider, of which one group is let in.
fn with_provider() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = "upstreams = [{ name = \"app\", url = \"http://127.0.0.1:1\" }]
routes = [{ upstream = \"app\" }]
[[providers]]
name = \"sso\"
issuer = \"https://sso.example.com\"
client_id = \"doorward\"
token_auth = \"none\"
[providers.claims]
groups = \"groups\"
allowed_groups = [\"ops\"]
role = \"contains(groups[*], 'admins') && 'admin' || 'viewer'\"
";
    std::fs::write(folder.path().join("doorward.toml"), settings).unwrap();
    folder
}

#[test]
fn claims_tells_what_claims_or_a_token_come_to_and_why() {
    let folder = with_provider();
    let here = folder.path();
    let let_in =
        r#"{"sub":"1","groups":["ops","admins",null],"email":"a@example.com","iss":"https://other"}"#;
    let told = json(here, "claims --provider sso", let_in);
    assert_eq!((&told["allowed"], &told["from_token"]), (&true.into(), &false.into()));
    assert_eq!(told["groups"]["groups"], serde_json::json!(["admins", "ops"]));
    assert_eq!(told["role"]["given"]["known"], "admin");
    assert_eq!(told["email"]["verified"], false);
    let output = doorward(here, "claims --provider sso -", let_in);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for said in [
        "let in",
        "identity: sub \"1\"",
        "left out: null",
        "admin from now on",
        "`email_verified` is not there",
        "https://other",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }

    // The same without the group, as a token; the signature is never shown.
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIiwiY29nbml0bzpncm91cHMiOlsib3BzIl19.c2lnbmF0dXJl";
    std::fs::write(here.join("token.txt"), format!("{token}\n")).unwrap();
    let output = doorward(here, "claims --provider sso token.txt", "");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in
        ["refused: no group is told", "NOT checked", "there is a claim \"cognito:groups\"", "does not fit"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
    let nobody = doorward(here, "claims --provider sso", r#"{"groups":["ops"]}"#);
    assert_eq!(nobody.status.code(), Some(1), "without a subject");
}

#[test]
fn claims_reads_what_is_made_of_the_answers_of_github() {
    let folder = with_provider();
    let here = folder.path();
    let file = here.join("doorward.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let github = "[[providers]]\nname = \"github\"\ntype = \"github\"\nclient_id = \"Iv1.0\"\nclient_secret = \"s3cret-of-the-client\"\n\
                  [providers.claims]\nallowed_groups = [\"acme/platform\"]\n";
    std::fs::write(&file, format!("{settings}\n{github}")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let page = include_str!("../docs/providers/github.md");
    let document = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let told = json(here, "claims --provider github", document);
    assert_eq!((&told["allowed"], &told["subject"]), (&true.into(), &"583231".into()));
    assert_eq!((&told["email"]["verified"], &told["name"]["name"]), (&true.into(), &"The Octocat".into()));
    for stranger in
        [document.replace("acme/platform", "acme/platform-evil"), document.replace("583231", "\"\"")]
    {
        let output = doorward(here, "claims --provider github", &stranger);
        assert_eq!(output.status.code(), Some(1), "{stranger}");
    }
}

#[test]
fn claims_of_no_provider_or_no_form_end_with_2() {
    let folder = with_provider();
    let here = folder.path();
    for (line, input, said) in [
        ("claims --provider other", "{}", "there are sso"),
        ("claims --provider sso", "s3cret", "neither a JSON object nor a token"),
        ("claims --provider sso", "a.b.s3cret.d.e", "encrypted"),
        ("claims --provider sso missing.json", "", "cannot be read"),
    ] {
        let (code, message) = refusal(here, line, input);
        assert!(
            code == 2 && message.contains(said) && !message.contains("s3cret"),
            "{line}: {code} {message}"
        );
    }
}

#[test]
fn check_tells_what_to_register_at_a_provider_and_calls_nobody() {
    let folder = with_provider();
    let uri = "http://127.0.0.1:8080/_doorward/callback/sso";
    let (_, told, _) = run(folder.path(), &["check"]);
    assert!(told.contains(&format!("provider sso (sso): register the redirect URI {uri} there")), "{told}");
    let provider = &json(folder.path(), "check", "")["providers"][0];
    assert_eq!(provider["redirect_uri"], uri);
    for (name, path) in [
        ("post_logout_redirect_uri", "/_doorward/signed-out"),
        ("backchannel_logout_uri", "/_doorward/backchannel-logout/sso"),
    ] {
        let uri = format!("http://127.0.0.1:8080{path}");
        assert_eq!(provider[name], uri);
        assert!(told.contains(&uri), "{told}");
    }
}

#[test]
fn the_report_of_what_would_be_refused_is_empty_at_first() {
    let folder = with_database();
    let here = folder.path();
    std::fs::write(here.join("doorward.toml"), GUARDED).unwrap();
    assert_eq!(json(here, "refused", "")["refused"], serde_json::json!([]));
    assert_eq!(run(here, &["refused", "--since", "1h"]).1.trim(), "nothing would be refused");
    assert_eq!(json(here, "refused --clear", "")["forgotten"], 0);
    assert_eq!(refusal(here, "refused --since soon", "").0, 2);
}

/// What was done to the database behind the program's back.
async fn behind_its_back(folder: &Path, sql: &str) {
    let url = format!("sqlite:{}", folder.join("doorward.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn the_trail_is_listed_exported_and_verified() {
    let folder = with_database();
    let here = folder.path();
    assert_eq!(json(here, "audit verify", "")["rows"], 0);
    let empty = doorward(here, "audit export", "");
    assert_eq!((empty.status.code(), empty.stdout.as_slice()), (Some(0), &b""[..]));
    json(here, "user add root --role admin", "");
    json(here, "user add zelda --role viewer", "");
    let id = json(here, "key create ingest --role agent", "")["id"].as_str().unwrap().to_owned();
    json(here, &format!("key revoke {id}"), "");
    assert_eq!(refusal(here, "user delete root", "").0, 1);

    let events = json(here, "audit list --since 1h", "");
    let told: Vec<_> = events["events"].as_array().unwrap().iter().map(|row| row["event"].clone()).collect();
    assert_eq!(told, ["user.create", "user.create", "key.create", "key.revoke", "user.delete"]);
    let last = &events["events"][4];
    assert_eq!((&last["outcome"], &last["detail"]["reason"]), (&"failure".into(), &"last-admin".into()));
    assert_eq!((&last["actor"], &last["target_name"]), (&"cli".into(), &"root".into()));
    let only = |line: &str| json(here, line, "")["events"].as_array().unwrap().len();
    assert_eq!(only("audit list --event key.create"), 1);
    assert_eq!(only("audit list --about zelda"), 1);
    assert_eq!(only("audit list --limit 2"), 2);
    let text = String::from_utf8(doorward(here, "audit list", "").stdout).unwrap();
    assert!(text.starts_with("SEQ  TIME "), "{text}");
    assert!(text.contains("cli uid "), "{text}");

    let export = String::from_utf8(doorward(here, "audit export", "").stdout).unwrap();
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(lines.clone()), events["events"]);
    assert_eq!(lines[1]["previous"], lines[0]["link"]);
    let later = String::from_utf8(doorward(here, "audit export --after 4", "").stdout).unwrap();
    assert_eq!(later.lines().collect::<Vec<_>>(), [export.lines().last().unwrap()]);
    let none = doorward(here, "audit export --since 2999-01-01T00:00:00Z", "");
    assert_eq!((none.status.code(), none.stdout.as_slice()), (Some(0), &b""[..]));

    let whole = json(here, "audit verify", "");
    assert_eq!((&whole["whole"], &whole["first"], &whole["last"]), (&true.into(), &1.into(), &5.into()));
    let noted = format!("--noted 5:{}", whole["link"].as_str().unwrap());
    json(here, &format!("audit verify {noted}"), "");
    let (code, said) = refusal(here, &format!("audit verify --noted 5:{}", "0".repeat(64)), "");
    assert_eq!((code, said.as_str()), (1, "the trail is broken: row 5 is not the one whose link was noted"));

    behind_its_back(here, "DROP TRIGGER audit_kept; DROP TRIGGER audit_unchanged").await;
    behind_its_back(here, "UPDATE audit SET target_name = 'link' WHERE seq = 2").await;
    assert_eq!(refusal(here, "audit verify", ""), (1, "the trail is broken: row 2 was changed".to_owned()));
    behind_its_back(here, "DELETE FROM audit WHERE seq BETWEEN 2 AND 3").await;
    assert_eq!(
        refusal(here, "audit verify", ""),
        (1, "the trail is broken: rows 2 to 3 are missing".to_owned())
    );
}

#[tokio::test]
async fn a_trail_of_a_former_secret_is_verified_with_it() {
    let folder = with_database();
    let here = folder.path();
    json(here, "user add root --role admin", "");
    let secret = here.join("doorward.db.secret");
    std::fs::copy(&secret, here.join("former")).unwrap();
    // The mode of the file stays.
    std::fs::write(&secret, "another secret than before, as long as one must be: k3J9vT7q").unwrap();
    json(here, "user add zelda --role viewer", "");
    let (code, said) = refusal(here, "audit verify", "");
    assert_eq!(code, 1);
    assert!(said.contains("row 1 was written under another secret"), "{said}");
    assert_eq!(
        json(here, "audit verify --secret-file former", "")["last"],
        3,
        "the change of secret is a row"
    );
    assert_eq!(refusal(here, "audit verify --secret-file missing", "").0, 1);
}

/// The part of a page between a heading and the next of its kind.
fn chapter<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// What stands in a block of a page.
fn block<'p>(page: &'p str, language: &str) -> &'p str {
    page.split_once(&format!("```{language}\n")).unwrap().1.split("```").next().unwrap()
}

/// Runs the commands of a page as they stand there.
fn run_commands(folder: &Path, commands: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_doorward")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).current_dir(folder).env_clear().env("PATH", path);
    shell.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_commands_for_those_who_move_do_what_the_page_says() {
    let page = include_str!("../docs/migrating.md");
    for (heading, language, file, callback, role) in [
        ("From Phoenix's OAuth2", "properties", ".env", "oauth2/okta/tokens", "member from now on"),
        ("From Pyroscope's", "yaml", "server.yml", "auth/gitlab/callback", "viewer for who is new"),
    ] {
        let chapter = chapter(page, heading);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), block(chapter, language)).unwrap();
        let output = run_commands(folder.path(), block(chapter, "sh"));
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{heading}: {said}");
        let uri = format!("example.com/{callback}");
        let provider = callback.split('/').nth(1).unwrap();
        assert!(said.contains(&uri) && said.contains(&format!("role: {role}")), "{said}");
        let settings = std::fs::read_to_string(folder.path().join("doorward.toml")).unwrap();
        assert!(
            settings.contains(&uri) && !settings.contains("s3cret") && !said.contains("s3cret"),
            "{settings}"
        );
        let secret = folder.path().join(format!("{provider}-client-secret"));
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "s3cret-of-the-client\n");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&secret).unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o600);
        // Again: the secret stays as it is, whatever is in the file, and that is said.
        std::fs::write(&secret, "another\n").unwrap();
        assert!(run_commands(folder.path(), block(chapter, "sh")).status.success());
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "another\n");
        let settings = std::fs::read_to_string(folder.path().join("doorward.toml")).unwrap();
        assert!(settings.contains("was there already and stayed as it is"), "{settings}");
    }
}

#[test]
fn an_import_that_is_not_whole_ends_with_1_and_wrong_input_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let broken = "PHOENIX_OAUTH2_SSO_CLIENT_SECRET=s3cret\n";
    let output = doorward(here, "import phoenix-env --json", broken);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["providers"], serde_json::json!({ "taken_over": 0, "left_out": 1 }));
    assert!(told["settings"].as_str().unwrap().contains("\n#[[providers]]\n"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 of 1 providers could not be taken over") && !said.contains("s3cret"), "{said}");
    for (line, input, message) in [
        ("import phoenix-env", "s3cret", "line 1 assigns nothing"),
        ("import phoenix-env", "OTHER=s3cret", "no setting here"),
        ("import phoenix-env missing.env", "", "cannot be read"),
        ("import phoenix-env --secrets missing", "PHOENIX_PORT=1", "the folder for secrets"),
        ("import phoenix-env --from-environment .env", "", "cannot be used with"),
        ("import phoenix-env --upstream ftp://a", "", "http://127.0.0.1:6006"),
        ("import pyroscope", "auth:\n\ts3cret: 1", "line 2 begins with a tab"),
        ("import pyroscope --from-environment", "", "no setting here"),
    ] {
        let (code, said) = refusal(here, line, input);
        assert!(code == 2 && said.contains(message) && !said.contains("s3cret"), "{line}: {code} {said}");
    }
    let large = format!("PHOENIX_PORT={}\n", "1".repeat(1024 * 1024));
    assert!(refusal(here, "import phoenix-env", &large).1.contains("more than 1 MiB"));
}
