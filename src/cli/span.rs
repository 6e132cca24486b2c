//! Spans of time on the command line: `90d`, `12h`, `30m`.

use std::time::Duration;

/// Reads a whole number with a unit: `s`, `m`, `h`, `d` or `w`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    const MOST: u64 = 100 * 366 * 24 * 60 * 60;
    let wrong = || "write a number and a unit, such as 90d, 12h or 30m; at most 100 years".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = if digits { number.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let total = count.checked_mul(seconds).filter(|total| (1..=MOST).contains(total));
    total.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        assert_eq!(parse("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(parse("1w"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(parse("45s"), Ok(Duration::from_secs(45)));
        for wrong in
            ["", "d", "90", "0d", "-1d", "+1d", "1.5h", "90 d", "1y", "9999999999999w", "99999w", "é"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
