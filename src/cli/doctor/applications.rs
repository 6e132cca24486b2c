//! `doorward doctor applications`: tries the settings of applications that routes rely on (`relies_on`), by questions that
//! change nothing: one that an application answers admins alone, and one that it answers everybody.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};
use serde_json::json;

use super::super::failure::Failure;
use super::super::output::Output;
use crate::config::{Config, Reliance, RouteConfig};
use crate::edge::proxy::health;
use crate::edge::proxy::servers::UpstreamParts;
use crate::edge::proxy::tls;
use crate::gate::identity_headers::HeaderPlan;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::role::Role;
use crate::model::user::UserId;

/// Each question must be answered within this.
const ANSWER: Duration = Duration::from_secs(15);

/// What one server answered, or why it did not.
type Answer = Result<StatusCode, String>;

/// What a server of an application answered.
struct Answers {
    viewer_as_admin: Answer,
    admin: Answer,
    viewer: Answer,
}

/// One setting of one server, judged.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    fine: bool,
    saw: String,
}

pub(super) async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let relied =
        config.routes.iter().flat_map(|route| route.reliances.iter().map(move |reliance| (route, reliance)));
    let (mut told, mut lines, mut fine) = (Vec::new(), Vec::new(), true);
    for (route, reliance) in relied {
        for (server, verdict) in try_out(config, route, reliance).await? {
            let mark = if verdict.fine { "ok   " } else { "WRONG" };
            lines.push(format!("{mark}  {}, {} at {server}: {}", route.name, reliance.name, verdict.saw));
            let remedy = (!verdict.fine).then(|| {
                format!("see to it that {}, or take `{}` out of relies_on", reliance.about, reliance.name)
            });
            lines.extend(remedy.iter().map(|remedy| format!("       -> {remedy}")));
            fine &= verdict.fine;
            let finding = json!({ "route": route.name, "setting": reliance.name, "server": server,
                                  "ok": verdict.fine, "saw": verdict.saw, "remedy": remedy });
            told.push(finding);
        }
    }
    if told.is_empty() {
        lines.push("no route relies on a setting of its application (relies_on)".to_owned());
    }
    output.show(&json!({ "ok": fine, "findings": told }), &lines.join("\n"))?;
    if fine {
        Ok(())
    } else {
        Err(Failure::Refused("an application is not set as a route relies on".to_owned()))
    }
}

/// What each server of a route's application makes of a setting, by its address.
async fn try_out(
    config: &Config,
    route: &RouteConfig,
    reliance: &Reliance,
) -> Result<Vec<(String, Verdict)>, Failure> {
    let Some(upstream) = route.upstream.and_then(|index| config.upstreams.get(index)) else {
        let saw = "another proxy has the application behind it, so it cannot be tried from here".to_owned();
        return Ok(vec![("no server".to_owned(), Verdict { fine: false, saw })]);
    };
    let failed = |cause| Failure::Failed(Box::new(cause));
    let connector = tls::connector(upstream).map_err(failed)?;
    let parts = UpstreamParts::new(upstream, connector.as_ref()).map_err(failed)?;
    let issuer = config.public_url.to_string();
    let plan = HeaderPlan::new(upstream.headers, &upstream.identity, &upstream.name, &issuer);
    let ask = async |role: Role, body: &str| {
        let doctor = PrincipalKind::User(UserId("doctor".to_owned()));
        let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
        *request.method_mut() = reliance.method.clone();
        *request.uri_mut() = Uri::from(reliance.target.clone());
        *request.headers_mut() = plan.facts(&Principal::example(doctor, "doctor", role));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        health::ask_each(upstream, &parts, ANSWER, &request).await
    };
    let viewers_as_admins = ask(Role::Viewer, &reliance.for_admins).await;
    let admins = ask(Role::Admin, &reliance.for_admins).await;
    let viewers = ask(Role::Viewer, &reliance.for_all).await;
    let all = viewers_as_admins.into_iter().zip(admins).zip(viewers);
    Ok(all
        .map(|(((server, viewer_as_admin), (_, admin)), (_, viewer))| {
            (server, judge(&Answers { viewer_as_admin, admin, viewer }))
        })
        .collect())
}

/// It is fine only where everything was answered as it should be: what is not proved is not believed.
fn judge(answers: &Answers) -> Verdict {
    let said = |answer: &Answer| match answer {
        Ok(status) => format!("status {}", status.as_u16()),
        Err(cause) => cause.clone(),
    };
    let passes = |answer: &Answer| answer.as_ref().is_ok_and(StatusCode::is_success);
    let (fine, saw) = match answers {
        Answers { viewer_as_admin, .. } if passes(viewer_as_admin) => {
            (false, "it answers a viewer what is for admins alone".to_owned())
        }
        Answers { admin, .. } if !passes(admin) => {
            (false, format!("it refuses an admin too, which proves nothing: {}", said(admin)))
        }
        Answers { viewer, .. } if !passes(viewer) => {
            (false, format!("it refuses a viewer what is for everybody: {}", said(viewer)))
        }
        Answers { viewer_as_admin: Err(cause), .. } => (false, format!("it could not be asked: {cause}")),
        Answers { viewer_as_admin, .. } => {
            (true, format!("it tells a viewer from an admin: {}", said(viewer_as_admin)))
        }
    };
    Verdict { fine, saw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_viewer_alone_is_proof() {
        let answer = |status: u16| StatusCode::from_u16(status).map_err(|_| "refused".to_owned());
        for (viewer_as_admin, admin, viewer, fine) in [
            (500, 200, 200, true),
            (403, 200, 200, true),
            (200, 200, 200, false),
            (500, 500, 200, false),
            (500, 200, 500, false),
            (0, 200, 200, false),
            (0, 0, 0, false),
        ] {
            let answers = Answers {
                viewer_as_admin: answer(viewer_as_admin),
                admin: answer(admin),
                viewer: answer(viewer),
            };
            let verdict = judge(&answers);
            assert_eq!(verdict.fine, fine, "{viewer_as_admin} {admin} {viewer}: {verdict:?}");
        }
    }
}
