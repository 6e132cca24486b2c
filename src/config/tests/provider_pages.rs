//! The pages of `docs/providers`: every block of settings in them works, and they name the redirect URI to register.

use super::*;

/// Each with the settings in it, and the type that they name, if any.
const PAGES: [(&str, Option<&str>, &str); 7] = [
    ("okta", Some("okta"), include_str!("../../../docs/providers/okta.md")),
    ("auth0", Some("auth0"), include_str!("../../../docs/providers/auth0.md")),
    ("cognito", Some("cognito"), include_str!("../../../docs/providers/cognito.md")),
    ("keycloak", Some("keycloak"), include_str!("../../../docs/providers/keycloak.md")),
    ("dex", None, include_str!("../../../docs/providers/dex.md")),
    ("hydra", None, include_str!("../../../docs/providers/hydra.md")),
    ("glewlwyd", None, include_str!("../../../docs/providers/glewlwyd.md")),
];

#[test]
fn every_block_of_settings_works_and_the_page_names_its_redirect_uri() {
    for (name, kind, page) in PAGES {
        let blocks: Vec<&str> =
            page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{name}");
        for block in blocks {
            let folder = ConfigDir::new(&with_least(block));
            assert!(folder.load().is_err(), "{name}: a secret that is missing is noticed");
            for line in block.lines() {
                if let Some(("client_secret_file", file)) = line.split_once(" = ") {
                    folder.write(file.trim_matches('"'), "s3cret-of-the-client\n", 0o600);
                }
            }
            let config = folder.load().unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            let warned = config.warnings.iter().any(|warning| warning.starts_with("providers"));
            assert!(!warned, "{name}: {:?}", config.warnings);
            let provider = &config.providers[0];
            assert!(kind.is_none_or(|kind| block.contains(&format!("type = \"{kind}\""))), "{name}");
            let uri = format!(".example.com/_doorward/callback/{}", provider.name);
            assert!(page.contains(&uri), "{name} does not tell to register {uri}");
        }
    }
}
