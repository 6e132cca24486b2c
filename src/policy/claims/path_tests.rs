//! Expressions: the official compliance files, what is refused, and that nothing accepted overflows or stalls.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use jmespath::Variable;

use super::*;

/// Cases of the compliance files that do not come out as they should, as expression and result wanted.
const KNOWN_FAILURES: [(&str, &str); 0] = [];

/// How the expressions begin that are refused though they parse. They are for benchmarks of parsers and name no result: a
/// wrong number of arguments, too deep a chain, and a list where the specification has none.
const REFUSED: [&str; 3] = ["sum(z, y, x", "a[*].b[*].c[*].d", "foo[bar > baz]["];

/// The folder of the compliance files (jmespath/jmespath.test, MIT), which the crate brings along.
fn compliance_files() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        // Other platforms' packages need not have been downloaded.
        .args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", "host-tuple"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "jmespath").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    let folder = manifest.parent().unwrap().join("tests/compliance");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Numbers are compared by value: `1` is `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() < 1e-9)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn the_official_compliance_files_hold() {
    let (mut passed, mut failed, mut refused) = (0, Vec::new(), Vec::new());
    for file in compliance_files() {
        let suites: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for suite in suites.as_array().unwrap() {
            let given = Arc::new(Variable::try_from(suite["given"].clone()).unwrap());
            for case in suite["cases"].as_array().unwrap() {
                let expression = case["expression"].as_str().unwrap();
                let wants_error = case.get("error").is_some();
                // Benchmarks name no result.
                let wanted = case.get("result");
                let holds = match ClaimPath::parse(expression).map(|path| path.search(&given)) {
                    Err(_) if !wants_error => {
                        refused.push(expression.to_owned());
                        continue;
                    }
                    Err(_) | Ok(Found::Failed(_)) => wants_error,
                    Ok(Found::Absent) => !wants_error && wanted.is_none_or(Value::is_null),
                    Ok(Found::Value(found)) => {
                        !wants_error && wanted.is_none_or(|wanted| same(wanted, &found))
                    }
                };
                if holds {
                    passed += 1;
                } else {
                    failed.push((expression.to_owned(), wanted.map_or("an error".into(), Value::to_string)));
                }
            }
        }
    }
    let failed: Vec<_> = failed.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(failed, KNOWN_FAILURES);
    assert!(
        refused.len() == REFUSED.len()
            && refused.iter().zip(REFUSED).all(|(expression, begin)| expression.starts_with(begin)),
        "{refused:?}"
    );
    assert!(passed > 850, "{passed} cases were found");
}

#[test]
fn functions_do_what_the_specification_says_where_the_library_does_not() {
    let claims = ClaimSet::parse(br#"{"none":[],"some":[1,2],"text":"[1]"}"#).unwrap();
    let find = |text: &str| ClaimPath::parse(text).unwrap().find(&claims);
    assert_eq!(find("avg(none)"), Found::Absent);
    assert_eq!(find("avg(some)"), Found::Value(1.5.into()));
    assert_eq!(find("to_number(text)"), Found::Absent);
    assert_eq!(find("to_number('12')"), Found::Value(12.into()));
    assert_eq!(find("to_number(some)"), Found::Absent);
    assert!(matches!(find("avg(text)"), Found::Failed(_)));
}

/// JEP 18 is not in the compliance files of the library. A later one must not change what an expression finds unnoticed.
#[test]
fn let_expressions_are_refused_when_they_are_read() {
    for text in ["let $a = groups in $a", "[*].[let $a = name in $a]", "$a", "groups.$a"] {
        assert!(matches!(refused(text), BadClaimPath::Syntax { .. }), "{text}: {:?}", refused(text));
    }
    assert!(ClaimPath::parse("let").is_ok(), "a claim may be called so");
}

#[track_caller]
fn refused(text: &str) -> BadClaimPath {
    ClaimPath::parse(text).expect_err(text)
}

#[test]
fn what_does_not_parse_says_where_and_how_names_are_quoted() {
    for (text, column, remedy) in [
        ("cognito:groups", 8, "'\"cognito:groups\"'"),
        ("https://example.com/roles", 6, "'\"https://example.com/roles\"'"),
        ("my-groups", 3, "'\"my-groups\"'"),
        ("groups[", 8, "\"groups\""),
        ("contains(groups, 'a'", 21, "\"groups\""),
        ("", 1, "\"groups\""),
        ("a ||", 5, "'\"cognito:groups\"'"),
    ] {
        let bad = refused(text);
        assert!(matches!(bad, BadClaimPath::Syntax { .. }), "{text}: {bad:?}");
        assert!(bad.remedy(text).contains(remedy), "{text}: {}", bad.remedy(text));
        let BadClaimPath::Syntax { column: found } = bad else { unreachable!() };
        assert!(found.abs_diff(column) <= 1, "{text}: character {found}");
    }
    assert!(ClaimPath::parse("\"cognito:groups\"").is_ok());
}

#[test]
fn what_no_function_can_do_is_found_before_any_claims_are_there() {
    assert_eq!(refused("contain(groups, 'a')"), BadClaimPath::UnknownFunction("contain".into()));
    assert_eq!(refused("contains(groups)"), BadClaimPath::Arguments("contains".into()));
    assert_eq!(refused("not_null()"), BadClaimPath::Arguments("not_null".into()));
    assert_eq!(refused("sort_by(groups, name)"), BadClaimPath::Reference);
    assert_eq!(refused("map(name, groups)"), BadClaimPath::Reference);
    assert_eq!(refused("[&a]"), BadClaimPath::Reference);
    assert_eq!(refused("&a | map(@, b)"), BadClaimPath::Reference);
}

#[test]
fn positions_that_would_overflow_are_refused() {
    for text in ["a[-2147483647]", "a[2147483647]", "a[1::2147483647]", "a[-2147483647:]", "a[:1000001]"] {
        assert_eq!(refused(text), BadClaimPath::Position, "{text}");
    }
    for text in ["a[-1000000]", "a[1::1000000]", "a[:-1]"] {
        assert!(ClaimPath::parse(text).is_ok(), "{text}");
    }
}

/// What would overflow the stack is refused before it is parsed, or before it is evaluated.
#[test]
fn deep_expressions_are_refused_and_the_deepest_accepted_ones_fit_a_small_stack() {
    let nested: [fn(usize) -> String; 12] = [
        |n| format!("{}a{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}a{}", "[".repeat(n), "]".repeat(n)),
        |n| format!("{}a{}", "{a:".repeat(n), "}".repeat(n)),
        |n| format!("{}a{}", "not_null(".repeat(n), ")".repeat(n)),
        |n| format!("{}a{}", "a[?".repeat(n), "]".repeat(n)),
        |n| format!("{}a", "!".repeat(n)),
        |n| format!("a{}", "[*]".repeat(n)),
        |n| format!("a{}", "[]".repeat(n)),
        |n| format!("{}a", "*.".repeat(n)),
        |n| format!("a{}", ".a".repeat(n)),
        |n| format!("a{}", " || a".repeat(n)),
        |n| format!("a{}", "[0]".repeat(n)),
    ];
    let claims = ClaimSet::parse(br#"{"a":{"a":[[{"a":1}]]}}"#).unwrap();
    for (form, nest) in nested.iter().enumerate() {
        for depth in [200, 800, 20_000] {
            let text = nest(depth);
            let bad = refused(&text);
            assert!(
                matches!(bad, BadClaimPath::TooDeep | BadClaimPath::TooLong),
                "form {form}, {depth}: {bad:?}"
            );
        }
        let deepest = (1..200).rev().find_map(|depth| ClaimPath::parse(&nest(depth)).ok()).unwrap();
        // A thread of half the usual stack: the other half is for who calls.
        let claims = claims.clone();
        let small = std::thread::Builder::new().stack_size(1024 * 1024);
        small.spawn(move || drop(deepest.find(&claims))).unwrap().join().unwrap();
    }
    assert!(matches!(refused(&"a".repeat(4097)), BadClaimPath::TooLong));
    assert!(ClaimPath::parse(&"a".repeat(4096)).is_ok());
}

#[test]
fn what_stands_in_quotes_opens_nothing() {
    let many = "(".repeat(3000);
    for text in [format!("'{many}'"), format!("\"{many}\""), format!("`\"{many}\"`")] {
        assert!(ClaimPath::parse(&text).is_ok());
        assert_eq!(refused(&format!("{text}{}", "(".repeat(101))), BadClaimPath::TooDeep);
    }
    let escaped = refused(&format!("'\\'{many}"));
    assert!(
        matches!(escaped, BadClaimPath::Syntax { .. }),
        "a quote that is escaped ends nothing: {escaped:?}"
    );
}

/// O32: what grows from step to step is refused when it is read.
#[test]
fn expressions_that_could_grow_beyond_bounds_are_refused() {
    let doubled = |n: usize| vec!["[@,@][]"; n].join(" | ");
    for text in [
        doubled(9),
        doubled(25),
        ["[@,@]"; 9].join(" | "),
        ["to_string([@])"; 9].join(" | "),
        ["{a:@,b:@}.*[]"; 9].join(" | "),
        "join(a, b)".to_owned(),
        ["join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', [@,@])"; 8].join(" | "),
        ["sort_by(@, &@)[].[@,@][]"; 6].join(" | "),
        format!("groups[?contains(`{}`, @)]", serde_json::json!(vec!["0123456789"; 250])),
    ] {
        assert_eq!(refused(&text), BadClaimPath::TooCostly, "{text}");
    }
}

#[test]
fn expressions_that_people_write_are_accepted() {
    let many = |n: usize| {
        let one = |n| format!("contains(groups, 'team-{n}') && 'member'");
        (0..n).map(one).collect::<Vec<_>>().join(" || ") + " || 'viewer'"
    };
    let projected =
        "contains(groups[*], 'admins') && 'admin' || contains(groups[*], 'ops') && 'member' || 'viewer'";
    for text in [
        "groups",
        "realm_access.roles",
        "resource_access.\"my-app\".roles[]",
        "\"https://example.com/claims\".groups",
        "groups[?starts_with(@, 'dw-')]",
        "groups[?starts_with(@, 'dw-')] | [?!ends_with(@, '-old')] | [?@ != 'dw-'] | sort(@) | [:100]",
        "roles[].name",
        "organisations[*].{name: name, teams: teams[*].slug}[].teams[]",
        "map(&join('/', [org, name]), teams)",
        "sort_by(teams, &name)[-1].name",
        "join(',', groups)",
        "not_null(groups, realm_access.roles, `[]`)",
        "[groups, realm_access.roles][]",
        "to_array(role)[0]",
        "values(resource_access)[].roles[]",
        "keys(entitlements)",
        projected,
        &many(40),
    ] {
        assert!(ClaimPath::parse(text).is_ok(), "{text}: {:?}", ClaimPath::parse(text).err());
    }
}

#[test]
fn the_largest_claims_are_evaluated_to_the_end() {
    let groups: Vec<String> = (0..5000).map(|n| format!("group-number-{n:06}")).collect();
    let claims = serde_json::json!({ "groups": groups });
    let claims = ClaimSet::parse(claims.to_string().as_bytes()).unwrap();
    for (text, wanted) in [
        ("groups[?ends_with(@, '999')] | length(@)", serde_json::json!(5)),
        ("sort(groups)[-1]", serde_json::json!("group-number-004999")),
        ("contains(groups, 'group-number-004999')", serde_json::json!(true)),
        ("contains(groups, 'group-number')", serde_json::json!(false)),
    ] {
        assert_eq!(ClaimPath::parse(text).unwrap().find(&claims), Found::Value(wanted), "{text}");
    }
}

#[test]
fn what_does_not_fit_says_why_and_nothing_of_the_claims() {
    let claims = ClaimSet::parse(br#"{"groups":"s3cret","count":1}"#).unwrap();
    for text in ["contains(nothing, 'a')", "sort(groups)", "starts_with(count, 's3')", "sum(groups)"] {
        let Found::Failed(why) = ClaimPath::parse(text).unwrap().find(&claims) else { panic!("{text}") };
        let why = why.to_string();
        assert!(why.contains("character") && !why.contains("s3cret") && !why.contains('\n'), "{text}: {why}");
    }
}
