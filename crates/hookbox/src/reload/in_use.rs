//! What stays in use of the config before, where another one is read: what needs a restart.

use hookbox_event::SourceName;
use hookbox_signature::Key;

use crate::config::{BrokenParts, Config, Differences, ENVIRONMENT, Mistakes, Part, SourceConfig};

/// Keys of a source that runs, which stay as they were.
pub enum Left {
    /// Others were read, and its preset or its scheme, which say how they are written, differ.
    WrittenOtherwise(SourceName),
    /// The config has no such source any more, and its keys cannot be read where they were.
    Unreadable(SourceName, Mistakes),
}

impl Left {
    /// The source that they are of.
    pub fn source(&self) -> &SourceName {
        match self {
            Left::WrittenOtherwise(source) | Left::Unreadable(source, _) => source,
        }
    }
}

/// Puts into a config that was read what runs and needs a restart to be changed: the sources of the
/// one before, with the keys and schemas of theirs that can be used, and its certificate where
/// there is no other. Files of theirs are read again as long as they are in use. What cannot be
/// used of a source stays as it was.
pub fn keep(
    before: Config,
    config: &mut Config,
    parts: &BrokenParts,
    begun_with: &str,
) -> Vec<Left> {
    if config.ingest.tls.is_none() {
        config.ingest.tls = before.ingest.tls;
    }
    let differences = Differences::between(begun_with, &config.text);
    let mut read = std::mem::take(&mut config.sources);
    let mut left = Vec::new();
    for mut source in before.sources {
        let name = source.name.clone();
        let place = read.iter().position(|other| other.name == name);
        let mut other = place.map(|place| read.swap_remove(place));
        if let Some(other) = &mut other {
            leave(&source, other, parts);
        }
        match other {
            Some(other) if !differences.sources.contains(name.as_str()) => source = other,
            Some(other) if source.is_keyed_as(&other) => source.take_keys(other),
            Some(other) if are_same(&source.keys, &other.keys) => {}
            Some(_) => left.push(Left::WrittenOtherwise(name)),
            None => match source.read_keys(&config.path, ENVIRONMENT, config.needs) {
                Ok(keys) => source.keys = keys,
                Err(mistakes) => left.push(Left::Unreadable(name, mistakes)),
            },
        }
        config.sources.push(source);
    }
    left
}

/// Leaves of a source what cannot be used of the other one. Where other files are named, it is they
/// that are read again.
fn leave(source: &SourceConfig, other: &mut SourceConfig, parts: &BrokenParts) {
    let name = source.name.to_string();
    if parts.why(&Part::Keys(name.clone())).is_some() {
        other.keys = source.keys.clone();
    }
    if parts.why(&Part::Schemas(name)).is_some() && other.schemas.is_none() {
        other.schemas = source.schemas.clone();
    }
}

/// Whether a request is verified by the one as by the other.
pub fn are_same(held: &[Key], read: &[Key]) -> bool {
    held.len() == read.len() && held.iter().zip(read).all(|(one, other)| one.is_same(other))
}
