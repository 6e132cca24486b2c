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
use crate::gate::policy_tests::Verdict;

/// Exit code 1 where a claim fails.
pub(super) fn run(overrides: &Overrides, common: &Common, output: Output) -> Result<(), Failure> {
    let config = load(common, overrides)?;
    let verdicts = policy_tests::run(&config);
    let failed = verdicts.iter().filter(|verdict| verdict.wrong.is_some()).count();
    let value = json!({
        "passed": verdicts.len() - failed,
        "failed": failed,
        "tests": verdicts.iter().map(value).collect::<Vec<_>>(),
    });
    let mut lines = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.wrong.is_some()) {
        lines.push(format!("{}  {}", verdict.test.place, verdict.test.path));
        lines.extend(verdict.wrong.iter().map(|wrong| format!("  {wrong}")));
        lines.extend(verdict.explanation.iter().flat_map(explain::lines).map(|line| format!("    {line}")));
    }
    lines.push(match (verdicts.len(), failed) {
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

fn value(verdict: &Verdict<'_>) -> Value {
    json!({
        "path": verdict.test.path,
        "line": verdict.test.place.line(),
        "request": verdict.test.subject(),
        "expect": verdict.test.expect.as_str(),
        "ok": verdict.wrong.is_none(),
        "problem": verdict.wrong,
        "explanation": verdict.explanation,
    })
}
