//! Mistakes and their places: all of them, in the order of the file.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
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
    /// The key's JSON Pointer.
    pointer: String,
}

impl Mistakes {
    pub(super) fn one(path: &Path, what: String) -> Self {
        let mistakes = vec![Mistake {
            at: None,
            key: String::new(),
            what,
            pointer: String::new(),
        }];
        Self {
            path: path.to_owned(),
            mistakes,
        }
    }
}

impl Mistakes {
    /// In the order of the file, without repetitions.
    fn sorted(path: &Path, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self {
            path: path.to_owned(),
            mistakes,
        }
    }

    /// All of them on one line, for a log.
    pub fn line(&self) -> String {
        self.to_string().replace('\n', "; ")
    }

    /// The reasons without places, for settings that are no longer in the file.
    pub fn reasons(&self) -> String {
        let what = self.mistakes.iter().map(|mistake| mistake.what.as_str());
        what.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&mistake.line(&self.path))?;
        }
        Ok(())
    }
}

impl Mistake {
    /// `file:line:column: key: what`
    fn line(&self, path: &Path) -> String {
        let Mistake { at, key, what, .. } = self;
        let path = path.display();
        let place = match at {
            Some((line, column)) => format!("{path}:{line}:{column}: "),
            None => format!("{path}: "),
        };
        let key = match key.as_str() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        format!("{place}{key}{what}")
    }
}

impl std::error::Error for Mistakes {}

/// The places of everything in a file, and the mistakes found so far.
pub struct Places {
    path: PathBuf,
    text: String,
    document: Document<String>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// Pointers to what violates the structure.
    broken: Vec<String>,
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
                pointer: String::new(),
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
            warnings: Vec::new(),
            broken: Vec::new(),
        })
    }

    /// Records a mistake at a JSON Pointer into the file. A mistake in or around something whose
    /// structure is wrong already only follows from that, and is dropped.
    pub fn mistake(&mut self, pointer: &str, what: impl Into<String>) {
        if self.broken.iter().any(|broken| related(broken, pointer)) {
            return;
        }
        let mistake = self.place(pointer, what.into());
        self.mistakes.push(mistake);
    }

    /// Records a setting at a JSON Pointer that can be used and is probably not intended.
    pub fn warn(&mut self, pointer: &str, what: impl Into<String>) {
        let warning = self.place(pointer, what.into());
        self.warnings.push(warning);
    }

    fn place(&self, pointer: &str, what: String) -> Mistake {
        let at = self
            .span(pointer)
            .map(|span| line_and_column(&self.text, span.start));
        Mistake {
            at,
            key: readable(pointer),
            what,
            pointer: pointer.to_owned(),
        }
    }

    /// The warnings, in the order of the file, each a line.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<&Mistake> = self.warnings.iter().collect();
        warnings.sort();
        let line = |warning: &&Mistake| warning.line(&self.path);
        warnings.iter().map(line).collect()
    }

    /// The value; an error is recorded as a mistake.
    pub fn take<T, E: fmt::Display>(&mut self, pointer: &str, it: Result<T, E>) -> Option<T> {
        it.map_err(|error| self.mistake(pointer, error.to_string()))
            .ok()
    }

    /// From here on, mistakes at or around this pointer are dropped.
    pub fn broken(&mut self, pointer: String) {
        self.broken.push(pointer);
    }

    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Whether the structure at this pointer is right.
    pub fn is_whole(&self, pointer: &str) -> bool {
        !self.broken.iter().any(|broken| related(broken, pointer))
    }

    /// The file as JSON. A TOML date becomes its text.
    pub fn json(&self) -> Value {
        json_of_item(self.document.as_item())
    }

    pub fn into_mistakes(self) -> Mistakes {
        Mistakes::sorted(&self.path, self.mistakes)
    }

    /// Takes out the mistakes that belong to a part, selected by their JSON Pointers, grouped by
    /// part.
    pub fn take_by<T: Ord>(&mut self, of: impl Fn(&str) -> Option<T>) -> BTreeMap<T, Mistakes> {
        let mut taken: BTreeMap<T, Vec<Mistake>> = BTreeMap::new();
        for mistake in std::mem::take(&mut self.mistakes) {
            match of(&mistake.pointer) {
                Some(thing) => taken.entry(thing).or_default().push(mistake),
                None => self.mistakes.push(mistake),
            }
        }
        let taken = taken.into_iter();
        taken
            .map(|(thing, mistakes)| (thing, Mistakes::sorted(&self.path, mistakes)))
            .collect()
    }

    /// The span of the value at a pointer, or of its nearest ancestor.
    fn span(&self, pointer: &str) -> Option<Range<usize>> {
        let mut item = self.document.as_item();
        let mut span = None;
        for token in pointer.split('/').skip(1) {
            let token = unescape(token);
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

/// One of them contains the other.
fn related(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| {
        b.strip_prefix(a)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(a, b) || below(b, a)
}

fn json_of_item(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        let members = table.iter();
        return members
            .map(|(key, item)| (key.to_owned(), json_of_item(item)))
            .collect();
    }
    if let Some(tables) = item.as_array_of_tables() {
        return tables
            .iter()
            .map(|table| json_of_item(&Item::Table(table.clone())))
            .collect();
    }
    item.as_value().map_or(Value::Null, json_of_value)
}

fn json_of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        // JSON has no infinity: it becomes null, which is no number.
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(is) => Value::from(*is.value()),
        toml_edit::Value::Datetime(moment) => Value::from(moment.value().to_string()),
        toml_edit::Value::Array(values) => values.iter().map(json_of_value).collect(),
        toml_edit::Value::InlineTable(table) => table
            .iter()
            .map(|(key, value)| (key.to_owned(), json_of_value(value)))
            .collect(),
    }
}

/// A key as a part of a JSON Pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A part of a JSON Pointer as a key.
pub fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
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

/// `/route/0/retry` in readable form: `route[0].retry`.
fn readable(pointer: &str) -> String {
    let mut text = String::new();
    for token in pointer.split('/').skip(1) {
        if token.parse::<usize>().is_ok() {
            text.push_str(&format!("[{token}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&unescape(token));
        }
    }
    text
}
