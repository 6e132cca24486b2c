//! The tokens of a GraphQL document (September 2025, 2.1), each byte looked at once.
//!
//! Only what every lexer splits alike is taken; whatever else a document holds makes it unreadable.

/// No name that people give is longer (bytes).
const LONGEST_NAME: usize = 256;

/// What the grammar tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    /// One of `! $ ( ) : = @ [ ] { }`.
    Punctuator(u8),
    /// `...`
    Spread,
    /// A number or a string.
    Literal,
    End,
}

/// Reads tokens from the front of a document.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// `None` if the text holds characters that some lexers take for the end of a line, for blanks, for the end of
    /// the text or for nothing, and others do not.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let is_plain = |c: char| {
            !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
                || matches!(c, '\t' | '\n' | '\r')
        };
        text.chars().all(is_plain).then_some(Self { text, at: 0 })
    }

    /// The next token; `None` where lexers could disagree on it.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.skip_ignored()?;
        let Some(first) = self.peek() else { return Some(Token::End) };
        match first {
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let begin = self.at;
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let name = self.text.get(begin..self.at)?;
                (name.len() <= LONGEST_NAME).then_some(Token::Name(name))
            }
            b'!' | b'$' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'}' => {
                self.at += 1;
                Some(Token::Punctuator(first))
            }
            b'.' => {
                self.at += if self.rest().starts_with("...") { 3 } else { return None };
                Some(Token::Spread)
            }
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.rest().as_bytes();
        let length = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        self.at += length;
        length
    }

    /// Blanks, commas and comments.
    fn skip_ignored(&mut self) -> Option<()> {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b','));
            if self.peek() != Some(b'#') {
                return Some(());
            }
            self.skip_while(|byte| !matches!(byte, b'\n' | b'\r'));
            // Some lexers read a comment on, past a carriage return that stands alone.
            if self.peek() == Some(b'\r') && !self.rest().starts_with("\r\n") {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<Token<'a>> {
        if let Some(block) = self.rest().strip_prefix("\"\"\"") {
            // Older lexers know no block strings: to them this is three strings, and a quotation mark inside or
            // escaped makes them begin and end elsewhere.
            let end = block.find('"')?;
            let (text, after) = block.split_at_checked(end)?;
            if !after.starts_with("\"\"\"") || text.ends_with('\\') {
                return None;
            }
            self.at += end + 6;
            return Some(Token::Literal);
        }
        self.at += 1;
        loop {
            self.skip_while(|byte| !matches!(byte, b'"' | b'\\' | b'\n' | b'\r'));
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(Token::Literal);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        let escaped = self.peek()?;
        self.at += 1;
        match escaped {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Token<'a>> {
        let digits = |lexer: &mut Self| lexer.skip_while(|byte| byte.is_ascii_digit());
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leads_with_zero = self.peek() == Some(b'0');
        let length = digits(self);
        if length == 0 || (leads_with_zero && length > 1) {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return None;
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if digits(self) == 0 {
                return None;
            }
        }
        let ends = !matches!(self.peek(), Some(b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'));
        ends.then_some(Token::Literal)
    }
}
