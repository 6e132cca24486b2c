//! Makes an [`AdminProof`] from a request: the only way for a request to get one.

use super::refusal::Refusal;
use super::{Gate, GateRequest};
use crate::model::audit::Actor;
use crate::service::admin::AdminProof;

impl Gate {
    /// The admin proof of the sender of a request.
    ///
    /// # Errors
    ///
    /// [`Refusal::Challenge`] for an anonymous caller, [`Refusal::Forbidden`] for one who is not an admin, and whatever is wrong with the
    /// credential.
    pub async fn admin(&self, request: &GateRequest<'_>) -> Result<AdminProof, Refusal> {
        let caller = self.caller(request).await?.ok_or(Refusal::Challenge)?;
        let actor = Actor::stranger(request.client.address.nearest(), request.request_id);
        AdminProof::of_caller(&caller.principal, actor).ok_or(Refusal::Forbidden)
    }
}
