//! Conditions in the address of a subrequest: a smaller set of people, another sign-in address.

use http::Method;
use url::{Position, Url, form_urlencoded};

use crate::config::Compat as Product;
use crate::gate::authenticator::Identity;
use crate::gate::refusal::Refusal;
use crate::model::target::UNSAID;

/// What a product's question says beside the original request.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Whose question it is; `None`: one of our own.
    pub product: Option<Product>,
    /// Who may pass at most. Each list that is there must name the person.
    circle: [Option<Vec<String>>; 3],
    /// Scheme and authority of the sign-in page, where it is not the public URL's.
    pub portal: Option<String>,
}

/// The parameters, in the order of [`Terms::circle`].
const CIRCLE: [&str; 3] = ["allowed_groups", "allowed_emails", "allowed_email_domains"];

impl Terms {
    pub(super) fn of(product: Product, query: Option<&str>) -> Self {
        let circle = match product {
            Product::Oauth2Proxy => CIRCLE.map(|name| list(query.unwrap_or_default(), name)),
            _ => [None, None, None],
        };
        Self { product: Some(product), circle, portal: None }
    }

    /// Lets a person through whom every list names; an anonymous caller is on no list.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a list does not name the caller.
    pub fn admit(&self, identity: Option<&Identity>) -> Result<(), Refusal> {
        for (index, list) in self.circle.iter().enumerate() {
            let Some(list) = list else { continue };
            let Some(identity) = identity else { return Err(Refusal::Challenge) };
            let principal = &identity.principal;
            let email = principal.email.as_deref();
            let named = match index {
                0 => principal.groups.iter().any(|group| list.contains(group)),
                1 => email.is_some_and(|email| list.iter().any(|entry| entry == email)),
                _ => email
                    .and_then(domain)
                    .is_some_and(|domain| list.iter().any(|entry| entry.eq_ignore_ascii_case(domain))),
            };
            if !named {
                return Err(Refusal::Forbidden);
            }
        }
        Ok(())
    }
}

impl Terms {
    /// Whether a refusal names the sign-in page to programs too: nginx as configured for Authelia redirects on
    /// every 401, to whatever `Location` says.
    pub fn always_names_sign_in(&self) -> bool {
        self.product == Some(Product::Authelia)
    }

    /// The sign-in address as the product would have it: on the portal that the proxy names, and for Authelia
    /// with the method in `rm`.
    pub fn at_portal(&self, address: String, method: &Method) -> String {
        let mut address = match (&self.portal, Url::parse(&address)) {
            (Some(portal), Ok(url)) => format!("{portal}{}", &url[Position::BeforePath..]),
            _ => address,
        };
        if self.product == Some(Product::Authelia) && method.as_str() != UNSAID {
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str("rm=");
            address.push_str(method.as_str());
        }
        address
    }
}

/// What follows the last `@`, where something stands on both sides.
fn domain(email: &str) -> Option<&str> {
    email.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty()).map(|(_, d)| d)
}

/// The entries of a comma list, however often it stands; an empty list names no one.
fn list(query: &str, name: &str) -> Option<Vec<String>> {
    let values: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .collect();
    (!values.is_empty()).then(|| {
        let entries = values.iter().flat_map(|value| value.split(','));
        entries.map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    })
}

/// The value of a parameter that names a page, as proxies write it.
///
/// Some put the address there as it is (`rd=$scheme://$host$request_uri`): then it goes on to the end of the
/// query, `&` included, up to what vouch's configurations add behind it.
pub(super) fn page_named(query: &str, name: &str) -> Option<String> {
    let start = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    if !start.contains("://") {
        return form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, v)| v.into_owned());
    }
    let at = query.find(&format!("{name}={start}"))?;
    let plain = query.get(at + name.len() + 1..)?;
    Some(plain.split("&vouch-failcount=").next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_and_an_empty_one_names_nobody() {
        let list = |query| list(query, "allowed_groups");
        assert_eq!(list("x=1"), None);
        assert_eq!(
            list("allowed_groups=a,b%2Cc&allowed_groups=d"),
            Some(vec!["a", "b", "c", "d"].into_iter().map(str::to_owned).collect())
        );
        assert_eq!(list("allowed_groups="), Some(Vec::new()));
        assert_eq!(list("allowed_groups=,%20,"), Some(Vec::new()));
        assert!(Terms::of(Product::Oauth2Proxy, Some("allowed_groups=")).admit(None).is_err());
        assert!(Terms::of(Product::Authelia, Some("allowed_groups=")).admit(None).is_ok());
        assert!(Terms::of(Product::Oauth2Proxy, Some("rd=x")).admit(None).is_ok());
    }

    #[test]
    fn a_domain_follows_the_last_at_of_an_address() {
        assert_eq!(domain("a@b@example.org"), Some("example.org"));
        for none in ["", "example.org", "@example.org", "a@"] {
            assert_eq!(domain(none), None, "{none}");
        }
    }

    #[test]
    fn the_way_back_is_read_escaped_and_plain() {
        for (query, expected) in [
            ("rd=https%3A%2F%2Fa%2Fb%3Fc%3D1%26d&x=2", Some("https://a/b?c=1&d")),
            ("rd=https://a/b?c=1&d=%20", Some("https://a/b?c=1&d=%20")),
            ("x=1&rd=/b", Some("/b")),
            ("url=x", None),
            ("xrd=1", None),
            ("rd=", Some("")),
        ] {
            assert_eq!(page_named(query, "rd").as_deref(), expected, "{query}");
        }
        let vouch = "url=https://a/b?c=1&d=2&vouch-failcount=&X-Vouch-Token=&error=";
        assert_eq!(page_named(vouch, "url").as_deref(), Some("https://a/b?c=1&d=2"));
    }
}
