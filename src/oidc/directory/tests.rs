//! Directories as they answer, and as they must not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value, json};

use super::*;
use crate::config::{GoogleDirectoryConfig, GraphConfig, GraphGroups};
use crate::egress::testing::{Behaviour, TestServer};
use crate::egress::{EgressLimits, EgressSettings, NameResolution};
use crate::model::jwt::{JwtAlgorithm, JwtKey};
use crate::model::time::ManualClock;
use crate::oidc::error::{ErrorCode, TokenEndpointError};
use crate::oidc::testing::{NOW, RSA, config};
use crate::policy::claims::ClaimsRefusal;

const PERSON: &str = "112233445566778899000";

/// Google with the hosts that are called, by TLS, at an address of this machine.
struct Google {
    server: TestServer,
    answers: Arc<Mutex<HashMap<String, Behaviour>>>,
    directory: GoogleDirectory,
    clock: ManualClock,
    key: JwtKey,
}

impl Google {
    async fn new(admin: Option<&str>, nested: bool) -> Self {
        let answers: Arc<Mutex<HashMap<String, Behaviour>>> = Arc::default();
        let asked = Arc::clone(&answers);
        let hosts = ["oauth2.googleapis.com", "admin.googleapis.com"].map(str::to_owned).to_vec();
        let act = Behaviour::Choose(Arc::new(move |request: &str| {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let url = format!("{host}{}", request.split(' ').nth(1).unwrap());
            asked.lock().unwrap().get(&url).cloned().unwrap_or_else(|| panic!("nobody asks for {url}"))
        }));
        let server = TestServer::certified_for(hosts.clone(), act).await;
        let egress = EgressClient::new(EgressSettings {
            named: Vec::new(),
            // The addresses are of this machine, which only hosts that are named may have.
            named_hosts: hosts,
            ca: Some(server.ca()),
            limits: EgressLimits::default(),
            names: NameResolution::Fixed(vec![server.address]),
        });
        let key = JwtKey::from_text(JwtAlgorithm::Rs256, &Secret::new(RSA.as_str())).unwrap();
        let config = GoogleDirectoryConfig {
            account: "reader@project.iam.gserviceaccount.com".to_owned(),
            key_id: Some("the-key-id".to_owned()),
            key: key.clone(),
            admin: admin.map(str::to_owned),
            nested,
        };
        let directory = GoogleDirectory::new(config, egress.unwrap());
        let google = Self { server, answers, directory, clock: ManualClock::at(NOW), key };
        google.token(&json!({ "access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer" }));
        google
    }

    fn set(&self, url: &str, answer: Behaviour) {
        self.answers.lock().unwrap().insert(url.to_owned(), answer);
    }

    fn token(&self, answer: &Value) {
        self.set("oauth2.googleapis.com/token", Behaviour::json(&answer.to_string()));
    }

    /// The groups of somebody or of a group, by their names.
    fn member(&self, member: &str, groups: &[&str]) {
        let group = |name: &&str| {
            json!({ "kind": "admin#directory#group", "id": format!("id{name}"), "email": format!("{name}@example.com"),
                    "name": name, "directMembersCount": "3" })
        };
        let groups: Vec<Value> = groups.iter().map(group).collect();
        self.page(member, "", &json!({ "kind": "admin#directory#groups", "groups": groups }));
    }

    fn page(&self, member: &str, more: &str, answer: &Value) {
        self.set(&at(member, more), Behaviour::json(&answer.to_string()));
    }

    async fn groups(&self) -> Result<Vec<String>, LookupError> {
        self.directory.groups(PERSON, &self.clock).await
    }

    fn asked(&self, beginning: &str) -> Vec<String> {
        self.server.requests().into_iter().filter(|request| request.starts_with(beginning)).collect()
    }
}

fn at(member: &str, more: &str) -> String {
    format!("admin.googleapis.com/admin/directory/v1/groups?maxResults=200&userKey={member}{more}")
}

#[tokio::test]
async fn groups_are_read_with_a_statement_that_the_service_account_signs() {
    for admin in [Some("admin@example.com"), None] {
        let google = Google::new(admin, false).await;
        google.member(PERSON, &["ops", "data"]);
        assert_eq!(google.groups().await.unwrap(), ["data@example.com", "ops@example.com"]);
        let request = google.asked("POST /token").pop().unwrap();
        let form = request.split_once("\r\n\r\n").unwrap().1.as_bytes();
        let form: HashMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
        assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let mut wanted = Validation::new(jsonwebtoken::Algorithm::RS256);
        wanted.set_audience(&["https://oauth2.googleapis.com/token"]);
        wanted.validate_exp = false;
        let public = serde_json::from_value(google.key.public().unwrap().clone()).unwrap();
        let key = DecodingKey::from_jwk(&public).unwrap();
        let claims = decode::<Map<String, Value>>(&form["assertion"], &key, &wanted).unwrap().claims;
        assert_eq!(claims["iss"], "reader@project.iam.gserviceaccount.com");
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/admin.directory.group.readonly");
        assert_eq!(claims.get("sub").and_then(Value::as_str), admin);
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW.0), &json!(NOW.0 + 300)));
        assert_eq!(decode_header(&form["assertion"]).unwrap().kid.unwrap(), "the-key-id");
        assert!(google.asked("GET /admin")[0].contains("authorization: Bearer ya29.token\r\n"));
    }
}

#[tokio::test]
async fn one_token_serves_many_sign_ins_and_another_one_comes_before_it_expires_or_when_it_is_refused() {
    let google = Google::new(None, false).await;
    google.member(PERSON, &["ops"]);
    let all = futures_util::future::join_all((0..20).map(|_| google.groups())).await;
    assert!(all.into_iter().all(|groups| groups.unwrap() == ["ops@example.com"]));
    assert_eq!(google.asked("POST /token").len(), 1);
    google.token(&json!({ "access_token": "short", "expires_in": 60, "token_type": "Bearer" }));
    google.set(&at(PERSON, ""), Behaviour::answer(401, "application/json", "{}"));
    assert!(matches!(google.groups().await, Err(LookupError::Unauthorized)));
    assert_eq!(google.asked("POST /token").len(), 2, "a token that is refused is replaced, once");
    google.member(PERSON, &[]);
    for tokens in [3, 4] {
        assert!(google.groups().await.unwrap().is_empty());
        assert_eq!(google.asked("POST /token").len(), tokens, "the last minute of a token is not used");
    }
}

#[tokio::test]
async fn all_pages_are_read_and_a_list_without_an_end_is_a_failure() {
    let google = Google::new(None, false).await;
    let page =
        |name: &str, next: Value| json!({ "groups": [{ "id": name, "email": name }], "nextPageToken": next });
    google.page(PERSON, "", &page("a", json!("CAE=/+")));
    google.page(PERSON, "&pageToken=CAE%3D%2F%2B", &page("b", Value::Null));
    assert_eq!(google.groups().await.unwrap(), ["a", "b"]);
    google.page(PERSON, "&pageToken=CAE%3D%2F%2B", &page("b", json!("2")));
    google.page(PERSON, "&pageToken=2", &page("c", json!("CAE=/+")));
    assert!(matches!(google.groups().await, Err(LookupError::TooManyPages(20))));
    google.set(&at(PERSON, "&pageToken=2"), Behaviour::answer(500, "application/json", "{}"));
    assert!(matches!(google.groups().await, Err(LookupError::Call(_))), "not a short list");
}

#[tokio::test]
async fn groups_that_groups_are_in_count_where_the_settings_say_so() {
    for nested in [true, false] {
        let google = Google::new(None, nested).await;
        google.member(PERSON, &["a", "b"]);
        google.member("ida", &["c"]);
        google.member("idb", &["c"]);
        google.member("idc", &["d"]);
        // A circle.
        google.member("idd", &["a", "d"]);
        let expected: &[&str] = if nested {
            &["a@example.com", "b@example.com", "c@example.com", "d@example.com"]
        } else {
            &["a@example.com", "b@example.com"]
        };
        assert_eq!(google.groups().await.unwrap(), expected);
        assert_eq!(google.asked("GET /admin").len(), if nested { 5 } else { 1 }, "each is asked for once");
    }
}

#[tokio::test]
async fn a_tree_of_groups_has_bounds_and_what_is_beyond_them_is_a_failure() {
    let google = Google::new(None, true).await;
    google.member(PERSON, &["0"]);
    for step in 0..9 {
        google.member(&format!("id{step}"), &[&(step + 1).to_string()]);
    }
    google.member("id9", &[]);
    assert_eq!(google.groups().await.unwrap().len(), 10);
    google.member("id9", &["10"]);
    google.member("id10", &[]);
    assert!(matches!(google.groups().await, Err(LookupError::TooDeep(10))));
    let names: Vec<String> = (0..501).map(|number| number.to_string()).collect();
    google.member(PERSON, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(matches!(google.groups().await, Err(LookupError::TooManyGroups(500))));
}

#[tokio::test]
async fn who_is_not_in_the_directory_has_no_groups_and_whoever_it_refuses_is_not_let_in() {
    let google = Google::new(None, false).await;
    let no = |status: u16, said: &str| {
        let error =
            json!({ "error": { "code": status, "message": said, "errors": [{ "reason": "forbidden" }] } });
        Behaviour::answer(status, "application/json", &error.to_string())
    };
    google.set(&at(PERSON, ""), no(404, "Resource Not Found: userKey"));
    assert!(google.groups().await.unwrap().is_empty());
    google.set(&at(PERSON, ""), no(403, "Not Authorized to access this resource/api"));
    assert!(matches!(google.groups().await, Err(LookupError::Forbidden)));
    google.set(&at(PERSON, ""), no(429, "Quota exceeded"));
    assert!(matches!(google.groups().await, Err(LookupError::RateLimited)));
    for odd in ["{\"groups\":[{\"id\":1,\"email\":\"a\"}]}", "{\"groups\":{}}", "[]", "{\"nextPageToken\":7}"]
    {
        google.set(&at(PERSON, ""), Behaviour::json(odd));
        assert!(matches!(google.groups().await, Err(LookupError::Shape(_))), "{odd}");
    }
    google.set(&at(PERSON, ""), Behaviour::answer(200, "text/html", "<html>"));
    assert!(matches!(google.groups().await, Err(LookupError::Call(_))));
}

#[tokio::test]
async fn a_service_account_without_delegation_is_told_what_to_do() {
    let google = Google::new(Some("admin@example.com"), false).await;
    let said = "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.";
    let refusal = json!({ "error": "unauthorized_client", "error_description": said });
    google
        .set("oauth2.googleapis.com/token", Behaviour::answer(401, "application/json", &refusal.to_string()));
    let error = google.groups().await.unwrap_err();
    assert!(
        matches!(
            &error,
            LookupError::Token(TokenEndpointError::Refused { code: ErrorCode::UnauthorizedClient, .. })
        ),
        "{error}"
    );
    let told = error.of(Lookup::GoogleGroups).to_string();
    assert!(told.contains("admin.directory.group.readonly") && told.contains("`directory_admin`"), "{told}");
    assert!(google.asked("GET /admin").is_empty());
}

#[tokio::test]
async fn a_token_endpoint_of_google_that_is_down_may_pass_and_is_no_matter_of_delegation() {
    for (status, error, passes) in [
        (500, "internal_failure", true),
        (503, "temporarily_unavailable", true),
        (401, "invalid_client", false),
    ] {
        let google = Google::new(Some("admin@example.com"), false).await;
        let body = json!({ "error": error }).to_string();
        google.set("oauth2.googleapis.com/token", Behaviour::answer(status, "application/json", &body));
        let failed = google.groups().await.unwrap_err().of(Lookup::GoogleGroups);
        assert_eq!(failed.may_pass(), passes, "{error}");
        assert_eq!(failed.to_string().contains("Domain-wide delegation"), !passes, "{failed}");
    }
}

#[tokio::test]
async fn odd_names_of_people_stay_one_value() {
    let google = Google::new(None, false).await;
    google.member("a%26b%2F%2E%2E%3F", &["ops"]);
    assert_eq!(google.directory.groups("a&b/..?", &google.clock).await.unwrap(), ["ops@example.com"]);
}

#[tokio::test]
async fn groups_of_google_are_a_claim_and_decide_who_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "type = \"google\"\n[providers.claims]\ngroups = \"groups\"\nallowed_groups = [\"ops@example.com\"]";
    let rules = config(&folder, "https://accounts.google.com", settings).claims;
    let google = Google::new(None, false).await;
    let claims = ClaimSet::parse(br#"{"sub":"112233445566778899000","email":"ann@example.com"}"#).unwrap();
    let token = Secret::new("of-the-person");
    let subject = Subject { id: PERSON, claims: &claims, access_token: &token };
    google.member(PERSON, &["data", "ops"]);
    let directory = Directory::Google(Box::new(google.directory));
    let completed = directory.complete(subject, &google.clock).await.unwrap();
    assert_eq!(completed.get("email").unwrap(), "ann@example.com");
    assert_eq!(rules.evaluate(&completed).result.unwrap().groups, ["data@example.com", "ops@example.com"]);
    for groups in [&["data", "ops2"][..], &[]] {
        let answers = &google.answers;
        let listed: Vec<Value> =
            groups.iter().map(|name| json!({ "id": name, "email": format!("{name}@example.com") })).collect();
        let answer = Behaviour::json(&json!({ "groups": listed }).to_string());
        answers.lock().unwrap().insert(at(PERSON, ""), answer);
        let completed = directory.complete(subject, &google.clock).await.unwrap();
        assert_eq!(rules.evaluate(&completed).result, Err(ClaimsRefusal::NoAllowedGroup), "{groups:?}");
    }
    google.answers.lock().unwrap().insert(at(PERSON, ""), Behaviour::answer(503, "text/plain", ""));
    let failed = directory.complete(subject, &google.clock).await.unwrap_err();
    assert!(matches!(failed, OidcError::Lookup { what: Lookup::GoogleGroups, .. }), "{failed}");
    assert!(
        google.server.requests().iter().all(|request| !request.contains("of-the-person")),
        "it is nobody else's business"
    );
}

/// Microsoft Graph, and how its groups are read.
async fn graph(
    groups: GraphGroups,
    answer: impl Fn(&str, &str) -> Value + Send + Sync + 'static,
) -> (TestServer, Graph) {
    let server = TestServer::plain(Behaviour::Choose(Arc::new(move |request: &str| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        Behaviour::json(&answer(request.split(' ').nth(1).unwrap(), &format!("http://{host}")).to_string())
    })))
    .await;
    let graph = Graph::new(GraphConfig { url: server.url(""), groups }, server.client());
    (server, graph)
}

#[tokio::test]
async fn groups_of_graph_are_groups_and_neither_roles_nor_units() {
    for (groups, path) in
        [(GraphGroups::Transitive, "/v1.0/me/transitiveMemberOf"), (GraphGroups::Direct, "/v1.0/me/memberOf")]
    {
        let (server, graph) = graph(groups, move |target, home| {
            if target == format!("{path}?$select=id&$top=999") {
                json!({
                    "@odata.context": format!("{home}/v1.0/$metadata#directoryObjects(id)"),
                    "@odata.nextLink": format!("{home}{path}?$select=id&$top=999&$skiptoken=X"),
                    "value": [
                        { "@odata.type": "#microsoft.graph.group", "id": "g1" },
                        { "@odata.type": "#microsoft.graph.directoryRole", "id": "r1" },
                    ],
                })
            } else {
                assert!(target.ends_with("&$skiptoken=X"), "{target}");
                json!({ "value": [
                    { "@odata.type": "#microsoft.graph.administrativeUnit", "id": "u1" },
                    { "@odata.type": "#microsoft.graph.group", "id": "g2", "displayName": null },
                ] })
            }
        })
        .await;
        assert_eq!(graph.groups(&Secret::new("t")).await.unwrap(), ["g1", "g2"]);
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn groups_that_are_assigned_are_those_of_this_application_and_no_people() {
    let object_id = "8e881353-1735-45af-af21-ee1344582a4d";
    let of = GraphGroups::Application { object_id: object_id.to_owned() };
    let (server, graph) = graph(of, move |_, _| {
        let assignment = |kind: &str, id: &str, resource: &str| {
            json!({ "id": "x", "appRoleId": "00000000-0000-0000-0000-000000000000", "principalDisplayName": "n",
                    "principalId": id, "principalType": kind, "resourceDisplayName": "d", "resourceId": resource })
        };
        json!({ "value": [
            assignment("Group", "g2", object_id),
            assignment("Group", "g1", object_id),
            // With another role.
            assignment("Group", "g1", object_id),
            assignment("User", "p1", object_id),
            assignment("Group", "g3", "00000000-1735-45af-af21-ee1344582a4d"),
        ] })
    })
    .await;
    assert_eq!(graph.groups(&Secret::new("t")).await.unwrap(), ["g1", "g2"]);
    let [request] = <[String; 1]>::try_from(server.requests()).unwrap();
    assert!(request.contains(&format!("$filter=resourceId%20eq%20{object_id} ")), "{request}");
    assert!(request.contains("consistencylevel: eventual\r\n"));
}

#[tokio::test]
async fn odd_answers_of_graph_are_failures() {
    for (odd, is_elsewhere) in [
        (json!({ "value": [{ "id": "g1" }] }), false),
        (json!({ "value": [{ "@odata.type": "#microsoft.graph.group", "id": 7 }] }), false),
        (json!({ "value": "g1" }), false),
        (json!([]), false),
        (json!({ "value": [], "@odata.nextLink": "https://graph.evil.example/v1.0/me/memberOf" }), true),
        (json!({ "value": [], "@odata.nextLink": "/v1.0/me/memberOf?$select=id&$top=999" }), false),
    ] {
        let shown = odd.to_string();
        let (_server, graph) = graph(GraphGroups::Direct, move |_, _| odd.clone()).await;
        match graph.groups(&Secret::new("t")).await {
            Err(LookupError::Elsewhere) => assert!(is_elsewhere, "{shown}"),
            Err(LookupError::Shape(_) | LookupError::TooManyPages(_)) => assert!(!is_elsewhere, "{shown}"),
            other => panic!("{shown} {other:?}"),
        }
    }
}

#[tokio::test]
async fn groups_of_gitlab_are_full_paths_of_all_pages() {
    let page = |next: &str, body: &str| {
        Behaviour::Answer(
            format!("HTTP/1.1 200 OK\r\nx-next-page: {next}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .into_bytes(),
        )
    };
    let server = TestServer::plain(Behaviour::Choose(Arc::new(move |request| {
        let target = request.split(' ').nth(1).unwrap();
        assert!(
            target.starts_with("/gitlab/api/v4/groups?min_access_level=10&order_by=id&per_page=100&page="),
            "{target}"
        );
        if target.ends_with("page=1") {
            page("2", "[{\"id\":1,\"path\":\"db\",\"full_path\":\"platform/db\"}]")
        } else {
            page("", "[{\"full_path\":\"ops\"}]")
        }
    })))
    .await;
    let gitlab = GitlabGroups::new(&server.url("/gitlab"), server.client());
    assert_eq!(gitlab.groups(&Secret::new("t")).await.unwrap(), ["platform/db", "ops"]);
    for (next, body) in
        [("1", "[]"), ("../evil", "[]"), ("-1", "[]"), ("", "[{\"path\":\"ops\"}]"), ("", "{}")]
    {
        let server = TestServer::plain(page(next, body)).await;
        let groups = GitlabGroups::new(&server.url(""), server.client()).groups(&Secret::new("t")).await;
        assert!(matches!(groups, Err(LookupError::Shape(_))), "{next} {body}");
    }
    let silent = TestServer::plain(Behaviour::json("[]")).await;
    let groups = GitlabGroups::new(&silent.url(""), silent.client()).groups(&Secret::new("t")).await;
    assert!(
        matches!(groups, Err(LookupError::Shape(_))),
        "without a word on the next page nobody knows the end"
    );
}
