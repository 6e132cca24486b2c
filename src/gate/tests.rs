//! The whole decision line without sockets: shadowed refusals, and explanations that match decisions.

use std::io::Write as _;

use http::Method;
use http::header::AUTHORIZATION;

use super::body_facts::BodyFacts;
use super::explain::{Hypothetical, HypotheticalBody, Trial};
use super::recognition::Recognition;
use super::refusal::BadCredential;
use super::*;
use crate::config::{self, ConfigSource, Flags};
use crate::model::principal::{CredentialKind, Principal, PrincipalKind};
use crate::model::role::Role;
use crate::model::target::{RequestKind, request_line};
use crate::model::user::UserId;

const BASE: &str = "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n";

/// Settings with one upstream and this text after it.
pub(super) fn config(text: &str) -> Config {
    whole_config(&format!("{BASE}{text}"))
}

pub(super) fn whole_config(text: &str) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let source = ConfigSource { file: Some(file.path().to_owned()), environment: Vec::new() };
    config::load(&source, &Flags::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn principal(role: Role) -> Principal {
    Principal::example(PrincipalKind::User(UserId("u".into())), "ann", role)
}

fn asked(request: &str, caller: Option<Principal>) -> Hypothetical {
    let (method, path) = request_line(request).unwrap();
    Hypothetical {
        origin: None,
        target: RequestTarget::parse(&method, "app.example", &path, RequestKind::Plain).unwrap(),
        authority: "app.example".into(),
        client: "192.0.2.1".parse().unwrap(),
        caller,
        body: HypotheticalBody::None,
        destination: None,
    }
}

/// Decision, whether it passes, and the rule.
fn told(rulebook: &Rulebook, request: &str, caller: Option<Principal>) -> String {
    let explanation = rulebook.explain(&asked(request, caller));
    let rule = explanation.rule.as_deref().unwrap_or("-");
    format!("{} {} {rule}", explanation.verdict, if explanation.passes { "passes" } else { "stops" })
}

#[test]
fn what_is_only_logged_passes_and_the_narrowest_word_counts() {
    let rulebook = Rulebook::new(&config(
        "[[routes]]\nupstream = \"app\"\nenforce = \"log\"\nrules = [
         { name = \"open\", path = \"/open\", allow = \"anyone\" },
         { name = \"admin\", path = \"/admin\", allow = \"admin\", enforce = \"on\" },
         { name = \"quiet\", path = \"/quiet\", allow = \"admin\", enforce = \"off\" },
         { name = \"reads\", methods = \"read\", allow = \"viewer\" },
        ]\n[[routes]]\nupstream = \"app\"\npath = \"/strict\"",
    ));
    let told = |request, caller| told(&rulebook, request, caller);
    assert_eq!(told("GET /open", None), "allow passes open");
    assert_eq!(told("GET /x", None), "challenge passes reads");
    assert_eq!(told("GET /x", Some(principal(Role::Agent))), "deny passes reads");
    assert_eq!(
        told("POST /x", Some(principal(Role::Admin))),
        "deny passes -",
        "no rule fits: the route's word counts"
    );
    assert_eq!(told("GET /admin", None), "challenge stops admin");
    assert_eq!(told("GET /admin/x", Some(principal(Role::Member))), "deny stops admin");
    assert_eq!(told("GET /admin", Some(principal(Role::Admin))), "allow passes admin");
    assert_eq!(told("GET /strict", None), "challenge stops standard-reads");
    assert_eq!(told("POST /strict", Some(principal(Role::Viewer))), "deny stops standard-writes");
    // A path that a careless server could take for an enforced one is enforced.
    assert_eq!(told("GET /ADMIN", Some(principal(Role::Viewer))), "deny stops admin");
    assert_eq!(told("GET /Strict", None), "challenge stops standard-reads");
    let mut trail = DecisionTrace::default();
    decide(&rulebook, "GET /quiet", None, Ok(()), &mut trail).unwrap();
    assert!(trail.shadowed.is_none(), "nobody is told");
    assert_eq!(told("GET /quiet", None), "challenge passes quiet", "whoever asks is told what the rules say");
    decide(&rulebook, "GET /x", None, Ok(()), &mut trail).unwrap();
    assert_eq!(trail.shadowed.unwrap().code(), Code::SignInRequired);
}

#[test]
fn everything_that_a_copy_does_is_decided_and_told() {
    let rulebook = Rulebook::new(&config(
        "[[routes]]\nupstream = \"app\"\nrules = [
         { name = \"kept\", path = \"/kept\", methods = \"write\", allow = \"admin\" },
         { name = \"logged\", path = \"/logged\", allow = \"admin\", enforce = \"log\" },
         { name = \"all\", allow = \"member\" },
        ]",
    ));
    let copy = |request, destination: Option<&str>, role| {
        let destination = destination.map(str::to_owned);
        rulebook.explain(&Hypothetical { destination, ..asked(request, Some(principal(role))) })
    };
    let told = |request, destination, role| {
        let told = copy(request, destination, role);
        let rule = told.rule.as_deref().unwrap_or("-");
        format!("{} {} {rule}", told.verdict, if told.passes { "passes" } else { "stops" })
    };
    for (request, destination, role, expected) in [
        ("COPY /a", Some("/b"), Role::Member, "allow passes all"),
        ("COPY /a", Some("https://app.example/b"), Role::Member, "allow passes all"),
        ("COPY /a", Some("/b"), Role::Viewer, "deny stops all"),
        ("COPY /a", Some("/kept/x"), Role::Member, "deny stops kept"),
        ("COPY /a", Some("/Kept/x"), Role::Member, "deny stops kept"),
        ("COPY /a", Some("/kept/x"), Role::Admin, "allow passes all"),
        ("MOVE /kept/x", Some("/b"), Role::Member, "deny stops kept"),
        ("COPY /kept/x", Some("/b"), Role::Member, "deny stops kept"),
        // A refusal that only logs hides none that is kept.
        ("COPY /logged/x", Some("/b"), Role::Member, "deny passes logged"),
        ("COPY /logged/x", Some("/kept/x"), Role::Member, "deny stops kept"),
        ("COPY /a", Some("/logged/x"), Role::Member, "deny passes logged"),
        ("COPY /a", None, Role::Member, "deny stops all"),
        ("COPY /a", Some("https://b.example/b"), Role::Member, "deny stops all"),
    ] {
        assert_eq!(told(request, destination, role), expected, "{request} {destination:?} {role:?}");
    }
    let why = copy("COPY /a", Some("/kept/x"), Role::Member);
    let last = why.rules.last().unwrap();
    assert_eq!((last.result, last.reading.as_deref()), (Trial::AllowsOthers, Some("COPY /kept/x")));
}

#[test]
fn the_general_enforce_holds_where_route_and_rule_say_nothing() {
    for general in ["", "on", "log", "off"] {
        let line = if general.is_empty() { String::new() } else { format!("enforce = \"{general}\"\n") };
        let rulebook = Rulebook::new(&whole_config(&format!(
            "{line}{BASE}[[routes]]\nupstream = \"app\"\nrules = [
             {{ name = \"silent\", path = \"/silent\", allow = \"admin\" }},
             {{ name = \"strict\", path = \"/strict\", allow = \"admin\", enforce = \"on\" }},
             {{ name = \"logged\", path = \"/logged\", allow = \"admin\", enforce = \"log\" }},
             {{ name = \"free\", path = \"/free\", allow = \"admin\", enforce = \"off\" }},
            ]\n[[routes]]\nupstream = \"app\"\npath = \"/standard\"
             [[routes]]\nupstream = \"app\"\npath = \"/kept\"\nenforce = \"on\"
             [[routes]]\nupstream = \"app\"\npath = \"/watched\"\nenforce = \"log\"
             [[routes]]\nupstream = \"app\"\npath = \"/open\"\nenforce = \"off\"",
        )));
        let general = if general.is_empty() { "on" } else { general };
        for (path, word) in [
            ("/silent", general),
            ("/no-rule-fits", general),
            ("/standard", general),
            ("/strict", "on"),
            ("/logged", "log"),
            ("/free", "off"),
            ("/kept", "on"),
            ("/watched", "log"),
            ("/open", "off"),
        ] {
            let request = format!("GET {path}");
            for caller in [None, Some(principal(Role::Agent))] {
                let explanation = rulebook.explain(&asked(&request, caller.clone()));
                assert_eq!(explanation.passes, word != "on", "{general} {path} {caller:?}");
                let mut trail = DecisionTrace::default();
                let outcome = decide(&rulebook, &request, caller, Ok(()), &mut trail);
                assert_eq!(outcome.is_ok(), word != "on", "{general} {path}");
                assert_eq!(trail.shadowed.is_some(), word == "log", "{general} {path}");
            }
        }
    }
}

/// Takes the line with an identity, or with what went wrong before there was one.
fn decide(
    rulebook: &Rulebook,
    request: &str,
    caller: Option<Principal>,
    known: Result<(), Refusal>,
    trail: &mut DecisionTrace,
) -> Result<Permit, Refusal> {
    let asked = asked(request, caller);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, "Bearer foreign".parse().unwrap());
    let request = GateRequest {
        target: &asked.target,
        headers: &headers,
        authority: "app.example",
        route: None,
        client: Client { address: asked.client, secure: true, by_proxy: false },
        request_id: "",
    };
    let caller = asked.caller.clone().map(|principal| Recognition::Caller(Rc::new(Identity::of(principal))));
    let caller = caller.unwrap_or_default();
    let routed = rulebook.route(&request, trail)?;
    let asking = rulebook.admit(&request, routed, known.map(|()| caller), trail)?;
    asking.decide(&request, &BodyFacts::default(), trail)
}

#[test]
fn a_wrong_credential_passes_as_nobody_where_every_rule_that_speaks_only_logs() {
    let rulebook = Rulebook::new(&config(
        "[[routes]]\nupstream = \"app\"\nenforce = \"log\"\nrules = [
         { path = \"/admin\", allow = \"anyone\", enforce = \"on\" }, { allow = \"viewer\" } ]",
    ));
    let wrong = || Err(Refusal::BadCredential(BadCredential::Key));
    let mut trail = DecisionTrace::default();
    let permit = decide(&rulebook, "GET /x", Some(principal(Role::Admin)), wrong(), &mut trail).unwrap();
    assert!(permit.identity().is_none());
    assert_eq!(trail.shadowed.unwrap().code(), Code::InvalidKey);
    for request in ["GET /admin", "GET /ADMIN", "POST /admin/x"] {
        let refused = decide(&rulebook, request, None, wrong(), &mut DecisionTrace::default());
        assert!(matches!(refused, Err(Refusal::BadCredential(BadCredential::Key))), "{request}");
    }
    let down = || Err(Refusal::Unavailable("down".into()));
    let mut trail = DecisionTrace::default();
    assert!(decide(&rulebook, "GET /x", None, down(), &mut trail).unwrap().identity().is_none());
    assert_eq!(trail.shadowed.unwrap().code(), Code::Unavailable);
    assert!(decide(&rulebook, "GET /admin", None, down(), &mut DecisionTrace::default()).is_err());
}

#[test]
fn an_odd_spelling_passes_only_where_refusals_do() {
    let text = |enforce| format!("[[routes]]\nupstream = \"app\"\nenforce = \"{enforce}\"");
    let strict = Rulebook::new(&config(&text("on")));
    let lenient = Rulebook::new(&config(&text("log")));
    assert_eq!(told(&strict, "GET /a%2Fb", Some(principal(Role::Admin))), "deny stops -");
    assert_eq!(told(&lenient, "GET /a%2Fb", Some(principal(Role::Admin))), "deny passes standard-reads");
}

#[test]
fn an_explanation_tells_every_rule_that_was_tried_and_why() {
    let rulebook = Rulebook::new(&config(
        "[[routes]]\nname = \"main\"\nupstream = \"app\"\nrules = [
         { name = \"health\", path = \"/healthz\", allow = \"anyone\" },
         { name = \"lan\", networks = \"10.0.0.0/8\", allow = \"anyone\" },
         { name = \"no-guests\", deny = \"group:guests\" },
         { name = \"writes\", methods = \"write\", allow = \"member\" },
         { name = \"rest\", allow = [\"admin\", \"viewer\"] } ]",
    ));
    let explanation = rulebook.explain(&asked("GET /x", Some(principal(Role::Viewer))));
    let tried: Vec<_> =
        explanation.rules.iter().map(|t| (t.rule.as_str(), t.result, t.why.as_deref())).collect();
    assert_eq!(
        tried,
        [
            ("health", Trial::Skipped, Some("path")),
            ("lan", Trial::Skipped, Some("networks")),
            ("no-guests", Trial::PassedOver, None),
            ("writes", Trial::Skipped, Some("methods")),
            ("rest", Trial::Allows, Some("viewer")),
        ]
    );
    assert_eq!((explanation.verdict, explanation.route.as_deref()), (Verdict::Allow, Some("main")));
    assert_eq!(explanation.upstream.as_deref(), Some("app"));
    let caller = explanation.caller.as_ref().unwrap();
    assert_eq!(
        (caller.credential, caller.role, caller.name.as_str()),
        (CredentialKind::Session, "viewer", "ann")
    );
    let nobody = rulebook.explain(&asked("POST /x", None));
    assert_eq!(
        (nobody.verdict, nobody.code, nobody.caller),
        (Verdict::Challenge, Some(Code::SignInRequired), None)
    );
    let last = nobody.rules.last().unwrap();
    assert_eq!((last.rule.as_str(), last.result), ("writes", Trial::AllowsOthers));
}

#[test]
fn an_explanation_fits_into_a_header_whatever_it_holds() {
    let caller = Principal {
        groups: (0..2_000).map(|n| format!("gruppe-ü-{n}")).collect(),
        ..principal(Role::Admin)
    };
    let rules: Vec<String> = (0..100).map(|n| format!("{{ path = \"/{n}\", allow = \"admin\" }}")).collect();
    let rules = rules.join(",");
    let rulebook = Rulebook::new(&config(&format!("[[routes]]\nupstream = \"app\"\nrules = [{rules}]")));
    let header = rulebook.explain(&asked("GET /99", Some(caller))).header().unwrap();
    assert!(header.len() <= 4096);
    let json: serde_json::Value = serde_json::from_str(header.to_str().unwrap()).unwrap();
    assert_eq!((&json["decision"], &json["rule"]), (&"allow".into(), &"rule-100".into()));
}

#[test]
fn policy_tests_pass_where_they_are_true_and_tell_what_is_not() {
    let claims = |rest: &str| {
        config(&format!(
            "[[routes]]\nupstream = \"app\"\nenforce = \"log\"\n[[tests]]\nas = {{ role = \"viewer\" }}\nrequest = \"POST /x\"\nexpect = \"deny\"\nrule = \"standard-writes\"\n{rest}"
        ))
    };
    let good = claims(
        "[[tests]]\nrequest = \"GET /\"\nexpect = \"sign-in\"\n[[tests]]\nas = { key = \"k\", role = \"member\" }\nrequest = \"POST /\"\nexpect = \"allow\"\n[[tests]]\nrequest = \"GET /a/../b\"\nexpect = \"deny\"",
    );
    assert!(policy_tests::passed(good.clone()).is_ok());
    assert_eq!(policy_tests::run(&good).len(), 4);
    for (wrong, told) in [
        (
            "as = { role = \"viewer\" }\nrequest = \"GET /x\"\nexpect = \"deny\"",
            "gets `allow` by rule `standard-reads`",
        ),
        ("request = \"GET /x\"\nexpect = \"allow\"", "by nobody gets `challenge`"),
        ("as = { role = \"agent\" }\nrequest = \"GET /x\"\nexpect = \"sign-in\"", "gets `deny`"),
        ("request = \"GET /x\"\nexpect = \"deny\"\nrule = \"other\"", "but by rule `other` is expected"),
        ("request = \"GET /a/../b\"\nexpect = \"allow\"", "refused before any rule is tried"),
    ] {
        let error = policy_tests::passed(claims(&format!("[[tests]]\n{wrong}"))).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!((error.0[0].path.as_str(), error.0[0].location.line()), ("tests[1]", Some(12)), "{error}");
    }
    assert_eq!(Method::GET, good.tests[1].method);
}

#[test]
fn every_preset_is_what_its_tests_say_at_any_path() {
    for preset in config::Preset::ALL {
        let name = preset.as_str();
        for path in ["/", "/apps/x"] {
            let mut config =
                config(&format!("[[routes]]\nupstream = \"app\"\npath = \"{path}\"\npreset = \"{name}\""));
            config.tests = preset.tests();
            if path != "/" {
                for test in &mut config.tests {
                    test.target = format!("{path}{}", test.target).parse().unwrap();
                }
            }
            if let Err(error) = policy_tests::passed(config) {
                panic!("{name} at {path}:\n{error}");
            }
        }
    }
}

#[test]
fn rules_of_the_route_come_before_a_presets_and_replace_those_of_their_name() {
    let rulebook = Rulebook::new(&config(
        "[[routes]]\nupstream = \"app\"\npreset = \"phoenix\"\nrules = [
         { name = \"export\", path = \"/export\", allow = \"admin\" },
         { name = \"writes\", methods = \"write\", allow = \"admin\" } ]",
    ));
    assert_eq!(told(&rulebook, "GET /export", Some(principal(Role::Member))), "deny stops export");
    assert_eq!(told(&rulebook, "POST /x", Some(principal(Role::Member))), "deny stops writes");
    assert_eq!(told(&rulebook, "GET /x", Some(principal(Role::Viewer))), "allow passes reads");
    assert_eq!(
        rulebook.explain(&asked("POST /x", None)).rules.iter().filter(|t| t.rule == "writes").count(),
        1
    );
}

#[test]
fn a_claim_about_certificates_is_decided_as_their_requests_are() {
    let claim = |provider: &str, expect: &str| {
        format!(
            "[[tests]]\nas = {{ role = \"viewer\", provider = \"{provider}\" }}\nrequest = \"GET /\"\nexpect = \"{expect}\"\n"
        )
    };
    let config = config(&format!(
        "[[routes]]\nupstream = \"app\"\nrules = [ {{ allow = \"provider:client-certificate\" }} ]\n{}{}{}",
        claim("client-certificate", "allow"),
        claim("local", "deny"),
        claim("local", "allow"),
    ));
    let wrong: Vec<bool> = policy_tests::run(&config).iter().map(|claim| claim.wrong.is_some()).collect();
    assert_eq!(wrong, [false, false, true]);
}
