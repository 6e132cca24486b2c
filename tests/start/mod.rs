//! What a start rests on: the database, the key beside it and the environment. Commands make none of it, and `check` finds
//! what would stop a start.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;

use super::*;

/// The names of the files in a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn ends(output: &Output, code: i32, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn commands_in_the_wrong_place_make_nothing_and_say_where_they_looked() {
    let place = Place::with_upstream("builtin:sample", "");
    let before = files(place.folder.path());
    let database = place.path("doorward.db").display().to_string();
    for command in [
        &["key", "create", "ingest", "--role", "agent"][..],
        &["key", "list"],
        &["user", "add", "alice", "--role", "admin"],
        &["user", "list"],
        &["session", "list"],
        &["audit", "verify"],
        &["refused"],
        &["explain", "GET /", "--as", "user:alice"],
        &["doctor", "nginx", "--through", "http://127.0.0.1:9/"],
        &["store", "backup", "copy.db"],
        &["store", "copy", "--to", "sqlite:other.db"],
    ] {
        let output = place.run(command);
        ends(&output, 2, &["there is no database at ", &database]);
        if command[0] != "store" {
            ends(&output, 2, &["doorward serve", "doorward store create", "--config"]);
        }
        assert_eq!(files(place.folder.path()), before, "{command:?}");
    }
}

#[test]
fn a_database_counts_from_its_settings_file_wherever_commands_are_typed() {
    for set in ["", "store.url = \"sqlite:doorward.db\"", "store.url_file = \"address\""] {
        let place = Place::with_upstream("builtin:sample", set);
        fs::write(place.path("address"), "sqlite:doorward.db\n").unwrap();
        fs::set_permissions(place.path("address"), fs::Permissions::from_mode(0o600)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let mut command = place.command(arguments);
            command.current_dir(elsewhere.path()).arg("--config").arg(place.path("doorward.toml"));
            command.stdin(Stdio::null()).output().unwrap()
        };
        ends(&run(&["store", "create"]), 0, &[]);
        ends(&run(&["user", "add", "alice", "--role", "admin"]), 0, &[]);
        assert!(text(&place.run(&["user", "list"]).stdout).contains("alice"), "{set}");
        assert!(place.path("doorward.db.secret").exists() && files(elsewhere.path()).is_empty(), "{set}");
    }
    // Without a settings file there is nothing else to count from.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(DOORWARD);
    command.args(["store", "create"]).current_dir(folder.path()).env_clear();
    ends(&command.output().unwrap(), 0, &[]);
    assert!(folder.path().join("doorward.db").exists());
}

#[test]
fn store_create_makes_a_database_once_and_leaves_what_is_there() {
    let place = Place::with_upstream("builtin:sample", "");
    assert_eq!(place.json(&["store", "create"])["created"], true);
    place.json(&["user", "add", "alice", "--role", "admin"]);
    assert_eq!(place.json(&["store", "create"])["created"], false);
    assert_eq!(place.json(&["user", "list"])["users"].as_array().unwrap().len(), 1);
}

#[test]
fn a_key_file_is_checked_like_any_secret_by_serve_check_and_commands() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    let file = place.path("doorward.db.secret");
    let key = fs::read_to_string(&file).unwrap();
    let all = |parts: &[&str]| {
        for command in [&["serve"][..], &["check"], &["user", "list"]] {
            ends(&place.run(command), 1, parts);
        }
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    all(&["doorward.db.secret", "mode 0644 lets others in", "chmod 0640"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "something else").unwrap();
    all(&["is shorter than 32 bytes", "restore it from a backup"]);
    // Empty, and nothing was signed yet: that is told and mended.
    fs::write(&file, "").unwrap();
    let checked = place.run(&["check"]);
    assert!(text(&checked.stdout).contains("doorward.db.secret is empty"), "{checked:?}");
    assert_eq!(fs::read(&file).unwrap(), b"", "check changes nothing");
    let gateway = place.serve();
    gateway.said.wait_for("was empty and nothing was signed by it");
    assert_ne!(fs::read_to_string(&file).unwrap(), key);
    drop(gateway);
    // The start left a row in the trail, which is signed.
    fs::write(&file, "").unwrap();
    ends(&place.run(&["serve"]), 1, &["doorward.db.secret", "is empty, though", "restore it from a backup"]);
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn check_finds_what_would_stop_a_start_with_the_same_code_and_makes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, value, code, told) in [
        ("STORE__URL", "sqlite:nowhere/a.db", 1, "nowhere/a.db"),
        ("STORE__URL", "sqlite:notes.txt", 1, "notes.txt is not an SQLite database"),
        ("STORE__URL", "sqlite:folder", 1, "folder is not an SQLite database"),
        ("STORE__URL", "sqlite:a.db?mode=ro", 2, "without parameters"),
        ("STORE__URL", "sqlite:", 2, "store.url: is not a database"),
        ("STORE__URL", "postgres://u@127.0.0.1/d?sslmod=require", 2, "one of its parameters is not known"),
        ("SERVER__OPS_LISTEN", "unix:nowhere/ops.sock", 1, "cannot listen on unix:"),
        ("SERVER__OPS_LISTEN", "unix:notes.txt", 1, "is not a socket"),
        ("SERVER__OPS_LISTEN", "192.0.2.1:1", 1, "cannot listen on 192.0.2.1:1"),
        ("METRICS", "{ listen = \"192.0.2.1:1\", allow_remote = true }", 1, "cannot listen on 192.0.2.1:1"),
        ("SERVER__TLS", "{ certificate = \"a.crt\", key = \"b.key\" }", 1, "server.tls cannot be used"),
        (
            "SERVER__ACME",
            "{ agree_to_terms = true, cache = \"folder\", domains = [\"a.example.com\"], directory = \"https://127.0.0.1:1/\" }",
            1,
            "lets others in: chmod 0700 it",
        ),
        ("ADMIN_PASSWORD", "password1234", 2, "DOORWARD_ADMIN_PASSWORD  login.admin_password: "),
        ("ADMIN_PASSWORD_FILE", "weak", 2, "DOORWARD_ADMIN_PASSWORD_FILE  login.admin_password_file: "),
    ] {
        let place = Place::with_upstream("builtin:sample", "");
        fs::write(place.path("notes.txt"), "a text that is not a database\n").unwrap();
        fs::create_dir(place.path("folder")).unwrap();
        fs::set_permissions(place.path("folder"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(place.path("weak"), "password1234").unwrap();
        fs::set_permissions(place.path("weak"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(place.path(&format!("{name}.crt")), made.cert.pem()).unwrap();
            fs::write(place.path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        let before = files(place.folder.path());
        let run = |command: &str| {
            let mut command = place.command(&[command]);
            command.env(format!("DOORWARD_{name}"), value).stdin(Stdio::null()).output().unwrap()
        };
        ends(&run("check"), code, &[told]);
        assert_eq!(files(place.folder.path()), before, "{name} {value}");
        ends(&run("serve"), code, &[told]);
    }
    // A port that is in use is most likely our own gateway's.
    let place = Place::with_upstream("builtin:sample", "");
    let listener = TcpListener::bind(taken).unwrap();
    let checked = place.run(&["check", "--listen", &taken.to_string()]);
    ends(&checked, 0, &[]);
    assert!(text(&checked.stdout).contains(&format!("warning: {taken} is in use")), "{checked:?}");
    drop(listener);
    let _socket = UnixListener::bind(place.path("a.sock")).unwrap();
    let checked = place.run(&["check", "--listen", "unix:a.sock"]);
    assert!(text(&checked.stdout).contains("a.sock is in use"), "{checked:?}");
    assert_eq!(files(place.folder.path()), ["a.sock", "doorward.toml"].map(str::to_owned).into());
}

#[test]
fn check_names_everything_that_would_stop_a_start_at_once() {
    let place = Place::with_upstream("builtin:sample", "store.url = \"sqlite:nowhere/a.db\"");
    let checked = place.run(&["check", "--listen", "192.0.2.1:1", "--public-url", "https://app.example.com"]);
    ends(&checked, 1, &["nowhere/a.db", "cannot listen on 192.0.2.1:1"]);
}

#[test]
fn a_file_or_folder_that_cannot_be_written_is_found_by_check() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("doorward.db.secret"), fs::Permissions::from_mode(0o640)).unwrap();
    // Anyone who may do everything is kept out by no mode, and becomes somebody else.
    let as_stranger = |command: &str| {
        let mut stranger = Command::new("setpriv");
        stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups", DOORWARD, command]);
        stranger.current_dir(place.folder.path()).env_clear();
        stranger.stdin(Stdio::null()).output().unwrap()
    };
    if text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() != "0" {
        println!("not tried: only root can become somebody else");
        return;
    }
    for command in ["check", "serve"] {
        ends(&as_stranger(command), 1, &["cannot write to the database file", "doorward.db"]);
    }
    fs::remove_file(place.path("doorward.db")).unwrap();
    for command in ["check", "serve"] {
        ends(&as_stranger(command), 1, &["cannot create the database file", "doorward.db"]);
    }
}

#[test]
fn a_database_that_is_down_is_a_warning_of_check_and_ends_a_start() {
    // Bound and never listened on, so that nobody else can have it.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = held.local_addr().unwrap().as_socket().unwrap();
    let place = Place::with_upstream(
        "builtin:sample",
        &format!("secret_file = \"key\"\nstore.url = \"postgres://app:hunter2hunter2@{nobody}/doorward\""),
    );
    fs::set_permissions(place.path("doorward.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path("key"), "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=").unwrap();
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    let checked = place.run(&["check"]);
    ends(&checked, 0, &[]);
    let said = text(&checked.stdout);
    assert!(said.contains("warning: store.url: the database cannot be reached now"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    ends(&place.run(&["serve"]), 1, &["the store cannot be opened"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_named_and_its_value_never_shown() {
    let place = Place::with_upstream("builtin:sample", "");
    let value = OsStr::from_bytes(b"hunter2hunter2\xff");
    for name in ["DOORWARD_ADMIN_PASSWORD", "DOORWARD_STORE__URL", "DOORWARD_XYZZY"] {
        for command in [&["check"][..], &["serve"], &["user", "list"], &["store", "create", "--json"]] {
            let output = place.command(command).env(name, value).output().unwrap();
            ends(&output, 2, &[name, "is not UTF-8", "set it again in UTF-8, or unset it"]);
            assert!(!text(&output.stderr).contains("hunter2"), "{output:?}");
        }
    }
    let output = place.command(&["check"]).env(OsStr::from_bytes(b"DOORWARD_\xff"), "x").output().unwrap();
    ends(&output, 2, &["DOORWARD_\u{fffd}", "is not UTF-8"]);
    // What the driver for PostgreSQL would pass over.
    let fits = place.command(&["check"]).env("PGPASSWORD", value).output().unwrap();
    ends(&fits, 0, &[]);
    let mut command = place.command(&["check"]);
    command.env("PGPASSWORD", value).env("DOORWARD_STORE__URL", "postgres://u@127.0.0.1:1/d");
    ends(&command.output().unwrap(), 2, &["PGPASSWORD", "is not UTF-8"]);
    // Arguments and files.
    let output = place.command(&["user", "add"]).arg(value).output().unwrap();
    ends(&output, 2, &["UTF-8"]);
    let place = Place::with_upstream("builtin:sample", "secret_file = \"key\"");
    fs::write(place.path("key"), [0xff; 40]).unwrap();
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    ends(&place.run(&["check"]), 2, &["secret_file: the file is not UTF-8 text", "openssl rand"]);
}

#[test]
fn an_admin_password_that_has_no_effect_is_told_at_the_start() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    place.json(&["user", "add", "root", "--role", "admin"]);
    let gateway = place.serve_with(&[("DOORWARD_ADMIN_PASSWORD", PASSWORD)]);
    let told = gateway.said.wait_for("DOORWARD_ADMIN_PASSWORD has no effect");
    for part in ["WARN", "doorward.db has users already", "reset-password"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!gateway.said.everything().contains(PASSWORD));
    drop(gateway);
    let gateway = place.serve();
    assert!(!gateway.said.everything().contains("has no effect"));
}

#[test]
fn named_admins_are_shown_a_link_each_and_names_that_are_taken_are_told() {
    let admins = "login.admins = [\"ada=ada@example.org\", \"bea=bea@example.org\", \"eve=eve@example.org\"]";
    let place = Place::with_upstream("builtin:sample", admins);
    place.json(&["store", "create"]);
    place.json(&["user", "add", "eve", "--role", "viewer", "--email", "eve@example.org"]);
    for start in ["the first", "another, while nobody has used it"] {
        let gateway = place.serve();
        for name in ["ada", "bea"] {
            gateway.said.wait_for(&format!("{name} is an admin without a password"));
        }
        let told = gateway.said.wait_for("login.admins: eve=eve@example.org is left as it is");
        assert!(told.contains("WARN") && told.contains("another role"), "{start}: {told}");
        gateway.said.wait_for("sign in at ");
        let said = gateway.said.everything();
        assert_eq!(said.matches("/_doorward/setup?token=").count(), 2, "{start}: {said}");
        assert!(!said.contains("Nobody can sign in yet"), "{start}: {said}");
    }
}

/// The README begins with the sample and goes on with Phoenix: each has users of its own.
#[test]
fn each_shipped_configuration_has_a_database_of_its_own() {
    let shipped = ["config.example.toml", "deploy/phoenix.toml", "deploy/micromegas.toml"].map(|name| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let table: toml::Table = text.parse().unwrap();
        table["store"]["url"].as_str().unwrap().to_owned()
    });
    assert_eq!(BTreeSet::from(shipped.clone()).len(), shipped.len(), "{shipped:?}");
}

/// Here by a database that takes a connection and says nothing.
#[test]
fn a_signal_ends_a_start_that_is_under_way() {
    for signal in ["-TERM", "-INT"] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let place = Place::with_upstream(
            "builtin:sample",
            &format!("secret_file = \"key\"\nstore.url = \"postgres://app@{address}/doorward\""),
        );
        fs::write(place.path("key"), "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=").unwrap();
        fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(place.path("doorward.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let child = place.command(&["serve"]).stdin(Stdio::null()).spawn().unwrap();
        let _asked = silent.accept().unwrap();
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(sent.success() && output.status.code() == Some(0), "{signal}: {output:?}");
        assert!(text(&output.stderr).contains("stopping: nothing was served yet"), "{output:?}");
    }
}
