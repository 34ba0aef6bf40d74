//! Scans Rust source just well enough to separate code from comments and literals, and to measure
//! functions.
//!
//! xtask has its own scanner because a parser would take longer to build than the rest of `xtask`.

/// What a byte of a Rust file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program itself.
    Code,
    /// A comment or documentation.
    Comment,
    /// The content of a string or character literal, including its quotes.
    Text,
}

/// A source file, with the kind of each of its bytes.
pub struct Source {
    bytes: Vec<u8>,
    kinds: Vec<Kind>,
}

/// A function, with its position and its length.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The name of the function.
    pub name: String,
    /// The line of the keyword `fn`, counted from 1.
    pub line: usize,
    /// The number of lines from `fn` to the closing brace, without the lines inside a literal.
    pub lines: usize,
}

impl Source {
    /// Classifies each byte of a source text.
    pub fn new(text: &str) -> Source {
        let mut scanner = Scanner {
            bytes: text.as_bytes(),
            at: 0,
            kinds: vec![Kind::Code; text.len()],
        };
        while scanner.at < scanner.bytes.len() {
            scanner.step();
        }
        Source {
            kinds: scanner.kinds,
            bytes: text.as_bytes().to_vec(),
        }
    }

    /// Returns the text with every byte of another kind replaced by a space, so that lines and
    /// columns stay.
    pub fn only(&self, kind: Kind) -> String {
        let keep = |(byte, its): (&u8, &Kind)| {
            if *its == kind || *byte == b'\n' {
                *byte
            } else {
                b' '
            }
        };
        let bytes: Vec<u8> = self.bytes.iter().zip(&self.kinds).map(keep).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns for each line whether it continues a string literal of an earlier line. Such a line
    /// is expected output or part of a message, and is not read as code.
    pub fn continues_with_text(&self) -> Vec<bool> {
        let ends = self
            .bytes
            .iter()
            .zip(&self.kinds)
            .filter(|(byte, _)| **byte == b'\n');
        std::iter::once(false)
            .chain(ends.map(|(_, kind)| *kind == Kind::Text))
            .collect()
    }

    /// Returns every function that has a body.
    pub fn functions(&self) -> Vec<Function> {
        let code = self.only(Kind::Code);
        let text = self.continues_with_text();
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = find_word(&code, "fn", from) {
            from = at + 2;
            let rest = &code[from..];
            let name: String = rest
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // After this `fn` there is no name, because it is part of a type such as
            // `fn(u8) -> u8`.
            if name.is_empty() {
                continue;
            }
            if let Some(end) = body_end(rest) {
                let first = code[..at].matches('\n').count();
                let last = code[..from + end].matches('\n').count();
                let lines = text[first..=last]
                    .iter()
                    .filter(|continues| !**continues)
                    .count();
                let line = first + 1;
                found.push(Function { name, line, lines });
            }
        }
        found
    }
}

/// Returns the end of the body that follows a function's name; `None` if the function has no body.
fn body_end(rest: &str) -> Option<usize> {
    let mut depth = 0_i32;
    let mut inside = false;
    for (at, c) in rest.char_indices() {
        match c {
            '(' | '[' | '{' => {
                inside |= c == '{' && depth == 0;
                depth += 1;
            }
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 && inside {
                    return Some(at);
                }
                // The block around this `fn` ends before any body begins, so the function has no
                // body.
                if depth < 0 {
                    return None;
                }
            }
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Returns the next position from `from` on where `word` is a whole word.
fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '#');
    text[from..]
        .match_indices(word)
        .map(|(at, _)| from + at)
        .find(|at| {
            !is_part(text[..*at].chars().next_back())
                && !is_part(text[at + word.len()..].chars().next())
        })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    kinds: Vec<Kind>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"//") {
            let length = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len());
            self.mark(length, Kind::Comment);
        } else if rest.starts_with(b"/*") {
            self.mark(block_comment(rest), Kind::Comment);
        } else if let Some(length) = self.raw_string() {
            self.mark(length, Kind::Text);
        } else if rest[0] == b'"' {
            self.mark(string(rest), Kind::Text);
        } else if rest[0] == b'\'' {
            match character(rest) {
                Some(length) => self.mark(length, Kind::Text),
                // This single quote begins a lifetime or a label, and not a character literal.
                None => self.mark(1, Kind::Code),
            }
        } else {
            self.mark(1, Kind::Code);
        }
    }

    fn mark(&mut self, length: usize, kind: Kind) {
        let end = (self.at + length.max(1)).min(self.bytes.len());
        self.kinds[self.at..end].fill(kind);
        self.at = end;
    }

    /// Returns the length of the raw string that begins at this position: `r"…"`, `br#"…"#`, …
    fn raw_string(&self) -> Option<usize> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if self.at > 0 && is_part(self.bytes[self.at - 1]) {
            return None;
        }
        let rest = &self.bytes[self.at..];
        let prefix = [b"r".as_slice(), b"br", b"cr"]
            .into_iter()
            .find(|it| rest.starts_with(it))?;
        let hashes = rest[prefix.len()..]
            .iter()
            .take_while(|byte| **byte == b'#')
            .count();
        let opened = prefix.len() + hashes;
        if rest.get(opened) != Some(&b'"') {
            return None;
        }
        let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
        let body = &rest[opened + 1..];
        let end = body.windows(close.len()).position(|window| window == close);
        Some(end.map_or(rest.len(), |end| opened + 1 + end + close.len()))
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns the length of the character literal that begins here, if there is one.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(3 + end + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
    let first = match text {
        Ok(text) => text.chars().next()?,
        Err(error) => {
            let whole = &rest[1..1 + error.valid_up_to()];
            std::str::from_utf8(whole).ok()?.chars().next()?
        }
    };
    let end = 1 + first.len_utf8();
    (rest.get(end) == Some(&b'\'')).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> [String; 3] {
        let source = Source::new(text);
        [Kind::Code, Kind::Comment, Kind::Text].map(|kind| {
            let words = source.only(kind);
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn comments_and_text_are_no_code() {
        let check = |text, code: &str, comment: &str, string: &str| {
            assert_eq!(kinds(text), [code, comment, string], "{text}");
        };
        check("a // b\nc", "a c", "// b", "");
        check("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */", "");
        check("a \"b // \\\" c\" d", "a d", "", "\"b // \\\" c\"");
        check("a r#\"b \" c\"# d", "a d", "", "r#\"b \" c\"#");
        check("br\"b\\\" c", "c", "", "br\"b\\\"");
        check("r#type x", "r#type x", "", "");
        check("for\"b\" c", "for c", "", "\"b\"");
        check("'\"' a '\\'' b 'é' c", "a b c", "", "'\"' '\\'' 'é'");
        check(
            "'a: loop {} &'static str",
            "'a: loop {} &'static str",
            "",
            "",
        );
        check("'\\u{1F600}' a", "a", "", "'\\u{1F600}'");
    }

    #[test]
    fn functions_are_measured() {
        let text = "fn one() {}\n\npub async fn two(\n    a: [u8; 2],\n) -> fn() {\n    // }\n    \
                    \"}\";\n    fn three() {\n    }\n}\ntrait T {\n    fn four(&self);\n    \
                    fn five() { ' '; }\n}\ntype F = fn(u8);\n";
        let found = Source::new(text).functions();
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.name.as_str(), it.line, it.lines))
            .collect();
        assert_eq!(
            found,
            [
                ("one", 1, 1),
                ("two", 3, 8),
                ("three", 8, 2),
                ("five", 13, 1)
            ]
        );
    }

    #[test]
    fn lines_of_a_text_are_no_lines_of_a_function() {
        let source = Source::new("fn a() {\n    b(\"c\n d\n e\");\n}\n");
        assert_eq!(
            source.continues_with_text(),
            [false, false, true, true, false, false]
        );
        assert_eq!(source.functions()[0].lines, 3);
    }

    #[test]
    fn an_unfinished_file_is_no_panic() {
        for text in [
            "\"", "'", "'\\", "r#\"", "/*", "fn a(", "fn a() {", "b", "fn", "\"\\", "'é",
        ] {
            let _ = Source::new(text).functions();
        }
    }
}
