//! Where a chunked body ends (RFC 9112, 7.1). Reads no data, keeps nothing.

/// A place in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// Before the first digit of a size.
    #[default]
    Begin,
    /// Within a size.
    Size(u64),
    /// Behind a size: blanks.
    Blank(u64),
    /// Within an extension.
    Extension(u64),
    /// The line feed of a size's line.
    SizeEnd(u64),
    /// So many bytes of data.
    Data(u64),
    /// CR behind data.
    DataEnd,
    /// LF behind it.
    DataLast,
    /// At the beginning of a trailer's line.
    Line,
    /// Within one.
    Trailer,
    /// Its line feed.
    TrailerEnd,
    /// The last line feed.
    Last,
    /// Behind the end.
    Over,
}

/// No chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedChunk;

impl Chunks {
    /// Goes through bytes, and says how many belong to the body: fewer than there are only at its end.
    ///
    /// # Errors
    ///
    /// [`MalformedChunk`] at the first byte that is not part of a chunked body.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, MalformedChunk> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            *self = match *self {
                Self::Over => break,
                Self::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    at += here;
                    match left - here as u64 {
                        0 => Self::DataEnd,
                        left => Self::Data(left),
                    }
                }
                other => {
                    at += 1;
                    other.after(*byte)?
                }
            };
        }
        Ok(at)
    }

    /// Whether the body has ended.
    pub fn is_over(self) -> bool {
        self == Self::Over
    }

    fn after(self, byte: u8) -> Result<Self, MalformedChunk> {
        Ok(match (self, byte) {
            (Self::Begin, _) => Self::Size(digit(byte)?),
            (Self::Size(size) | Self::Blank(size) | Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Size(size) | Self::Blank(size), b';')
            | (Self::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => Self::Extension(size),
            (Self::Size(size) | Self::Blank(size), b' ' | b'\t') => Self::Blank(size),
            (Self::Size(size), _) => {
                let size = size.checked_mul(16).ok_or(MalformedChunk)?;
                Self::Size(size.checked_add(digit(byte)?).ok_or(MalformedChunk)?)
            }
            (Self::SizeEnd(0) | Self::TrailerEnd, b'\n') => Self::Line,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataEnd, b'\r') => Self::DataLast,
            (Self::DataLast, b'\n') => Self::Begin,
            (Self::Line, b'\r') => Self::Last,
            (Self::Line | Self::Trailer, b'\t' | b' '..=b'~' | 0x80..) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Last, b'\n') => Self::Over,
            _ => return Err(MalformedChunk),
        })
    }
}

fn digit(byte: u8) -> Result<u64, MalformedChunk> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(MalformedChunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_at_the_same_byte_however_it_comes() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n00\r\nx: y\r\nz: 0\r\n\r\n",
            "A \r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n",
        ] {
            let mut chunks = Chunks::default();
            let behind = format!("{body}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(
                (chunks.pass(behind.as_bytes()), chunks.is_over()),
                (Ok(body.len()), true),
                "{body:?}"
            );
            let mut chunks = Chunks::default();
            for (at, byte) in body.bytes().enumerate() {
                assert!(!chunks.is_over(), "{body:?} {at}");
                assert_eq!(chunks.pass(&[byte]), Ok(1));
            }
            assert!(chunks.is_over(), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for body in [
            "x",
            "\r\n",
            " 5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5\n",
            "5\rh",
            "5\0",
            "5;a\n",
            "5;\0",
            "5 5\r\n",
            "5\r\nhelloXX",
            "5\r\nhello\n",
            "0\r\n\n",
            "0\r\nx: y\n",
            "0\r\nx\ry",
            "ffffffffffffffff0\r\n",
        ] {
            assert_eq!(Chunks::default().pass(body.as_bytes()), Err(MalformedChunk), "{body:?}");
        }
    }
}
