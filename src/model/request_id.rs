//! Request ids for logs.

use std::fmt::{self, Write as _};

use http::HeaderValue;

/// Bytes of the longest: twelve digits for the thread's run, a dash, sixteen for the number.
const MOST: usize = 29;

/// What logs know a request by, unique within the run. Made once, copied as it is.
#[derive(Clone, Copy)]
pub struct RequestId {
    text: [u8; MOST],
    length: usize,
}

impl RequestId {
    /// Of a thread's run, and of a request's number within it.
    pub fn new(run: [u8; 6], number: u64) -> Self {
        let mut id = Self { text: [0; MOST], length: 0 };
        for byte in run {
            _ = write!(id, "{byte:02x}");
        }
        _ = write!(id, "-{number:x}");
        id
    }

    /// As text: hexadecimal digits and a dash.
    pub fn as_str(&self) -> &str {
        self.text.get(..self.length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// As the value of a header.
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Write for RequestId {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.text.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_fits_and_the_first_is_short() {
        let run = [0xab, 0, 1, 2, 3, 0xff];
        assert_eq!(RequestId::new(run, 1).as_str(), "ab00010203ff-1");
        assert_eq!(RequestId::new(run, u64::MAX).as_str(), "ab00010203ff-ffffffffffffffff");
    }
}
