//! Reads canonical JSON into values.

use super::number::Number;
use super::{Instance, LoneSurrogate, Members};

impl Instance {
    /// Reads the canonical text that the scanner has made of a body.
    pub fn read(canonical: &[u8]) -> Result<Self, LoneSurrogate> {
        Reader::new(canonical).value()
    }
}

/// A reader of canonical JSON. The scanner has written it without white space and no deeper than it
/// allows, so recursion is safe.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub fn value(&mut self) -> Result<Instance, LoneSurrogate> {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(Instance::String),
            Some(b't') => Ok(self.word("true", Instance::Bool(true))),
            Some(b'f') => Ok(self.word("false", Instance::Bool(false))),
            Some(b'n') => Ok(self.word("null", Instance::Null)),
            Some(_) | None => Ok(self.number()),
        }
    }

    fn object(&mut self) -> Result<Instance, LoneSurrogate> {
        let mut members = Members::new();
        self.at += 1;
        while self.has_more(b'}') {
            let key = self.string()?;
            // Skips the colon after the key.
            self.at += 1;
            let value = self.value()?;
            members.insert(key, value);
        }
        Ok(Instance::Object(members))
    }

    fn array(&mut self) -> Result<Instance, LoneSurrogate> {
        let mut elements = Vec::new();
        self.at += 1;
        while self.has_more(b']') {
            elements.push(self.value()?);
        }
        Ok(Instance::Array(elements))
    }

    /// Skips a comma, or the end of the container; returns whether another element follows.
    fn has_more(&mut self, end: u8) -> bool {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                true
            }
            Some(byte) if byte != end => true,
            Some(_) | None => {
                self.at += 1;
                false
            }
        }
    }

    fn string(&mut self) -> Result<String, LoneSurrogate> {
        let start = self.at;
        let mut is_plain = true;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'\\') => {
                    is_plain = false;
                    self.at += 2;
                }
                Some(b'"') | None => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        if is_plain {
            let plain = quoted.get(1..quoted.len().saturating_sub(1));
            let plain = plain.unwrap_or_default();
            return Ok(String::from_utf8_lossy(plain).into_owned());
        }
        serde_json::from_slice(quoted).map_err(|_| LoneSurrogate)
    }

    fn number(&mut self) -> Instance {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        ) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Instance::Number(Number::of(&String::from_utf8_lossy(text)))
    }

    fn word(&mut self, word: &str, value: Instance) -> Instance {
        self.at += word.len();
        value
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}
