//! `doorward doctor applications`: whether applications are set as their presets take them to be, and as routes rely on
//! (`relies_on`), by questions that change nothing: one that an application answers where it is so, or one that it answers
//! admins alone and one that it answers everybody.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use serde_json::json;

use super::super::failure::Failure;
use super::super::output::Output;
use crate::config::{Assumption, Config, Reliance, RouteConfig, UpstreamConfig, UpstreamProtocol};
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
type ProbeResult = Result<StatusCode, String>;

/// What a server of an application answered.
struct ProbeResults {
    viewer_as_admin: ProbeResult,
    admin: ProbeResult,
    viewer: ProbeResult,
}

/// The result of checking one setting of one server.
#[derive(Debug, PartialEq, Eq)]
struct CheckResult {
    fine: bool,
    saw: String,
}

/// A check result, and the remedy where it failed.
struct ApplicationFinding<'a> {
    route: &'a str,
    setting: &'a str,
    server: String,
    verdict: CheckResult,
    remedy: String,
}

pub(super) async fn run(config: &Config, output: Output) -> Result<(), Failure> {
    let mut findings = Vec::new();
    for route in &config.routes {
        let of_route = |setting, (server, verdict), remedy| ApplicationFinding {
            route: &route.name,
            setting,
            server,
            verdict,
            remedy,
        };
        for assumption in &route.assumptions {
            let verdicts = assumed(config, route, assumption).await?.into_iter();
            let remedy = format!("see to it that {}", assumption.about);
            findings
                .extend(verdicts.map(|verdict| of_route(assumption.about.as_str(), verdict, remedy.clone())));
        }
        for reliance in &route.reliances {
            let verdicts = relied_on(config, route, reliance).await?.into_iter();
            let remedy =
                format!("see to it that {}, or take `{}` out of relies_on", reliance.about, reliance.name);
            findings
                .extend(verdicts.map(|verdict| of_route(reliance.name.as_str(), verdict, remedy.clone())));
        }
    }
    show(&findings, output)
}

fn show(findings: &[ApplicationFinding<'_>], output: Output) -> Result<(), Failure> {
    let (mut told, mut lines) = (Vec::new(), Vec::new());
    for ApplicationFinding { route, setting, server, verdict: CheckResult { fine, saw }, remedy } in findings
    {
        let mark = if *fine { "ok   " } else { "WRONG" };
        lines.push(format!("{mark}  {route}, {setting} at {server}: {saw}"));
        let remedy = (!fine).then_some(remedy);
        lines.extend(remedy.map(|remedy| format!("       -> {remedy}")));
        told.push(json!({ "route": route, "setting": setting, "server": server, "ok": fine, "saw": saw,
                          "remedy": remedy }));
    }
    if told.is_empty() {
        lines.push("no preset says how its application tells that it is set as it should be, and no route relies on a \
                    setting (relies_on)".to_owned());
    }
    let fine = findings.iter().all(|finding| finding.verdict.fine);
    output.show(&json!({ "ok": fine, "findings": told }), &lines.join("\n"))?;
    if fine {
        Ok(())
    } else {
        Err(Failure::Refused("an application is not set as its route takes it to be".to_owned()))
    }
}

/// Probes the servers of a route's application.
struct ApplicationProbe<'a> {
    upstream: &'a UpstreamConfig,
    parts: UpstreamParts,
    plan: HeaderPlan,
    host: Option<HeaderValue>,
}

impl<'a> ApplicationProbe<'a> {
    /// `None` where another proxy has the application behind it.
    fn new(config: &'a Config, route: &RouteConfig) -> Result<Option<Self>, Failure> {
        let Some(upstream) = route.upstream.and_then(|index| config.upstreams.get(index)) else {
            return Ok(None);
        };
        let failed = |cause| Failure::Failed(Box::new(cause));
        let connector = tls::connector(upstream).map_err(failed)?;
        let parts = UpstreamParts::new(upstream, connector.as_ref()).map_err(failed)?;
        let issuer = config.public_url.to_string();
        let plan = HeaderPlan::new(upstream.headers, &upstream.identity, &upstream.name, &issuer);
        let public = route.hosts.first().cloned().unwrap_or_else(|| config.public_url.authority());
        let host = upstream.preserve_host.then(|| HeaderValue::try_from(public).ok()).flatten();
        Ok(Some(Self { upstream, parts, plan, host }))
    }

    /// What each server answers somebody of a role.
    async fn ask(
        &self,
        role: Role,
        method: &Method,
        target: &PathAndQuery,
        body: &str,
    ) -> Vec<(String, ProbeResult)> {
        let doctor = PrincipalKind::User(UserId("doctor".to_owned()));
        let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::from(target.clone());
        *request.headers_mut() = self.plan.facts(&Principal::example(doctor, "doctor", role));
        if !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request.headers_mut().extend(self.host.iter().map(|host| (HOST, host.clone())));
        health::ask_each(self.upstream, &self.parts, ANSWER, &request).await
    }
}

/// Whether each server of a route's application is set as its preset takes it to be, by its address. Where another proxy
/// has it behind it, nothing is asked.
async fn assumed(
    config: &Config,
    route: &RouteConfig,
    assumption: &Assumption,
) -> Result<Vec<(String, CheckResult)>, Failure> {
    let Some(asking) = ApplicationProbe::new(config, route)? else { return Ok(Vec::new()) };
    // A part of an application that speaks gRPC, such as what takes traces.
    if matches!(asking.upstream.protocol, UpstreamProtocol::Http2) {
        return Ok(Vec::new());
    }
    let answers = asking.ask(Role::Admin, &assumption.method, &assumption.target, "").await;
    let judged = |answer: ProbeResult| {
        let saw = format!("{} {}: {}", assumption.method, assumption.target, said(&answer));
        CheckResult { fine: passes(&answer), saw }
    };
    Ok(answers.into_iter().map(|(server, answer)| (server, judged(answer))).collect())
}

/// What each server of a route's application makes of a setting, by its address.
async fn relied_on(
    config: &Config,
    route: &RouteConfig,
    reliance: &Reliance,
) -> Result<Vec<(String, CheckResult)>, Failure> {
    let Some(asking) = ApplicationProbe::new(config, route)? else {
        let saw = "another proxy has the application behind it, so it cannot be tried from here".to_owned();
        return Ok(vec![("no server".to_owned(), CheckResult { fine: false, saw })]);
    };
    let ask = async |role: Role, body: &str| asking.ask(role, &reliance.method, &reliance.target, body).await;
    let viewers_as_admins = ask(Role::Viewer, &reliance.for_admins).await;
    let admins = ask(Role::Admin, &reliance.for_admins).await;
    let viewers = ask(Role::Viewer, &reliance.for_all).await;
    let all = viewers_as_admins.into_iter().zip(admins).zip(viewers);
    Ok(all
        .map(|(((server, viewer_as_admin), (_, admin)), (_, viewer))| {
            (server, judge(&ProbeResults { viewer_as_admin, admin, viewer }))
        })
        .collect())
}

fn said(answer: &ProbeResult) -> String {
    match answer {
        Ok(status) => format!("status {}", status.as_u16()),
        Err(cause) => cause.clone(),
    }
}

fn passes(answer: &ProbeResult) -> bool {
    answer.as_ref().is_ok_and(StatusCode::is_success)
}

/// It is fine only where everything was answered as it should be: what is not proved is not believed.
fn judge(answers: &ProbeResults) -> CheckResult {
    let (fine, saw) = match answers {
        ProbeResults { viewer_as_admin, .. } if passes(viewer_as_admin) => {
            (false, "it answers a viewer what is for admins alone".to_owned())
        }
        ProbeResults { admin, .. } if !passes(admin) => {
            (false, format!("it refuses an admin too, which proves nothing: {}", said(admin)))
        }
        ProbeResults { viewer, .. } if !passes(viewer) => {
            (false, format!("it refuses a viewer what is for everybody: {}", said(viewer)))
        }
        ProbeResults { viewer_as_admin: Err(cause), .. } => {
            (false, format!("it could not be asked: {cause}"))
        }
        ProbeResults { viewer_as_admin, .. } => {
            (true, format!("it tells a viewer from an admin: {}", said(viewer_as_admin)))
        }
    };
    CheckResult { fine, saw }
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
            let answers = ProbeResults {
                viewer_as_admin: answer(viewer_as_admin),
                admin: answer(admin),
                viewer: answer(viewer),
            };
            let verdict = judge(&answers);
            assert_eq!(verdict.fine, fine, "{viewer_as_admin} {admin} {viewer}: {verdict:?}");
        }
    }
}
