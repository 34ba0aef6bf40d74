//! The JSON scanner: it passes once over the bytes, with a stack of its own instead of recursion.

use super::canonical::{Canonical, Mark, Span};
use super::conditions::{Conditions, Decisions, PlaceIndex};
use super::extracts::{Extracts, Leaf, Open};
use super::number::number_end;
use super::{DEPTH_MAX, DigestedJson, Document, JsonError};
use crate::{ContentDigest, Digester, Pointer};

/// Scans a whole body and returns its canonical form and the values at `pointers`.
pub fn scan(body: &[u8], pointers: &[Pointer]) -> Result<Document, JsonError> {
    let pointers: Vec<&Pointer> = pointers.iter().collect();
    let conditions = Conditions::default();
    let scanned = scanned(body, &pointers, &conditions)?;
    Ok(Document {
        canonical: scanned.text.parts().collect::<Vec<_>>().concat(),
        extracts: scanned.extracts.found,
    })
}

/// Scans a whole body and returns its content digest, the values at `pointers`, and which of the
/// `conditions` hold. The digest is that of [`scan`]'s canonical form, which is hashed without
/// being written out.
pub fn digest_json(
    digester: &Digester,
    body: &[u8],
    pointers: &[&Pointer],
    conditions: &Conditions,
) -> Result<DigestedJson, JsonError> {
    let scanned = scanned(body, pointers, conditions)?;
    Ok(DigestedJson {
        digest: ContentDigest::of_canonical_parts(digester, scanned.text.parts()),
        extracts: scanned.extracts.found,
        holds: scanned.decisions.holds,
    })
}

/// Scans a whole body, and returns which of the `conditions` hold, in their order. Computes no
/// digest.
pub fn decide_conditions(body: &[u8], conditions: &Conditions) -> Result<Vec<bool>, JsonError> {
    Ok(scanned(body, &[], conditions)?.decisions.holds)
}

fn scanned<'a>(
    body: &'a [u8],
    pointers: &'a [&'a Pointer],
    conditions: &'a Conditions,
) -> Result<Scanner<'a>, JsonError> {
    let text = std::str::from_utf8(body).map_err(|error| JsonError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut scanner = Scanner::new(text.as_bytes(), pointers, conditions);
    scanner.run()?;
    Ok(scanner)
}

/// A member of an open object: its canonical key, and where its text begins and ends in the
/// canonical text.
#[derive(Clone, Copy)]
struct Member {
    key: Span,
    start: Mark,
    end: Mark,
}

pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) text: Canonical<'a>,
    extracts: Extracts<'a>,
    decisions: Decisions<'a>,
    stack: Vec<Open>,
    /// The members of all open objects, those of the innermost object last.
    members: Vec<Member>,
    /// The last comma between two members. Sorted members are joined with it.
    comma: Span,
}

impl<'a> Scanner<'a> {
    /// Creates a scanner of `bytes`, which must be UTF-8.
    fn new(bytes: &'a [u8], pointers: &'a [&'a Pointer], conditions: &'a Conditions) -> Self {
        Self {
            bytes,
            at: 0,
            text: Canonical::new(bytes),
            extracts: Extracts::new(pointers),
            decisions: Decisions::new(conditions),
            stack: Vec::new(),
            members: Vec::new(),
            comma: Span { start: 0, end: 0 },
        }
    }

    fn run(&mut self) -> Result<(), JsonError> {
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
        Ok(())
    }

    /// Scans one value and returns `true`. For an object or array with content, it scans only the
    /// beginning, up to the first value in it, and returns `false`.
    fn value(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.open_object(),
            Some(b'[') => self.open_array(),
            Some(b'"') => {
                let content = self.string_value()?;
                self.found(Leaf::String(content));
                Ok(true)
            }
            Some(b't') => self.literal(b"true", Leaf::Bool(true)),
            Some(b'f') => self.literal(b"false", Leaf::Bool(false)),
            Some(b'n') => self.literal(b"null", Leaf::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => Err(self.syntax()),
        }
    }

    fn open_object(&mut self) -> Result<bool, JsonError> {
        self.check_depth()?;
        let place = self.found_container();
        self.take_byte();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.take_byte();
            return Ok(true);
        }
        let start = self.text.mark();
        let key = self.member_key()?;
        self.stack.push(Open::Object {
            start,
            first: self.members.len(),
            key,
            is_sorted: true,
            place,
        });
        self.members.push(Member {
            key,
            start,
            end: start,
        });
        Ok(false)
    }

    fn open_array(&mut self) -> Result<bool, JsonError> {
        self.check_depth()?;
        let place = self.found_container();
        self.take_byte();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.take_byte();
            return Ok(true);
        }
        self.stack.push(Open::Array { index: 0, place });
        Ok(false)
    }

    fn check_depth(&self) -> Result<(), JsonError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        Ok(())
    }

    /// Scans the key of a member and its colon, and returns the canonical key.
    fn member_key(&mut self) -> Result<Span, JsonError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let key = self.string_value()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.syntax());
        }
        self.take_byte();
        Ok(key)
    }

    /// Scans the comma before a member of the innermost open object, and the key of the member.
    fn next_member(&mut self) -> Result<(), JsonError> {
        self.comma = self.take_byte();
        let start = self.text.mark();
        let next = self.member_key()?;
        if let Some(Open::Object { key, is_sorted, .. }) = self.stack.last_mut() {
            *is_sorted = *is_sorted && self.text.bytes(*key) < self.text.bytes(next);
            *key = next;
        }
        self.members.push(Member {
            key: next,
            start,
            end: start,
        });
        Ok(())
    }

    /// Called after a complete value. Goes to the next value, and closes each object and array that
    /// has no further value. Returns `true` when the whole document was scanned, and `false` when
    /// another value follows.
    fn close_finished(&mut self) -> Result<bool, JsonError> {
        loop {
            self.skip_space();
            let next = self.peek();
            match self.stack.last_mut() {
                None => return Ok(true),
                Some(Open::Array { index, .. }) => match next {
                    Some(b',') => {
                        *index += 1;
                        self.take_byte();
                        return Ok(false);
                    }
                    Some(b']') => {
                        self.stack.pop();
                        self.take_byte();
                    }
                    Some(_) | None => return Err(self.syntax()),
                },
                Some(Open::Object { .. }) => {
                    if let Some(member) = self.members.last_mut() {
                        member.end = self.text.mark();
                    }
                    match next {
                        Some(b',') => {
                            self.next_member()?;
                            return Ok(false);
                        }
                        Some(b'}') => self.close_object(),
                        Some(_) | None => return Err(self.syntax()),
                    }
                }
            }
        }
    }

    fn close_object(&mut self) {
        let Some(Open::Object {
            start,
            first,
            is_sorted,
            place,
            ..
        }) = self.stack.pop()
        else {
            return;
        };
        if !is_sorted {
            self.sort_members(start, first, place);
        }
        self.members.truncate(first);
        self.take_byte();
    }

    /// Sorts the members of the object that is being closed, and marks what its repeated keys make
    /// ambiguous.
    fn sort_members(&mut self, start: Mark, first: usize, place: Option<PlaceIndex>) {
        let mut members = self.members.split_off(first);
        // The sort is stable: members with equal keys keep their order, so `{a:1,a:2}` differs from
        // `{a:2,a:1}`.
        members.sort_by(|a, b| self.text.bytes(a.key).cmp(self.text.bytes(b.key)));
        let parts = members.iter().map(|member| (member.start, member.end));
        self.text.rearrange(start, parts, self.comma);
        for pair in members.windows(2) {
            if self.text.bytes(pair[0].key) == self.text.bytes(pair[1].key) {
                let (stack, text) = (&self.stack, &self.text);
                self.extracts.ambiguous(stack, text, pair[0].key);
                let conditions = self.decisions.conditions();
                let key = text.bytes(pair[0].key);
                if let Some(twice) = place.and_then(|place| conditions.member(place, key)) {
                    self.decisions.ambiguous(twice);
                }
            }
        }
    }

    fn found(&mut self, leaf: Leaf) {
        self.extracts.leaf(&self.stack, &self.text, leaf);
        if let Some(place) = self.place() {
            self.decisions.leaf(place, &self.text, leaf);
        }
    }

    /// Called at the beginning of an object or array. Returns its place among the conditions.
    fn found_container(&mut self) -> Option<PlaceIndex> {
        self.extracts.container(&self.stack, &self.text);
        let place = self.place();
        if let Some(place) = place {
            self.decisions.container(place);
        }
        place
    }

    /// Returns the place of the current value among the conditions; `None` if no condition is on
    /// this value or on one inside it.
    fn place(&self) -> Option<PlaceIndex> {
        let conditions = self.decisions.conditions();
        match self.stack.last() {
            None => conditions.root(),
            Some(Open::Array { index, place }) => conditions.element((*place)?, *index),
            Some(Open::Object { key, place, .. }) => {
                conditions.member((*place)?, self.text.bytes(*key))
            }
        }
    }

    fn literal(&mut self, word: &[u8], value: Leaf) -> Result<bool, JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        let start = self.at;
        self.at += word.len();
        self.write_from(start);
        self.found(value);
        Ok(true)
    }

    fn number(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        self.at = number_end(self.bytes, start).map_err(|at| JsonError::Syntax { at })?;
        let text = self.write_from(start);
        self.found(Leaf::Number(text));
        Ok(true)
    }

    /// Scans a string, writes it, and returns its content in canonical form.
    fn string_value(&mut self) -> Result<Span, JsonError> {
        let start = self.at;
        let content = self.string()?;
        self.text.write(Span {
            start,
            end: start + 1,
        });
        if content.start < content.end {
            self.text.write(content);
        }
        self.write_from(self.at - 1);
        Ok(content)
    }

    /// Writes the current byte and goes to the next.
    fn take_byte(&mut self) -> Span {
        self.at += 1;
        self.write_from(self.at - 1)
    }

    /// Writes the bytes from `start` to the current position as they are in the body.
    fn write_from(&mut self, start: usize) -> Span {
        let span = Span {
            start,
            end: self.at,
        };
        self.text.write(span);
        span
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
