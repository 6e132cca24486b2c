//! Break-glass tokens and key rings.

use super::*;

const TOKEN: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const OTHER: &str = "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";

fn ring(keys: &str) -> String {
    format!("[[keys.imported]]\nname = \"old\"\nrole = \"agent\"\nring = '''{keys}'''\n")
}

fn glass(token: &str) -> String {
    format!("[break_glass]\nname = \"on-call\"\ntoken = \"{token}\"\n")
}

#[track_caller]
fn check(text: &str, path: &str, said: &str) {
    let told = assert_refused(text, path, said);
    assert!(!told.contains("Vb3Xn9"), "a secret is shown: {told}");
}

#[test]
fn tokens_come_with_their_kind_role_and_scope_and_without_their_value() {
    let old = ring(&format!("[{{ \"name\": \"grafana\", \"key\": \"{OTHER}\" }}]"));
    let config = good(&format!(
        "{}role = \"viewer\"\nnetworks = \"10.0.0.0/8\"\n{old}path = \"/ingest\"\n",
        glass(TOKEN)
    ));
    let kinds: Vec<_> =
        config.tokens.iter().map(|token| (token.kind.as_str(), token.name.as_str(), token.role)).collect();
    assert_eq!(kinds, [("break-glass", "on-call", Role::Viewer), ("imported-key", "grafana", Role::Agent)]);
    assert_eq!(config.tokens[0].scope.networks.len(), 1);
    assert_eq!(config.tokens[1].scope.paths, ["/ingest"]);
    assert!(!format!("{config:?}").contains("Vb3Xn9"));
    assert!(good("").tokens.is_empty(), "off unless one is named");
    let long = "aZ3+/".repeat(3) + &TOKEN.repeat(19) + "x";
    assert_eq!(good(&ring(&format!("[{{\"name\":\"a b\",\"key\":\"{long}\"}}]"))).tokens.len(), 1);
}

#[test]
fn weak_and_doubled_tokens_are_refused_without_being_shown() {
    for (token, said) in [
        ("short", "shorter than 32"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "guessed"),
        ("abcdefghijklmnopqrstabcdefghijklmnopqrst", "guessed"),
        ("dw_s_q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc", "own keys"),
        ("q7Zt0Vb3Xn9Ks2Lw8Rf4 Hd6Jy1Mg5Pc+/=", "visible ASCII"),
    ] {
        check(&glass(token), "break_glass.token", said);
    }
    let two = format!(
        "[[break_glass]]\nname = \"a\"\ntoken = \"{TOKEN}\"\n[[break_glass]]\nname = \"b\"\ntoken = \"{TOKEN}\"\n"
    );
    check(&two, "break_glass[1].token", "another token");
    let twice = two.replace("\"b\"", "\"a\"").replacen(TOKEN, OTHER, 1);
    check(&twice, "break_glass[1].name", "earlier one");
    check("[break_glass]\nname = \"a\"\n", "break_glass.token", "is missing");
    check(&format!("{}role = \"root\"\n", glass(TOKEN)), "break_glass.role", "admin");
}

#[test]
fn a_ring_that_cannot_be_read_is_refused_without_being_shown() {
    let key = format!("{{\"name\":\"a\",\"key\":\"{OTHER}\"}}");
    check(&ring("{}"), "keys.imported[0].ring", "not a key ring");
    check(&ring(&format!("[{key}")), "keys.imported[0].ring", "not a key ring");
    check(&ring(&format!("[{}]", key.replace("name", "nick"))), "keys.imported[0].ring", "not a key ring");
    check(&ring(&format!("[{key}, {key}]")), "keys.imported[0].ring", "another token or key");
    check(&ring(&format!("[{}]", key.replace("\"a\"", "\"\""))), "keys.imported[0].ring", "entry 1");
    check(&ring("[{\"name\":\"a\",\"key\":\"short\"}]"), "keys.imported[0].ring", "shorter than 16");
    check("[[keys.imported]]\nname = \"old\"\nring = \"[]\"\n", "keys.imported[0].role", "is missing");
}

#[test]
fn a_file_that_others_may_read_holds_no_token() {
    let config_dir = ConfigDir::new(&with_least(&glass(TOKEN)));
    config_dir.write("doorward.toml", &with_least(&glass(TOKEN)), 0o644);
    let problems = config_dir.load().unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, "break_glass.token");
    assert!(problems[0].remedy.contains("break_glass.token_file"), "{}", problems[0]);
}
