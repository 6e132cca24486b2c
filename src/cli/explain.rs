//! `doorward explain`: shows the decision for a request, rule by rule.

use serde_json::to_value;

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use super::services::CommandServices;
use crate::config::Config;
use crate::gate::Rulebook;
use crate::gate::credential::CredentialNames;
use crate::gate::explain::ExplainQuery;
use crate::gate::explain::Explanation;
use crate::gate::explain::{Trial, TriedRule};
use crate::model::principal::{ClientAddress, Principal};
use crate::model::verdict::{Code, Verdict};
use crate::service::subjects::Subjects;

/// What `explain` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// Method and path, such as "POST /v1/traces"
    request: String,
    /// Who asks: nobody, role:ROLE, user:NAME, key:NAME or client-certificate:NAME; users and keys are looked up in the
    /// store, certificates in the settings
    #[arg(long = "as", value_name = "WHO", default_value = "nobody")]
    who: String,
    /// Group of a role that is named with --as; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Which host is asked for [default: that of the public URL]
    #[arg(long)]
    host: Option<String>,
    /// Address of the client, or unknown [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    client: Option<ClientAddress>,
    /// What the request asks for: plain, websocket or grpc
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Origin of the page that asks, as a browser names it; with OPTIONS, a preflight
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// The GraphQL document in its body
    #[arg(long, value_name = "DOCUMENT")]
    graphql: Option<String>,
    /// The message of the Model Context Protocol in its body: a method, and after a blank a tool
    #[arg(long, value_name = "MESSAGE", conflicts_with = "graphql")]
    mcp: Option<String>,
    /// The second place of COPY and MOVE: what stands in the header Destination
    #[arg(long, value_name = "PATH")]
    destination: Option<String>,
}

/// Exit code 1 where the request would not pass.
pub(super) async fn run(arguments: Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    let has_own_groups = |kind: &str| arguments.who.starts_with(kind);
    if ["user:", "key:", "client-certificate:"].into_iter().any(has_own_groups) && !arguments.group.is_empty()
    {
        return Err(Failure::Usage("--group goes with --as role:ROLE; all others have their own".to_owned()));
    }
    let (config, caller) = if arguments.who.starts_with("user:") || arguments.who.starts_with("key:") {
        let services = CommandServices::open(common).await?;
        let caller = services.subjects.caller(&services.by, &arguments.who).await?;
        (services.config, caller)
    } else {
        let config = load_beside(common)?;
        let caller = match CredentialNames::new(&config).certificate_holder(&arguments.who) {
            Some(holder) => Some(holder?),
            None => Subjects::unknown(&arguments.who)?
                .map(|caller| Principal { groups: sorted(arguments.group), ..caller }),
        };
        (config, caller)
    };
    let question = ExplainQuery {
        request: arguments.request,
        host: arguments.host,
        client: arguments.client,
        kind: arguments.kind,
        origin: arguments.origin,
        graphql: arguments.graphql,
        mcp: arguments.mcp,
        destination: arguments.destination,
    };
    let says_where = question.destination.is_some();
    let explanation = explain(&config, question, caller)?;
    let value = to_value(&explanation).map_err(|error| Failure::Failed(error.into()))?;
    let mut told = lines(&explanation);
    if explanation.code == Some(Code::BadDestination) && !says_where {
        told.push("to a second place: none is named; add --destination PATH".to_owned());
    }
    output.show(&value, &told.join("\n"))?;
    if explanation.passes { Ok(()) } else { Err(Failure::Refused("such a request is refused".to_owned())) }
}

fn sorted(mut groups: Vec<String>) -> Vec<String> {
    groups.sort();
    groups.dedup();
    groups
}

fn explain(
    config: &Config,
    question: ExplainQuery,
    caller: Option<Principal>,
) -> Result<Explanation, Failure> {
    let asked = question
        .asked(&config.public_url.authority(), caller)
        .map_err(|error| Failure::Usage(format!("the request {error}")))?;
    Ok(Rulebook::new(config).explain(&asked))
}

/// An explanation for people.
pub(super) fn lines(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![verdict(explanation)];
    match &explanation.caller {
        Some(caller) => {
            let groups = if caller.groups.is_empty() {
                "no group".to_owned()
            } else {
                format!("groups {}", caller.groups.join(", "))
            };
            lines.push(format!(
                "caller: {} ({}), {}, {groups}, by {}",
                if caller.name.is_empty() { "somebody" } else { &caller.name },
                caller.credential,
                caller.role,
                caller.provider
            ));
        }
        // No rule was tried, since it is refused for every caller.
        None if explanation.rules.is_empty() => {
            lines.push("caller: any, since every caller is refused".to_owned());
        }
        None => lines.push("caller: nobody".to_owned()),
    }
    match (&explanation.route, &explanation.upstream) {
        (Some(route), Some(upstream)) => lines.push(format!("route: {route} -> {upstream}")),
        (Some(route), None) => lines.push(format!("route: {route}")),
        (None, _) => lines.push("route: none takes this host and path".to_owned()),
    }
    for lacking in &explanation.without_value {
        lines.push(format!("not told, as it has no value for this caller: {lacking}"));
    }
    let mut reading = None;
    for tried in &explanation.rules {
        if tried.reading != reading {
            lines.push(format!("  read as {}:", tried.reading.as_deref().unwrap_or("sent")));
            reading.clone_from(&tried.reading);
        }
        lines.push(format!("  {}", sentence(tried)));
    }
    lines
}

fn verdict(explanation: &Explanation) -> String {
    let by = explanation.rule.as_ref().map_or_else(String::new, |rule| format!(" by rule `{rule}`"));
    let why = explanation.code.map_or_else(String::new, |code| format!(" ({code})"));
    let passes = match (explanation.verdict, explanation.passes) {
        (Verdict::Allow, _) | (_, false) => "",
        (_, true) => "; it passes all the same, because that is not enforced here",
    };
    format!("{}{by}{why}{passes}", explanation.verdict)
}

fn sentence(tried: &TriedRule) -> String {
    let why = tried.why.as_deref().unwrap_or_default();
    let what = match tried.result {
        Trial::Skipped => {
            let advice = tried.advice.map_or_else(String::new, |advice| format!(": {advice}"));
            format!("skipped: `{why}` does not fit{advice}")
        }
        Trial::PassedOver => "denies others only".to_owned(),
        Trial::Denies => format!("denies {why}"),
        Trial::Allows => format!("allows {why}"),
        Trial::NoneFits => return "no rule fits: refused".to_owned(),
        Trial::AllowsOthers => "allows others only".to_owned(),
    };
    format!("{}: {what}", tried.rule)
}
