//! Products with something of their own beside OpenID Connect, from a button to the application.

use doorward::model::role::Role;
use serde_json::{Value, json};

use super::{World, settings};
use crate::support::browser::Browser;
use crate::support::github::{Account, Github};
use crate::support::provider::{Provider, person, with};
use crate::support::{Answer, Gateway, Upstream};

/// GitHub, and a gateway in front of an application.
struct AtGithub {
    github: Github,
    upstream: Upstream,
    gateway: Gateway,
}

impl AtGithub {
    /// With further settings of the provider.
    async fn with(more: &str) -> Self {
        let (github, upstream) = (Github::start().await, Upstream::spawn().await);
        let gateway = Gateway::configured(&settings(&upstream, "", &[github.settings(more)])).await;
        Self { github, upstream, gateway }
    }

    async fn sign_in(&self, account: &Account) -> (Browser, Answer) {
        let mut browser = Browser::default();
        let location = browser.begin(&self.gateway, "github", "/").await;
        let answer = browser.get(&self.gateway, &self.github.approve(&location, account)).await;
        for secret in self.github.handed_out() {
            self.gateway.ledger.handed_out(&secret);
        }
        (browser, answer)
    }

    async fn signed_in(&self, account: &Account) -> Browser {
        let (browser, answer) = self.sign_in(account).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.text());
        browser
    }

    async fn refused(&self, account: &Account) -> (u16, String) {
        let (browser, answer) = self.sign_in(account).await;
        assert!(browser.cookie("doorward").is_none(), "{}", answer.head);
        (answer.status, answer.text())
    }

    /// What the application is told whose request it is.
    async fn name(&self, browser: &mut Browser) -> String {
        assert_eq!(browser.get(&self.gateway, "/").await.status, 200);
        self.upstream.last().header("x-auth-user").unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organisations_and_teams_of_github_decide_who_gets_in_and_what_they_may() {
    let world = AtGithub::with(
        "[providers.claims]\nallowed_groups = [\"acme\", \"partner/dev\"]\n\
         role = \"contains(groups[*], 'acme/platform') && 'admin' || 'viewer'\"",
    )
    .await;
    world.gateway.user("root", Role::Admin).await;
    let ann = Account::new(1, "ann");
    let mut admin = world.signed_in(&ann.clone().in_organization("acme").in_team("acme", "platform")).await;
    assert_eq!(admin.get(&world.gateway, "/admin").await.status, 200);
    let mut viewer =
        world.signed_in(&Account::new(2, "bob").in_organization("acme").in_team("other", "platform")).await;
    assert_eq!(viewer.get(&world.gateway, "/admin").await.status, 403);
    world.signed_in(&Account::new(3, "eve").in_team("partner", "dev")).await;
    for stranger in [
        Account::new(4, "acme"),
        Account::new(5, "mal").in_organization("acme-evil").in_organization("Acme"),
        Account::new(6, "mel").in_organization("partner").in_team("partner", "developers"),
    ] {
        let (status, text) = world.refused(&stranger).await;
        assert_eq!(status, 403, "{stranger:?}: {text}");
        assert!(text.contains("none of the groups") && text.contains("Reference"), "{text}");
    }
    // Who has left the organisation does not get in again.
    assert_eq!(world.refused(&ann).await.0, 403);
}

/// P-05: an organisation that does not show itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_hides_is_told_with_what_to_do() {
    let world = AtGithub::with("[providers.claims]\nallowed_groups = [\"acme\"]").await;
    for has_hidden in [true, false] {
        let (status, text) = world.refused(&Account { has_hidden, ..Account::new(1, "ann") }).await;
        assert_eq!(status, 403, "{text}");
        let page = format!("{}/settings/connections/applications/Iv1.0123456789abcdef", world.github.url);
        assert!(text.contains("does not show itself") && text.contains(&page), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_github_is_a_name_and_the_number_is_the_person() {
    let world = AtGithub::with("").await;
    world.gateway.user("admin", Role::Admin).await;
    // W-1: a login like the name of somebody here.
    let mut namesake = world.signed_in(&Account::new(7, "admin")).await;
    assert_ne!(world.name(&mut namesake).await, "admin");
    assert_eq!(namesake.get(&world.gateway, "/admin").await.status, 403);
    let mut ann = world.signed_in(&Account::new(8, "ann")).await;
    let name = world.name(&mut ann).await;
    let mut renamed = world.signed_in(&Account::new(8, "ann-renamed")).await;
    assert_eq!(world.name(&mut renamed).await, name);
    let mut other = world.signed_in(&Account::new(9, "ann")).await;
    assert_ne!(world.name(&mut other).await, name, "the login was taken by somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_github_does_not_tell_teams_nobody_gets_in() {
    let ann = Account::new(1, "ann").in_organization("acme");
    for (broken, status, said) in [
        (502, 503, "does not answer as it should"),
        (429, 503, "has been asked too often"),
        (403, 502, "not set up correctly"),
    ] {
        let world = AtGithub::with("").await;
        world.github.breaks("/api/v3/user/teams", broken);
        let (answered, text) = world.refused(&ann).await;
        assert_eq!(answered, status, "{broken}: {text}");
        assert!(text.contains(said), "{broken}: {text}");
    }
    let world = AtGithub::with("").await;
    world.github.breaks("/api/v3/user/emails", 404);
    world.signed_in(&ann).await;
}

/// Claims of Microsoft Entra ID of somebody in too many groups.
fn overage() -> Value {
    let elsewhere = json!({
        "oid": "o1", "_claim_names": { "groups": "src1" },
        "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/t/users/o1/getMemberObjects" } },
    });
    with(&person("ann"), &elsewhere)
}

fn groups_of_graph(ids: &[&str]) -> Value {
    let group = |id: &&str| json!({ "@odata.type": "#microsoft.graph.group", "id": id });
    json!({ "value": ids.iter().map(group).collect::<Vec<_>>() })
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_entra_leaves_out_come_from_graph_and_decide() {
    const MEMBERS: &str = "/v1.0/me/transitiveMemberOf";
    let (provider, upstream) = (Provider::start().await, Upstream::spawn().await);
    let entra = format!(
        "type = \"entra\"\ngraph_url = \"{}\"\n[providers.claims]\nallowed_groups = [\"ops\", \"dev\"]",
        provider.url
    );
    let gateway = Gateway::configured(&settings(&upstream, "", &[provider.settings("sso", &entra)])).await;
    let world = World { provider, upstream, gateway };
    world.provider.serve(MEMBERS, &groups_of_graph(&["other", "ops"]));
    let mut ops = world.signed_in(&overage()).await;
    assert_eq!(ops.get(&world.gateway, "/ops").await.status, 200);
    world.provider.serve(MEMBERS, &groups_of_graph(&["dev"]));
    let mut dev = world.signed_in(&overage()).await;
    assert_eq!(dev.get(&world.gateway, "/ops").await.status, 403);
    world.provider.serve(MEMBERS, &groups_of_graph(&["other"]));
    assert_eq!(world.refused(&overage()).await.0, 403);
    world.provider.serve(MEMBERS, &json!({ "error": { "code": "Odd" } }));
    let (status, text) = world.refused(&overage()).await;
    assert!(status == 503 && text.contains("does not answer as it should"), "{text}");
    assert_eq!(world.provider.asked(MEMBERS), 4, "once for a sign-in");
}

/// P-06: inherited groups are in userinfo alone.
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_gitlab_come_from_userinfo_and_from_its_api_where_the_settings_say_so() {
    const GROUPS: &str = "/api/v4/groups";
    let claims = "[providers.claims]\nallowed_groups = [\"ops\"]";
    let in_groups = |groups: &[&str]| with(&person("ann"), &json!({ "groups": groups, "groups_direct": [] }));
    let plain = World::with(&format!("type = \"gitlab\"\n{claims}")).await;
    plain.signed_in(&in_groups(&["ops"])).await;
    assert_eq!(plain.refused(&in_groups(&["ops/sub"])).await.0, 403);
    assert_eq!(plain.provider.asked(GROUPS), 0);
    let world = World::with(&format!("type = \"gitlab\"\ngroups_api = true\n{claims}")).await;
    world.provider.serve(GROUPS, &json!([{ "id": 1, "full_path": "ops" }]));
    let mut ops = world.signed_in(&in_groups(&[])).await;
    assert_eq!(ops.get(&world.gateway, "/ops").await.status, 200);
    world.provider.serve(GROUPS, &json!([{ "id": 1, "full_path": "operations" }]));
    assert_eq!(world.refused(&in_groups(&[])).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accounts_of_a_hosted_domain_get_in() {
    let world = World::with("type = \"google\"\nhosted_domains = [\"example.org\"]").await;
    world.signed_in(&with(&person("ann"), &json!({ "hd": "example.org" }))).await;
    for hosted in [json!(null), json!("evil.example.org"), json!("example.org.evil.example")] {
        let (status, text) = world.refused(&with(&person("bob"), &json!({ "hd": hosted }))).await;
        assert_eq!(status, 403, "{hosted}: {text}");
        assert!(text.contains("does not belong to an organisation that is let in"), "{hosted}: {text}");
    }
}
