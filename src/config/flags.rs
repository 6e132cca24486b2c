//! Settings from the command line, as layers over all others.

use figment::Figment;
use figment::value::{Dict, Value};

use super::reading::{ConfigProblem, Layer, SettingLocation};

/// Settings from the command line. Secrets have no flag: other users of a machine can read command lines.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--upstream`: url of the only upstream.
    pub upstream: Option<String>,
    /// `--listen`, any number of times: replaces `server.listen`.
    pub listen: Vec<String>,
    /// `--public-url`: replaces `public_url`.
    pub public_url: Option<String>,
    /// `--insecure`: sets `insecure`.
    pub insecure: bool,
}

impl Flags {
    /// What was said, over all that was said `before`.
    pub(super) fn layers(&self, before: &Figment, problems: &mut Vec<ConfigProblem>) -> Vec<Layer> {
        let mut layers = Vec::new();
        if let Some(url) = &self.public_url {
            layers.push(Layer::new("--public-url", &["public_url"], url.as_str().into()));
        }
        if self.insecure {
            layers.push(Layer::new("--insecure", &["insecure"], true.into()));
        }
        if !self.listen.is_empty() {
            layers.push(Layer::new("--listen", &["server", "listen"], self.listen.clone().into()));
        }
        if let Some(url) = &self.upstream {
            let table = |entries: &[(&str, &str)]| -> Value {
                entries.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect::<Dict>().into()
            };
            let upstreams = before.find_value("upstreams").ok();
            match upstreams.as_ref().map(|value| value.as_array().unwrap_or_default()) {
                None | Some([]) => {
                    let upstream = table(&[("name", "default"), ("url", url)]);
                    layers.push(Layer::new("--upstream", &["upstreams"], vec![upstream].into()));
                    if !before.contains("routes") {
                        let route = table(&[("upstream", "default")]);
                        layers.push(Layer::new("--upstream", &["routes"], vec![route].into()));
                    }
                }
                Some([Value::Dict(tag, only)]) => {
                    let mut only = only.clone();
                    only.remove("servers");
                    only.insert("url".into(), url.as_str().into());
                    layers.push(Layer::new(
                        "--upstream",
                        &["upstreams"],
                        vec![Value::Dict(*tag, only)].into(),
                    ));
                }
                Some(_) => problems.push(ConfigProblem {
                    path: "upstreams".into(),
                    location: SettingLocation::Flag("--upstream".into()),
                    what: "there is more than one upstream whose url the flag could replace".into(),
                    remedy: "leave the flag out and set the url of one of them in the file".into(),
                }),
            }
        }
        layers
    }
}
