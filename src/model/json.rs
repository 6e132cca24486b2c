//! JSON of other servers, read so that a small text never becomes a large value.

use serde::de::DeserializeOwned;

/// Values in one text. The largest that providers send have some thousands; each may take two hundred times its bytes in memory.
const MOST_VALUES: usize = 20_000;

/// Reads JSON; `None` if it is none, of another shape, or has more than 20,000 values.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    if values(text) > MOST_VALUES {
        return None;
    }
    serde_json::from_slice(text).ok()
}

/// How many values a text may have, if it is JSON: one more than it has commas and opening brackets outside of strings.
fn values(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'{' | b'[' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn many_small_values_are_not_read_and_long_ones_are() {
        let many = |one: &str, count: usize| format!("[{}]", vec![one; count].join(","));
        for one in ["{}", "[]", "{\"\":0}", "[[[]]]"] {
            assert_eq!(read::<Value>(many(one, 20_000).as_bytes()), None, "{one}");
            assert!(read::<Value>(many(one, 4_000).as_bytes()).is_some(), "{one}");
        }
        assert_eq!(read::<Value>(many("0", 20_000).as_bytes()), None);
        assert!(read::<Value>(many("0", 19_000).as_bytes()).is_some());
        let text = format!("{{\"a\\\\\":\"{}\\\"{{[,\"}}", ",{[".repeat(30_000));
        assert_eq!(values(text.as_bytes()), 2);
        assert!(read::<Value>(text.as_bytes()).is_some(), "what stands in strings is no value");
    }

    #[test]
    fn what_is_no_such_json_is_not_read() {
        for text in ["", "{", "[1,]", "\"", "nul", "{\"a\":1} x"] {
            assert_eq!(read::<Value>(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read::<Vec<u8>>(b"{}"), None);
        assert_eq!(read::<Vec<u8>>(b"[1, 2]"), Some(vec![1, 2]));
    }
}
