//! What applications are told of their callers.

use super::*;
use crate::model::jwt::JwtAlgorithm;

const HEAD: &str = "[[upstreams]]\nname = \"app\"\nurl = \"builtin:sample\"\n";
const TAIL: &str = "\n[[routes]]\nupstream = \"app\"\n";

/// The paths and remedies of what is wrong with one line of an upstream.
fn wrong(line: &str) -> Vec<(String, String)> {
    let problems = bad(&format!("{HEAD}{line}{TAIL}"));
    problems
        .into_iter()
        .map(|problem| (problem.path, format!("{}; {}", problem.what, problem.remedy)))
        .collect()
}

#[track_caller]
fn check(line: &str, path: &str, said: &str) {
    let problems = wrong(line);
    let [(at, text)] = problems.as_slice() else { panic!("one problem expected for {line}: {problems:#?}") };
    assert_eq!(at, &format!("upstreams[0]{path}"), "{line}");
    assert!(text.contains(said), "{line}: {text}");
}

#[test]
fn templates_are_read_with_their_names() {
    let config = good(&format!(
        "{HEAD}headers = \"micromegas\"\nset_headers = {{ X-Scope-OrgID = \"{{group:0}}\", \"x-team\" = \"a b\" }}{TAIL}"
    ));
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.headers, HeaderPreset::Micromegas);
    let names: Vec<_> = upstream.identity.names().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-scope-orgid", "x-team"]);
}

#[test]
fn where_refusals_pass_it_is_said_what_an_application_is_not_told() {
    let head = |headers: &str| HEAD.replace("name =", &format!("headers = \"{headers}\"\nname ="));
    for (headers, name) in
        [("micromegas", "X-Auth-Is-Admin as `false`"), ("grafana", "X-WEBAUTH-ROLE but as `Admin`")]
    {
        let rule = "rules = [{ allow = \"viewer\", enforce = \"off\" }]";
        for (lenient, more) in [(true, "enforce = \"log\""), (true, rule), (false, "")] {
            let config = good(&format!("{}{TAIL}{more}\n", head(headers)));
            let said = config.warnings.iter().filter(|warning| warning.contains(name)).count();
            assert_eq!(said, usize::from(lenient), "{headers} {more}: {:?}", config.warnings);
        }
    }
    let config = good(&format!("{}{TAIL}enforce = \"log\"\n", head("authelia")));
    assert!(!config.warnings.iter().any(|warning| warning.contains("is not told")), "{:?}", config.warnings);
    let config = good(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nflavours = [\"nginx\"]\nheaders = \"micromegas\"\n[[routes]]\npath = \"/x\"\nenforce = \"log\"\n",
    );
    assert!(
        config.warnings.iter().any(|warning| warning.contains("X-Allow-Delegation")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn each_mistake_in_a_template_is_named_with_its_header() {
    check("set_headers = 5", ".set_headers", "X-Scope-OrgID");
    check("set_headers = { X-A = 5 }", ".set_headers.X-A", "text with facts");
    check("set_headers = { X-A = \"\" }", ".set_headers.X-A", "write text and facts");
    check("set_headers = { X-A = \"{nick}\" }", ".set_headers.X-A", "write {subject}");
    check("set_headers = { X-A = \"{claim:org}\" }", ".set_headers.X-A", "no credential carries claims");
    check("set_headers = { X-A = \"a{\" }", ".set_headers.X-A", "{{");
    check("set_headers = { X-A = \" {user}\" }", ".set_headers.X-A", "visible ASCII");
    check("set_headers = { X-A = \"zo\u{eb}\" }", ".set_headers.X-A", "visible ASCII");
    for name in [
        "Cookie",
        "authorization",
        "Host",
        "X_A",
        "\"X A\"",
        "\"X.A\"",
        "X-Forwarded-For",
        "Accept",
        "X-Request-Id",
    ] {
        let path = format!(".set_headers.{}", name.trim_matches('"'));
        check(&format!("set_headers = {{ {name} = \"{{user}}\" }}"), &path, "write");
    }
    check("set_headers = { X-A = \"a\", x-a = \"b\" }", ".set_headers.x-a", "keep one");
    check("set_headers = { X-Api-Key = \"{key}\" }", "", "keys.headers");
    let (settings, tail) =
        ("set_headers = { X-Hose = \"{key}\" }", format!("{TAIL}\nkey_headers = \"X-Hose\""));
    let problems = bad(&format!("{HEAD}{settings}{tail}"));
    assert!(problems.len() == 1 && problems[0].remedy.contains("key_headers"), "{problems:?}");
}

#[test]
fn a_header_may_be_what_a_file_holds_and_nobody_is_shown_that() {
    let line = |key: &str| format!("{HEAD}set_headers = {{ X-Who = \"{{user}}\", {key} = \"token\" }}{TAIL}");
    let config_dir = ConfigDir::new(&line("X-Token_file"));
    for (text, mode, said) in [
        ("s3cr3t {braces} are not facts\n", 0o600, None),
        ("s3cr3t", 0o644, Some("lets others in")),
        ("", 0o600, Some("is empty")),
        (" s3cr3t", 0o600, Some("without blanks")),
        ("s3cr3t\nX-Other: 1", 0o600, Some("one line")),
        ("s3cr3t \u{eb}", 0o600, Some("visible ASCII")),
    ] {
        config_dir.write("token", text, mode);
        match (config_dir.load(), said) {
            (Ok(config), None) => {
                let identity = &config.upstreams[0].identity;
                let (name, secret) = &identity.credentials[0];
                assert_eq!((name.as_str(), secret.expose()), ("x-token", text.trim_end()));
                assert_eq!(identity.templates.len(), 1);
                assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
            }
            (Err(error), Some(said)) => {
                let [problem] = error.0.as_slice() else { panic!("{error}") };
                assert_eq!(problem.path, "upstreams[0].set_headers.X-Token_file");
                assert!(error.to_string().contains(said) && !error.to_string().contains("s3cr3t"), "{error}");
            }
            (loaded, _) => panic!("{text:?}: {loaded:?}"),
        }
    }
    config_dir.write("token", "s3cr3t", 0o600);
    for (key, said) in [("x-who_file", "set twice"), ("X_A_file", "write"), ("Authorization_file", "`token`")]
    {
        config_dir.write("doorward.toml", &line(key), 0o600);
        let error = config_dir.load().unwrap_err();
        assert!(error.0.len() == 1 && error.to_string().contains(said), "{key}: {error}");
    }
}

#[test]
fn people_for_whose_role_there_is_no_word_are_named() {
    let bearer =
        format!("bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\", claims = {{ role = \"ROLE\" }} }}");
    for line in [bearer.as_str(), "set_headers = { X-Role = \"ROLE\" }"] {
        let warned = |roles: &str| {
            let config = good(&format!("{HEAD}{}{TAIL}", line.replace("ROLE", roles)));
            config
                .warnings
                .iter()
                .filter(|warning| warning.contains("no word for"))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(warned("{role:admin=ADMIN,member=OP,viewer=VIEWER}"), [""; 0]);
        let warnings = warned("{role:admin=ADMIN}");
        assert!(warnings.len() == 1 && warnings[0].contains("no word for member and viewer"), "{warnings:?}");
    }
    check("set_headers = { X-A = \"{role:admin=zo\u{eb}}\" }", ".set_headers.X-A", "visible ASCII");
    check("set_headers = { X-A = \"{role:root=x}\" }", ".set_headers.X-A", "write pairs");
}

#[test]
fn each_mistake_about_a_credential_of_our_own_is_named() {
    let basic = "basic = { username = \"doorward\", password = \"quiet herons\" }";
    good(&format!("{HEAD}{basic}{TAIL}"));
    good(&format!("{HEAD}token = \"quiet-herons\"{TAIL}"));
    check("basic = { username = \"a:b\", password = \"x\" }", ".basic.username", "colon");
    check("basic = { username = \"a\", password = \"\" }", ".basic.password", "write the password");
    check("token = \"Bearer quiet\"", ".token", "without the word Bearer");
    check("token = \"\"", ".token", "write the token");
    let bearer = format!("bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\" }}");
    for other in [bearer.as_str(), "pass_authorization = true"] {
        check(&format!("{basic}\n{other}"), ".basic", "leave one of the two out");
        check(&format!("token = \"quiet-herons\"\n{other}"), ".token", "leave one of the two out");
    }
    check(&format!("{basic}\ntoken = \"quiet-herons\""), ".basic", "leave one of the two out");
}

const SHARED: &str = "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=";

#[test]
fn assertions_tokens_and_attribution_have_safe_defaults() {
    let bearer = format!(
        "bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\", claims = {{ Scopes = [\"a\", 1, true] }} }}"
    );
    let config = good(&format!("{HEAD}assertion = {{}}\n{bearer}\nattribution = {{}}{TAIL}"));
    let identity = &config.upstreams[0].identity;
    let assertion = identity.assertion.as_ref().unwrap();
    assert_eq!((assertion.header.as_str(), assertion.lifetime.as_secs()), ("x-doorward-assertion", 120));
    assert_eq!((assertion.algorithm, assertion.audience.as_deref()), (JwtAlgorithm::Es256, None));
    let bearer = identity.bearer.as_ref().unwrap();
    assert_eq!((bearer.lifetime.as_secs(), bearer.claims.len()), (300, 1));
    let attribution = identity.attribution.as_ref().unwrap();
    assert!(attribution.forward && attribution.headers.len() == 4);
    assert_eq!(attribution.service_header, "x-service-account");
    assert!(!format!("{config:?}").contains("Kd0Vb3Xn9"));
    let none = &good("").upstreams[0].identity;
    assert!(none.assertion.is_none() && none.bearer.is_none() && none.attribution.is_none());
}

#[test]
fn each_mistake_about_a_signature_is_named() {
    check("assertion = { lifetime = \"6m\" }", ".assertion.lifetime", "at most \"5m\"");
    check("assertion = { algorithm = \"hs256\" }", ".assertion.algorithm", "es256");
    check("assertion = { header = \"Cookie\" }", ".assertion.header", "write");
    check("assertion = { audience = \"\" }", ".assertion.audience", "visible ASCII");
    check(
        "assertion = {}\nset_headers = { X-Doorward-Assertion = \"x\" }",
        ".assertion.header",
        "another name",
    );
    check("assertion = { header = \"X-Api-Key\" }", "", "keys.header");
    check("attribution = { headers = [\"Host\"] }", ".attribution.headers[0]", "write");
    let bearer = |more: &str| format!("bearer = {{ {more} }}");
    let keyed = |key: &str| bearer(&format!("algorithm = \"hs256\", key = \"{key}\""));
    check(&bearer(&format!("key = \"{SHARED}\"")), ".bearer.algorithm", "is missing");
    check(&bearer("algorithm = \"hs256\""), ".bearer.key", "is missing");
    check(&keyed(&SHARED[..31]), ".bearer.key", "shorter than 32 bytes");
    check(&keyed(&"a".repeat(40)), ".bearer.key", "guessed");
    check(&bearer(&format!("algorithm = \"none\", key = \"{SHARED}\"")), ".bearer.algorithm", "hs256");
    check(&format!("{}\npass_authorization = true", keyed(SHARED)), ".bearer", "leave one of the two out");
    for claim in ["iss", "aud", "exp", "nbf", "iat"] {
        let line = keyed(SHARED).replace(" }", &format!(", claims = {{ {claim} = \"x\" }} }}"));
        check(&line, &format!(".bearer.claims.{claim}"), "leave it out");
    }
    for (value, said) in [("\"{nick}\"", "not a fact"), ("1.5", "a number, true"), ("{ a = 1 }", "a list")] {
        let line = keyed(SHARED).replace(" }", &format!(", claims = {{ x = {value} }} }}"));
        check(&line, ".bearer.claims.x", said);
    }
}

#[test]
fn a_private_key_must_be_of_its_algorithm() {
    let pem = |algorithm: &'static rcgen::SignatureAlgorithm| {
        rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem()
    };
    let text = |algorithm: &str| {
        format!("{HEAD}bearer = {{ algorithm = \"{algorithm}\", key_file = \"key.pem\" }}{TAIL}")
    };
    for (algorithm, fits, not) in [
        ("es256", &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384),
        ("eddsa", &rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256),
        ("rs256", &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ED25519),
    ] {
        let config_dir = ConfigDir::new(&text(algorithm));
        config_dir.write("key.pem", &pem(fits), 0o600);
        let config = config_dir.load().unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert!(config.upstreams[0].identity.bearer.as_ref().unwrap().key.public().is_some());
        config_dir.write("key.pem", &pem(not), 0o600);
        let problems = config_dir.load().unwrap_err().0;
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(problem.path, "upstreams[0].bearer.key_file");
        assert!(
            problem.what.contains(&format!("not a private key for {algorithm}"))
                && problem.remedy.contains("openssl")
        );
    }
}
