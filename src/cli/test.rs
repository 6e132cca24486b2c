//! `doorward test`: whether the settings' claims about their own rules hold.

use serde_json::Value;
use serde_json::json;

use super::Common;
use super::Overrides;
use super::explain;
use super::failure::Failure;
use super::load;
use super::output::Output;
use crate::gate::policy_tests;
use crate::gate::policy_tests::PolicyTestResult;

/// Exit code 1 where a claim fails.
pub(super) fn run(overrides: &Overrides, common: &Common, output: Output) -> Result<(), Failure> {
    let config = load(common, overrides)?;
    let outcomes = policy_tests::run(&config);
    let failed = outcomes.iter().filter(|outcome| outcome.wrong.is_some()).count();
    let value = json!({
        "passed": outcomes.len() - failed,
        "failed": failed,
        "tests": outcomes.iter().map(value).collect::<Vec<_>>(),
    });
    let mut lines = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.wrong.is_some()) {
        lines.push(format!("{}  {}", outcome.test.location, outcome.test.path));
        lines.extend(outcome.wrong.iter().map(|wrong| format!("  {wrong}")));
        lines.extend(outcome.explanation.iter().flat_map(explain::lines).map(|line| format!("    {line}")));
    }
    lines.push(match (outcomes.len(), failed) {
        (0, _) => "There are no tests. Add [[tests]] to the settings to keep the rules as they are meant."
            .to_owned(),
        (1, 0) => "The one test passes.".to_owned(),
        (all, 0) => format!("All {all} tests pass."),
        (all, failed) => format!("{failed} of {all} tests fail."),
    });
    output.show(&value, &lines.join("\n"))?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Refused("the rules are not what the tests expect".to_owned()))
    }
}

fn value(outcome: &PolicyTestResult<'_>) -> Value {
    json!({
        "path": outcome.test.path,
        "line": outcome.test.location.line(),
        "request": outcome.test.subject(),
        "expect": outcome.test.expect.as_str(),
        "ok": outcome.wrong.is_none(),
        "problem": outcome.wrong,
        "explanation": outcome.explanation,
    })
}
