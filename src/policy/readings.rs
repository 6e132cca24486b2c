//! All interpretations of a request that matter to some rules. Each is decided, and the strictest decision counts.

use std::iter;

use http::Method;

use super::Facts;
use super::reading::RequestReading;
use super::rule::{MethodMatch, Rule};
use crate::model::target::RequestKind;

/// Every reading of a request under these rules. A plain request with a path that everybody reads alike has one.
///
/// Where the method is not known, it is each that the rules tell apart: one for each class that they do not name
/// (an unknown method is a write, OPTIONS a read), GET, and those they name; and each as a switch, too.
pub(super) fn readings<'a>(
    rules: &'a [Rule],
    facts: &Facts<'a>,
) -> impl Iterator<Item = RequestReading<'a>> + Clone + use<'a> {
    let (target, messages) = (facts.target, facts.mcp);
    let switches: &[bool] = match target.kind() {
        _ if !target.says_method() => &[false, true],
        RequestKind::Plain | RequestKind::Grpc => &[false],
        RequestKind::WebSocket | RequestKind::Upgrade => &[true],
        RequestKind::PerhapsSwitch => &[false, true],
    };
    let both = target.loose_path().is_some() || rules.iter().any(|rule| rule.when.names_loosely());
    let paths: &[bool] = if both { &[false, true] } else { &[false] };
    let changes: &[bool] = if target.may_change_by_query() { &[false, true] } else { &[false] };
    let named = rules.iter().flat_map(|rule| &rule.when.methods).filter_map(MethodMatch::method);
    let unsaid = (!target.says_method()).then(|| [&Method::GET, &Method::OPTIONS].into_iter().chain(named));
    iter::once(target.method()).chain(unsaid.into_iter().flatten()).flat_map(move |method| {
        switches.iter().flat_map(move |switches| {
            paths.iter().flat_map(move |loose| {
                changes.iter().flat_map(move |changes| {
                    // A request without a message is one reading as well.
                    (0..messages.len().max(1)).map(move |at| RequestReading {
                        method,
                        switches: *switches,
                        loose: *loose,
                        changes: *changes,
                        message: messages.get(at),
                    })
                })
            })
        })
    })
}
