//! Addresses of ours in a request's headers, renamed to what the upstream calls them: `Destination` and the
//! resources of `If` (RFC 4918, 10.3 and 10.4). The counterpart of `response_rewriter`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::response_rewriter::ResponseRewriter;
use crate::config::Addresses;
use crate::gate::effects::{DESTINATION, RequestBase};
use crate::gate::refusal::Refusal;
use crate::gate::route::Route;
use crate::model::target::RequestTarget;

const IF: HeaderName = HeaderName::from_static("if");

/// The addresses of one request as its upstream is to read them.
#[derive(Debug)]
pub(super) struct RequestRewriter {
    destination: Option<String>,
    conditions: Vec<IfPart>,
    /// The origin that they are at, where it is not the server's own.
    origin: Option<String>,
}

/// A part of `If`.
#[derive(Debug, PartialEq, Eq)]
enum IfPart {
    /// As it came.
    Text(String),
    /// An absolute URI, of which this is the path.
    Path(String),
}

impl RequestRewriter {
    /// What there is to rename in `headers`; `None` is nothing, as nearly always. `destination` is what was
    /// decided of it, with its route.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoRoute`] if the destination does not lie where its route leads.
    pub(super) fn of(
        way: &ResponseRewriter<'_>,
        destination: Option<(&RequestTarget, &Route)>,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Refusal> {
        let by_client = way.upstream.addresses == Addresses::Client;
        let sent = |target: &RequestTarget, route: &Route| match &route.prefixes {
            Some(prefixes) if !by_client => prefixes.sent(target).map(|sent| sent.path().to_owned()),
            _ => Some(target.path().to_owned()),
        };
        let path = match destination {
            Some((target, route)) => Some(sent(target, route).ok_or(Refusal::NoRoute)?),
            None => None,
        };
        let conditions = match single(headers) {
            Some(text) if !by_client => {
                let target = way.ongoing.target();
                let (authority, public_origin) = (way.authority, way.public_origin);
                let here =
                    RequestBase { target, authority, secure: way.ongoing.client().secure, public_origin };
                let routes = [Some(way.route), destination.map(|(_, route)| route)];
                conditions(text, |address| {
                    let named = here.read(address).ok()?;
                    routes.into_iter().flatten().find_map(|route| sent(&named, route))
                })
            }
            _ => Vec::new(),
        };
        let origin = by_client.then(|| way.client_origin().into_owned());
        let any = path.is_some() || !conditions.is_empty();
        Ok(any.then_some(Self { destination: path, conditions, origin }))
    }

    /// Writes them for a server, which is at `origin`.
    pub(super) fn write(&self, headers: &mut HeaderMap, origin: &str) {
        let origin = self.origin.as_deref().unwrap_or(origin);
        if let Some(path) = &self.destination {
            set(headers, DESTINATION, [origin, path].concat());
        }
        if !self.conditions.is_empty() {
            let part = |part: &IfPart| match part {
                IfPart::Text(text) => text.clone(),
                IfPart::Path(path) => [origin, path].concat(),
            };
            set(headers, IF, self.conditions.iter().map(part).collect());
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Made of what a header held, or of a canonical path.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

fn single(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(IF).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// `If` in parts (RFC 4918, 10.4.2), with the resources for which `renamed` knows a path as the upstream calls
/// it; none if there is nothing to rename, or it cannot be read.
fn conditions(text: &str, renamed: impl Fn(&str) -> Option<String>) -> Vec<IfPart> {
    let mut parts = Vec::new();
    let mut any = false;
    let mut rest = text;
    while let Some(at) = rest.find(['<', '(']) {
        let Some((before, from)) = rest.split_at_checked(at) else { return Vec::new() };
        let end = if from.starts_with('(') { list_length(from) } else { from.find('>') };
        let Some((inner, after)) = end.and_then(|end| from.split_at_checked(end + 1)) else {
            return Vec::new();
        };
        let address = inner.strip_prefix('<').and_then(|inner| inner.strip_suffix('>'));
        match address.and_then(&renamed) {
            Some(path) => {
                any = true;
                parts.push(IfPart::Text([before, "<"].concat()));
                parts.push(IfPart::Path(path));
                parts.push(IfPart::Text(String::from(">")));
            }
            None => parts.push(IfPart::Text([before, inner].concat())),
        }
        rest = after;
    }
    parts.push(IfPart::Text(rest.to_owned()));
    if any { parts } else { Vec::new() }
}

/// Where a list of conditions ends: at its bracket, which may also stand in the quotes of an entity tag or in a
/// state token.
fn list_length(text: &str) -> Option<usize> {
    let (mut quoted, mut token) = (false, false);
    text.bytes().position(|byte| {
        match byte {
            b'"' if !token => quoted = !quoted,
            b'<' if !quoted => token = true,
            b'>' if !quoted => token = false,
            _ => {}
        }
        byte == b')' && !quoted && !token
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let parts = conditions(text, |address| address.strip_prefix("http://app/dav").map(str::to_owned));
        let way = RequestRewriter { destination: None, conditions: parts, origin: None };
        let mut headers = HeaderMap::new();
        way.write(&mut headers, "http://up:1");
        headers.get(IF).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_resources_of_if_are_renamed_and_nothing_else() {
        for (text, renamed) in [
            ("<http://app/dav/a> (<urn:x>)", Some("<http://up:1/a> (<urn:x>)")),
            (
                "<http://app/dav/a>(<urn:x>)<http://app/dav/b>([\"e\"])",
                Some("<http://up:1/a>(<urn:x>)<http://up:1/b>([\"e\"])"),
            ),
            (
                "<http://app/dav/a> (Not <http://app/dav/b> [\"<http://app/dav/c>)(\"])",
                Some("<http://up:1/a> (Not <http://app/dav/b> [\"<http://app/dav/c>)(\"])"),
            ),
            (
                "<http://else/a> (<urn:x>)<http://app/dav/b> ([W/\"e\"])",
                Some("<http://else/a> (<urn:x>)<http://up:1/b> ([W/\"e\"])"),
            ),
            ("(<urn:x>) (Not <DAV:no-lock>)", None),
            ("(<http://app/dav/a>)", None),
            ("<http://app/dav/a", None),
            ("<http://app/dav/a> (<urn:x>", None),
            ("", None),
        ] {
            assert_eq!(written(text).as_deref(), renamed, "{text}");
        }
    }
}
