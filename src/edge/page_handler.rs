//! Serves our own pages: reads their forms, admits them through the limiter, and runs them on the control plane.

use std::sync::Arc;

use http::Response;
use http::request::Parts;
use tokio::runtime::Handle;

use super::answer::Denied;
use super::arrival::Arrival;
use super::body::ResponseBody;
use super::methods::Methods;
use super::on_control::on_control;
use super::page_limiter::PageLimiter;
use super::pages::problem::Problem;
use super::read_ahead;
use super::request_context::RequestContext;
use super::web::{Page, Web, WebRequest};
use crate::config::BodyPace;
use crate::gate::refusal::Refusal;
use crate::model::verdict::Verdict;

/// Our own forms are far smaller.
const FORMS: read_ahead::BufferLimits =
    read_ahead::BufferLimits { body: 8 << 10, client: 1 << 20, total: 16 << 20 };

/// Our pages, and what it takes to visit them.
#[derive(Clone, Debug)]
pub struct PageHandler {
    /// The pages.
    pub web: Arc<Web>,
    /// Where they run: they ask the store and hash passwords.
    pub control: Handle,
    /// How slowly their forms may come.
    pub pace: BodyPace,
    /// Who may be served now.
    pub limiter: PageLimiter,
}

impl PageHandler {
    /// Answers with a page, or that there is no such page.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the form cannot be read, the limiter is full, or the page failed.
    pub async fn answer(
        &self,
        arrival: Arrival,
        path: String,
        page: Option<(Page, Methods)>,
        seen: &RequestContext,
    ) -> Result<Response<ResponseBody>, Denied> {
        let (Parts { method, headers, .. }, incoming) = arrival.request.into_parts();
        let (client, request_id) = (seen.client, seen.request_id);
        let web = Arc::clone(&self.web);
        let recognition = web.recognition(&headers, &self.control).await;
        let asked = page.map(|(page, _)| page);
        let entry = self.limiter.entry(&recognition, client, asked, &method, web.provider_at(asked, &path));
        let (room, share) = entry.forms();
        let read = read_ahead::read(incoming, vec![share], room, FORMS, self.pace).await;
        let body = read.map_err(|unread| match unread.refusal {
            Refusal::TooLarge => Denied::closing(Problem::body_too_large()),
            refusal => Denied::closing(Problem::from(&refusal)),
        })?;
        let turn = entry.turn().await.map_err(|busy| Denied::open(Problem::from(&busy), Verdict::Own))?;
        let (host, query) = (arrival.target.host().to_owned(), arrival.target.query().map(str::to_owned));
        let request = WebRequest { method, host, path, page, query, headers, body, client, request_id };
        let answering = turn.during(async move { web.respond(request).await });
        Ok(on_control(&self.control, "a page", answering).await?.map(ResponseBody::of))
    }
}
