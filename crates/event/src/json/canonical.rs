//! The canonical form of a JSON text (RFC 8785 §3.2), kept as a list of the places where its bytes
//! are. Most of its bytes are bytes of the body, so hashing it needs no copy of the body.

use std::io::Write as _;

/// A part of the canonical text. Positions below the length of the body are bytes of the body; the
/// positions from there on are bytes of [`Canonical::rewritten`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

/// A place in the canonical text: the end of its first `spans` spans. `end` is the end of the last
/// of these spans when the place was recorded. That span may have become longer since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    spans: usize,
    end: usize,
}

/// The canonical text that a scanner has made so far.
pub(super) struct Canonical<'a> {
    body: &'a [u8],
    /// The contents of the strings that the body does not write in the canonical way.
    rewritten: Vec<u8>,
    spans: Vec<Span>,
    /// The buffer of [`Canonical::rearrange`]. It is kept between calls, so that a body with many
    /// objects allocates it only once.
    moved: Vec<Span>,
}

impl<'a> Canonical<'a> {
    /// How many spans fit before the list must be allocated anew. That is enough for most webhooks
    /// that are sent without white space, and takes half a KiB.
    const SPANS: usize = 32;

    pub fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            rewritten: Vec::new(),
            spans: Vec::with_capacity(Self::SPANS),
            moved: Vec::new(),
        }
    }

    /// Appends a span. A span that continues the last one makes it longer.
    pub fn write(&mut self, span: Span) {
        match self.spans.last_mut() {
            // The end of the body and the beginning of `rewritten` have the same position. A span
            // that ends there and a span that begins there are not adjacent, so they are not
            // joined.
            Some(last) if last.end == span.start && span.start != self.body.len() => {
                last.end = span.end;
            }
            Some(_) | None => self.spans.push(span),
        }
    }

    /// Returns the place at which the canonical text ends now.
    pub fn mark(&self) -> Mark {
        Mark {
            spans: self.spans.len(),
            end: self.spans.last().map_or(0, |last| last.end),
        }
    }

    /// Returns the bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        match span.start.checked_sub(self.body.len()) {
            None => &self.body[span.start..span.end],
            Some(start) => &self.rewritten[start..span.end - self.body.len()],
        }
    }

    /// Returns the bytes of the whole text, span by span.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|span| self.bytes(*span))
    }

    /// Replaces the text after `start` by the given parts of that text, joined with `comma`.
    pub fn rearrange(
        &mut self,
        start: Mark,
        parts: impl Iterator<Item = (Mark, Mark)>,
        comma: Span,
    ) {
        let mut moved = std::mem::take(&mut self.moved);
        for (index, (from, to)) in parts.enumerate() {
            if index > 0 {
                moved.push(comma);
            }
            self.copy_between(from, to, &mut moved);
        }
        self.spans.truncate(start.spans);
        if let Some(last) = self.spans.last_mut() {
            last.end = start.end;
        }
        for span in moved.drain(..) {
            self.write(span);
        }
        self.moved = moved;
    }

    /// Appends the spans between two places to `moved`. A place is never before the first span,
    /// because the text before a member of an object is not empty.
    fn copy_between(&self, from: Mark, to: Mark, moved: &mut Vec<Span>) {
        for index in from.spans - 1..to.spans {
            let Span { mut start, mut end } = self.spans[index];
            if index == from.spans - 1 {
                start = from.end;
            }
            if index == to.spans - 1 {
                end = to.end;
            }
            if start < end {
                moved.push(Span { start, end });
            }
        }
    }

    /// Returns the position in [`Canonical::rewritten`] at which the next string begins.
    pub fn begin_rewritten(&self) -> usize {
        self.rewritten.len()
    }

    /// Returns the span of the string that was rewritten from `began` on. `source` is the span of
    /// the string in the body. If the string has the same bytes in the body, the rewritten bytes
    /// are removed and `source` is returned.
    pub fn end_rewritten(&mut self, began: usize, source: Span) -> Span {
        if self.rewritten[began..] == self.body[source.start..source.end] {
            self.rewritten.truncate(began);
            return source;
        }
        Span {
            start: self.body.len() + began,
            end: self.body.len() + self.rewritten.len(),
        }
    }

    /// Rewrites a run of characters of the body that need no escape.
    pub fn rewrite_plain(&mut self, run: Span) {
        self.rewritten
            .extend_from_slice(&self.body[run.start..run.end]);
    }

    /// Rewrites one character in the canonical way (RFC 8785 §3.2.2.2).
    pub fn rewrite(&mut self, c: char) {
        let escape = match c {
            '"' => b'"',
            '\\' => b'\\',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            c if c < ' ' => return self.rewrite_unit(c as u16),
            c => {
                let mut buffer = [0; 4];
                let bytes = c.encode_utf8(&mut buffer).as_bytes();
                return self.rewritten.extend_from_slice(bytes);
            }
        };
        self.rewritten.extend_from_slice(&[b'\\', escape]);
    }

    /// Rewrites a control character, or a lone surrogate, which is half of a surrogate pair.
    ///
    /// JSON's grammar (RFC 8259) allows a lone surrogate, as in `"\ud800"`, although it is no
    /// Unicode character. A lone surrogate gets a canonical form too, because a genuine body that
    /// contains one must be identified and stored like others.
    pub fn rewrite_unit(&mut self, unit: u16) {
        // Writing to memory cannot fail.
        let _ = write!(self.rewritten, "\\u{unit:04x}");
    }
}

/// Returns the canonical text of a string with this value, without the quotes.
pub(super) fn canonical_of(value: &str) -> Vec<u8> {
    let mut canonical = Canonical::new(&[]);
    value.chars().for_each(|c| canonical.rewrite(c));
    canonical.rewritten
}

/// Returns the value of a string, given its canonical text; `None` if it contains a lone surrogate.
pub(super) fn value_of(canonical: &[u8]) -> Option<String> {
    // The bytes are between ASCII characters of a valid UTF-8 text, so they are valid UTF-8.
    let text = String::from_utf8_lossy(canonical);
    let mut value = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        value.push_str(plain);
        let (c, length) = match escaped.as_bytes().first()? {
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => {
                let unit = u32::from_str_radix(escaped.get(1..5)?, 16).ok()?;
                (char::from_u32(unit)?, 5)
            }
            other => (char::from(*other), 1),
        };
        value.push(c);
        rest = &escaped[length..];
    }
    value.push_str(rest);
    Some(value)
}

/// Returns whether a string, given as its canonical text, has the value `name`.
pub(super) fn is_value(canonical: &[u8], name: &str) -> bool {
    if canonical.contains(&b'\\') {
        value_of(canonical).as_deref() == Some(name)
    } else {
        canonical == name.as_bytes()
    }
}
