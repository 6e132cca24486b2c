//! Which layer wins: defaults, file, environment, flags.

use std::fmt::Write as _;

use super::*;
use crate::config::reading::{Section, join};

const GOOD_SECRET: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+";

#[test]
fn the_environment_overrides_the_file() {
    let config_dir = ConfigDir::new(&with_least(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nworkers = 3\n[log]\naccess = true",
    ));
    let config = config_dir
        .load_with(
            &[
                ("DOORWARD_SERVER__LISTEN", "[\"127.0.0.1:2\", \"[::1]:2\"]"),
                ("DOORWARD_LOG__ACCESS", "false"),
                ("DOORWARD_SERVER__LIMITS__HEADER_COUNT", "50"),
                ("DOORWARD_SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
                ("DOORWARD_PUBLIC_URL", "https://a.example"),
                ("HOME", "/root"),
            ],
            &Flags::default(),
        )
        .unwrap();
    assert_eq!(locations(&config), ["127.0.0.1:2", "[::1]:2"]);
    assert_eq!((config.server.workers, config.server.limits.header_count), (3, 50));
    assert_eq!(config.server.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert!(!config.log.access);
    assert_eq!(config.public_url.origin(), "https://a.example");
}

#[test]
fn everything_can_be_said_by_the_environment_as_toml_or_json() {
    for upstreams in ["[{ name = \"a\", url = \"http://h\" }]", "[{\"name\": \"a\", \"url\": \"http://h\"}]"]
    {
        let environment = owned(&[
            ("DOORWARD_UPSTREAMS", upstreams),
            ("DOORWARD_ROUTES", "[{ upstream = \"a\", path = \"/x\" }]"),
            ("DOORWARD_SESSION", "{ idle = \"30m\" }"),
        ]);
        let config = load(&ConfigSource { file: None, environment }, &Flags::default()).unwrap();
        assert_eq!(config.upstreams[0].name, "a");
        assert_eq!(config.routes[0].path, "/x");
        assert_eq!(config.session.idle, Duration::from_mins(30));
    }
}

#[test]
fn a_bad_variable_is_named() {
    let config_dir = ConfigDir::new(LEAST);
    let one = |name: &str, value: &str| -> ConfigProblem {
        let [problem] =
            config_dir.load_with(&[(name, value)], &Flags::default()).unwrap_err().0.try_into().unwrap();
        problem
    };
    let problem = one("DOORWARD_SERVER__LISEN", "x");
    assert!(problem.remedy.contains("`DOORWARD_SERVER__LISTEN`"), "{problem}");
    let problem = one("DOORWARD_XYZZY", "x");
    assert!(problem.remedy.contains("DOORWARD_SECTION__KEY"), "{problem}");
    let problem = one("DOORWARD_SERVER__WORKERS", "many");
    assert_eq!(problem.path, "server.workers");
    assert_eq!(problem.location, SettingLocation::Environment("DOORWARD_SERVER__WORKERS".into()));
    let problem = one("DOORWARD_SERVER__LISTEN", "[\"x\"]");
    assert_eq!(problem.path, "server.listen[0]");
    assert_eq!(problem.location, SettingLocation::Environment("DOORWARD_SERVER__LISTEN".into()));
    let problem = one("DOORWARD_INSECURE", "1");
    assert!(problem.remedy.contains("true"), "{problem}");
}

#[test]
fn variables_kubernetes_sets_for_a_service_of_our_name_are_left_alone() {
    let config_dir = ConfigDir::new(LEAST);
    let links = [
        ("DOORWARD_PORT", "tcp://10.0.0.1:80"),
        ("DOORWARD_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("DOORWARD_SERVICE_HOST", "10.0.0.1"),
        ("DOORWARD_SERVICE_PORT_HTTP", "80"),
    ];
    assert!(config_dir.load_with(&links, &Flags::default()).is_ok());
    assert!(config_dir.load_with(&[("DOORWARD_PORTS", "80")], &Flags::default()).is_err());
}

#[test]
fn flags_override_everything() {
    let config_dir = ConfigDir::new(LEAST);
    let flags = Flags {
        upstream: Some("http://10.0.0.9:1".into()),
        listen: vec!["127.0.0.1:7".into()],
        public_url: Some("http://app.example".into()),
        insecure: true,
    };
    let config = config_dir.load_with(&[("DOORWARD_SERVER__LISTEN", "127.0.0.1:2")], &flags).unwrap();
    assert_eq!(locations(&config), ["127.0.0.1:7"]);
    assert_eq!(config.upstreams[0].name, "app");
    assert_eq!(
        config.upstreams[0].servers[0],
        UpstreamAddress::Tcp { host: "10.0.0.9".into(), port: 1, tls: false }
    );
    assert_eq!(config.public_url.origin(), "http://app.example");
    let [problem] = config_dir
        .load_with(&[], &Flags { listen: vec!["x".into()], ..Flags::default() })
        .unwrap_err()
        .0
        .try_into()
        .unwrap();
    assert_eq!(
        (problem.path.as_str(), problem.location),
        ("server.listen[0]", SettingLocation::Flag("--listen".into()))
    );
}

#[test]
fn the_upstream_flag_needs_no_file_and_refuses_to_choose() {
    let flags = Flags { upstream: Some("http://127.0.0.1:6006".into()), ..Flags::default() };
    let config = load(&ConfigSource::default(), &flags).unwrap();
    assert_eq!((config.upstreams[0].name.as_str(), config.routes[0].path.as_str()), ("default", "/"));
    assert_eq!(config.routes[0].policy, Policy::standard(Enforce::On));

    let two = format!("{LEAST}[[upstreams]]\nname = \"b\"\nurl = \"http://h\"\n");
    let [problem] = ConfigDir::new(&two).load_with(&[], &flags).unwrap_err().0.try_into().unwrap();
    assert_eq!(problem.location, SettingLocation::Flag("--upstream".into()));

    let flags = Flags { upstream: Some("6006".into()), ..Flags::default() };
    let [problem] = ConfigDir::new(LEAST).load_with(&[], &flags).unwrap_err().0.try_into().unwrap();
    assert_eq!(
        (problem.path.as_str(), problem.location),
        ("upstreams[0].url", SettingLocation::Flag("--upstream".into()))
    );
    assert!(load(&ConfigSource::default(), &Flags::default()).is_err());
}

#[test]
fn secrets_come_from_files_beside_the_file() {
    let config_dir = ConfigDir::new(&with_least("secret_file = \"s\"\n[store]\nurl_file = \"u\""));
    config_dir.write("s", &format!("{GOOD_SECRET}\n"), 0o640);
    config_dir.write("u", "postgres://doorward:pw@db/doorward\r\n", 0o400);
    config_dir.write("p", "correct horse battery", 0o600);
    let password = config_dir.path("p");
    let environment = [("DOORWARD_ADMIN_PASSWORD_FILE", password.to_str().unwrap())];
    let config = config_dir.load_with(&environment, &Flags::default()).unwrap();
    assert_eq!(config.secret.unwrap().expose(), GOOD_SECRET);
    assert_eq!(config.store.url.expose(), "postgres://doorward:pw@db/doorward");
    assert_eq!(config.login.admin_password.unwrap().password.expose(), "correct horse battery");
}

/// G08: a secret that cannot be read.
#[test]
fn a_secret_file_that_is_missing_empty_or_open_refuses_to_start() {
    let config_dir = ConfigDir::new(&with_least("secret_file = \"s\""));
    let what = || {
        let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
        assert_eq!((problem.path.as_str(), problem.location.line()), ("secret_file", Some(1)));
        problem.what
    };
    assert!(what().contains("cannot be read"));
    config_dir.write("s", "\n", 0o600);
    assert!(what().contains("empty"));
    for mode in [0o644, 0o660, 0o602] {
        config_dir.write("s", GOOD_SECRET, mode);
        assert!(what().contains("lets others in"), "{mode:o}");
    }
    config_dir.write("s", "short", 0o600);
    assert!(what().contains("shorter"));
    std::fs::remove_file(config_dir.path("s")).unwrap();
    std::fs::create_dir(config_dir.path("s")).unwrap();
    assert!(what().contains("not a regular file"));
}

/// G05: secrets in a file that others read.
#[test]
fn a_secret_in_an_open_configuration_file_refuses_to_start() {
    for (line, path) in [
        (format!("secret = \"{GOOD_SECRET}\""), "secret"),
        ("[login]\nadmin_password = \"correct horse battery\"".to_owned(), "login.admin_password"),
    ] {
        let config_dir = ConfigDir::new("");
        config_dir.write("doorward.toml", &with_least(&line), 0o640);
        assert!(config_dir.load().is_ok(), "{line}");
        config_dir.write("doorward.toml", &with_least(&line), 0o644);
        let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
        assert_eq!(problem.path, path);
        assert!(problem.remedy.contains("chmod 0640"), "{problem}");
    }
    let config_dir = ConfigDir::new("");
    config_dir.write("doorward.toml", LEAST, 0o644);
    assert!(config_dir.load().is_ok(), "without a secret the mode does not matter");
}

#[test]
fn every_secret_there_is_counts_in_an_open_configuration_file() {
    let sections = Root::INFO.sections();
    let is_list = |path: &str| sections.iter().any(|(other, list, _)| other == path && *list);
    let mut tried = Vec::new();
    for (path, _, info) in &sections {
        for setting in info.settings.iter().filter(|setting| setting.is_secret()) {
            let (mut text, mut outer, mut location) = (String::new(), String::new(), String::new());
            for name in path.split('.').filter(|name| !name.is_empty()) {
                (outer, location) = (join(&outer, name), join(&location, name));
                if is_list(&outer) {
                    location += "[0]";
                    let _ = writeln!(text, "[[{outer}]]");
                } else {
                    let _ = writeln!(text, "[{outer}]");
                }
            }
            let location = join(&location, setting.name);
            let is_told = |value: &str, mode| {
                let config_dir = ConfigDir::new("");
                config_dir.write("doorward.toml", &format!("{text}{} = \"{value}\"", setting.name), mode);
                let said = |problem: &ConfigProblem| {
                    problem.path == location && problem.what.contains("lets others in")
                };
                config_dir.load().is_err_and(|error| error.0.iter().any(said))
            };
            assert!(
                is_told("postgres://u:pw@h/d", 0o644) && !is_told("postgres://u:pw@h/d", 0o640),
                "{location}"
            );
            tried.push(location);
        }
    }
    for deep in
        ["secret", "store.url", "break_glass[0].token", "keys.imported[0].ring", "upstreams[0].bearer.key"]
    {
        assert!(tried.iter().any(|location| location == deep), "{deep}");
    }
    let config_dir = ConfigDir::new("");
    config_dir.write("doorward.toml", &with_least("store.url = \"sqlite:doorward.db\""), 0o644);
    assert!(config_dir.load().is_ok(), "a database without a password is none");
    let single = format!("break_glass = {{ name = \"a\", token = \"{GOOD_SECRET}\" }}");
    config_dir.write("doorward.toml", &with_least(&single), 0o644);
    let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
    assert_eq!(problem.path, "break_glass.token", "a list of one that is written as that one");
}

#[test]
fn a_secret_said_twice_is_a_problem() {
    let config_dir = ConfigDir::new(&with_least(&format!("secret = \"{GOOD_SECRET}\"\nsecret_file = \"s\"")));
    config_dir.write("s", GOOD_SECRET, 0o600);
    let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
    assert!(problem.remedy.contains("keep one of `secret` and `secret_file`"), "{problem}");
}

#[test]
fn secrets_appear_neither_in_problems_nor_in_debug_output() {
    const MARK: &str = "Sup3rS3cretMark";
    let config = good(&format!(
        "secret = \"{GOOD_SECRET}{MARK}\"\n[store]\nurl = \"postgres://u:{MARK}@h/d\"\n\
         [login]\nadmin_password = \"{MARK}\""
    ));
    assert!(!format!("{config:?}").contains(MARK));
    for text in [
        format!("secret = \"{MARK}\""),
        format!("secret = [\"{MARK}\"]"),
        format!("secret = \"{MARK}\"\nsecret = \"{MARK}\""),
        format!("secret = \"{MARK}"),
        format!("secret_file = \"{MARK}\""),
        format!("secrets = \"{MARK}\""),
        format!("[store]\nurl = \"{MARK}\""),
        format!("[store]\nurl = \"mysql://u:{MARK}@h/d\""),
        format!("[login]\nadmin_password = \"{}\"", MARK.repeat(20)),
        format!("public_url = \"https://u:{MARK}@h\""),
        format!("[[upstreams]]\nname = \"a\"\nurl = \"http://u:{MARK}@h\"\n[[routes]]\nupstream = \"a\""),
    ] {
        let error = ConfigDir::new(&with_least(&text)).load().unwrap_err();
        assert!(!error.to_string().contains(MARK) && !format!("{error:?}").contains(MARK), "{error}");
    }
    let environment = [("DOORWARD_SECRET", MARK), ("DOORWARD_SECRTE", MARK)];
    let error = ConfigDir::new(LEAST).load_with(&environment, &Flags::default()).unwrap_err();
    assert_eq!(error.0.len(), 2);
    assert!(!error.to_string().contains(MARK), "{error}");
}
