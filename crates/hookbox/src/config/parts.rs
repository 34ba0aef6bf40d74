//! The parts of a config that a running service reloads independently, and the mistakes of those
//! that cannot be used.

use std::collections::BTreeMap;

use super::file::File;
use super::place::{Mistakes, Places};

/// A part that can be unusable while the rest of the config is reloaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The keys of a source.
    Keys(String),
    /// The listener's certificate and its key.
    Certificate,
    /// The JSON Schemas of a source.
    Schemas(String),
    /// The log filter.
    Filter,
    /// The URLs of the store and the broker, which are read at the start only.
    Servers,
}

/// The parts of a config that cannot be used, each with its mistakes.
#[derive(Debug, Default)]
pub struct BrokenParts(BTreeMap<Part, Mistakes>);

impl BrokenParts {
    /// Takes those mistakes out of all that were found in a file that lie in a part which can be
    /// reloaded by itself.
    pub(super) fn take(file: &File, places: &mut Places) -> Self {
        Self(places.take_by(|pointer| part_of(file, pointer)))
    }

    /// Whether every part can be used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why a part cannot be used, on one line; `None` where it can be.
    pub fn why(&self, part: &Part) -> Option<String> {
        self.0.get(part).map(Mistakes::line)
    }

    /// Every part that cannot be used, and why.
    pub fn iter(&self) -> impl Iterator<Item = (&Part, String)> {
        self.0
            .iter()
            .map(|(part, mistakes)| (part, mistakes.line()))
    }
}

/// The part that a JSON Pointer points into; `None` for the rest of the file.
fn part_of(file: &File, pointer: &str) -> Option<Part> {
    let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
    match tokens[..] {
        ["source", index, key, ..] => {
            let name = file.source.get(index.parse::<usize>().ok()?)?.name.clone();
            match key {
                "secrets" | "secrets_made_by" => Some(Part::Keys(name)),
                "schemas" => Some(Part::Schemas(name)),
                _ => None,
            }
        }
        ["ingest", "tls", ..] => Some(Part::Certificate),
        ["log", "filter"] => Some(Part::Filter),
        ["store", "url", ..] | ["broker", "url" | "management", ..] => Some(Part::Servers),
        _ => None,
    }
}
