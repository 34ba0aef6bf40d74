//! Collects all mistakes of a config file with their places, in the order of the file.

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
    /// The line and column of the mistake, counted from 1.
    at: Option<(usize, usize)>,
    /// The key with the mistake, such as `route[0].retry.first`.
    key: String,
    what: String,
    /// The JSON Pointer to the key.
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
    /// Sorts mistakes in the order of the file, and removes repetitions.
    fn sorted(path: &Path, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self {
            path: path.to_owned(),
            mistakes,
        }
    }

    /// Returns all mistakes on one line, for a log.
    pub fn line(&self) -> String {
        self.to_string().replace('\n', "; ")
    }

    /// Returns the reasons of all mistakes without their places. It is used for settings that are
    /// no longer in the file, so they have no place there.
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
    /// Returns the line `file:line:column: key: what`.
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

/// The positions of all values of a config file, and the mistakes found so far.
pub struct Places {
    path: PathBuf,
    text: String,
    document: Document<String>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// The JSON Pointers to values with a wrong structure.
    broken: Vec<String>,
}

impl Places {
    pub fn new(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let document = Document::parse(text.to_owned()).map_err(|error| {
            let at = error.span().map(|span| line_and_column(text, span.start));
            let what = format!(
                "the file is not TOML: {}",
                error.message().replace('\n', "; ")
            );
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

    /// Records a mistake at a JSON Pointer into the file. The mistake is dropped if the structure
    /// at, above or below this place is wrong, because the mistake is then only a consequence of
    /// the wrong structure.
    pub fn mistake(&mut self, pointer: &str, what: impl Into<String>) {
        if self.broken.iter().any(|broken| related(broken, pointer)) {
            return;
        }
        let mistake = self.place(pointer, what.into());
        self.mistakes.push(mistake);
    }

    /// Records a warning at a JSON Pointer, about a setting that is valid but probably not
    /// intended.
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

    /// Returns the message `what` about the value at a JSON Pointer, with the value's place before
    /// it.
    pub fn line(&self, pointer: &str, what: &str) -> String {
        self.place(pointer, what.to_owned()).line(&self.path)
    }

    /// Returns the warnings in the order of the file, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<&Mistake> = self.warnings.iter().collect();
        warnings.sort();
        let line = |warning: &&Mistake| warning.line(&self.path);
        warnings.iter().map(line).collect()
    }

    /// Returns the value of a result; an error is recorded as a mistake.
    pub fn take<T, E: fmt::Display>(&mut self, pointer: &str, it: Result<T, E>) -> Option<T> {
        it.map_err(|error| self.mistake(pointer, error.to_string()))
            .ok()
    }

    /// Marks a pointer as having a wrong structure: later mistakes at, above or below it are
    /// dropped.
    pub fn broken(&mut self, pointer: String) {
        self.broken.push(pointer);
    }

    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Returns whether the structure is right at, above and below this pointer.
    pub fn is_whole(&self, pointer: &str) -> bool {
        !self.broken.iter().any(|broken| related(broken, pointer))
    }

    /// Returns the file as JSON. A TOML date becomes its text.
    pub fn json(&self) -> Value {
        json_of_item(self.document.as_item())
    }

    pub fn into_mistakes(self) -> Mistakes {
        Mistakes::sorted(&self.path, self.mistakes)
    }

    /// Removes the mistakes that belong to a part and returns them by part. `of` returns the part
    /// that a JSON Pointer belongs to.
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

    /// Returns the float at a JSON Pointer with all the digits that it has in the file, in the form
    /// of a JSON number. In [`Places::json`], the same number is rounded to 64 bits.
    pub fn float_text(&self, pointer: &str) -> Option<String> {
        let mut item = self.document.as_item();
        for token in pointer.split('/').skip(1) {
            let token = unescape(token);
            item = match token.parse::<usize>() {
                Ok(index) => item.get(index)?,
                Err(_) => item.get(token.as_str())?,
            };
        }
        item.as_float()?;
        let text = self.text.get(item.span()?)?;
        Some(text.trim_start_matches('+').replace('_', ""))
    }

    /// Returns the position of the value at a pointer, or of its nearest ancestor.
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

/// Returns the position of an element of an inline array, which `toml_edit` does not represent as
/// an `Item`.
fn element(item: &Item, token: &str) -> Option<Range<usize>> {
    item.as_array()?.get(token.parse().ok()?)?.span()
}

/// Returns whether one of two pointers is equal to, or an ancestor of, the other.
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
        // JSON has no infinity and no NaN: such a number becomes null here. The config schema then
        // refuses the null, because it requires a number.
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

/// Escapes a key so that it can be a part of a JSON Pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns the key that a part of a JSON Pointer stands for.
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

/// Converts a pointer such as `/route/0/retry` to a readable form: `route[0].retry`.
pub fn readable(pointer: &str) -> String {
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
