//! Explanations are true: random requests under random rules, explained, decided, and sent through the gate itself.

use std::fmt::Write as _;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE, ORIGIN};
use http::{HeaderName, HeaderValue, Method};

use super::body_facts::BodyFacts;
use super::explain::{Explanation, Hypothetical, HypotheticalBody, Trial};
use super::testing::GateFixture;
use super::tests::config;
use super::*;
use crate::model::api_key::KeyScope;
use crate::model::principal::{Principal, PrincipalKind, Proof};
use crate::model::role::Role;
use crate::model::target::{RequestKind, request_line};
use crate::model::user::UserId;

/// A key that another system left behind, and a token for emergencies.
const IMPORTED: &str = "t6BnYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
/// An origin that is trusted beside our own.
const TRUSTED: &str = "https://spa.example";

/// Repeatable randomness (xorshift64).
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn of<'x, T: ?Sized>(&mut self, list: &[&'x T]) -> &'x T {
        list[self.below(list.len())]
    }
}

/// One or two of those whom rules name.
fn random_principals(dice: &mut XorShift) -> String {
    const WORDS: &[&str] = &[
        "anyone",
        "anyone",
        "signed-in",
        "signed-in",
        "viewer",
        "viewer",
        "member",
        "admin",
        "agent",
        "group:data",
        "group:guests",
        "user:VERA",
        "user:mel",
        "key:ci",
        "key:reader",
        "key:laptop",
        "provider:local",
        "provider:imported",
        "provider:break-glass",
    ];
    let (one, other) = (dice.of(WORDS), dice.of(WORDS));
    if one == other { format!("\"{one}\"") } else { format!("[\"{one}\", \"{other}\"]") }
}

fn random_rule(dice: &mut XorShift, name: usize) -> String {
    let path = dice.of(&[
        "",
        "",
        "path = \"/a\",",
        "path = \"/a/*/b\",",
        "path = \"/**/c\",",
        "path = \"/ADMIN\",",
        "paths = [\"/a.B\", \"/x\"],",
    ]);
    let hosts = dice.of(&["", "", "", "host = \"b.example\",", "hosts = [\"app.example\", \"c.example\"],"]);
    let methods = dice.of(&[
        "",
        "",
        "methods = \"read\",",
        "methods = \"write\",",
        "methods = [\"POST\"],",
        "methods = \"websocket\",",
        "methods = [\"write\", \"websocket\"],",
        "methods = [\"GET\", \"PURGE\"],",
    ]);
    let networks = dice.of(&["", "", "", "networks = \"10.0.0.0/8\","]);
    // Most rules look at nothing that seldom fits.
    let seldom = dice.of(&[
        "graphql = \"query\",",
        "graphql = \"mutation\",",
        "graphql = \"query\", fields = \"a\",",
        "graphql = \"query\", any_field = \"a\",",
        "graphql = \"mutation\", mentions = \"b\",",
        "mcp = \"read\",",
        "mcp = \"tools/call\", tools = \"a\",",
        "query = \"x=1\",",
        "grpc = \"a.B/C\",",
        "grpc = \"a.B/*\",",
    ]);
    let body = if dice.below(3) == 0 { seldom } else { "" };
    let who = match dice.below(8) {
        0 => format!("deny = {}", random_principals(dice)),
        1 => format!("deny = {}, allow = {}", random_principals(dice), random_principals(dice)),
        _ => format!("allow = {}", random_principals(dice)),
    };
    let enforce = dice.of(&["", "", "", ", enforce = \"log\"", ", enforce = \"off\"", ", enforce = \"on\""]);
    format!("{{ name = \"r{name}\", {path} {hosts} {methods} {networks} {body} {who} {enforce} }},\n")
}

/// Routes by host and path, to an upstream that takes odd spellings or one that does not.
fn random_settings(dice: &mut XorShift) -> String {
    let mut text = format!(
        "[server]\ntrusted_origins = [\"{TRUSTED}\"]\n\
         [[upstreams]]\nname = \"odd\"\nurl = \"http://127.0.0.1:9\"\n\
         paths.allow = [\"encoded-slash\", \"semicolon\", \"empty-segment\"]\n\
         [[keys.imported]]\nname = \"old\"\nrole = \"viewer\"\npath = \"/a\"\n\
         ring = '[{{ \"name\": \"reader\", \"key\": \"{IMPORTED}\" }}]'\n\
         [[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\n"
    );
    for (host, path) in [("", "/"), ("", "/a"), ("", "/A/b"), ("b.example", "/"), ("b.example", "/a")] {
        let hosts = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
        let upstream = dice.of(&["app", "odd"]);
        let enforce = dice.of(&["on", "on", "log", "off"]);
        let rules: String = (0..4).map(|n| random_rule(dice, n)).collect();
        _ = write!(
            text,
            "[[routes]]\nupstream = \"{upstream}\"\n{hosts}path = \"{path}\"\nenforce = \"{enforce}\"\nrules = [\n{rules}]\n"
        );
    }
    text
}

/// Any request, anonymous so far.
fn random_question(dice: &mut XorShift) -> Hypothetical {
    let kind = match dice.below(12) {
        0 => RequestKind::WebSocket,
        1 => RequestKind::Upgrade,
        2 => RequestKind::PerhapsSwitch,
        3 => RequestKind::Grpc,
        _ => RequestKind::Plain,
    };
    let method = match kind {
        RequestKind::Plain => dice.of(&["GET", "HEAD", "POST", "DELETE", "PURGE", "OPTIONS", "UNSAID"]),
        RequestKind::Grpc => "POST",
        _ => dice.of(&["GET", "GET", "UNSAID"]),
    };
    let path = match kind {
        RequestKind::Grpc => dice.of(&["/a.B/C", "/a.B/D", "/A.b/C", "/a.b/c", "/a/b"]),
        _ => dice.of(&[
            "/",
            "/a",
            "/A",
            "/a/x/b",
            "/a/x/B",
            "/admin",
            "/x/c",
            "/x/y/c?q",
            "/a%2Fx",
            "/a;v/b",
            "/a//b",
            "/a/b",
            "/A/b/c",
            "/a.",
            "/%2541",
            "/a.B/C",
            "/a?query=%7Ba%7D",
            "/x?query=mutation%7Ba%7D",
        ]),
    };
    let authority = dice.of(&["app.example", "b.example", "B.Example:8443", "c.example"]);
    let (method, path) = request_line(&format!("{method} {path}")).unwrap();
    Hypothetical {
        target: RequestTarget::parse(&method, authority, &path, kind).unwrap(),
        authority: authority.to_owned(),
        client: dice.of(&["10.1.2.3", "10.1.2.3", "192.0.2.1", "192.0.2.1", "unknown"]).parse().unwrap(),
        caller: None,
        origin: dice
            .of(&[&None, &None, &None, &Some(TRUSTED), &Some("https://evil.example")])
            .map(str::to_owned),
        body: HypotheticalBody::Graphql(
            dice.of(&["{ a }", "{ b }", "mutation { a }", "subscription { a }", "x{"]).to_owned(),
        ),
        destination: None,
    }
}

/// Callers of every kind, with what bounds them.
fn callers() -> Vec<Option<Principal>> {
    let user = |name: &str, role, groups: &[&str]| Principal {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Principal::example(PrincipalKind::User(UserId(name.into())), name, role)
    };
    let key = |name: &str, role, scope| {
        let kind = PrincipalKind::SystemKey { key: format!("id-{name}") };
        let proof = Proof::Key { expires_at: None, scope, name: name.to_owned(), last_used_at: None };
        Principal { proof, ..Principal::example(kind, name, role) }
    };
    let laptop = PrincipalKind::UserKey { user: UserId("vera".into()), key: "id-laptop".into() };
    let reader = PrincipalKind::ImportedKey { ring: "old".into(), key: "reader".into() };
    let glass = PrincipalKind::BreakGlass { name: "on-call".into() };
    let free = KeyScope::default;
    let known = vec![
        user("vera", Role::Viewer, &["guests"]),
        user("mel", Role::Member, &["data"]),
        user("root", Role::Admin, &[]),
        Principal { must_change_password: true, ..user("tom", Role::Admin, &["data"]) },
        key("ci", Role::Member, free()),
        key("agent", Role::Agent, free()),
        key("below-a", Role::Admin, KeyScope { paths: vec!["/a".into()], ..free() }),
        key("gets", Role::Admin, KeyScope { methods: vec![Method::GET], ..free() }),
        key("lan", Role::Admin, KeyScope { networks: vec!["10.0.0.0/8".parse().unwrap()], ..free() }),
        Principal::example(laptop, "vera", Role::Viewer),
        Principal::example(reader, "reader", Role::Viewer),
        Principal::example(glass, "on-call", Role::Admin),
    ];
    [None, None].into_iter().chain(known.into_iter().map(Some)).collect()
}

/// Whether the notes, read by themselves, lead to the explained decision.
fn notes_agree(explanation: &Explanation) -> bool {
    let decided: Vec<_> = explanation
        .rules
        .iter()
        .filter(|t| !matches!(t.result, Trial::Skipped | Trial::PassedOver))
        .collect();
    let rule = explanation.rule.as_deref().unwrap_or_default();
    let refusals: Vec<_> = decided.iter().filter(|tried| tried.result != Trial::Allows).collect();
    match explanation.verdict {
        Verdict::Allow if rule == DecidedWithoutRule::CorsPreflight.as_str() => !refusals.is_empty(),
        Verdict::Allow => refusals.is_empty() && decided.iter().any(|tried| tried.rule == rule),
        _ => refusals.iter().any(|tried| tried.rule == rule),
    }
}

/// Counts of outcomes, so that none is missing.
#[derive(Debug, Default)]
struct OutcomeCounts {
    allowed: usize,
    passed: usize,
    refused: usize,
    codes: std::collections::BTreeMap<Code, usize>,
}

impl OutcomeCounts {
    fn add(&mut self, passes: bool, code: Option<Code>) {
        let place = match (passes, code) {
            (true, None) => &mut self.allowed,
            (true, Some(_)) => &mut self.passed,
            (false, _) => &mut self.refused,
        };
        *place += 1;
        if let Some(code) = code {
            *self.codes.entry(code).or_default() += 1;
        }
    }

    #[track_caller]
    fn check(&self, all: usize, codes: &[Code]) {
        assert_eq!(self.allowed + self.passed + self.refused, all);
        for share in [self.allowed, self.passed, self.refused] {
            assert!(share > all / 25, "{self:?}");
        }
        for code in codes {
            assert!(self.codes.get(code).is_some_and(|count| *count > 20), "{code}: {self:?}");
        }
    }
}

/// Why it was refused, or would have been.
fn code_of<T>(outcome: &Result<T, Refusal>, trail: &DecisionTrace) -> Option<Code> {
    outcome.as_ref().err().or(trail.shadowed.as_ref()).or(trail.waived.as_ref()).map(Refusal::code)
}

#[test]
fn explanation_and_decision_agree_on_a_hundred_thousand_random_requests() {
    let mut dice = XorShift(0x5DEE_CE66_D123_4567);
    let callers = callers();
    let mut fared = OutcomeCounts::default();
    for _ in 0..400 {
        let text = random_settings(&mut dice);
        let rulebook = Rulebook::new(&config(&text));
        for _ in 0..250 {
            let caller = callers[dice.below(callers.len())].clone();
            let question = Hypothetical { caller, ..random_question(&mut dice) };
            let mut trail = DecisionTrace::default();
            let outcome = rulebook.decide(&question, &mut trail);
            let explanation = rulebook.explain(&question);
            let code = code_of(&outcome, &trail);
            let told = (explanation.passes, explanation.code, explanation.rule.as_deref());
            assert_eq!(told, (outcome.is_ok(), code, trail.rule()), "{text}\n{question:?}");
            assert_eq!(explanation.route, trail.route.as_ref().map(|route| route.name.clone()));
            let subject = |principal: &Principal| principal.subject();
            let early = matches!(code, Some(Code::OddPath | Code::NoRoute));
            let caller = explanation.caller.as_ref().map(|caller| caller.subject.clone());
            assert!(early || caller == question.caller.as_ref().map(subject), "{explanation:?}");
            // Beyond the code path they share: the notes must lead to the same end by themselves.
            let early = early
                || matches!(code, Some(Code::KeyScope | Code::PasswordChangeRequired | Code::ForeignOrigin));
            assert!(early || notes_agree(&explanation), "{text}\n{question:?}\n{explanation:?}");
            fared.add(explanation.passes, code);
        }
    }
    let codes = [
        Code::SignInRequired,
        Code::Forbidden,
        Code::KeyScope,
        Code::PasswordChangeRequired,
        Code::OddPath,
        Code::ForeignOrigin,
    ];
    fared.check(100_000, &codes);
}

/// What a client presents, and whom that makes it.
struct TestCredential {
    headers: Vec<(HeaderName, String)>,
    /// The caller; `None` is anonymous.
    caller: Option<Principal>,
    worth: Validity,
}

#[derive(Clone, Copy)]
enum Validity {
    /// What it is presented as.
    Good,
    /// Of no one any more.
    Stale,
    /// Invalid, with this code.
    Wrong(&'static str),
}

/// Every kind of credential, good and wrong, in every place where it may stand.
async fn presented(world: &GateFixture, gate: &Gate) -> Vec<TestCredential> {
    let subjects = world.subjects();
    let key_header = HeaderName::from_static("x-api-key");
    let cookie = |value: &str| (COOKIE, format!("{}={value}", gate.names.cookie));
    let bearer = |text: &str| (AUTHORIZATION, format!("Bearer {text}"));
    let mut all = vec![TestCredential { headers: Vec::new(), caller: None, worth: Validity::Good }];
    for (name, session) in &world.sessions_of {
        let caller = subjects.user(&world.by, name).await.unwrap();
        all.push(TestCredential {
            headers: vec![cookie(session)],
            caller: Some(caller),
            worth: Validity::Good,
        });
    }
    for (name, key) in &world.keys_of {
        let caller = subjects.key(&world.by, name).await.unwrap();
        for headers in [vec![bearer(key)], vec![(key_header.clone(), key.clone()), cookie("x.y")]] {
            all.push(TestCredential { headers, caller: Some(caller.clone()), worth: Validity::Good });
        }
    }
    for token in [IMPORTED, GLASS] {
        let found = gate.names.tokens.find(token).and_then(|at| gate.names.tokens.identity(at)).unwrap();
        let caller = Principal::clone(&found.principal);
        all.push(TestCredential {
            headers: vec![bearer(token)],
            caller: Some(caller),
            worth: Validity::Good,
        });
    }
    let session = &world.sessions_of[0].1;
    let keys = [&world.keys_of[0].1, &world.keys_of[1].1];
    for headers in [vec![cookie("x.y")], vec![cookie(&world.ended_session)], vec![cookie("")]] {
        all.push(TestCredential { headers, caller: None, worth: Validity::Stale });
    }
    for (headers, code) in [
        (vec![bearer("dw_s_mistyped"), cookie(session)], "invalid-key"),
        (vec![bearer(&world.revoked_key), cookie(session)], "invalid-key"),
        (vec![(key_header.clone(), "nonsense".to_owned())], "foreign-key"),
        (vec![bearer("foreign"), cookie(session)], "invalid-token"),
        (vec![(AUTHORIZATION, "Basic eDp5".to_owned())], "unsupported-scheme"),
        (vec![bearer(keys[0]), (key_header.clone(), keys[1].clone())], "several-credentials"),
        (vec![cookie(session), cookie(session)], "several-credentials"),
    ] {
        all.push(TestCredential { headers, caller: None, worth: Validity::Wrong(code) });
    }
    all
}

/// Takes the line as a request does that really came.
async fn sent(
    gate: &Gate,
    question: &Hypothetical,
    presented: &TestCredential,
    trail: &mut DecisionTrace,
) -> Result<Permit, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in &presented.headers {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    // As a browser on a page says it; where no page is named, it is one of ours.
    let origin = question.origin.as_deref().unwrap_or_else(|| gate.public_origin());
    headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
    if question.origin.is_some() && *question.target.method() == Method::OPTIONS {
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("DELETE"));
    }
    let request = GateRequest {
        target: &question.target,
        headers: &headers,
        authority: &question.authority,
        route: None,
        client: Client { address: question.client, secure: true, by_proxy: false },
        request_id: "",
    };
    let asked = gate.identify(&request, trail).await?;
    let told = BodyFacts::of(
        asked.wants(&request),
        &graphql::Envelope {
            kind: question.target.kind(),
            method: question.target.method(),
            query: question.target.query(),
            headers: &graphql::json_headers(),
            body: Some(question.body.text().as_bytes()),
        },
    );
    asked.decide(&request, &told, trail)
}

#[tokio::test]
async fn explanations_agree_with_ten_thousand_requests_through_the_real_gate() {
    let mut dice = XorShift(0x1234_5678_9ABC_DEF1);
    let world = GateFixture::peopled().await;
    let mut fared = OutcomeCounts::default();
    for _ in 0..100 {
        let text = random_settings(&mut dice);
        let gate = world.gate(&config(&text));
        let all = presented(&world, &gate).await;
        for _ in 0..120 {
            let presented = &all[dice.below(all.len())];
            let caller = presented.caller.clone();
            let question = Hypothetical { caller, ..random_question(&mut dice) };
            let mut trail = DecisionTrace::default();
            let outcome = sent(&gate, &question, presented, &mut trail).await;
            let explanation = gate.rulebook().explain(&question);
            let code = code_of(&outcome, &trail);
            let case = format!("{text}\n{question:?}\n{:?}\n{explanation:?}\n{outcome:?}", presented.headers);
            assert_eq!(trail.route.as_ref().map(|route| route.name.clone()), explanation.route, "{case}");
            match presented.worth {
                Validity::Wrong(wrong) => {
                    // Final: never more than an anonymous caller gets, and refused as what it is, unless something was
                    // wrong before anybody looked at it.
                    let before = matches!(code, Some(Code::NoRoute | Code::OddPath));
                    assert!(before || code.map(Code::as_str) == Some(wrong), "{code:?} {case}");
                    assert!(outcome.is_err() || explanation.passes, "{case}");
                    assert!(
                        outcome.as_ref().is_ok_and(|permit| permit.identity().is_none()) || outcome.is_err(),
                        "{case}"
                    );
                }
                Validity::Good | Validity::Stale => {
                    let expected = match (presented.worth, explanation.code) {
                        (Validity::Stale, Some(Code::SignInRequired)) => Some(Code::SessionEnded),
                        (_, code) => code,
                    };
                    assert_eq!((outcome.is_ok(), code), (explanation.passes, expected), "{case}");
                    assert_eq!(trail.rule(), explanation.rule.as_deref(), "{case}");
                    let told = trail.identity.as_ref().map(|identity| identity.subject.clone());
                    assert_eq!(
                        told,
                        explanation.caller.as_ref().map(|caller| caller.subject.clone()),
                        "{case}"
                    );
                    if let (Ok(permit), None) = (&outcome, code) {
                        assert_eq!(
                            permit.identity().map(|identity| identity.subject.clone()),
                            told,
                            "{case}"
                        );
                    }
                }
            }
            fared.add(outcome.is_ok(), code);
        }
    }
    let codes = [
        Code::SignInRequired,
        Code::SessionEnded,
        Code::Forbidden,
        Code::KeyScope,
        Code::PasswordChangeRequired,
        Code::OddPath,
        Code::ForeignOrigin,
        Code::InvalidKey,
        Code::ForeignKey,
        Code::InvalidToken,
        Code::UnsupportedScheme,
        Code::SeveralCredentials,
    ];
    fared.check(12_000, &codes);
}
