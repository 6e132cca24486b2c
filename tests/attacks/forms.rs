//! Forms of our pages, as a browser or anybody else sends them.

use crate::support::{Answer, Gateway, exchange};

pub fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub fn login_form(name: &str, password: &str, rd: &str) -> String {
    form(&[("username", name), ("password", password), ("rd", rd)])
}

pub async fn post(gateway: &Gateway, path: &str, headers: &str, body: &str) -> Answer {
    exchange(
        gateway.address,
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            gateway.address,
            body.len()
        ),
    )
    .await
}

pub const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
