//! The part of the JSON scanner that scans strings (RFC 8259 §7).

use super::JsonError;
use super::canonical::Span;
use super::scanner::Scanner;

impl Scanner<'_> {
    /// Scans a string from its opening quote, which is at the current position, to its closing
    /// quote. Returns its content in canonical form, without the quotes.
    pub(super) fn string(&mut self) -> Result<Span, JsonError> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            // A string without escapes is canonical, so the bytes of the body are used.
            self.at += 1;
            let end = self.at - 1;
            return Ok(Span { start, end });
        }
        self.string_with_escapes(start)
    }

    /// Scans the rest of a string that began at `start`. The current position is the first
    /// character that is not copied unchanged: a backslash, or a character that must be escaped.
    fn string_with_escapes(&mut self, start: usize) -> Result<Span, JsonError> {
        let began = self.text.begin_rewritten();
        let mut run = start;
        loop {
            self.text.rewrite_plain(Span {
                start: run,
                end: self.at,
            });
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(self.text.end_rewritten(began, Span { start, end }));
                }
                Some(b'\\') => self.escape()?,
                Some(_) | None => return Err(self.syntax()),
            }
            run = self.at;
            self.skip_plain();
        }
    }

    /// Goes to the next character that ends a string, begins an escape, or must be escaped.
    fn skip_plain(&mut self) {
        let rest = &self.bytes[self.at..];
        let is_special = |c: &u8| *c == b'"' || *c == b'\\' || *c < b' ';
        self.at += rest.iter().position(is_special).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let c = self.peek().ok_or_else(|| self.syntax())?;
        let plain = match c {
            b'"' | b'\\' | b'/' => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        self.text.rewrite(plain);
        Ok(())
    }

    /// Scans the `u` of an escape `\uXXXX` and its four hexadecimal digits. If they are a high
    /// surrogate and the next escape is a low surrogate, scans that escape as well, because both
    /// are one character.
    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let first = self.hex4()?;
        if let Some(c) = char::from_u32(u32::from(first)) {
            self.text.rewrite(c);
            return Ok(());
        }
        let before = self.at;
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if let Some(Ok(c)) = char::decode_utf16([first, second]).next() {
                self.text.rewrite(c);
                return Ok(());
            }
            // The second escape is not a low surrogate, so it is scanned again as a character of
            // its own.
            self.at = before;
        }
        self.text.rewrite_unit(first);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u16, JsonError> {
        let digits = self
            .bytes
            .get(self.at..self.at + 4)
            .ok_or_else(|| self.syntax())?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.syntax());
        }
        let text = std::str::from_utf8(digits).map_err(|_| self.syntax())?;
        let unit = u16::from_str_radix(text, 16).map_err(|_| self.syntax())?;
        self.at += 4;
        Ok(unit)
    }
}
