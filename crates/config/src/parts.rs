//! The parts of a config that a running service reloads independently, and the mistakes in parts
//! that cannot be used.

use std::collections::BTreeMap;

use super::file::File;
use super::place::{Mistakes, Places};

/// A part of the config that may be invalid while the rest of the config is reloaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The keys of the source with this name.
    Keys(String),
    /// The certificate and the private key of the listener.
    Certificate,
    /// The JSON Schemas of the source with this name.
    Schemas(String),
    /// The log filter.
    Filter,
    /// The URLs of the store and the broker, and the identity key. A running service does not use
    /// new values of them, because it connects and computes ids with those that it read when it
    /// started.
    Servers,
}

/// The parts of a config that cannot be used, each with its mistakes.
#[derive(Debug, Default)]
pub struct BrokenParts(BTreeMap<Part, Mistakes>);

impl BrokenParts {
    /// Takes from `places` the mistakes that lie in reloadable parts. Other mistakes stay in
    /// `places`.
    pub(super) fn take(file: &File, places: &mut Places) -> Self {
        Self(places.take_by(|pointer| part_of(file, pointer)))
    }

    /// Returns whether every part can be used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns on one line why a part cannot be used; `None` if the part can be used.
    pub fn why(&self, part: &Part) -> Option<String> {
        self.0.get(part).map(Mistakes::line)
    }

    /// Returns every part that cannot be used, with the reason.
    pub fn iter(&self) -> impl Iterator<Item = (&Part, String)> {
        self.0
            .iter()
            .map(|(part, mistakes)| (part, mistakes.line()))
    }
}

/// Returns the part that a JSON Pointer points into; `None` for the rest of the file.
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
        ["store", "url", ..] | ["broker", "url" | "management", ..] | ["identity", "key", ..] => {
            Some(Part::Servers)
        }
        _ => None,
    }
}
