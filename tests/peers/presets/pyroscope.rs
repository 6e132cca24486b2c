//! Pyroscope's own agent, which pushes profiles, in front of a stand-in for its server.

use super::{gateway, program, said};
use crate::proxies::echo::Echo;

#[tokio::test]
async fn agent_of_pyroscope_pushes_with_an_agents_key_only() {
    let server = Echo::start().await;
    let gateway = gateway("pyroscope", &server.address.to_string(), "").await;
    let profile = async |key: &str| {
        let mut run = program("pyroscope_agent.py");
        run.args([&gateway.url, key]);
        // The stand-in answers on this thread meanwhile.
        said(&tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap());
    };

    for (role, arrives) in [("agent", true), ("viewer", false), ("member", false)] {
        profile(&gateway.key(role, role, &[]).key).await;
        let seen = server.take();
        assert_eq!(!seen.is_empty(), arrives, "{role}: {seen:?}");
        for request in seen {
            assert_eq!(
                (request.method.as_str(), request.target.as_str()),
                ("POST", "/push.v1.PusherService/Push")
            );
            assert_eq!(request.all("authorization"), Vec::<&str>::new(), "the key stays with the gateway");
        }
    }
    profile("none").await;
    assert!(server.take().is_empty(), "pushed without a key");
}
