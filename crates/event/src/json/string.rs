//! The part of the JSON scanner that scans strings (RFC 8259 §7).

use super::JsonError;
use super::canonical::Text;
use super::scanner::Scanner;

impl Scanner<'_> {
    /// Scans a string and its closing quote. The current position is its opening quote.
    pub(super) fn string(&mut self) -> Result<Text, JsonError> {
        self.at += 1;
        let mut text = Text::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(c) if c != b'"' && c != b'\\' && c >= b' ') {
                self.at += 1;
            }
            // The bytes of the run are between ASCII characters of a valid UTF-8 text, so they are
            // valid UTF-8 themselves.
            text.push_plain(&String::from_utf8_lossy(&self.bytes[start..self.at]));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) | None => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self, text: &mut Text) -> Result<(), JsonError> {
        self.at += 1;
        let c = self.peek().ok_or_else(|| self.syntax())?;
        let plain = match c {
            b'"' | b'\\' | b'/' => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(text),
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    /// Scans the `u` of an escape `\uXXXX` and its four hexadecimal digits. If they are a high
    /// surrogate and the next escape is a low surrogate, scans that escape as well, because both
    /// are one character.
    fn unicode_escape(&mut self, text: &mut Text) -> Result<(), JsonError> {
        self.at += 1;
        let first = self.hex4()?;
        if let Some(c) = char::from_u32(u32::from(first)) {
            text.push(c);
            return Ok(());
        }
        let before = self.at;
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if let Some(Ok(c)) = char::decode_utf16([first, second]).next() {
                text.push(c);
                return Ok(());
            }
            // The second escape is not a low surrogate, so it is scanned again as a character of
            // its own.
            self.at = before;
        }
        text.push_lone_surrogate(first);
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
