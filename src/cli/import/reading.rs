//! How settings of other products are looked at.

use super::draft::{Draft, RemarkKind};
use super::variables::Variables;

/// A setting's text; one that is empty counts as absent, as does one that is not known, which is remarked.
pub(super) fn text(variables: &mut Variables, name: &str, draft: &mut Draft) -> Option<String> {
    let given = variables.take(name)?;
    match given.value {
        Ok(text) => Some(text.expose().to_owned()).filter(|text| !text.is_empty()),
        Err(why) => {
            draft.remark(RemarkKind::LeftOut, &given.name, why);
            None
        }
    }
}

/// A setting that is true or false; any other word is remarked.
pub(super) fn flag(variables: &mut Variables, name: &str, draft: &mut Draft) -> Option<bool> {
    let text = text(variables, name, draft)?;
    let flag = parse_flag(&text);
    if flag.is_none() {
        draft.remark(RemarkKind::LeftOut, name, NO_FLAG);
    }
    flag
}

pub(super) const NO_FLAG: &str = "is neither true nor false";

/// `true` or `false`, in letters of either case.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Seconds in the largest unit that fits without rest.
pub(super) fn brief(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let fits = |(_, size): &&(&str, u64)| seconds >= *size && seconds.is_multiple_of(*size);
    units
        .iter()
        .find(fits)
        .map_or_else(|| format!("{seconds}s"), |(unit, size)| format!("{}{unit}", seconds / size))
}
