//! The JSON scanner: it passes once over the bytes, with a stack of its own instead of recursion.

use super::canonical::Text;
use super::{DEPTH_MAX, Document, Extract, JsonError, Scalar};
use crate::Pointer;

/// Scans a whole body and returns its canonical form and the values at `pointers`.
pub fn scan(body: &[u8], pointers: &[Pointer]) -> Result<Document, JsonError> {
    let text = std::str::from_utf8(body).map_err(|error| JsonError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    Scanner::new(text.as_bytes(), pointers).run()
}

/// An object or array whose end the scanner has not reached yet.
enum Open {
    Array {
        index: usize,
    },
    Object {
        start: usize,
        members: Vec<Member>,
        key: Option<String>,
    },
}

/// A member of an object that was scanned: its canonical key, and where its text begins and ends in
/// the canonical output.
struct Member {
    key: Vec<u8>,
    name: Option<String>,
    start: usize,
    end: usize,
}

pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pointers: &'a [Pointer],
    extracts: Vec<Extract>,
    stack: Vec<Open>,
    out: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// Creates a scanner of `bytes`, which must be UTF-8.
    pub fn new(bytes: &'a [u8], pointers: &'a [Pointer]) -> Self {
        Self {
            bytes,
            at: 0,
            pointers,
            extracts: vec![Extract::Absent; pointers.len()],
            stack: Vec::new(),
            out: Vec::with_capacity(bytes.len()),
        }
    }

    pub fn run(mut self) -> Result<Document, JsonError> {
        loop {
            let complete = self.value()?;
            if complete && self.close_finished()? {
                break;
            }
        }
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(self.syntax());
        }
        Ok(Document {
            canonical: self.out,
            extracts: self.extracts,
        })
    }

    /// Scans one value and returns `true`. For an object or array with content, it scans only the
    /// beginning, up to the first value in it, and returns `false`.
    fn value(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.open_object(),
            Some(b'[') => self.open_array(),
            Some(b'"') => {
                let text = self.string()?;
                self.write_string(&text);
                if let Some(value) = text.value {
                    self.found(Extract::Found(Scalar::String(value)));
                }
                Ok(true)
            }
            Some(b't') => self.literal(b"true", Some(Scalar::Bool(true))),
            Some(b'f') => self.literal(b"false", Some(Scalar::Bool(false))),
            Some(b'n') => self.literal(b"null", None),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => Err(self.syntax()),
        }
    }

    fn open_object(&mut self) -> Result<bool, JsonError> {
        self.check_depth()?;
        self.found(Extract::Container);
        let start = self.out.len();
        self.at += 1;
        self.out.push(b'{');
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.out.push(b'}');
            return Ok(true);
        }
        self.stack.push(Open::Object {
            start,
            members: Vec::new(),
            key: None,
        });
        self.member_key()?;
        Ok(false)
    }

    fn open_array(&mut self) -> Result<bool, JsonError> {
        self.check_depth()?;
        self.found(Extract::Container);
        self.at += 1;
        self.out.push(b'[');
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.out.push(b']');
            return Ok(true);
        }
        self.stack.push(Open::Array { index: 0 });
        Ok(false)
    }

    fn check_depth(&self) -> Result<(), JsonError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        Ok(())
    }

    /// Scans a key and its colon, and adds the member to the innermost open object.
    fn member_key(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let text = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        let member_start = self.out.len();
        self.write_string(&text);
        self.out.push(b':');
        if let Some(Open::Object { members, key, .. }) = self.stack.last_mut() {
            *key = text.value.clone();
            members.push(Member {
                key: text.canonical,
                name: text.value,
                start: member_start,
                end: 0,
            });
        }
        Ok(())
    }

    /// Called after a complete value. Goes to the next value, and closes each object and array that
    /// has no further value. Returns `true` when the whole document was scanned, and `false` when
    /// another value follows.
    fn close_finished(&mut self) -> Result<bool, JsonError> {
        loop {
            self.skip_space();
            let next = self.peek();
            let end = self.out.len();
            match self.stack.last_mut() {
                None => return Ok(true),
                Some(Open::Array { index }) => match next {
                    Some(b',') => {
                        *index += 1;
                        self.at += 1;
                        self.out.push(b',');
                        return Ok(false);
                    }
                    Some(b']') => {
                        self.at += 1;
                        self.stack.pop();
                        self.out.push(b']');
                    }
                    Some(_) | None => return Err(self.syntax()),
                },
                Some(Open::Object { members, .. }) => {
                    if let Some(member) = members.last_mut() {
                        member.end = end;
                    }
                    match next {
                        Some(b',') => {
                            self.at += 1;
                            self.out.push(b',');
                            self.member_key()?;
                            return Ok(false);
                        }
                        Some(b'}') => {
                            self.at += 1;
                            self.close_object();
                        }
                        Some(_) | None => return Err(self.syntax()),
                    }
                }
            }
        }
    }

    fn close_object(&mut self) {
        let Some(Open::Object {
            start, mut members, ..
        }) = self.stack.pop()
        else {
            return;
        };
        let sorted = members.is_sorted_by(|a, b| a.key <= b.key);
        if !sorted {
            // The sort is stable: members with equal keys keep their order, so `{a:1,a:2}` differs
            // from `{a:2,a:1}`.
            members.sort_by(|a, b| a.key.cmp(&b.key));
            let body: Vec<u8> = members
                .iter()
                .map(|member| &self.out[member.start..member.end])
                .collect::<Vec<_>>()
                .join(&b',');
            self.out.truncate(start + 1);
            self.out.extend(body);
        }
        self.out.push(b'}');
        for pair in members.windows(2).filter(|pair| pair[0].key == pair[1].key) {
            self.mark_ambiguous(pair[0].name.as_deref());
        }
    }

    /// Marks the pointers that lead through a key that occurs twice in the object that was just
    /// closed.
    fn mark_ambiguous(&mut self, name: Option<&str>) {
        let depth = self.stack.len();
        for (pointer, extract) in self.pointers.iter().zip(&mut self.extracts) {
            let tokens = pointer.tokens();
            let through = tokens.len() > depth && Some(tokens[depth].as_str()) == name;
            if through && leads_to(&self.stack, &tokens[..depth]) {
                *extract = Extract::Ambiguous;
            }
        }
    }

    /// Called at the beginning of a value. Records the value for each pointer that leads to it.
    fn found(&mut self, value: Extract) {
        for (pointer, extract) in self.pointers.iter().zip(&mut self.extracts) {
            let tokens = pointer.tokens();
            if tokens.len() == self.stack.len() && leads_to(&self.stack, tokens) {
                *extract = value.clone();
            }
        }
    }

    fn literal(&mut self, word: &[u8], value: Option<Scalar>) -> Result<bool, JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        self.out.extend(word);
        if let Some(value) = value {
            self.found(Extract::Found(value));
        }
        Ok(true)
    }

    fn number(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.bytes[start..self.at];
        self.out.extend(text);
        let text = String::from_utf8_lossy(text).into_owned();
        self.found(Extract::Found(Scalar::Number(text)));
        Ok(true)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err(self.syntax())
        } else {
            Ok(())
        }
    }

    fn write_string(&mut self, text: &Text) {
        self.out.push(b'"');
        self.out.extend(&text.canonical);
        self.out.push(b'"');
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}

/// Returns whether a pointer with these tokens leads through the open objects and arrays.
fn leads_to(stack: &[Open], tokens: &[String]) -> bool {
    stack.iter().zip(tokens).all(|(open, token)| match open {
        Open::Array { index } => token.parse() == Ok(*index) && !token.starts_with('+'),
        Open::Object { key, .. } => key.as_deref() == Some(token.as_str()),
    })
}
