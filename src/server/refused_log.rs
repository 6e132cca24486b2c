//! Counts what one thread let through although it would have been refused, and hands it over on each tick.

use std::cell::RefCell;

use http::{HeaderValue, Method};

use crate::gate::DecisionTrace;
use crate::gate::credential::CredentialNames;
use crate::gate::refusal::{Misused, Refusal};
use crate::model::principal::ClientAddress;
use crate::model::refused::{
    AS_PASSWORD, BESIDE_FOREIGN, BESIDE_SESSION, MANGLED, RESEMBLES_GRAPHQL, RefusedBy, Tallies, Tally,
};
use crate::model::time::Timestamp;
use crate::service::refused::{ROOM, Refusals};

/// Bytes of a client's name for itself; a longer one is dropped.
const LONGEST_AGENT: usize = 64;
/// Bytes of a name with digits in it: tokens of 256 bits are longer.
const LONGEST_NAME: usize = 40;
/// Stands for what a client calls itself and is not written down.
const NOT_SHOWN: &str = "not shown";
/// Bytes of an example.
const LONGEST_PATH: usize = 256;

/// The log of one thread.
pub struct RefusedLog {
    tallies: RefCell<Tallies>,
    refusals: Refusals,
}

impl RefusedLog {
    /// A log that hands over to `refusals`.
    pub fn new(refusals: Refusals) -> Self {
        Self { tallies: RefCell::new(Tallies::new(ROOM)), refusals }
    }

    /// Counts a request, if it would have been refused, or is of a kind of which the rules know nothing.
    pub fn record(&self, trail: &DecisionTrace, request: &RequestDetails<'_>, names: &CredentialNames) {
        if let Some(refusal) = &trail.shadowed {
            self.count(trail, request, refusal.code().as_str(), names);
        }
        if trail.resembles_graphql {
            self.count(trail, request, RESEMBLES_GRAPHQL, names);
        }
    }

    fn count(
        &self,
        trail: &DecisionTrace,
        request: &RequestDetails<'_>,
        code: &str,
        names: &CredentialNames,
    ) {
        let by = RefusedBy {
            route: trail.route.as_ref().map(|route| route.name.clone()).unwrap_or_default(),
            rule: trail.rule().unwrap_or_default().to_owned(),
            code: code.to_owned(),
            credential: credential(trail),
            client: request.client.to_string(),
            agent: request.agent.map(|agent| program(agent, names)).unwrap_or_default(),
            method: method(request.method).to_owned(),
        };
        let example: String = request.path.chars().take(LONGEST_PATH).collect();
        self.tallies.borrow_mut().add(by, Tally::once(request.at, example));
    }

    /// Hands over what was counted.
    pub fn flush(&self) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.is_empty() {
            return;
        }
        if let Err(batch) = self.refusals.hand_over(tallies.drain()) {
            tallies.add_all(batch);
        }
    }
}

/// What is told of a request beside its trail.
#[derive(Debug)]
pub struct RequestDetails<'a> {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub client: ClientAddress,
    /// What the client calls itself.
    pub agent: Option<&'a HeaderValue>,
    /// Method.
    pub method: &'a Method,
    /// Path without query.
    pub path: &'a str,
}

/// The first word of `User-Agent`, so that one program is one client: a product (RFC 9110, 10.1.5), and nothing that could be
/// a secret which its client puts where everybody writes it down.
fn program(agent: &HeaderValue, names: &CredentialNames) -> String {
    let text = agent.to_str().unwrap_or_default();
    let word = text.split_whitespace().next().unwrap_or_default();
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_product = word.split('/').count() <= 2 && word.split('/').all(|part| part.bytes().all(is_sign));
    let is_random = |part: &str| part.len() > LONGEST_NAME && part.bytes().any(|byte| byte.is_ascii_digit());
    let shown = word.len() <= LONGEST_AGENT
        && is_product
        && !word.split(['/', '.', '+']).any(is_random)
        && !names.are_in(agent);
    if shown { word.to_owned() } else { NOT_SHOWN.to_owned() }
}

fn credential(trail: &DecisionTrace) -> String {
    let Some(identity) = &trail.identity else {
        let by_credential = matches!(trail.shadowed, Some(Refusal::BadCredential(_)));
        let word = match trail.misused.filter(|_| by_credential) {
            Some(Misused::AsPassword) => AS_PASSWORD,
            Some(Misused::Mangled) => MANGLED,
            Some(Misused::BesideForeign) => BESIDE_FOREIGN,
            None if trail.foreign_refused(None).is_some_and(|foreign| foreign.beside_session) => {
                BESIDE_SESSION
            }
            None => "nobody",
        };
        return word.to_owned();
    };
    identity.principal.reported()
}

/// The method, where it is one of those that are as few as this.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ConfigSource, Flags};
    use crate::model::token::{KeyKind, KeyText, random_text};

    #[test]
    fn a_program_is_written_down_by_its_name_and_a_secret_in_its_place_is_not() {
        let settings = "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n[[routes]]\nupstream = \"app\"\n\
                        [[break_glass]]\nname = \"a\"\ntoken = \"q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc7\"\n\
                        [[keys.imported]]\nname = \"b\"\nrole = \"agent\"\nring = '[{ \"name\": \"c\", \"key\": \"Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd\" }]'\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), settings).unwrap();
        let source = ConfigSource { file: Some(file.path().to_owned()), environment: Vec::new() };
        let names = CredentialNames::new(&config::load(&source, &Flags::default()).unwrap());
        let told = |agent: &str| program(&HeaderValue::from_str(agent).unwrap(), &names);
        for (agent, word) in [
            ("", ""),
            ("curl/8.5.0", "curl/8.5.0"),
            ("OTel-OTLP-Exporter-Python/1.30 (x)", "OTel-OTLP-Exporter-Python/1.30"),
            ("a-program-whose-name-has-many-words-in-it/2", "a-program-whose-name-has-many-words-in-it/2"),
            ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0"),
        ] {
            assert_eq!(told(agent), word);
        }
        let (key, secret) = (KeyText::draw(KeyKind::System), random_text());
        let (key, secret) = (key.text.expose(), secret.expose());
        for agent in [
            key.to_owned(),
            format!("curl/{key}"),
            format!("curl/8 {key}"),
            key[..30].to_owned(),
            format!("{}={secret}.x", names.cookie),
            format!("{}/1", names.cookie.to_uppercase()),
            format!("x{secret}1.abcdefghijklmnopqrstu0"),
            "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc7".into(),
            "curl/8 Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd".into(),
            "curl/8/9".into(),
            "a=b".into(),
        ] {
            assert_eq!(told(&agent), NOT_SHOWN, "{agent}");
        }
    }
}
