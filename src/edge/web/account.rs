//! Who one is here.

use askama::Template;
use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Visitor, Web, WebRequest};
use crate::edge::page::Site;
use crate::edge::problem::Problem;
use crate::model::principal::Principal;
use crate::model::principal::Proof;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    site: &'a Site,
    who: &'a Principal,
    /// When the session ends, for programs and for people.
    ends: Option<(String, String)>,
}

pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let visitor = web.visitor(request).await?;
    let Visitor::Known(who) = &visitor else {
        return Ok(web.sign_in_first(request, &visitor));
    };
    if who.must_change_password {
        return Ok(web.go(&web.site.link_back("/password", &web.site.link("/"))));
    }
    let ends = match &who.proof {
        Proof::Session { expires_at, .. } => {
            let exact = expires_at.rfc3339();
            let minute = exact.get(..16).unwrap_or(&exact).replace('T', " ");
            Some((exact, format!("{minute} UTC")))
        }
        Proof::Key { .. } => None,
    };
    Ok(web.site.page(StatusCode::OK, &AccountPage { site: &web.site, who, ends }))
}
