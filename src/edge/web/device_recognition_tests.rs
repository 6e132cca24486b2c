//! Which device or person a browser's cookies identify before anything else is checked.

use http::header::COOKIE;

use super::testing::{PASSWORD, PageFixture, by, credentials};
use super::*;

#[tokio::test]
async fn a_device_is_known_by_its_owner_while_that_one_may_sign_in() {
    let world = PageFixture::new().await;
    world.user("root", false).await;
    let (alice, bob) = (world.user("alice", false).await, world.user("bob", false).await);
    let mut devices = Vec::new();
    for name in ["alice", "bob"] {
        let answer = world.post("/login", None, &credentials(name, PASSWORD, "/")).await;
        devices.push(answer.cookies()[1].split(';').next().unwrap().to_owned());
    }
    world.web.services.accounts.disable(&by(), &bob.id).await.unwrap();
    let shown = async |cookie: &str| {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(cookie).unwrap())]);
        world.web.recognition(&headers, &Handle::current()).await
    };
    assert_eq!(shown(&devices[0]).await, DeviceRecognition::Person(alice.id));
    for cookie in [&devices[1], "__Host-doorward-device=forged~x.y", "a=b"] {
        assert_eq!(shown(cookie).await, DeviceRecognition::Unknown, "{cookie}");
    }
}
