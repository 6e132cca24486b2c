//! The way out ([`egress`]) in the shape that the ACME library wants.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

use crate::config::AcmeConfig;
use crate::egress::tls::TlsError;
use crate::egress::{EgressClient, EgressLimits, EgressSettings, NameResolution};

/// Authorities may be slow; directories, orders and chains are some kilobytes.
const LIMITS: EgressLimits = EgressLimits {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(30),
    response_bytes: 256 * 1024,
    concurrent: 1,
};

/// A client for one authority.
#[derive(Clone)]
pub(super) struct AcmeClient(EgressClient);

impl AcmeClient {
    pub(super) fn new(config: &AcmeConfig) -> Result<Self, TlsError> {
        EgressClient::new(EgressSettings {
            named: config.named.clone(),
            named_hosts: Vec::new(),
            ca: config.ca.clone(),
            limits: LIMITS,
            names: NameResolution::System,
        })
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
    use crate::config::AcmeChallenge;
    use crate::egress::testing::{Behaviour, TestServer};
    use crate::egress::{self, EgressError, EgressFault, EgressRefusal};

    /// Why no account can be had of an authority: `None` where that was not forbidden, but failed.
    async fn refused(authority: &TestServer, origins: &[&str]) -> Option<EgressRefusal> {
        let directory = authority.url("/directory");
        let named = [&*directory].iter().chain(origins).map(|url| egress::origin(url).unwrap()).collect();
        let config = AcmeConfig {
            directory,
            contact: Vec::new(),
            domains: Vec::new(),
            ca: Some(authority.ca()),
            named,
            cache: "/nonexistent".into(),
            challenge: AcmeChallenge::TlsAlpn01,
            http_listen: None,
        };
        let client = AcmeClient::new(&config).unwrap();
        let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(Box::new(client));
        let error = builder.create(&new, config.directory, None).await.err().unwrap();
        let instant_acme::Error::Other(error) = error else { return None };
        match error.downcast::<EgressError>().unwrap().fault {
            EgressFault::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// An authority whose directory leads to `nonces` for the first thing that is asked, by default to itself.
    async fn authority(nonces: Option<&str>) -> TestServer {
        TestServer::start_at(|own| {
            let own = format!("https://{own}/");
            let nonces = nonces.unwrap_or(&own);
            Behaviour::json(&json!({ "newNonce": nonces, "newAccount": own, "newOrder": own }).to_string())
        })
        .await
    }

    #[tokio::test]
    async fn a_directory_leads_to_its_own_origin_and_those_that_are_configured_and_to_nothing_else_inside() {
        let neighbour = TestServer::start(Behaviour::json("{}")).await;
        let address = neighbour.address;
        for (nonces, refusal) in [
            (format!("http://{address}/"), EgressRefusal::Plain),
            (format!("https://{address}/"), EgressRefusal::Internal(address.ip())),
            ("https://10.0.0.1/".to_owned(), EgressRefusal::Internal([10, 0, 0, 1].into())),
            ("https://169.254.169.254/".to_owned(), EgressRefusal::Forbidden([169, 254, 169, 254].into())),
        ] {
            let authority = authority(Some(&nonces)).await;
            assert_eq!(refused(&authority, &["https://127.0.0.1:1"]).await, Some(refusal), "{nonces}");
            assert_eq!((authority.requests().len(), neighbour.connections()), (1, 0), "{nonces}");
        }
        let own = authority(None).await;
        assert_eq!(refused(&own, &[]).await, None);
        assert_eq!(own.requests().len(), 2, "directory and nonce");
        let other = authority(Some(&neighbour.url("/"))).await;
        assert_eq!(refused(&other, &[&neighbour.url("")]).await, None);
        assert_eq!(neighbour.connections(), 1);
    }
}
