//! Maps each error in a request head to a problem.

use super::head::HeadError;
use crate::edge::pages::problem::Problem;

impl From<HeadError> for Problem {
    fn from(fault: HeadError) -> Self {
        match fault {
            HeadError::TooLarge => Self::header_too_large(),
            HeadError::TooManyFields => Self::too_many_fields(),
            HeadError::TargetTooLong => Self::uri_too_long(),
            HeadError::Late => Self::request_timeout(),
            HeadError::Length => Self::bad_framing("Content-Length is not a plain number"),
            HeadError::TwoLengths => Self::bad_framing("Content-Length stands more than once: send it once"),
            HeadError::Coding => Self::bad_framing(
                "Transfer-Encoding is not `chunked` alone, once and by HTTP/1.1: send it so, or Content-Length instead",
            ),
            HeadError::LengthBesideCoding => {
                Self::bad_framing("Content-Length stands beside Transfer-Encoding: send one of them, once")
            }
            HeadError::UpgradeWithBody => {
                Self::bad_framing("a switch of protocol comes with a body: send it without one")
            }
            HeadError::Unread => Self::bad_framing("it is not where the one before it ends"),
            HeadError::LineEnd => Self::unreadable_head("a line of it does not end in CR and LF"),
            HeadError::RequestLine => Self::unreadable_head(
                "its first line is not a method, an address and a version, one blank apart",
            ),
            HeadError::Version => Self::unreadable_head("its version is neither 1.0 nor 1.1"),
            HeadError::Target => Self::unreadable_head(
                "its address has characters that have to be percent-encoded, such as \" as %22, < as %3C and > as %3E",
            ),
            HeadError::FieldName => Self::unreadable_head(
                "one of its header lines does not begin with a name and a colon, or goes on from the line before",
            ),
            HeadError::FieldValue => Self::unreadable_head("one of its header lines has a control character"),
            HeadError::Incomplete => Self::unreadable_head("it ends before its header does"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::Code;

    #[test]
    fn what_cannot_be_served_is_told_by_its_part_or_by_the_setting_that_bounds_it() {
        for (fault, code, told) in [
            (HeadError::TooLarge, Code::HeaderTooLarge, "server.limits.header_bytes"),
            (HeadError::TooManyFields, Code::HeaderTooLarge, "server.limits.header_count"),
            (HeadError::TargetTooLong, Code::UriTooLong, "server.limits.uri_bytes"),
            (HeadError::Length, Code::BadFraming, "Content-Length is not a plain number"),
            (HeadError::TwoLengths, Code::BadFraming, "send it once"),
            (HeadError::Coding, Code::BadFraming, "Transfer-Encoding is not `chunked` alone"),
            (
                HeadError::LengthBesideCoding,
                Code::BadFraming,
                "beside Transfer-Encoding: send one of them, once",
            ),
            (HeadError::UpgradeWithBody, Code::BadFraming, "send it without one"),
        ] {
            let problem = Problem::from(fault);
            assert_eq!(problem.code, code, "{fault:?}");
            assert!(problem.detail.contains(told), "{fault:?}: {}", problem.detail);
        }
        let fields = Problem::from(HeadError::TooManyFields);
        assert!(!fields.detail.contains("cookies"), "{}", fields.detail);
    }
}
