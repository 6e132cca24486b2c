//! From a known caller to leave to administer, the only way there by a request.

use super::refusal::Refusal;
use super::{Gate, GateRequest};
use crate::model::audit::Actor;
use crate::service::admin::AdminProof;

impl Gate {
    /// Leave to administer, for whoever sends a request.
    ///
    /// # Errors
    ///
    /// [`Refusal::Challenge`] for nobody, [`Refusal::Forbidden`] for anybody but an admin, and whatever is wrong with the
    /// credential.
    pub async fn admin(&self, request: &GateRequest<'_>) -> Result<AdminProof, Refusal> {
        let caller = self.caller(request).await?.ok_or(Refusal::Challenge)?;
        let actor = Actor::stranger(request.client.address.nearest(), request.request_id);
        AdminProof::of_caller(&caller.principal, actor).ok_or(Refusal::Forbidden)
    }
}
