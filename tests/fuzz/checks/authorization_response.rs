//! Authorization responses of providers: no bytes break anything, each parameter is there once, and no code is shown.

use doorward::oidc::{AuthorizationResponse, ResponseRefusal};
use url::form_urlencoded;

/// Those that mean something.
const KNOWN: [&str; 5] = ["code", "state", "iss", "error", "error_description"];

pub fn check(data: &[u8]) {
    let Ok(form) = std::str::from_utf8(data) else { return };
    let values = |name: &str| -> Vec<String> {
        let all = form_urlencoded::parse(form.as_bytes());
        all.filter(|(other, _)| other == name).map(|(_, value)| value.into_owned()).collect()
    };
    let is_doubled = KNOWN.iter().any(|name| values(name).len() > 1);
    match AuthorizationResponse::parse(form) {
        Ok(response) => {
            assert!(!is_doubled && form.len() <= 16 * 1024, "{form}");
            assert_eq!(response.state(), values("state").pop().unwrap_or_default());
            let shown = format!("{response:?}");
            assert!(values("code").iter().all(|code| code.len() < 8 || !shown.contains(code)), "{shown}");
            for name in KNOWN {
                let again = AuthorizationResponse::parse(&format!("{form}&{name}=x"));
                let fits = form.len() + name.len() + 3 <= 16 * 1024;
                assert_eq!(again.is_ok(), values(name).is_empty() && fits, "{form} {name}");
            }
        }
        Err(ResponseRefusal::TooLong) => assert!(form.len() > 16 * 1024),
        Err(refusal) => assert!(is_doubled && refusal == ResponseRefusal::Doubled, "{form}: {refusal}"),
    }
}
