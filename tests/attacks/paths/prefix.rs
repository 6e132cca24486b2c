//! P: paths of a route whose prefix the upstream does not see.

use super::{Becomes, SPELLINGS, check, signed_in};
use crate::support::gateway::ROUTES;
use crate::support::{Gateway, Upstream, Watch};

/// The standard routes, and the same below `/apps/phoenix`, which the upstream does not see.
fn routes() -> String {
    let below = ROUTES.replace("path = \"/", "path = \"/apps/phoenix/").replace("phoenix/\"", "phoenix\"");
    format!("{ROUTES}{}", below.replace("upstream", "strip_prefix = \"/apps/phoenix\"\nupstream"))
}

/// P26: every spelling, behind a prefix that is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_below_a_prefix_is_refused_or_decided_as_what_is_sent_with_it() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), &routes()).await;
    let vera = signed_in(&gateway).await;
    for (path, becomes) in SPELLINGS {
        check(&gateway, &upstream, &vera, ("/apps/phoenix", path), *becomes).await;
    }
    // What only looks like the prefix is another route's, and nothing is cut off it.
    for path in ["/apps/phoenixx", "/apps/phoenix.x/y", "/apps", "/Apps/phoenix/x"] {
        check(&gateway, &upstream, &vera, ("", path.as_bytes()), Becomes::Sent(path)).await;
    }
    for (path, becomes) in [
        ("/apps/phoenix../x", Becomes::Sent("/apps/phoenix../x")),
        ("/apps/phoenix/../x", Becomes::Malformed),
        ("/apps/phoenix..;/x", Becomes::Odd),
        ("/apps/phoenix%2Fx", Becomes::Odd),
        ("/apps%2fphoenix/x", Becomes::Odd),
        ("/apps/phoenix;x/y", Becomes::Odd),
        ("/APPS/PHOENIX/admin", Becomes::Admin),
    ] {
        check(&gateway, &upstream, &vera, ("", path.as_bytes()), becomes).await;
    }
}

/// P07: what is left begins with two slashes, which some servers take for a host.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_path_is_one_path() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\npaths.allow = [\"empty-segment\"]\n{}",
        upstream.url(),
        routes()
    ))
    .await;
    let vera = signed_in(&gateway).await;
    for path in ["/apps/phoenix//x/admin", "/apps/phoenix//admin", "/apps/phoenix///", "/apps/phoenix//"] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.get(path, &vera).await;
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.head);
        watch.nothing_reached(path).await;
    }
    check(&gateway, &upstream, &vera, ("/apps/phoenix", b"/a//b"), Becomes::Sent("/a//b")).await;
}
