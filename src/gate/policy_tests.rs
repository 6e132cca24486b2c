//! Runs the policy tests of the settings, by deciding their requests.

use super::explain::{Explanation, Hypothetical, HypotheticalBody};
use super::rulebook::Rulebook;
use crate::config::{Config, ConfigError, ConfigProblem, Expect, PolicyTest};
use crate::model::target::RequestTarget;
use crate::model::verdict::{Code, Verdict};

/// The outcome of one policy test.
#[derive(Debug)]
pub struct PolicyTestResult<'c> {
    /// The claim.
    pub test: &'c PolicyTest,
    /// What is decided, and why. `None` where the target is refused before anything is decided.
    pub explanation: Option<Explanation>,
    /// What is wrong, if anything is.
    pub wrong: Option<String>,
}

/// Runs every policy test.
pub fn run(config: &Config) -> Vec<PolicyTestResult<'_>> {
    let rulebook = Rulebook::new(config);
    let own = config.public_url.authority();
    config.tests.iter().map(|test| check(test, &rulebook, &own)).collect()
}

/// The settings, if every claim in them holds.
///
/// # Errors
///
/// [`ConfigError`] with each claim that does not.
pub fn passed(config: Config) -> Result<Config, ConfigError> {
    let problems: Vec<ConfigProblem> = run(&config).iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
}

fn problem(outcome: &PolicyTestResult<'_>) -> Option<ConfigProblem> {
    let wrong = outcome.wrong.as_ref()?;
    Some(ConfigProblem {
        path: outcome.test.path.clone(),
        location: outcome.test.location.clone(),
        what: format!("fails: {wrong}"),
        remedy:
            "change the rules, or the test if it is wrong; `doorward test` tells every rule that was tried"
                .to_owned(),
    })
}

fn check<'c>(test: &'c PolicyTest, rulebook: &Rulebook, own: &str) -> PolicyTestResult<'c> {
    let authority = test.host.as_deref().unwrap_or(own);
    let subject = test.subject();
    let target = match RequestTarget::parse(&test.method, authority, &test.target, test.kind) {
        Ok(target) => target,
        Err(error) => {
            let wrong = (test.expect != Expect::Deny || test.rule.is_some())
                .then(|| format!("{subject} is refused before any rule is tried, because {error}"));
            return PolicyTestResult { test, explanation: None, wrong };
        }
    };
    let explanation = rulebook.explain(&Hypothetical {
        target,
        authority: authority.to_owned(),
        client: test.client,
        caller: test.caller.clone(),
        origin: None,
        body: HypotheticalBody::of(test.graphql.clone(), test.mcp.clone()),
        destination: test.destination.clone(),
    });
    let holds = match test.expect {
        Expect::Allow => explanation.verdict == Verdict::Allow,
        Expect::Deny => explanation.verdict != Verdict::Allow,
        Expect::SignIn => explanation.verdict == Verdict::Challenge,
    };
    let right_rule = test.rule.is_none() || explanation.rule == test.rule;
    let by = match (&explanation.rule, explanation.code) {
        (Some(rule), _) => format!(" by rule `{rule}`"),
        (None, Some(Code::NoRoute)) => ", because no route takes it".to_owned(),
        (None, Some(Code::Forbidden | Code::SignInRequired) | None) => ", because no rule fits".to_owned(),
        (None, Some(code)) => format!(" ({code})"),
    };
    let found = format!("{subject} gets `{}`{by}", explanation.verdict);
    let wrong = match (holds, right_rule, &test.rule) {
        (true, true, _) => None,
        (false, _, _) => Some(format!("{found}, but `{}` is expected", test.expect.as_str())),
        (true, false, rule) => {
            Some(format!("{found}, but by rule `{}` is expected", rule.as_deref().unwrap_or_default()))
        }
    };
    PolicyTestResult { test, explanation: Some(explanation), wrong }
}
