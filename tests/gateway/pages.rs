//! The look of our own pages: name, logo and colours of the settings arrive in browsers, and nothing else with them.

use crate::support::{Answer, Gateway};

const APP: &str =
    "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n[[routes]]\nupstream = \"app\"\n";
const LOGIN: &str = "/_doorward/login";
const STYLE: &str = "/_doorward/static/doorward.css";
const SHIPPED_STYLE: &str = include_str!("../../src/edge/pages/static/doorward.css");
const SHIPPED_LOGO: &str = include_str!("../../src/edge/pages/static/logo.svg");
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; sandbox";
const SVG: &str = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"><script>alert(1)</script></svg>";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

fn with_pages(pages: &str) -> String {
    format!("[pages]\n{pages}\n{APP}")
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    let answer = gateway.get(path, "accept: text/html\r\n").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.head);
    answer
}

/// The address of a static file that a page leads to.
fn asset(page: &str, name: &str) -> String {
    let at = page.find(&format!("/_doorward/static/{name}?v=")).unwrap_or_else(|| panic!("{name} in {page}"));
    page[at..].split('"').next().unwrap().to_owned()
}

/// The version at the end of a file's address, which must be its entity tag too.
async fn version(gateway: &Gateway) -> String {
    let page = get(gateway, LOGIN).await.text();
    let address = asset(&page, "doorward.css");
    let version = address.split_once("?v=").unwrap().1.to_owned();
    let style = get(gateway, &address).await;
    assert_eq!(style.header("etag"), Some(&*format!("\"{version}\"")));
    version
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_pages_are_as_shipped() {
    let gateway = Gateway::configured(APP).await;
    let page = get(&gateway, LOGIN).await.text();
    assert!(page.contains("<title>Sign in · Doorward</title>"), "{page}");
    assert!(page.contains("<span class=\"brand-name\">Doorward</span>"), "{page}");
    assert!(page.contains("<svg class=\"logo\"") && !page.contains("<img"), "{page}");
    assert_eq!(get(&gateway, STYLE).await.text(), SHIPPED_STYLE);
    let logo = get(&gateway, &asset(&page, "logo.svg")).await;
    assert_eq!((logo.text().as_str(), logo.header("content-type")), (SHIPPED_LOGO, Some("image/svg+xml")));
    assert!(!logo.header("content-security-policy").unwrap().contains("unsafe"), "{}", logo.head);
    assert_eq!(gateway.get("/_doorward/static/logo.png", "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_on_every_page_as_text_whatever_it_holds() {
    let gateway = Gateway::configured(&with_pages("name = \"Ops <b> & \\\"Co\\\"\"")).await;
    let not_found = gateway.get("/_doorward/nothing", "accept: text/html\r\n").await;
    for page in [get(&gateway, LOGIN).await.text(), not_found.text()] {
        let escaped = "Ops &#60;b&#62; &#38; &#34;Co&#34;";
        assert!(page.contains(&format!(" · {escaped}</title>")), "{page}");
        assert!(page.contains(&format!("<span class=\"brand-name\">{escaped}</span>")), "{page}");
        assert!(!page.contains("<b>") && !page.contains("Doorward<"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colors_arrive_in_the_style_sheet_and_nowhere_else() {
    let gateway = Gateway::configured(&with_pages("color = \"#1D4ED8\"\ncolor_dark = \"#93b4fd\"")).await;
    let page = get(&gateway, LOGIN).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("style-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text();
    assert!(!page.contains("#1d4ed8") && !page.contains("style=") && !page.contains("<style"), "{page}");
    let style = get(&gateway, &asset(&page, "doorward.css")).await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    let style = style.text();
    let own = style.strip_prefix(SHIPPED_STYLE).expect("it begins as shipped");
    let (light, dark) = own.split_once("@media (prefers-color-scheme: dark)").unwrap();
    assert!(light.contains("--accent: #1d4ed8;") && light.contains("--on-accent: #ffffff;"), "{own}");
    assert!(dark.contains("--accent: #93b4fd;") && dark.contains("--on-accent: #000000;"), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logo_arrives_byte_for_byte_and_can_do_nothing() {
    for (bytes, name, kind) in [(SVG.as_bytes(), "logo.svg", "image/svg+xml"), (PNG, "logo.png", "image/png")]
    {
        let gateway = Gateway::configured(APP).await;
        std::fs::write(gateway.folder.path().join("mark"), bytes).unwrap();
        gateway.reload(&with_pages("logo = \"mark\"")).await.unwrap();
        let page = get(&gateway, LOGIN).await.text();
        let address = asset(&page, name);
        assert!(page.contains(&format!("<img class=\"logo\" src=\"{address}\" alt=\"\">")), "{page}");
        assert!(page.contains(&format!("<link rel=\"icon\" type=\"{kind}\" href=\"{address}\">")), "{page}");
        assert!(!page.contains("<svg"), "{page}");
        let logo = get(&gateway, &address).await;
        assert_eq!(logo.body, bytes);
        for (header, value) in [
            ("content-type", kind),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", POLICY),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "public, max-age=86400"),
        ] {
            assert_eq!(logo.header(header), Some(value), "{header}");
        }
        let other = if name == "logo.svg" { "logo.png" } else { "logo.svg" };
        assert_eq!(gateway.get(&format!("/_doorward/static/{other}"), "").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_look_and_with_it_every_address_and_tag() {
    let gateway = Gateway::configured(APP).await;
    let shipped = version(&gateway).await;
    let logo = gateway.folder.path().join("logo.svg");
    std::fs::write(&logo, SVG).unwrap();
    let mut seen = vec![shipped.clone()];
    for pages in ["color = \"#1d4ed8\"", "color = \"#9d174d\"", "color = \"#9d174d\"\nlogo = \"logo.svg\""] {
        gateway.reload(&with_pages(pages)).await.unwrap();
        seen.push(version(&gateway).await);
    }
    std::fs::write(&logo, SVG.replace("0 0 1 1", "0 0 2 2")).unwrap();
    gateway.reload(&with_pages("color = \"#9d174d\"\nlogo = \"logo.svg\"")).await.unwrap();
    let last = version(&gateway).await;
    seen.push(last.clone());
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "{seen:?}");
    // Whoever kept a file gets it again if it changed, and only then.
    for (tag, status) in [(&shipped, 200), (&last, 304)] {
        for file in [STYLE, "/_doorward/static/logo.svg"] {
            let known = gateway.get(file, &format!("if-none-match: \"{tag}\"\r\n")).await;
            assert_eq!(known.status, status, "{file}");
        }
    }

    // What is refused changes nothing; what is taken back is as it was.
    let refused = gateway.reload(&with_pages("color = \"#ffcc00\"")).await.unwrap_err().to_string();
    assert!(refused.contains("pages.color: has a contrast of 1.") && refused.contains("4.5:1"), "{refused}");
    assert_eq!(version(&gateway).await, last);
    gateway.reload(&with_pages("name = \"Ops\"")).await.unwrap();
    assert!(get(&gateway, LOGIN).await.text().contains("· Ops</title>"));
    assert_eq!(version(&gateway).await, shipped);
}
