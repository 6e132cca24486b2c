//! Which client certificates identify a caller.

use super::*;

/// A trusted proxy, and certificates in a header.
fn certificates(header: &str, known: &str) -> String {
    format!(
        "[server]\ntrusted_proxies = [\"10.0.0.1\"]\n[client_certificates]\nheader = \"{header}\"\n{known}"
    )
}

fn known(name: &str, by: &str) -> String {
    format!("[[client_certificates.known]]\nname = \"{name}\"\n{by}\nrole = \"viewer\"\n")
}

#[test]
fn certificates_are_named_by_fingerprint_or_subject() {
    let digits = "AB".repeat(20);
    let both = [
        known("a", &format!("fingerprint = \"{digits}\"\ngroups = [\"z\", \"b\", \"z\"]")),
        known("b", "subject = \"CN=b\""),
    ];
    let config = good(&certificates("X-SSL-Client", &both.concat()));
    let found = config.client_certificates.unwrap();
    assert_eq!(found.header, "x-ssl-client");
    assert_eq!(found.known[0].named, digits.to_lowercase());
    assert_eq!(found.known[0].groups, ["b", "z"]);
    assert_eq!((found.known[1].named.as_str(), found.known[1].role), ("CN=b", Role::Viewer));
    assert_eq!(found.named(&digits).as_deref(), Some(digits.to_lowercase().as_str()));
    assert_eq!(found.named("CN=b").as_deref(), Some("CN=b"));
    assert!(good("").client_certificates.is_none(), "off unless a header is named");
}

#[test]
fn certificates_that_could_stand_for_anybody_are_refused() {
    let at = |setting: &str| format!("client_certificates.known[0].{setting}");
    let one = known("a", "subject = \"CN=a\"");
    let digits = "ab".repeat(20);
    let nobody =
        certificates("X-SSL-Client", &one).replace("[server]\ntrusted_proxies = [\"10.0.0.1\"]\n", "");
    assert_refused(&nobody, "client_certificates.header", "no trusted proxy");
    assert_refused(&certificates("X-Api-Key", &one), "client_certificates.header", "carries keys");
    assert_refused(&certificates("Cookie", &one), "client_certificates.header", "means something else");
    assert_refused(
        &certificates("X-Forwarded-For", &one),
        "client_certificates.header",
        "means something else",
    );
    assert_refused(&certificates("X-SSL-Client", &known("a", "")), &at("fingerprint"), "is missing");
    let both = known("a", &format!("subject = \"CN=a\"\nfingerprint = \"{digits}\""));
    assert_refused(&certificates("X-SSL-Client", &both), &at("subject"), "beside a fingerprint");
    assert_refused(
        &certificates("X-SSL-Client", &known("a", "fingerprint = \"ab\"")),
        &at("fingerprint"),
        "not a fingerprint",
    );
    assert_refused(
        &certificates("X-SSL-Client", &known("a", "subject = \"a\"")),
        &at("subject"),
        "not a subject",
    );
    assert_refused(&certificates("Client-Cert", &one), &at("subject"), "Client-Cert holds");
    let short = known("a", &format!("fingerprint = \"{digits}\""));
    assert_refused(&certificates("Client-Cert", &short), &at("fingerprint"), "Client-Cert holds");
    let again = |name: &str| format!("{one}{}", known(name, "subject = \"CN=a\""));
    assert_refused(
        &certificates("X-SSL-Client", &again("b")),
        "client_certificates.known[1].subject",
        "earlier one",
    );
    let same_name = format!("{one}{}", known("a", "subject = \"CN=b\""));
    assert_refused(
        &certificates("X-SSL-Client", &same_name),
        "client_certificates.known[1].name",
        "earlier one",
    );
}
