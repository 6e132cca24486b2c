//! A request's head as it stands on the wire, read strictly (RFC 9112, 2 to 6).
//!
//! The HTTP library mends what it can: it takes bare line feeds, forgets a length beside chunks and the second of two
//! equal lengths. None of that can be seen in what it hands over, so it is looked for here, before. What passes here
//! passes the library too: then every refusal is ours, with a body, an id and an event.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Longer than a head may be.
    TooLarge,
    /// More fields than a head may have.
    TooManyFields,
    /// A target longer than any.
    TargetTooLong,
    /// A line that does not end in CR and LF.
    LineEnd,
    /// The first line is not a method, a target and a version, each after one blank.
    RequestLine,
    /// A version that is neither 1.0 nor 1.1.
    Version,
    /// A target that is not a valid URI reference.
    Target,
    /// A line without a colon, a blank before it, or a name that is no token. Folded lines are this, too.
    FieldName,
    /// A control character in a value.
    FieldValue,
    /// A length that is no plain number.
    Length,
    /// Two lengths, even equal ones.
    TwoLengths,
    /// A coding that is not `chunked` alone, or one over HTTP/1.0.
    Coding,
    /// A length beside a coding.
    LengthBesideCoding,
    /// A switch of protocol with a body.
    UpgradeWithBody,
    /// It did not arrive in time.
    Late,
    /// The other end sends no more.
    Incomplete,
    /// More requests than heads were read.
    Unread,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// By its length; zero where there is none.
    Length(u64),
    /// By its chunks.
    Chunked,
}

/// A whole head without fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, the last line's included.
    pub len: usize,
    /// Its body.
    pub body: BodyFraming,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// Whether what comes behind it cannot be told from a body: HTTP/1.0 without a length (RFC 1945, 7.2.2).
    pub last: bool,
}

/// How much a head may hold.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// The library's own limit.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;
/// Empty lines before a request that are passed over (RFC 9112, 2.2).
const MOST_EMPTY_LINES: usize = 4;

/// Reads a head as its bytes come, each line once.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to where no line feed was found.
    seen: usize,
    empty_lines: usize,
    begun: Option<PartialHead>,
}

/// What the lines so far say.
#[derive(Debug)]
struct PartialHead {
    fields: usize,
    old: bool,
    bodyless: bool,
    body: Option<BodyFraming>,
    upgrade: bool,
}

impl HeadReader {
    /// Reads on. `bytes` are all that came, from the head's first on; they may go beyond its end. `None` where more is
    /// needed.
    ///
    /// # Errors
    ///
    /// [`HeadError`]: what makes it no head that can be served.
    pub fn read(&mut self, bytes: &[u8], bounds: HeadLimits) -> Result<Option<Head>, HeadError> {
        // What is no request should not be waited for.
        if self.begun.is_none() && bytes.get(self.line).is_some_and(|first| !begins_line(*first)) {
            return Err(if bytes.get(self.line) == Some(&b'\n') {
                HeadError::LineEnd
            } else {
                HeadError::RequestLine
            });
        }
        while let Some(found) = bytes.get(self.seen..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.seen + found;
            let line = bytes.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(HeadError::LineEnd)?;
            (self.line, self.seen) = (end + 1, end + 1);
            if self.line > bounds.bytes {
                return Err(HeadError::TooLarge);
            }
            match &mut self.begun {
                None if line.is_empty() => {
                    self.empty_lines += 1;
                    if self.empty_lines > MOST_EMPTY_LINES {
                        return Err(HeadError::RequestLine);
                    }
                }
                None => self.begun = Some(PartialHead::request_line(line)?),
                Some(begun) if line.is_empty() => return Ok(Some(begun.end(self.line))),
                Some(begun) => begun.field(line, bounds)?,
            }
        }
        self.seen = bytes.len();
        if self.seen >= bounds.bytes { Err(HeadError::TooLarge) } else { Ok(None) }
    }
}

impl PartialHead {
    fn request_line(line: &[u8]) -> Result<Self, HeadError> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(if line.contains(&b'\r') { HeadError::LineEnd } else { HeadError::RequestLine });
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(HeadError::RequestLine);
        }
        let old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(HeadError::Version),
        };
        if target.len() > LONGEST_TARGET {
            return Err(HeadError::TargetTooLong);
        }
        let plain = target.first() == Some(&b'/') && target.iter().all(|byte| is_plain_target(*byte));
        if !plain && Uri::try_from(target).is_err() {
            return Err(HeadError::Target);
        }
        let bodyless = matches!(method, b"GET" | b"HEAD" | b"OPTIONS");
        Ok(Self { fields: 0, old, bodyless, body: None, upgrade: false })
    }

    fn field(&mut self, line: &[u8], bounds: HeadLimits) -> Result<(), HeadError> {
        self.fields += 1;
        if self.fields > bounds.fields {
            return Err(HeadError::TooManyFields);
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let Some(value) = rest.strip_prefix(b":").filter(|_| !name.is_empty()) else {
            return Err(HeadError::FieldName);
        };
        if value.iter().fold(false, |bad, byte| bad | is_control(*byte)) {
            return Err(if value.contains(&b'\r') { HeadError::LineEnd } else { HeadError::FieldValue });
        }
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => match self.body {
                Some(BodyFraming::Chunked) => return Err(HeadError::LengthBesideCoding),
                Some(BodyFraming::Length(_)) => return Err(HeadError::TwoLengths),
                None => {
                    let length = length(value.trim_ascii()).ok_or(HeadError::Length)?;
                    self.body = Some(BodyFraming::Length(length));
                }
            },
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if matches!(self.body, Some(BodyFraming::Length(_))) {
                    return Err(HeadError::LengthBesideCoding);
                }
                let only = self.body.is_none() && value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if self.old || !only {
                    return Err(HeadError::Coding);
                }
                self.body = Some(BodyFraming::Chunked);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self, len: usize) -> Head {
        Head {
            len,
            body: self.body.unwrap_or(BodyFraming::Length(0)),
            upgrade: self.upgrade && !self.old,
            last: self.old && !self.bodyless && self.body.is_none(),
        }
    }
}

/// Plain digits, and not the numbers that the library keeps for itself.
fn length(value: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|length| *length < u64::MAX - 2)
}

fn begins_line(byte: u8) -> bool {
    byte == b'\r' || is_token(byte)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// What every reader of addresses takes in a path and in a query (RFC 3986, 3.3 and 3.4). What else there may be is
/// looked at by the library's own reader.
fn is_plain_target(byte: u8) -> bool {
    const PLAIN: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?%");
    PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let letter = (byte as u8).is_ascii_alphanumeric();
        #[expect(clippy::indexing_slicing, reason = "below 256, at compile time")]
        {
            table[byte] = letter;
        }
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        #[expect(clippy::indexing_slicing, reason = "in bounds, at compile time")]
        {
            table[others[at] as usize] = true;
        }
        at += 1;
    }
    table
}

/// What can be told of a request whose head cannot be served, for its answer and its event: only what is well formed.
#[derive(Debug)]
pub struct HeadSummary {
    /// Its method, if it is one.
    pub method: Method,
    /// Its path; empty if it cannot be read.
    pub path: String,
    /// Its fields.
    pub headers: HeaderMap,
}

impl HeadSummary {
    /// Most fields that are looked at.
    const FIELDS: usize = 100;

    /// Of a request that the library read.
    pub fn of_request<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            headers: request.headers().clone(),
        }
    }

    /// Of the bytes that came. A line that is not whole does not count.
    pub fn of(bytes: &[u8]) -> Self {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
        let mut words = first.split(|byte| *byte == b' ');
        let method =
            words.next().filter(|word| word.len() <= 32).and_then(|word| Method::from_bytes(word).ok());
        let path = words
            .next()
            .filter(|_| method.is_some())
            .and_then(|target| target.split(|byte| *byte == b'?').next())
            .filter(|path| path.first() == Some(&b'/') && path.iter().all(|byte| is_plain_target(*byte)));
        let headers = lines.take_while(|line| !line.is_empty()).take(Self::FIELDS).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            fields.append(name, value);
        }
        let path = path.map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default();
        // What has no method was most likely to be read.
        Self { method: method.unwrap_or(Method::GET), path, headers: fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadLimits = HeadLimits { bytes: 1000, fields: 10 };

    fn read(text: &str) -> Result<Option<Head>, HeadError> {
        HeadReader::default().read(text.as_bytes(), BOUNDS)
    }

    #[test]
    fn a_head_is_read_the_same_whole_and_byte_by_byte() {
        let text = "\r\nPOST /x?y=z HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX:\t b \r\n\r\n";
        let expected = Head { len: text.len(), body: BodyFraming::Length(5), upgrade: false, last: false };
        assert_eq!(read(&format!("{text}helloGET")), Ok(Some(expected)));
        let mut reader = HeadReader::default();
        for end in 0..text.len() {
            assert_eq!(reader.read(&text.as_bytes()[..end], BOUNDS), Ok(None), "{end}");
        }
        assert_eq!(reader.read(text.as_bytes(), BOUNDS), Ok(Some(expected)));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_a_fault() {
        let head = |line: &str, fields: &str| read(&format!("{line}\r\nhost: a\r\n{fields}\r\n"));
        let post = |fields: &str| head("POST / HTTP/1.1", fields);
        for (fields, fault) in [
            ("content-length: 5\r\ncontent-length: 5\r\n", HeadError::TwoLengths),
            ("content-length: 5\r\ntransfer-encoding: chunked\r\n", HeadError::LengthBesideCoding),
            ("Transfer-Encoding: chunked\r\ncontent-length: 5\r\n", HeadError::LengthBesideCoding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", HeadError::Coding),
            ("transfer-encoding: gzip, chunked\r\n", HeadError::Coding),
            ("content-length: +5\r\n", HeadError::Length),
            ("content-length:\r\n", HeadError::Length),
            ("content-length: 18446744073709551615\r\n", HeadError::Length),
            ("x: a\ny: b\r\n", HeadError::LineEnd),
            ("x: a\rb\r\n", HeadError::LineEnd),
            ("x: a\r\n b\r\n", HeadError::FieldName),
            ("x : a\r\n", HeadError::FieldName),
            (": a\r\n", HeadError::FieldName),
            ("x\r\n", HeadError::FieldName),
            ("x: \0\r\n", HeadError::FieldValue),
            ("x: \x7f\r\n", HeadError::FieldValue),
        ] {
            assert_eq!(post(fields), Err(fault), "{fields:?}");
        }
        for (line, fault) in [
            ("GET / HTTP/1.2", HeadError::Version),
            ("PRI * HTTP/2.0", HeadError::Version),
            ("GET  / HTTP/1.1", HeadError::RequestLine),
            ("GET /", HeadError::RequestLine),
            ("GET / y HTTP/1.1", HeadError::RequestLine),
            ("G\"T / HTTP/1.1", HeadError::RequestLine),
            (" GET / HTTP/1.1", HeadError::RequestLine),
            ("\x16\x03\x01", HeadError::RequestLine),
            ("GET /?a=\" HTTP/1.1", HeadError::Target),
            ("GET /?a=<b> HTTP/1.1", HeadError::Target),
            ("GET x HTTP/1.1\n", HeadError::LineEnd),
        ] {
            assert_eq!(head(line, ""), Err(fault), "{line:?}");
        }
        assert!(matches!(post("x: y\r\n"), Ok(Some(_))));
        assert!(matches!(head("GET http://a/b?{}|^ HTTP/1.1", ""), Ok(Some(_))));
    }

    #[test]
    fn heads_are_bounded() {
        let many = "x: y\r\n".repeat(10);
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")), Err(HeadError::TooManyFields));
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(1000))), Err(HeadError::TooLarge));
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1000))),
            Err(HeadError::TooLarge)
        );
        assert_eq!(read(&"\r\n".repeat(9)), Err(HeadError::RequestLine));
    }

    #[test]
    fn what_follows_a_head_without_a_length_is_nothing_by_http_1_1_and_unclear_by_1_0() {
        let last = |line: &str| read(&format!("{line}\r\nhost: a\r\n\r\n")).unwrap().unwrap().last;
        assert!(last("POST / HTTP/1.0") && last("PUT / HTTP/1.0"));
        assert!(!last("POST / HTTP/1.1") && !last("GET / HTTP/1.0"));
        assert_eq!(read("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), Err(HeadError::Coding));
    }

    #[test]
    fn a_sketch_holds_what_is_well_formed() {
        let sketch = HeadSummary::of(
            b"PUT /a/b?key=1 HTTP/1.1\r\nAccept: text/html\r\nbad line\r\nx : y\r\nUser-Agent: z",
        );
        assert_eq!((sketch.method, sketch.path.as_str()), (Method::PUT, "/a/b"));
        assert_eq!(
            (sketch.headers.len(), &sketch.headers["accept"]),
            (2, &HeaderValue::from_static("text/html"))
        );
        let sketch = HeadSummary::of(b"\x16\x03\x01\x00");
        assert_eq!((sketch.method, sketch.path.as_str()), (Method::GET, ""));
    }
}
