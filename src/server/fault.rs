//! What a client is told of a head that cannot be served.

use super::wire::head::Fault;
use crate::edge::pages::problem::Problem;

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::header_too_large(),
            Fault::TooManyFields => Self::too_many_fields(),
            Fault::TargetTooLong => Self::uri_too_long(),
            Fault::Late => Self::request_timeout(),
            Fault::Length => Self::bad_framing("Content-Length is no plain number"),
            Fault::TwoLengths => Self::bad_framing("Content-Length stands more than once: send it once"),
            Fault::Coding => Self::bad_framing(
                "Transfer-Encoding is not `chunked` alone, once and by HTTP/1.1: send it so, or Content-Length instead",
            ),
            Fault::LengthBesideCoding => {
                Self::bad_framing("Content-Length stands beside Transfer-Encoding: send one of them, once")
            }
            Fault::UpgradeWithBody => {
                Self::bad_framing("a switch of protocol comes with a body: send it without one")
            }
            Fault::Unread => Self::bad_framing("it is not where the one before it ends"),
            Fault::LineEnd => Self::unreadable_head("a line of it does not end in CR and LF"),
            Fault::RequestLine => Self::unreadable_head(
                "its first line is not a method, an address and a version, one blank apart",
            ),
            Fault::Version => Self::unreadable_head("its version is neither 1.0 nor 1.1"),
            Fault::Target => Self::unreadable_head(
                "its address has characters that have to be percent-encoded, such as \" as %22, < as %3C and > as %3E",
            ),
            Fault::FieldName => Self::unreadable_head(
                "one of its header lines does not begin with a name and a colon, or goes on from the line before",
            ),
            Fault::FieldValue => Self::unreadable_head("one of its header lines has a control character"),
            Fault::Incomplete => Self::unreadable_head("it ends before its header does"),
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
            (Fault::TooLarge, Code::HeaderTooLarge, "server.limits.header_bytes"),
            (Fault::TooManyFields, Code::HeaderTooLarge, "server.limits.header_count"),
            (Fault::TargetTooLong, Code::UriTooLong, "server.limits.uri_bytes"),
            (Fault::Length, Code::BadFraming, "Content-Length is no plain number"),
            (Fault::TwoLengths, Code::BadFraming, "send it once"),
            (Fault::Coding, Code::BadFraming, "Transfer-Encoding is not `chunked` alone"),
            (Fault::LengthBesideCoding, Code::BadFraming, "beside Transfer-Encoding: send one of them, once"),
            (Fault::UpgradeWithBody, Code::BadFraming, "send it without one"),
        ] {
            let problem = Problem::from(fault);
            assert_eq!(problem.code, code, "{fault:?}");
            assert!(problem.detail.contains(told), "{fault:?}: {}", problem.detail);
        }
        let fields = Problem::from(Fault::TooManyFields);
        assert!(!fields.detail.contains("cookies"), "{}", fields.detail);
    }
}
