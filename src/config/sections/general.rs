//! Settings above the sections, which every section may use: the public URL and the secret.

use http::HeaderName;

use crate::config::reading::{InvalidValue, SecretFileError, SettingsReader, check_key_material};
use crate::config::sections::public_url::PublicUrl;
use crate::config::sections::server;
use crate::config::sections::server::ListenAddress;
use crate::config::sections::server::ListenerConfig;
use crate::model::secret::Secret;

/// What every section may look at.
pub(in crate::config) struct General {
    pub(in crate::config) public_url: PublicUrl,
    pub(in crate::config) secret: Option<Secret>,
    pub(in crate::config) listeners: Vec<ListenerConfig>,
    /// Whether any proxy in front of the gateway is believed.
    pub(in crate::config) has_trusted_proxy: bool,
    /// Every header that may carry a key somewhere, beside `Authorization`.
    pub(in crate::config) key_headers: Vec<HeaderName>,
}

/// What is checked by itself: it looks at what it says and at what is general, and at no other section.
pub(in crate::config) trait CheckSection {
    /// What it comes to.
    type Typed;

    /// Notes every problem. What is returned counts only if there was none.
    fn check(self, general: &General, reader: &mut SettingsReader) -> Self::Typed;
}

/// The public URL as written, or made from the first listener.
pub(in crate::config) fn public_url(
    written: Option<&PublicUrl>,
    insecure: bool,
    listeners: &[ListenerConfig],
    reader: &mut SettingsReader,
) -> PublicUrl {
    if let Some(url) = written {
        let exposed = !url.is_secure() && !url.is_loopback();
        if exposed && insecure {
            reader.warn("public_url", "is plain http: passwords and cookies can be read on the way");
        } else if exposed {
            reader.problem(
                "public_url",
                "is plain http on a host other than this machine: passwords and cookies could be read on the way",
                "write https://, or set `insecure = true` if nothing but trusted wire lies between",
            );
        }
        return url.clone();
    }
    let first = listeners.first();
    let (open, open_plain) = server::open(listeners);
    let local = match (open.or(open_plain), first.map(|listener| &listener.address)) {
        (None, Some(ListenAddress::Tcp(address))) => Some(*address),
        _ => None,
    };
    let is_broken = reader.is_broken("server.listen") || reader.is_broken("server.listeners");
    let what = match (open.or(open_plain), first) {
        (Some(open), _) => Some(format!("is missing, but {open} can be reached from other machines")),
        (None, Some(first)) if local.is_none() && !is_broken => {
            Some(format!("is missing, and cannot be made from {}", first.address))
        }
        _ => None,
    };
    if let Some(what) = what
        && !reader.is_broken("public_url")
    {
        let remedy =
            "add `public_url = \"https://app.example.com\"`, the address people type into their browsers";
        reader.problem("public_url", what, remedy);
    }
    let scheme = if first.is_some_and(|listener| listener.tls) { "https" } else { "http" };
    let address = local.unwrap_or(([127, 0, 0, 1], 8080).into());
    PublicUrl::parse(&format!("{scheme}://{address}")).expect("scheme, address and port make a URL")
}

/// The secret, unless it could be guessed.
pub(in crate::config) fn secret(secret: Option<Secret>, reader: &mut SettingsReader) -> Option<Secret> {
    let text = secret.as_ref()?;
    let path = reader.set_as("secret");
    let is_example = reader.is_example(text.expose());
    let checked = if is_example { Err(SecretFileError::Guessable) } else { check_key_material(text) };
    if let Err(error) = checked {
        reader.fault(&path, InvalidValue::told(&error.to_string()));
    }
    secret
}
