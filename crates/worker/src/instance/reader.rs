//! Reads a body in one pass: checks that it is JSON (RFC 8259), and builds its values if they are
//! needed.
//!
//! This reader accepts exactly the bodies that `hookbox_event::scan` accepts, with which ingest
//! identified the event. The nesting of values is limited, so the recursion of this reader is safe.

use hookbox_event::{JsonError, number_end, scan};

use super::number::Number;
use super::{Instance, Kind, Object};

/// How deep objects and arrays may be nested. The limit is the same as in `hookbox_event::scan`,
/// and a test checks that both are equal.
const DEPTH_MAX: usize = 127;

/// A body as it was read.
pub(crate) struct Read {
    pub root: Instance,
    /// Whether a string or the name of a member contains half of a surrogate pair.
    pub has_lone_surrogate: bool,
    /// Whether an object has two members with the same name.
    pub has_repeated_name: bool,
}

/// The error for a body that is not JSON, or is nested too deep.
struct Unreadable;

/// Reads a body and builds its values.
pub(crate) fn read(body: &[u8]) -> Result<Read, JsonError> {
    Reader::<true>::run(body)
}

/// Checks that a body is JSON, without building its values.
pub(crate) fn validate(body: &[u8]) -> Result<(), JsonError> {
    Reader::<false>::run(body).map(drop)
}

/// A reader of a body. If `BUILD` is false, it only checks the body: it builds no values, and
/// returns null in place of each.
struct Reader<'a, const BUILD: bool> {
    text: &'a str,
    at: usize,
    depth: usize,
    has_lone_surrogate: bool,
    has_repeated_name: bool,
}

impl<'a, const BUILD: bool> Reader<'a, BUILD> {
    fn run(body: &'a [u8]) -> Result<Read, JsonError> {
        let read = str::from_utf8(body).map_err(|_| Unreadable);
        // `Unreadable` has no text. So the scanner reads the invalid body once more, and its error,
        // with the place in the body, is returned.
        read.and_then(Self::document)
            .map_err(|Unreadable| match scan(body, &[]) {
                Err(error) => error,
                Ok(_) => JsonError::Syntax { at: 0 },
            })
    }

    fn document(text: &'a str) -> Result<Read, Unreadable> {
        let mut reader = Self {
            text,
            at: 0,
            depth: 0,
            has_lone_surrogate: false,
            has_repeated_name: false,
        };
        let root = reader.value()?;
        reader.skip_space();
        if reader.at < text.len() {
            return Err(Unreadable);
        }
        Ok(Read {
            root,
            has_lone_surrogate: reader.has_lone_surrogate,
            has_repeated_name: reader.has_repeated_name,
        })
    }

    /// Reads one value, after the white space before it.
    fn value(&mut self) -> Result<Instance, Unreadable> {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => self.string()?.map_or(Kind::LoneSurrogate, Kind::String),
            Some(b't') => self.literal("true", Kind::Bool(true))?,
            Some(b'f') => self.literal("false", Kind::Bool(false))?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            Some(_) | None => self.number()?,
        };
        Ok(Instance {
            kind,
            start,
            end: self.at,
        })
    }

    fn object(&mut self) -> Result<Kind, Unreadable> {
        self.enter()?;
        let mut object = Object::default();
        if !self.is_empty(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(Unreadable);
                }
                let name = self.string()?.unwrap_or_default();
                self.skip_space();
                self.expect(b':')?;
                let value = self.value()?;
                if BUILD {
                    self.has_repeated_name |= object.insert(name, value);
                }
                if !self.has_next(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Kind::Object(object))
    }

    fn array(&mut self) -> Result<Kind, Unreadable> {
        self.enter()?;
        let mut elements = Vec::new();
        if !self.is_empty(b']') {
            loop {
                let value = self.value()?;
                if BUILD {
                    elements.push(value);
                }
                if !self.has_next(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Kind::Array(elements))
    }

    /// Reads the opening bracket of an object or array.
    fn enter(&mut self) -> Result<(), Unreadable> {
        if self.depth >= DEPTH_MAX {
            return Err(Unreadable);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Returns whether the object or array that was entered is empty. If so, reads its closing
    /// bracket.
    fn is_empty(&mut self, end: u8) -> bool {
        self.skip_space();
        let is_empty = self.peek() == Some(end);
        if is_empty {
            self.at += 1;
        }
        is_empty
    }

    /// Reads the comma or the closing bracket after a value. Returns whether another value follows.
    fn has_next(&mut self, end: u8) -> Result<bool, Unreadable> {
        self.skip_space();
        let next = self.peek().ok_or(Unreadable)?;
        self.at += 1;
        match next {
            b',' => Ok(true),
            next if next == end => Ok(false),
            _ => Err(Unreadable),
        }
    }

    /// Reads a string. Returns `None` if it contains a lone surrogate, so that it is not Unicode
    /// text.
    fn string(&mut self) -> Result<Option<String>, Unreadable> {
        let quote = self.at;
        self.at += 1;
        let mut is_plain = true;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    self.escape()?;
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                Some(_) | None => return Err(Unreadable),
            }
        }
        let end = self.at;
        self.at += 1;
        if is_plain {
            let plain = self.text.get(quote + 1..end).unwrap_or_default();
            return Ok(Some(if BUILD {
                plain.to_owned()
            } else {
                String::new()
            }));
        }
        let quoted = self.text.get(quote..=end).unwrap_or_default();
        let text: Option<String> = serde_json::from_str(quoted).ok();
        self.has_lone_surrogate |= text.is_none();
        Ok(text)
    }

    /// Reads one escape of a string, from its backslash on.
    fn escape(&mut self) -> Result<(), Unreadable> {
        self.at += 1;
        match self.peek().ok_or(Unreadable)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                let digits = self.text.as_bytes().get(self.at..self.at + 4);
                let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
                if !digits.is_some_and(is_hex) {
                    return Err(Unreadable);
                }
                self.at += 4;
            }
            _ => return Err(Unreadable),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind, Unreadable> {
        let start = self.at;
        self.at = number_end(self.text.as_bytes(), start).map_err(|_| Unreadable)?;
        if !BUILD {
            return Ok(Kind::Null);
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Kind::Number(Number::of(text)))
    }

    fn literal(&mut self, word: &str, value: Kind) -> Result<Kind, Unreadable> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Unreadable);
        }
        self.at += word.len();
        Ok(value)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
