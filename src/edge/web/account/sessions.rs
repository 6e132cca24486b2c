//! Where one is signed in, and signing out there.

use bytes::Bytes;
use http::Response;

use super::{Admitted, DisplayTime, Done, Person, Purpose, admit, done};
use crate::edge::pages::problem::Problem;
use crate::edge::web::{Web, WebRequest, failed, form};
use crate::model::session::Session;

/// Characters shown of a browser that we do not know.
const LONGEST_BROWSER: usize = 40;

/// One browser in the list.
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) browser: String,
    pub(super) address: String,
    /// Further hosts that the browser took its sign-in to; empty if there are none.
    pub(super) hosts: String,
    pub(super) started: DisplayTime,
    pub(super) seen: DisplayTime,
    pub(super) current: bool,
}

/// The person's browsers, this one first. What a browser has at other hosts counts as one with it.
pub(super) async fn rows(web: &Web, person: &Person) -> Result<Vec<SessionRow>, Problem> {
    let found = web.services.sessions.own(&person.user.id).await.map_err(|error| failed(&error))?;
    let sessions: Vec<Session> = found.into_iter().map(|(session, _)| session).collect();
    let mut rows: Vec<SessionRow> = sessions
        .iter()
        .filter(|session| session.parent_id.is_none())
        .map(|session| {
            let mut hosts: Vec<&str> = sessions
                .iter()
                .filter(|child| child.parent_id.as_ref() == Some(&session.id))
                .filter_map(|child| child.host.as_deref())
                .collect();
            hosts.sort_unstable();
            hosts.dedup();
            SessionRow {
                browser: browser(&session.user_agent),
                address: session.client.clone(),
                hosts: hosts.join(", "),
                started: DisplayTime::of(session.created_at),
                seen: DisplayTime::of(session.last_seen_at),
                current: session.id == person.session,
                id: session.id.clone(),
            }
        })
        .collect();
    rows.sort_by_key(|row| !row.current);
    Ok(rows)
}

/// Signs one of the person's browsers out. Another's session is as little there as one that never was.
pub(in crate::edge::web) async fn end(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [id] = form::fields(&request.headers, &request.body, ["id"])?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let ended = web.services.sessions.end_own(&web.actor, &person.user.id, id.expose()).await;
    if !ended.map_err(|error| failed(&error))? {
        return Err(Problem::not_found());
    }
    let mut response = done(web, Done::Session);
    if id.expose() == person.session {
        web.end_app_sessions(request, &mut response);
    }
    Ok(response)
}

/// Signs the person out everywhere but here.
pub(in crate::edge::web) async fn end_others(
    web: &Web,
    request: &WebRequest,
) -> Result<Response<Bytes>, Problem> {
    let [] = form::fields(&request.headers, &request.body, [])?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let ended = web.services.sessions.end_others(&web.actor, &person.user.id, &person.session).await;
    ended.map_err(|error| failed(&error))?;
    Ok(done(web, Done::OtherSessions))
}

/// A browser in a few words, from what it calls itself.
fn browser(agent: &str) -> String {
    // In this order: most call themselves by the names of those they descend from as well.
    const BROWSERS: [(&str, &str); 7] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("HeadlessChrome/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if agent.is_empty() => "Unknown browser".to_owned(),
        _ => agent.chars().take(LONGEST_BROWSER).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_call_them() {
        for (agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl/8.5.0"),
            ("Firefox/1", "Firefox"),
            ("", "Unknown browser"),
            (&"x".repeat(200), &"x".repeat(40)),
        ] {
            assert_eq!(browser(agent), name);
        }
    }
}
