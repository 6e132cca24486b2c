//! Streamlit by its preset, and a preset with rules of one's own before it.

use http::Method;

use super::surface::{compared, surface};
use super::walk;
use super::{gateway, is_closed_to_strangers, open_websocket, refused, signed_in};
use crate::streamlit::Streamlit;
use crate::support::gateway::Gateway;
use crate::support::python;

const UPLOAD: &str = "/_stcore/upload_file/none/none";

#[tokio::test]
async fn streamlit_works_for_a_viewer_at_the_root_and_below_a_path() {
    for (base, options, route) in [
        ("", &[][..], ""),
        ("/apps/count", &["--server.baseUrlPath", "apps/count"], "path = \"/apps/count\""),
    ] {
        let app = Streamlit::start_with(options).await;
        let gateway = gateway("streamlit", &app.address, route).await;
        gateway.user("vera", "viewer");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.txt");
        std::fs::write(&file, "words of a viewer").unwrap();

        let browser = signed_in(&gateway, &format!("{base}/"), "vera").await;
        browser.see("Counted 0 times").await;
        browser.find("[data-testid=stButton] button").await.click().await.unwrap();
        browser.see("Counted 1 times").await;
        let chosen = browser.find("[data-testid=stFileUploader] input[type=file]").await;
        chosen.send_keys(&file.display().to_string()).await.unwrap();
        browser.see("Read words of a viewer").await;
        assert_eq!(refused(&browser).await, Vec::<String>::new());
        browser.close().await;

        let agent = gateway.key("agent", "agent", &[]).key;
        let viewer = gateway.key("viewer", "viewer", &[]).key;
        let below = |path: &str| format!("{base}{path}");
        let upload = below(UPLOAD);
        let health = below("/_stcore/health");
        assert_eq!(gateway.send(Method::GET, &health, "").await.body, "ok");
        let asset = below("/static/index.html");
        let closed = [(Method::GET, asset.as_str()), (Method::PUT, &upload), (Method::DELETE, &upload)];
        is_closed_to_strangers(&gateway, &below("/"), &closed).await;
        for (key, status) in [("", Some(401)), (agent.as_str(), Some(403)), (viewer.as_str(), None)] {
            let stream = open_websocket(&gateway, &below("/_stcore/stream"), key).await;
            assert_eq!(stream.refusal(), status, "{stream:?}");
            assert_eq!(stream.status == 101, status.is_none(), "{stream:?}");
            let put = gateway.send(Method::PUT, &upload, key).await;
            assert_eq!(put.refusal(), status, "{put:?}");
            // Who is let through without Streamlit's token is refused by Streamlit.
            assert!(put.status == 401 || put.status == 403, "{put:?}");
            let write = gateway.send(Method::POST, &below("/_stcore/agent/interact"), key).await;
            assert_eq!(write.refusal(), status.or(Some(403)), "{write:?}");
        }
    }
}

/// Who gets which of the application's paths through a gateway, as lines.
async fn rights(gateway: &Gateway) -> Vec<String> {
    let requests = [
        (Method::GET, "/_stcore/health"),
        (Method::GET, "/"),
        (Method::GET, "/media/none"),
        (Method::GET, "/_stcore/stream"),
        (Method::PUT, UPLOAD),
        (Method::DELETE, UPLOAD),
        (Method::POST, "/_stcore/agent/interact"),
    ];
    let mut rights = Vec::new();
    for role in ["anonymous", "agent", "viewer", "member", "admin"] {
        let key = if role == "anonymous" { String::new() } else { gateway.key(role, role, &[]).key };
        for (method, path) in &requests {
            let answer = gateway.send(method.clone(), path, &key).await;
            rights.push(format!("{role} {method} {path}: {:?}", answer.refusal()));
        }
    }
    rights
}

#[tokio::test]
async fn rules_of_ones_own_change_what_they_say_and_nothing_else() {
    let app = Streamlit::start_with(&[]).await;
    let shipped = rights(&gateway("streamlit", &app.address, "").await).await;
    // One that goes before the shipped ones, and one that has the name of a shipped one.
    let own = r#"rules = [
          { name = "pictures", path = "/media", methods = "read", allow = "anyone" },
          { name = "uploads", path = "/_stcore/upload_file", allow = "member" },
        ]"#;
    let own = rights(&gateway("streamlit", &app.address, own).await).await;
    let changed: Vec<(&str, &str)> = shipped
        .iter()
        .zip(&own)
        .filter(|(before, after)| before != after)
        .map(|(before, after)| (before.as_str(), after.rsplit(": ").next().unwrap_or_default()))
        .collect();
    assert_eq!(
        changed,
        [
            ("anonymous GET /media/none: Some(401)", "None"),
            ("agent GET /media/none: Some(403)", "None"),
            (&format!("viewer PUT {UPLOAD}: None"), "Some(403)"),
            (&format!("viewer DELETE {UPLOAD}: None"), "Some(403)"),
        ]
    );
}

#[tokio::test]
async fn streamlit_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let asked = tokio::task::spawn_blocking(|| surface(&python(), "streamlit_surface.py"));
    let (surface, app) = tokio::join!(asked, Streamlit::start_with(&[]));
    let rows = compared("streamlit.md", "Routes", surface.unwrap().answers.iter());
    walk::walk("streamlit", &app.address, &walk::of_table(&rows, 1)).await;
}
