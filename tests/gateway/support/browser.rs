//! A browser as far as cookies and redirects go.

use std::collections::BTreeMap;

use serde_json::Value;

use super::provider::Provider;
use super::{Answer, Gateway, exchange};

/// One profile: its tabs share the cookies.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
    /// Its secrets are not looked for in all that is told afterwards, which takes long where they are thousands.
    unnoted: bool,
}

impl Browser {
    /// One of a crowd.
    pub fn of_a_crowd() -> Self {
        Self { unnoted: true, ..Self::default() }
    }

    /// The `Cookie` header, as a whole line.
    pub fn cookies(&self) -> String {
        if self.cookies.is_empty() {
            return String::new();
        }
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("cookie: {}\r\n", pairs.join("; "))
    }

    /// Whether it holds a cookie whose name begins so.
    pub fn holds(&self, prefix: &str) -> bool {
        self.cookies.keys().any(|name| name.starts_with(prefix))
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub fn forget(&mut self, prefix: &str) {
        self.cookies.retain(|name, _| !name.starts_with(prefix));
    }

    pub fn put(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Opens a page.
    pub async fn get(&mut self, gateway: &Gateway, path: &str) -> Answer {
        let answer = gateway.get(path, &self.cookies()).await;
        self.keep(gateway, &answer);
        answer
    }

    /// Opens a page by a link, of which the browser says where it stood (`Sec-Fetch-Site`).
    pub async fn follow(&mut self, gateway: &Gateway, path: &str, site: &str) -> Answer {
        let headers = format!("{}sec-fetch-site: {site}\r\n", self.cookies());
        let answer = gateway.get(path, &headers).await;
        self.keep(gateway, &answer);
        answer
    }

    /// Opens a page at another host than the gateway's address.
    pub async fn get_at(&mut self, gateway: &Gateway, host: &str, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{}\r\n", self.cookies());
        let answer = exchange(gateway.address, request).await;
        self.keep(gateway, &answer);
        answer
    }

    /// Sends a form of ours.
    pub async fn post(&mut self, gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = gateway.post_form(path, &form, &self.cookies()).await;
        self.keep(gateway, &answer);
        answer
    }

    /// Goes to a provider from the sign-in page's button; where it is sent.
    pub async fn begin(&mut self, gateway: &Gateway, name: &str, rd: &str) -> String {
        let rd: String = url::form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        let answer = self.follow(gateway, &format!("/_doorward/sign-in/{name}?rd={rd}"), "same-origin").await;
        assert_eq!(answer.status, 303, "{}\n{}", answer.head, answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// Signs in at a provider as somebody with these claims; the answer to what is brought back.
    pub async fn sign_in(
        &mut self,
        gateway: &Gateway,
        (provider, name): (&Provider, &str),
        claims: &Value,
        rd: &str,
    ) -> Answer {
        let location = self.begin(gateway, name, rd).await;
        let back = provider.approve(&location, claims);
        let answer = self.get(gateway, &back).await;
        for secret in provider.handed_out() {
            gateway.ledger.handed_out(&secret);
        }
        answer
    }

    fn keep(&mut self, gateway: &Gateway, answer: &Answer) {
        for cookie in answer.headers("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            if attributes.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            if value.len() > 20 && !self.unnoted {
                gateway.ledger.handed_out(value);
            }
        }
    }
}
