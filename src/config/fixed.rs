//! Settings that a running gateway cannot change: sockets, threads, the store and what sessions are signed by.

use super::Config;
use super::reading::{ConfigError, ConfigProblem, SettingLocation};

impl Config {
    /// Whether a running gateway can go over from these settings to `next`, which was read from `place`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with each setting that only a restart can change.
    pub fn can_become(&self, next: &Self, location: &SettingLocation) -> Result<(), ConfigError> {
        let fixed = [
            ("server.listen", self.server.listeners == next.server.listeners),
            ("server.ops_listen", self.server.ops_listen == next.server.ops_listen),
            (
                "server.proxy_protocol_from",
                self.server.proxy_protocol_from == next.server.proxy_protocol_from,
            ),
            ("server.workers", self.server.workers == next.server.workers),
            ("server.tls", self.server.tls.is_some() == next.server.tls.is_some()),
            ("server.acme", self.server.acme == next.server.acme),
            // The plain listener beside it redirects there.
            ("public_url", self.server.acme.is_none() || self.public_url == next.public_url),
            ("store.url", self.store.url.expose() == next.store.url.expose()),
            ("store.connections", self.store.connections == next.store.connections),
            ("secret", expose(self) == expose(next)),
            ("login.admins", self.login.admins == next.login.admins),
            ("log.format", self.log.format == next.log.format),
            ("metrics.listen", self.metrics.listen == next.metrics.listen),
            ("audit.keep", self.audit.keep == next.audit.keep),
        ];
        let problems: Vec<_> = fixed
            .into_iter()
            .filter(|(_, same)| !same)
            .map(|(path, _)| ConfigProblem {
                path: path.to_owned(),
                location: location.clone(),
                what: "cannot change while the gateway runs".to_owned(),
                remedy: "restart the gateway, or write what it was started with".to_owned(),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }
}

fn expose(config: &Config) -> Option<&str> {
    config.secret.as_ref().map(crate::model::secret::Secret::expose)
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigSource, Flags, load};
    use super::*;

    fn config(more: &str) -> Config {
        config_with(more, &[])
    }

    fn config_with(more: &str, variables: &[(&str, &str)]) -> Config {
        // All in one folder: file names count from it.
        let file = tempfile::NamedTempFile::new().unwrap();
        let least = "upstreams = [{ name = \"app\", url = \"http://127.0.0.1:1\" }]\nroutes = [{ upstream = \"app\" }]";
        std::fs::write(file.path(), format!("{more}\n{least}")).unwrap();
        let text = |(name, value): &(&str, &str)| (name.into(), value.into());
        let environment = variables.iter().map(text).collect();
        load(&ConfigSource { file: Some(file.path().to_owned()), environment }, &Flags::default()).unwrap()
    }

    #[test]
    fn what_only_a_restart_can_change_is_named_and_all_of_it_at_once() {
        let old = config("");
        for more in [
            "server.listen = [\"127.0.0.1:8081\"]",
            "server.ops_listen = \"127.0.0.1:8082\"",
            "server.workers = 999",
            "store.url = \"sqlite:other.db\"",
            "store.connections = 99",
            "login.admins = [\"alice=alice@example.com\"]",
        ] {
            let refused = old.can_become(&config(more), &SettingLocation::Nowhere).unwrap_err();
            let paths: Vec<_> = refused.0.iter().map(|problem| problem.path.as_str()).collect();
            assert_eq!(paths, [more.split(" =").next().unwrap()]);
            assert!(refused.to_string().contains("restart"), "{refused}");
        }
        let both = config("server.workers = 999\nstore.connections = 99");
        assert_eq!(old.can_become(&both, &SettingLocation::Nowhere).unwrap_err().0.len(), 2);
    }

    #[test]
    fn another_secret_is_noticed_and_never_shown() {
        let with = |secret| config_with("", &[("DOORWARD_SECRET", secret)]);
        let (one, two) = ("AuyMZ5Ezt0h9zyAzHn+1OxTQaUKCoYXn", "Zq81LmPw0xkVtRbY7sHdN3uEjGfC5iOa");
        let refused = with(one).can_become(&with(two), &SettingLocation::Nowhere).unwrap_err();
        assert_eq!(refused.0[0].path, "secret");
        assert!(!refused.to_string().contains(one) && !refused.to_string().contains(two));
        assert!(config("").can_become(&with(one), &SettingLocation::Nowhere).is_err());
        assert!(with(one).can_become(&with(one), &SettingLocation::Nowhere).is_ok());
    }

    #[test]
    fn everything_else_can_change() {
        let old = config("");
        for more in [
            "",
            "public_url = \"http://127.0.0.1:1234\"",
            "session.idle = \"1h\"",
            "log = { level = \"debug\", access = false }",
            "server.trusted_proxies = [\"10.0.0.0/8\"]",
            "server.limits.connections = 300",
            "store.outage_grace = \"1m\"",
        ] {
            assert!(old.can_become(&config(more), &SettingLocation::Nowhere).is_ok(), "{more}");
        }
    }
}
