//! Forms as browsers send them.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use url::form_urlencoded;

use crate::edge::pages::problem::Problem;
use crate::model::secret::Secret;

/// What a form says when it comes back: what is wrong, and with which field.
#[derive(Debug)]
pub struct Alert {
    /// The field's name; empty if it is none of them.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
}

/// The values of exactly these fields, in this order.
///
/// Only `application/x-www-form-urlencoded` is read: what a page of another site can send unasked in other
/// types is not even looked at. Every field is there exactly once, and is text; other fields are ignored.
pub fn fields<const N: usize>(
    headers: &HeaderMap,
    body: &[u8],
    names: [&'static str; N],
) -> Result<[Secret; N], Problem> {
    // Nothing is decompressed here, so a compressed body is refused.
    if !is_form(headers) || headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::unsupported_media_type());
    }
    let mut found = [const { None }; N];
    for (name, value) in form_urlencoded::parse(body) {
        let Some((slot, _)) = found.iter_mut().zip(names).find(|(_, wanted)| *wanted == name) else {
            continue;
        };
        // What is not UTF-8 was read as U+FFFD; two passwords must not become one.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Problem::bad_request("A field of the form is not text in UTF-8."));
        }
        if slot.replace(Secret::new(value)).is_some() {
            return Err(Problem::bad_request("A field of the form is there more than once."));
        }
    }
    let mut values = Vec::with_capacity(N);
    for value in found {
        values.push(value.ok_or_else(|| Problem::bad_request("A field of the form is missing."))?);
    }
    <[Secret; N]>::try_from(values).map_err(|_| Problem::bad_request("A field of the form is missing."))
}

/// The value of a field that need not be there, but never twice.
pub fn field_if_there(body: &[u8], name: &str) -> Result<Option<String>, Problem> {
    let mut values = form_urlencoded::parse(body).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Problem::bad_request("A field of the form is there more than once.")),
        (first, None) => Ok(first.map(|(_, value)| value.into_owned())),
    }
}

/// The value of a query parameter, if it is there exactly once.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(query?.as_bytes()).filter(|(key, _)| key == name);
    let first = values.next()?.1.into_owned();
    values.next().is_none().then_some(first)
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let media_type = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(content_type: &'static str, body: &str) -> Result<[String; 2], u16> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        fields(&headers, body.as_bytes(), ["a", "b"])
            .map(|values| values.map(|value| value.expose().to_owned()))
            .map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn every_field_is_there_exactly_once() {
        const FORM: &str = "application/x-www-form-urlencoded";
        assert_eq!(read(FORM, "b=2&a=1+%2B%C3%A9&c=3"), Ok(["1 +é".to_owned(), "2".to_owned()]));
        assert_eq!(read("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=&b=").unwrap(), ["", ""]);
        for body in ["", "a=1", "b=1", "a=1&b=2&a=1", "a=1&b=%ff", "a=1&&"] {
            assert_eq!(read(FORM, body), Err(400), "{body}");
        }
    }

    #[test]
    fn only_the_media_type_of_forms_is_read() {
        for other in ["", "text/plain", "application/json", "multipart/form-data; boundary=x"] {
            assert_eq!(read(other, "a=1&b=2"), Err(415), "{other}");
        }
    }

    #[test]
    fn a_parameter_that_comes_twice_is_none() {
        assert_eq!(parameter(Some("x=1&rd=%2Fa"), "rd").as_deref(), Some("/a"));
        assert_eq!(parameter(Some("rd=1&rd=2"), "rd"), None);
        assert_eq!(parameter(None, "rd"), None);
    }
}
