//! Where to go after signing in: a place on our own origin, or home.

use url::{Position, Url};

use crate::config::PublicUrl;
use crate::edge::page::RESERVED;

const LONGEST: usize = 4096;

/// A path and query on our own origin, safe to put into `Location`: begins with exactly one `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTarget(String);

impl ReturnTarget {
    /// The place that `text` names, or the gateway's home where it is not one of ours.
    ///
    /// Browsers read addresses generously (backslashes are slashes, tabs are nothing), so everything but
    /// plain ASCII paths is refused first; then what the URL standard makes of the rest must stay here.
    pub fn parse(text: &str, public_url: &PublicUrl) -> Self {
        if stays(text, public_url) { Self(text.to_owned()) } else { Self::home(public_url) }
    }

    /// Where someone goes who wants nothing in particular.
    pub fn home(public_url: &PublicUrl) -> Self {
        Self(format!("{}/", public_url.base_path()))
    }

    /// The text for `Location` and for hidden fields.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn stays(text: &str, public_url: &PublicUrl) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let Some(rest) = text.strip_prefix('/').filter(|_| plain && text.len() <= LONGEST) else {
        return false;
    };
    if rest.starts_with('/') || hides_slash(rest) {
        return false;
    }
    let Ok(origin) = Url::parse(&public_url.origin()) else {
        return false;
    };
    let Ok(url) = origin.join(text) else {
        return false;
    };
    let path = &url[Position::BeforePath..Position::AfterPath];
    // `/.//evil` keeps its origin, but whoever resolves it once more might not.
    url.origin() == origin.origin() && !path.starts_with("//") && !leads_in_circles(path, public_url)
}

/// An encoded slash or backslash right at the start, however often it is encoded.
fn hides_slash(rest: &str) -> bool {
    let Some(mut code) = rest.strip_prefix('%') else {
        return false;
    };
    while let Some(inner) = code.strip_prefix("25") {
        code = inner;
    }
    code.get(..2).is_some_and(|code| code.eq_ignore_ascii_case("2f") || code.eq_ignore_ascii_case("5c"))
}

/// Pages of ours from which nobody wants to start.
fn leads_in_circles(path: &str, public_url: &PublicUrl) -> bool {
    let own = path.strip_prefix(public_url.base_path()).and_then(|path| path.strip_prefix(RESERVED));
    own.and_then(|page| page.strip_prefix('/'))
        .is_some_and(|page| ["login", "logout", "setup"].iter().any(|name| page.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> String {
        ReturnTarget::parse(text, &PublicUrl::parse("https://gate.example/base").unwrap()).0
    }

    #[test]
    fn places_of_ours_are_kept_byte_for_byte() {
        for text in [
            "/",
            "/grafana/d/abc?orgId=1&from=now-6h",
            "/a%20b/%2Fc",
            "/q?next=https://evil.example",
            "/a:b@c",
            "/base/_doorward/password?rd=/x",
            "/base/_doorward/",
            "/a#part",
        ] {
            assert_eq!(parse(text), text);
        }
    }

    #[test]
    fn everything_else_leads_home() {
        let long = format!("/{}", "a".repeat(10 * 1024));
        for text in [
            "",
            "x",
            "?x",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\n/evil.example",
            "/%0a/evil.example\r\n",
            "/\t/evil.example",
            "///evil.example",
            "https://evil.example",
            "https:/evil.example",
            "https:evil.example",
            "https://gate.example@evil.example",
            "https://gate.example.evil.example",
            "https://gate.example/",
            "https://evil.example#gate.example",
            "https://gate.example:80@evil.example:443",
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "%2f%2fevil.example",
            "/%2fevil.example",
            "/%5Cevil.example",
            "/%252fevil.example",
            "/%25255cevil.example",
            "/x\r\nSet-Cookie: a=b",
            " /x",
            "\u{1}/x",
            "/x\u{0}",
            "/\u{e9}",
            "/.//evil.example",
            "/a/..//evil.example",
            "/%2e//evil.example",
            "/base/_doorward/login?rd=/",
            "/base/_doorward/logout",
            "/base/x/../_doorward/logout",
            &long,
        ] {
            assert_eq!(parse(text), "/base/", "{text:?}");
        }
    }

    /// Pieces of which attacks are made.
    const PIECES: [&str; 40] = [
        "/",
        "//",
        "\\",
        ".",
        "..",
        "%2f",
        "%5c",
        "%2e",
        "%25",
        "%00",
        "%0a",
        "%09",
        "\t",
        "\n",
        "\r",
        " ",
        "@",
        ":",
        "?",
        "#",
        ";",
        "http:",
        "https:",
        "javascript:",
        "data:",
        "evil.example",
        "gate.example",
        "[::1]",
        "a",
        "~",
        "\u{ff0f}",
        "\u{2215}",
        "\u{e9}",
        "\u{0}",
        "|",
        "&",
        "=",
        "\"",
        "<",
        "_doorward",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_leads_to_another_origin(
            start in prop::sample::select(vec!["", "/", "/", "/"]),
            pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..7),
        ) {
            let text = format!("{start}{}", pieces.concat());
            let public_url = PublicUrl::parse("https://gate.example").unwrap();
            let target = ReturnTarget::parse(&text, &public_url);
            let page = Url::parse("https://gate.example/_doorward/login?rd=x").unwrap();
            let reached = page.join(target.as_str()).unwrap();
            prop_assert_eq!(reached.origin(), page.origin());
            // What a careless second reader would make of it.
            let careless = target.as_str().replace(['\t', '\n', '\r'], "").replace('\\', "/");
            prop_assert!(careless.starts_with('/') && !careless.starts_with("//"));
            prop_assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(!reached.path().starts_with("//"));
        }
    }
}
