//! Signing out at each server, and what it then tells the gateway.

use std::sync::{Arc, Mutex};

use doorward::model::secret::Secret;
use doorward::oidc::{EndSessionRequest, OidcError, RelyingParty, TokenRefusal};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::SECRET;
use super::glewlwyd::Glewlwyd;
use super::hydra::Hydra;
use super::keycloak::{self, Realm};
use super::protocol::{REDIRECT, SIGNED_OUT, begin, claim, complete, party, refresh};
use super::visitor::Visitor;
use crate::support::{PATIENCE, free_port, wait_for};

/// A server that keeps every logout token it gets.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/logout", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let body = receive(stream).await.unwrap_or_default();
                let fields = url::form_urlencoded::parse(&body);
                let tokens = fields.filter(|(name, _)| name == "logout_token");
                list.lock().unwrap().extend(tokens.map(|(_, token)| token.into_owned()));
            }
        });
        Self { url, got }
    }

    /// The next one.
    async fn token(&self) -> String {
        wait_for("logout token", PATIENCE, async || self.got.lock().unwrap().pop()).await
    }
}

async fn receive(stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    Ok(body)
}

/// Signs a browser out, and comes to the address that was asked for.
async fn sign_out(party: &RelyingParty, visitor: &mut Visitor, id_token: &Secret) {
    let request = EndSessionRequest {
        id_token: Some(id_token),
        return_to: SIGNED_OUT,
        state: "a-state-of-some-length",
    };
    let end = party.end_session(request).await.unwrap().unwrap();
    let page = visitor.open(end.location().unwrap().expose()).await;
    assert_eq!(page.url.as_str(), format!("{SIGNED_OUT}?state=a-state-of-some-length"), "{page:?}");
}

#[tokio::test]
async fn keycloak_tells_of_a_session_that_ends_by_a_key_that_it_publishes() {
    let Some(realm) = Realm::start("logout").await else { return };
    let receiver = Receiver::start().await;
    realm.tell_of_logouts(&receiver.url).await;
    let settings = "type = \"keycloak\"";
    let party = party(&realm.issuer, SECRET, settings);
    let leave = async |person: &str| {
        let mut visitor = Visitor::up_to("https://gateway.example/");
        let page = begin(&party, &mut visitor, person).await;
        let page = keycloak::sign_in(&mut visitor, &page, person).await;
        let begun = complete(&party, &page).await.unwrap();
        sign_out(&party, &mut visitor, begun.id_token.as_ref().unwrap()).await;
        (begun, receiver.token().await)
    };
    let (begun, token) = leave("ann").await;
    let told = party.logout_token(&token).await.unwrap();
    assert_eq!(told.issuer, realm.issuer);
    assert_eq!(told.names.subject.as_deref(), Some(begun.subject.as_str()));
    assert_eq!(told.names.session, Some(claim(begun.id_token.as_ref().unwrap(), "sid")));
    let over =
        refresh(&party, &begun.refresh_token.unwrap(), begun.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(over.is_over(), "{over}");
    // Neither is one the other.
    party.logout_token(begun.id_token.as_ref().unwrap().expose()).await.unwrap_err();

    realm.add_key().await;
    let (_, newer) = leave("bob").await;
    for token in [&token, &newer] {
        party.logout_token(token).await.unwrap();
    }
    realm.remove_first_key().await;
    let fresh = super::protocol::party(&realm.issuer, SECRET, settings);
    fresh.logout_token(&newer).await.unwrap();
    let refused = fresh.logout_token(&token).await.unwrap_err();
    assert!(matches!(refused, OidcError::IdToken(TokenRefusal::UnknownKey)), "{refused}");
}

#[tokio::test]
async fn hydra_tells_which_session_ends_but_not_whose() {
    let (port, receiver) = (free_port(), Receiver::start().await);
    let Some(hydra) = Hydra::start(port, &[REDIRECT]).await else { return };
    hydra.tell_of_logouts(&receiver.url, SIGNED_OUT).await;
    let party = party(&Hydra::issuer(port), SECRET, "scopes = [\"groups\", \"offline_access\"]");
    let mut visitor = Visitor::up_to("https://gateway.example/");
    let begun = complete(&party, &begin(&party, &mut visitor, "ann").await).await.unwrap();
    sign_out(&party, &mut visitor, begun.id_token.as_ref().unwrap()).await;
    let told = party.logout_token(&receiver.token().await).await.unwrap();
    assert_eq!(
        (told.names.subject, told.names.session),
        (None, Some(claim(begun.id_token.as_ref().unwrap(), "sid")))
    );
    // Its tokens go on, unless they are given back.
    let first = begun.refresh_token.unwrap();
    let second = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap();
    party.revoke(&second.refresh_token).await.unwrap();
    let over = refresh(&party, &second.refresh_token, second.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(over.is_over(), "{over}");
    party.logout_token(begun.id_token.as_ref().unwrap().expose()).await.unwrap_err();
}

#[tokio::test]
async fn glewlwyd_tells_whose_session_ends_but_not_which() {
    let (port, receiver) = (free_port(), Receiver::start().await);
    let server = Glewlwyd::start(port, &[REDIRECT]).await;
    server.tell_of_logouts(&receiver.url, SIGNED_OUT).await;
    let party = party(&Glewlwyd::issuer(port), SECRET, "algorithms = [\"ES256\"]");
    let mut visitor = Visitor::up_to("https://gateway.example/");
    let page = begin(&party, &mut visitor, "ann").await;
    let page = server.sign_in(&mut visitor, &page, "ann").await;
    let begun = complete(&party, &page).await.unwrap();
    let session = claim(begun.id_token.as_ref().unwrap(), "sid");
    server.end_session(&visitor, &session).await;
    let told = party.logout_token(&receiver.token().await).await.unwrap();
    assert_eq!((told.names.subject, told.names.session), (Some(begun.subject), None));
    party.logout_token(begun.id_token.as_ref().unwrap().expose()).await.unwrap_err();
}
