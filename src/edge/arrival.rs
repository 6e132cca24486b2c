//! A request whose head is parsed, on its way to what answers it.

use std::rc::Rc;

use http::{HeaderValue, Request};

use super::client_body::ClientBody;
use super::forwarded::Peer;
use crate::model::target::RequestTarget;

/// A request whose head is understood.
#[derive(Debug)]
pub struct Arrival {
    /// The request; by HTTP/2 with `Host` filled in from the authority.
    pub request: Request<ClientBody>,
    /// What it asks for.
    pub target: Rc<RequestTarget>,
    /// Host and perhaps port, as the client wrote them.
    pub authority: HeaderValue,
    /// The other end of the connection.
    pub peer: Peer,
}

impl Arrival {
    /// Host and perhaps port, as the client wrote them.
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }
}
