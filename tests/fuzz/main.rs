//! The checks that fuzzing runs, run over the seeds and over every input that once broke one.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod checks;
mod cost;

use std::path::Path;

/// A seed whose name begins so is an input that a check once failed on.
const FOUND: &str = "found-";

fn replay(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{} holds too few seeds", folder.display());
    for seed in seeds {
        let data = std::fs::read(&seed).unwrap();
        let shown = seed.file_name().unwrap().to_string_lossy().into_owned();
        // Seeds also begin the fuzzer's corpus: large ones would slow it down for good.
        assert!(data.len() <= 4096, "{shown} is too large for a seed");
        if std::panic::catch_unwind(|| check(&data)).is_err() {
            let kind = if shown.starts_with(FOUND) { "breaks it again" } else { "breaks it" };
            panic!("{name}: the seed {shown} {kind}");
        }
        // What begins like a seed is cut off everywhere in the line of a network.
        for end in 0..data.len() {
            check(&data[..end]);
        }
    }
}

macro_rules! replayed {
    ($($name:ident),+) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), checks::$name::check);
            }
        )+

        #[test]
        fn every_check_is_replayed_and_fuzzed() {
            let replayed = [$(stringify!($name)),+];
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut targets: Vec<String> = std::fs::read_dir(root.join("fuzz/targets"))
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            targets.sort();
            assert_eq!(targets, replayed);
            for name in replayed {
                assert!(root.join("fuzz/dictionaries").join(format!("{name}.dict")).is_file(), "{name}");
            }
        }
    };
}

replayed!(
    authorization_response,
    claims,
    configuration,
    credentials,
    forwarded,
    graphql,
    headers,
    mcp,
    proxy_protocol,
    query,
    return_target,
    target,
    wire
);
