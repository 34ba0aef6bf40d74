//! Finds words that must not be used: those that docs/GLOSSARY.md marks with †. Says what to write
//! instead.
//!
//! The words are found in code, comments and literals, also as a part of a name (`is_told`,
//! `ToldAll`) and across the line breaks of a comment. The meanings of a word are not
//! distinguished.

use crate::finding::Finding;

/// The file that lists the words that must not be used.
pub(super) const GLOSSARY: &str = "docs/GLOSSARY.md";

/// The heading of that list in docs/GLOSSARY.md.
const HEADING: &str = "## Words that are not used";

const MARK: char = '†';

/// Names that are allowed: the beginning of the path, the whole name, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "",
        "told_at",
        "a column of `accounts` and `open_receipts`: stored names stay",
    ),
    ("tests/testkit/src/servers/", "nobody", "a user of Unix"),
];

/// Files that are not checked, each with the reason.
const NOT_READ: &[(&str, &str)] = &[(
    "crates/xtask/src/tidy/words.rs",
    "this file contains the words in its own exceptions and tests",
)];

/// The words that are not used, with their replacements.
pub(super) struct Words {
    all: Vec<Word>,
}

/// One word, or several consecutive words.
struct Word {
    parts: Vec<String>,
    instead: String,
}

/// A part of a name in a text: `is_told` has two parts.
struct Part<'t> {
    text: String,
    /// The whole name that contains this part.
    name: &'t str,
    line: usize,
    /// Whether only white space, or the beginning of a comment line, separates this part from the
    /// previous part.
    follows: bool,
}

impl Words {
    /// Reads the list from the glossary.
    ///
    /// # Errors
    /// When the list has no marked word.
    pub fn read(glossary: &str) -> Result<Self, Finding> {
        let rows = glossary.lines().skip_while(|line| *line != HEADING).skip(1);
        let rows = rows.take_while(|line| !line.starts_with("## "));
        let all: Vec<Word> = rows.flat_map(row).collect();
        if all.is_empty() {
            let what = format!("`{HEADING}` has no word that is marked {MARK}");
            return Err(Finding::new(GLOSSARY, 1, what));
        }
        Ok(Self { all })
    }

    /// Returns every place in a text, or in the name of its file, where one of the words occurs.
    pub fn check(&self, path: &str, text: &str) -> Vec<Finding> {
        if NOT_READ.iter().any(|(not_read, _)| *not_read == path) {
            return Vec::new();
        }
        let in_name = parts(path).into_iter().map(|part| Part { line: 1, ..part });
        let in_name = self.found(path, &in_name.collect::<Vec<_>>());
        let mut in_text = parts(text);
        if path == GLOSSARY {
            let lines: Vec<&str> = text.lines().collect();
            in_text.retain(|part| !lines[part.line - 1].contains(MARK));
        }
        [in_name, self.found(path, &in_text)].concat()
    }

    fn found(&self, path: &str, parts: &[Part<'_>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let here = self.all.iter().filter(|word| word.stands_at(&parts[at..]));
            for word in here.filter(|_| !is_exception(path, part.name)) {
                let (word, instead) = (word.parts.join(" "), &word.instead);
                let what = format!("`{word}`: write {instead} ({GLOSSARY})");
                findings.push(Finding::new(path, part.line, what));
            }
        }
        findings
    }
}

impl Word {
    fn stands_at(&self, parts: &[Part<'_>]) -> bool {
        let Some(parts) = parts.get(..self.parts.len()) else {
            return false;
        };
        let mut both = self.parts.iter().zip(parts);
        both.all(|(word, part)| *word == part.text) && parts[1..].iter().all(|part| part.follows)
    }
}

/// Returns the words in one row of the glossary's list that are marked with †.
fn row(line: &str) -> Vec<Word> {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let (Some(words), Some(instead)) = (cells.next(), cells.next()) else {
        return Vec::new();
    };
    let marked = words.split(',').filter_map(|it| it.strip_suffix(MARK));
    let word = |it: &str| Word {
        parts: it.split_whitespace().map(str::to_owned).collect(),
        instead: instead.to_owned(),
    };
    marked.map(word).collect()
}

fn is_exception(path: &str, name: &str) -> bool {
    let mut exceptions = EXCEPTIONS.iter();
    exceptions.any(|(prefix, kept, _)| path.starts_with(prefix) && name == *kept)
}

/// Returns the parts of all names and words in a text, in lower case.
fn parts(text: &str) -> Vec<Part<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        // A new line may continue a comment or a literal, so its first part counts as following the
        // last part of the previous line.
        let mut follows = true;
        while let Some(start) = rest.find(is_part) {
            follows &= rest[..start].chars().all(|c| " \t/!*>+-\\\"".contains(c));
            let name = &rest[start..];
            let (name, after) = name.split_at(name.find(|c| !is_part(c)).unwrap_or(name.len()));
            for text in of_name(name) {
                found.push(Part {
                    text,
                    name,
                    line: number + 1,
                    follows,
                });
                follows = true;
            }
            rest = after;
        }
    }
    found
}

/// Returns the parts of a name: `is_told` and `IsTold` have the parts `is` and `told`.
fn of_name(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            found.push(String::new());
        }
        if c != '_'
            && let Some(last) = found.last_mut()
        {
            last.extend(c.to_lowercase());
        }
        before = c;
    }
    found.retain(|part| !part.is_empty());
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::repository;

    const LIST: &str = "# Glossary\n| told † | no |\n## Words that are not used\n\n\
        | Instead of | Write |\n|---|---|\n| told †, goes on † | reported |\n| away | no |\n\
        ## Other\n| lane † | no |\n";

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let words = Words::read(LIST).ok().unwrap();
        words
            .check(path, text)
            .into_iter()
            .map(|it| it.line)
            .collect()
    }

    #[test]
    fn marked_words_are_found_in_names_comments_and_texts() {
        let text = "fn is_told() {}\nstruct ToldAll;\n// It goes\n// on.\n\"He is Told\"\nTOLD;\n";
        assert_eq!(lines("a.rs", text), [1, 2, 3, 5, 6]);
        assert_eq!(lines("crates/a/src/told.rs", "//! A\n"), [1]);
        let found = Words::read(LIST).ok().unwrap().check("a.rs", "told");
        let expected = "a.rs:1: `told`: write reported (docs/GLOSSARY.md)";
        assert_eq!(found[0].to_string(), expected);
    }

    #[test]
    fn other_words_and_exceptions_pass() {
        let text = "untold, toldest, away, lane\nIt goes. On it\n(goes) on\ntold_at\n";
        assert_eq!(lines("a.rs", text), [0; 0]);
        assert_eq!(lines("crates/xtask/src/tidy/words.rs", "told"), [0; 0]);
        assert_eq!(lines(GLOSSARY, "| told † | it is told |\ntold\n"), [2]);
    }

    #[test]
    fn a_list_without_marked_words_is_a_finding() {
        for list in [
            "",
            "| told † | reported |",
            "## Words that are not used\n| a | b |",
        ] {
            assert!(Words::read(list).is_err(), "{list}");
        }
    }

    #[test]
    fn what_is_not_read_exists() {
        for (path, _) in NOT_READ {
            assert!(repository::root().join(path).exists(), "{path}");
        }
    }
}
