//! Scans the detail of a dead letter from its beginning to its end, and writes the cause from it.

use super::word::{is_code, is_name, is_status, precedes_code, precedes_name, replaced};

/// The number of hex digits in each group of a UUID; hyphens separate the groups.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// The text with which PostgreSQL and serde_json introduce a line number at the end of an error.
const AT_LINE: &str = " at line ";
const COLUMN: &str = " column ";

/// The start of a schema rule in an error of the schema check. The rule is copied unchanged,
/// because it comes from the schema and not from the event.
const RULE: &str = "(rule /";

/// The text that follows the name of a missing property in an error of the schema check.
const IS_REQUIRED: &str = " is a required property";

pub(super) struct Scanner<'a> {
    rest: &'a str,
    cause: String,
    /// The last word that was scanned. `since` is the text between that word and the current
    /// position.
    word: &'a str,
    since: String,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            cause: String::with_capacity(text.len()),
            word: "",
            since: String::new(),
        }
    }

    pub(super) fn scan(mut self) -> String {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with(RULE) {
                let end = self.rest.find(')').map_or(self.rest.len(), |end| end + 1);
                self.copy(end);
            } else if let Some(place) = source_line(self.rest) {
                self.rest = &self.rest[place..];
            } else if let Some(end) = value_in_parentheses(self.rest) {
                self.replace(end, "=(<value>)");
            } else if let Some(end) = placeholder(self.rest) {
                self.copy(end);
            } else if let Some((close, next)) = self.quoted(c) {
                self.quote(c, close, next);
            } else if is_word(c) {
                self.word();
            } else if self.is_sign(c) {
                self.rest = &self.rest[1..];
            } else {
                self.pass(c);
            }
        }
        self.cause
    }

    /// Copies the text from the current position to `end` into the cause.
    fn copy(&mut self, end: usize) {
        let (taken, rest) = self.rest.split_at(end);
        self.cause.push_str(taken);
        (self.rest, self.word) = (rest, "");
        self.since.clear();
    }

    /// Writes `with` into the cause instead of the text from the current position to `end`.
    fn replace(&mut self, end: usize, with: &str) {
        self.cause.push_str(with);
        (self.rest, self.word) = (&self.rest[end..], "");
        self.since.clear();
    }

    fn pass(&mut self, c: char) {
        self.cause.push(c);
        self.since.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn word(&mut self) {
        if let Some(end) = uuid(self.rest) {
            return self.replace(end, "<id>");
        }
        let word = first_word(self.rest);
        let is_status = self.since == " " && is_status(self.word, word);
        if is_status || (self.expects_code() && is_code(word)) {
            self.cause.push_str(word);
        } else {
            self.cause.push_str(&replaced(word));
        }
        (self.rest, self.word) = (&self.rest[word.len()..], word);
        self.since.clear();
    }

    /// Returns whether the last word announces a code, as "status" does. Then the next word is
    /// copied unchanged.
    fn expects_code(&self) -> bool {
        // After "error:", as in "error: 5 rows", a number is a count and not a code.
        let plain = !self.word.eq_ignore_ascii_case("error") || self.since == " ";
        precedes_code(self.word) && plain && matches!(self.since.trim(), "" | ":" | "=" | "#" | "(")
    }

    /// Returns whether this character is the sign of a number. A sign is left out, because the
    /// number is replaced by a placeholder.
    fn is_sign(&self, c: char) -> bool {
        let number = self
            .rest
            .get(1..2)
            .is_some_and(|next| next.as_bytes()[0].is_ascii_digit());
        let begins = self
            .cause
            .chars()
            .next_back()
            .is_none_or(|c| " (:=[,".contains(c));
        matches!(c, '-' | '+') && number && begins
    }

    /// Finds the end of a quoted text that begins at the current position. Returns the positions
    /// before and after the closing quote; `None` when no quoted text begins here.
    fn quoted(&self, quote: char) -> Option<(usize, usize)> {
        if !matches!(quote, '"' | '\'' | '`') {
            return None;
        }
        // A single quote after a letter is an apostrophe.
        let after_word = self.cause.chars().next_back().is_some_and(is_word);
        if quote == '\'' && after_word {
            return None;
        }
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' && quote != '`' {
                escaped = true;
            } else if c == quote {
                let next = at + c.len_utf8();
                let is_inside = self.rest[next..].chars().next().is_some_and(is_word);
                if quote != '\'' || !is_inside {
                    return Some((at, next));
                }
            }
        }
        None
    }

    fn quote(&mut self, quote: char, close: usize, next: usize) {
        let inner = &self.rest[1..close];
        let named = precedes_name(self.word) && self.since == " ";
        let is_required = self.rest[next..].starts_with(IS_REQUIRED);
        let kept = if self.expects_code() && is_code(inner) {
            inner.to_owned()
        } else if (named || is_required) && is_name(inner) {
            Scanner::new(inner).scan()
        } else if quote == '`' && !matches!(self.word, "variant" | "value") {
            // Text in backticks is scanned like other text, because Rust and serde write the names
            // of types and fields in backticks.
            Scanner::new(inner).scan()
        } else {
            "<value>".to_owned()
        };
        self.replace(next, &format!("{quote}{kept}{quote}"));
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the first word of a text. A word that begins with a digit may contain `.`, `,`, `:`, `+`
/// and `-` between digits, as numbers and times do.
fn first_word(text: &str) -> &str {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let mut before = '\0';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let joins = is_number
            && ".,:+-".contains(c)
            && before.is_ascii_digit()
            && next.is_some_and(|next| next.is_ascii_digit());
        if !is_word(c) && !joins {
            return &text[..at];
        }
        before = c;
    }
    text
}

/// Returns the length of " at line 12" or " at line 12 column 3" when the text begins with it.
fn source_line(text: &str) -> Option<usize> {
    let line = text.strip_prefix(AT_LINE)?;
    let digits = digits(line)?;
    let end = AT_LINE.len() + digits;
    let column = text[end..].strip_prefix(COLUMN).and_then(self::digits);
    Some(column.map_or(end, |digits| end + COLUMN.len() + digits))
}

fn digits(text: &str) -> Option<usize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then_some(end)
}

/// Returns the length of "=(…)" when the text begins with it. PostgreSQL shows the values of a key
/// in this form.
fn value_in_parentheses(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, c) in text.strip_prefix('=')?.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (c == ')').then_some(at + 2);
        }
    }
    None
}

/// Returns the length of a placeholder, such as `<n>`, when the text begins with one. A text that
/// is already a cause contains placeholders.
fn placeholder(text: &str) -> Option<usize> {
    ["<n>", "<id>", "<time>", "<value>"]
        .into_iter()
        .find(|placeholder| text.starts_with(placeholder))
        .map(str::len)
}

/// Returns the length of a UUID when the text begins with one.
fn uuid(text: &str) -> Option<usize> {
    let mut end = 0;
    for (group, digits) in UUID_GROUPS.into_iter().enumerate() {
        if group > 0 {
            end += usize::from(text.get(end..=end)? == "-");
        }
        let hex = text.get(end..end + digits)?;
        if !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        end += digits;
    }
    let whole = end == 36 && !text[end..].starts_with(is_word);
    whole.then_some(end)
}
