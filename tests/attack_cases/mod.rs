//! The attacks that are tried, and those that are not with the reason.

use std::fs;

use crate::{assert_none, files_below, root};

/// The attacks that are tested, by class. A test names those it tries in lines of its documentation, `/// F07: ...`,
/// mostly in `tests/attacks`, and beside the code where it takes a look inside.
#[rustfmt::skip]
const CASES: &[(&str, &[u8])] = &[
    // cookies and sessions
    ("C", &[1, 2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15, 19, 20, 22, 23, 24, 26, 27, 28, 29, 30]),
    // resources
    ("D", &[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 19, 20, 21, 22, 23, 24, 25]),
    // logs and what else is told
    ("E", &[1, 3, 4, 5, 6, 7, 8]),
    // framing
    ("F", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 30, 31, 33,
        34, 35, 36, 37, 38, 39, 40, 42, 43]),
    // forward-auth
    ("FA", &[1, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]),
    // configuration
    ("G", &[1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 14, 15, 16]),
    // handshakes and streams
    ("H", &[1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
    // identity headers
    ("I", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25]),
    // API keys
    ("K", &[1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15]),
    // sign-in and its throttle
    ("L", &[1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24]),
    // providers
    ("O", &[1, 2, 3, 5, 7, 8, 9, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 24, 25, 27, 29, 31, 32, 33, 34, 35, 36, 37, 38, 39]),
    // paths
    ("P", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 22, 23, 24, 25, 26, 27, 28, 30, 31, 32, 33, 34, 35,
        36, 37, 38, 39, 40, 41, 42]),
    // redirects
    ("R", &[1, 2, 3, 5, 6, 8, 9, 11, 12, 13, 14, 17, 18, 20, 21, 22, 23, 24]),
    // other sites
    ("S", &[1, 2, 4, 5, 7, 8, 9, 10, 12, 13]),
    // storage
    ("T", &[1, 2, 3, 5, 6, 7, 9, 10]),
    // forwarded headers
    ("X", &[1, 2, 3, 6, 7, 8, 9, 11, 12, 14, 15, 16]),
];

/// What is not tried, and why. Every case is here or among [`CASES`].
#[rustfmt::skip]
const NOT_TRIED: &[(&str, &[u8], &str)] = &[
    ("C", &[16, 17, 18], "browsers get no refresh tokens: a session is a row, and its cookie is its only token"),
    ("D", &[18], "JSON is read of GraphQL envelopes alone, whose size and depth are bounded and fuzzed"),
    ("D", &[26], "a day of load is for a machine of its own, not for a suite"),
    ("G", &[12], "certificates of upstreams are always verified; no setting says otherwise"),
    ("I", &[12], "which header a handshake may name is tried in H09, for all of them"),
    ("I", &[26], "there is no service for error pages that could be told anything"),
    ("O", &[40], "the conformance suite is a service on the internet"),
];

/// How many cases each class has.
#[rustfmt::skip]
const HOW_MANY: &[(&str, usize)] = &[
    ("C", 25), ("D", 23), ("E", 7), ("F", 38), ("FA", 26), ("G", 14), ("H", 14), ("I", 24), ("K", 13), ("L", 20), ("O", 32), ("P", 38), ("R", 18), ("S", 10), ("T", 8), ("X", 12),
];

#[test]
fn every_attack_is_tested_once() {
    let mut found: Vec<String> = Vec::new();
    for path in ["tests", "src"].iter().flat_map(|folder| files_below(&root().join(folder))) {
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(
                fs::read_to_string(&path).unwrap().lines().filter_map(case_named_by).map(str::to_owned),
            );
        }
    }
    let mut expected: Vec<String> = CASES
        .iter()
        .flat_map(|(class, numbers)| numbers.iter().map(move |number| format!("{class}{number:02}")))
        .collect();
    found.sort();
    expected.sort();
    let missing =
        expected.iter().filter(|case| !found.contains(case)).map(|case| format!("{case} is not tested"));
    let surplus =
        found.iter().filter(|case| !expected.contains(case)).map(|case| format!("{case} is not listed"));
    let doubled =
        found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("{} stands twice", pair[0]));
    assert_none(missing.chain(surplus).chain(doubled));
}

#[test]
fn every_attack_there_is_is_tried_or_has_a_reason_not_to_be() {
    let violations = HOW_MANY.iter().filter_map(|(class, total)| {
        let tried = CASES.iter().filter(|(of, _)| of == class).flat_map(|(_, cases)| *cases);
        let explained = NOT_TRIED.iter().filter(|(of, _, why)| of == class && why.len() > 20);
        let mut cases: Vec<_> = tried.chain(explained.flat_map(|(_, cases, _)| *cases)).collect();
        let listed = cases.len();
        cases.sort();
        cases.dedup();
        let (found, twice) = (cases.len(), listed - cases.len());
        (found != *total || twice > 0)
            .then(|| format!("{class}: {found} of {total} cases, {twice} of them twice"))
    });
    assert_none(violations);
    let classes = |name: &str| HOW_MANY.iter().any(|(class, _)| *class == name);
    assert!(
        CASES.iter().all(|(class, _)| classes(class)) && NOT_TRIED.iter().all(|(class, _, _)| classes(class))
    );
}

/// `F07` of a line that begins with `/// F07: `.
fn case_named_by(line: &str) -> Option<&str> {
    let (case, _) = line.trim_start().strip_prefix("/// ")?.split_once(": ")?;
    let letters = case.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = matches!(letters.len(), 1 | 2) && letters.bytes().all(|byte| byte.is_ascii_uppercase());
    (named && case.len() == letters.len() + 2).then_some(case)
}
