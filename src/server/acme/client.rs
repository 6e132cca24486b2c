//! The way out ([`egress`]) in the shape that the ACME library wants.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

use crate::egress::tls::TlsError;
use crate::egress::{self, EgressClient, EgressLimits, EgressSettings, NameResolution};

/// Authorities may be slow; directories, orders and chains are some kilobytes.
const LIMITS: EgressLimits = EgressLimits {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(30),
    response_bytes: 256 * 1024,
    concurrent: 1,
};

/// A client for one authority. The configuration names the origin of its directory and no other.
#[derive(Clone)]
pub(super) struct AcmeClient(EgressClient);

impl AcmeClient {
    /// `ca` is a PEM file of authorities to trust instead of the system's.
    pub(super) fn new(directory: &str, ca: Option<&Path>) -> Result<Self, TlsError> {
        let named = egress::origin(directory).into_iter().collect();
        let ca = ca.map(Path::to_owned);
        EgressClient::new(EgressSettings { named, ca, limits: LIMITS, names: NameResolution::System })
            .map(Self)
    }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let answer = client.exchange(Request::from_parts(parts, body.to_bytes().to_vec())).await;
            let answer = answer.map_err(|failure| instant_acme::Error::Other(Box::new(failure)))?;
            Ok(BytesResponse::from(answer.map(|body| Full::new(Bytes::from(body)))))
        })
    }
}

#[cfg(test)]
mod tests {
    use instant_acme::{Account, NewAccount};
    use serde_json::json;

    use super::*;
    use crate::egress::testing::{Behaviour, TestServer};
    use crate::egress::{EgressError, EgressFault, EgressRefusal};

    /// Whether an account can be had of an authority whose directory leads to `nonces` for the first thing it is asked.
    async fn refused(authority: &TestServer, nonces: &str) -> Option<EgressRefusal> {
        let client = AcmeClient::new(&authority.url("/directory"), Some(&authority.ca())).unwrap();
        let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(client));
        let error = builder.create(&new, authority.url("/directory"), None).await.err().unwrap();
        let instant_acme::Error::Other(error) = error else { return None };
        match error.downcast::<EgressError>().unwrap().fault {
            EgressFault::Refused(refusal) => Some(refusal),
            fault => panic!("{nonces}: {fault:?}"),
        }
    }

    #[tokio::test]
    async fn a_directory_leads_to_its_own_origin_and_the_internet_and_nowhere_else() {
        let neighbour = TestServer::plain(Behaviour::json("{}")).await;
        for (nonces, expected) in [
            (neighbour.url("/"), Some(EgressRefusal::Plain)),
            (
                format!("https://{}/", neighbour.address),
                Some(EgressRefusal::Internal(neighbour.address.ip())),
            ),
            (
                "https://169.254.169.254/".to_owned(),
                Some(EgressRefusal::Forbidden([169, 254, 169, 254].into())),
            ),
            ("https://10.0.0.1/".to_owned(), Some(EgressRefusal::Internal([10, 0, 0, 1].into()))),
            // It is asked, and gives no nonce.
            (String::new(), None),
        ] {
            let directory = |own: &str| {
                let nonces = if nonces.is_empty() { own } else { &nonces };
                json!({ "newNonce": nonces, "newAccount": own, "newOrder": own }).to_string()
            };
            let authority =
                TestServer::start_at(|own| Behaviour::json(&directory(&format!("https://{own}/")))).await;
            assert_eq!(refused(&authority, &nonces).await, expected, "{nonces}");
            assert_eq!(authority.requests().len(), if expected.is_some() { 1 } else { 2 }, "{nonces}");
            assert_eq!(neighbour.connections(), 0);
        }
    }
}
