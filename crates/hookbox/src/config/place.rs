//! Mistakes and their places: all of them, in the order of the file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item};

/// All mistakes of a config file.
#[derive(Debug)]
pub struct Mistakes {
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mistake {
    /// Line and column, from 1.
    at: Option<(usize, usize)>,
    /// The key, as `route[0].retry.first`.
    key: String,
    what: String,
}

impl Mistakes {
    pub(super) fn one(path: &Path, what: String) -> Self {
        let mistakes = vec![Mistake {
            at: None,
            key: String::new(),
            what,
        }];
        Self {
            path: path.to_owned(),
            mistakes,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, Mistake { at, key, what }) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match at {
                Some((line, column)) => write!(f, "{path}:{line}:{column}: ")?,
                None => write!(f, "{path}: ")?,
            }
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            f.write_str(what)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Where everything is in a file, and the mistakes found so far.
pub struct Places {
    path: PathBuf,
    text: String,
    document: Document<String>,
    mistakes: Vec<Mistake>,
}

impl Places {
    pub fn new(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let document = Document::parse(text.to_owned()).map_err(|error| {
            let at = error.span().map(|span| line_and_column(text, span.start));
            let what = format!("it is not TOML: {}", error.message().replace('\n', "; "));
            let mistakes = vec![Mistake {
                at,
                key: String::new(),
                what,
            }];
            Mistakes {
                path: path.to_owned(),
                mistakes,
            }
        })?;
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            document,
            mistakes: Vec::new(),
        })
    }

    /// Notes a mistake at a JSON Pointer into the file.
    pub fn mistake(&mut self, pointer: &str, what: impl Into<String>) {
        let at = self
            .span(pointer)
            .map(|span| line_and_column(&self.text, span.start));
        self.mistakes.push(Mistake {
            at,
            key: readable(pointer),
            what: what.into(),
        });
    }

    /// The value, or a mistake and nothing.
    pub fn take<T, E: fmt::Display>(&mut self, pointer: &str, it: Result<T, E>) -> Option<T> {
        it.map_err(|error| self.mistake(pointer, error.to_string()))
            .ok()
    }

    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    pub fn into_mistakes(mut self) -> Mistakes {
        self.mistakes.sort();
        self.mistakes.dedup();
        Mistakes {
            path: self.path,
            mistakes: self.mistakes,
        }
    }

    /// The span of what a pointer leads to, or of the nearest thing on the way.
    fn span(&self, pointer: &str) -> Option<Range<usize>> {
        let mut item = self.document.as_item();
        let mut span = None;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let key = item
                .as_table_like()
                .and_then(|table| table.get_key_value(&token));
            let next: Option<&Item> = match token.parse::<usize>() {
                Ok(index) => item.get(index),
                Err(_) => item.get(token.as_str()),
            };
            let Some(next) = next else {
                return span.or_else(|| element(item, &token)).or(Some(0..0));
            };
            span = key
                .and_then(|(key, _)| key.span())
                .or_else(|| next.span())
                .or(span);
            item = next;
        }
        span
    }
}

/// An element of an inline array, which is no `Item`.
fn element(item: &Item, token: &str) -> Option<Range<usize>> {
    item.as_array()?.get(token.parse().ok()?)?.span()
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    (line, column)
}

/// `/route/0/retry` as people write it: `route[0].retry`.
fn readable(pointer: &str) -> String {
    let mut text = String::new();
    for token in pointer.split('/').skip(1) {
        if token.parse::<usize>().is_ok() {
            text.push_str(&format!("[{token}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(token);
        }
    }
    text
}
