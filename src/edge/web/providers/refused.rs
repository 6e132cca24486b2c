//! The page that says why nobody was signed in, and what to do. It leads nowhere by itself.

use askama::Template;
use bytes::Bytes;
use http::Response;
use http::header::SET_COOKIE;

use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::edge::web::sign_in_words::problem_of;
use crate::edge::web::{ReturnTarget, Visitor, Web, WebRequest, account};
use crate::federation::{Button, SignInRefusal};

/// A sign-in that was refused.
pub(super) struct Attempt<'a> {
    pub(super) provider: Button<'a>,
    pub(super) target: &'a ReturnTarget,
    /// Whether an identity was to be linked.
    pub(super) links: bool,
    pub(super) visitor: &'a Visitor,
}

#[derive(Template)]
#[template(path = "sign_in_refused.html")]
struct RefusedPage<'a> {
    site: &'a Site,
    problem: &'a Problem,
    advice: String,
    /// Who is signed in all the same.
    account: Option<&'a str>,
    provider: &'a str,
    /// Where to try again.
    again: String,
    /// Where the other ways to sign in are, if there are some.
    others: Option<String>,
    links: bool,
    request_id: &'a str,
}

pub(super) fn refused(
    web: &Web,
    request: &WebRequest,
    attempt: &Attempt<'_>,
    why: &SignInRefusal,
) -> Response<Bytes> {
    let Attempt { provider, target, links, visitor } = attempt;
    let problem = problem_of(why, provider.display_name, &web.site);
    let has_others = web.password_login || web.federation.buttons().count() > 1;
    let others = format!("{}&password", web.site.link_back("/login", target.as_str()));
    let page = RefusedPage {
        site: &web.site,
        problem: &problem,
        advice: problem.advice(),
        account: visitor.caller().map(|principal| principal.name.as_str()),
        provider: provider.display_name,
        again: if *links {
            web.site.link(account::PAGE)
        } else {
            web.begin_link(provider.name, request, target)
        },
        others: (has_others && !links).then_some(others),
        links: *links,
        request_id: request.request_id.as_str(),
    };
    let mut response = web.site.page(problem.status, &page);
    problem.add_fields(&mut response);
    response.headers_mut().append(SET_COOKIE, web.site.cookies().set_choice());
    response
}
