//! What stays in use of the previous config when another one is read: what needs a restart.

use hookbox_event::SourceName;
use hookbox_signature::Key;

use crate::config::{BrokenParts, Config, Differences, ENVIRONMENT, Mistakes, Part, SourceConfig};

/// Keys of a running source that stay in use.
pub enum KeptKeys {
    /// Other keys were read, and the preset or the scheme, which decide how they are written,
    /// differ.
    WrittenOtherwise(SourceName),
    /// The config no longer has the source, and its keys cannot be read from their old places.
    Unreadable(SourceName, Mistakes),
}

impl KeptKeys {
    /// The source of the keys.
    pub fn source(&self) -> &SourceName {
        match self {
            KeptKeys::WrittenOtherwise(source) | KeptKeys::Unreadable(source, _) => source,
        }
    }
}

/// Merges into a newly read config what is running and needs a restart to be changed: the previous
/// sources, with those of their keys and schemas that can be used, and the certificate where there
/// is no other. Files of these sources are read as long as they are in use. What cannot be used of
/// a source stays as it was.
pub fn keep(
    before: Config,
    config: &mut Config,
    parts: &BrokenParts,
    begun_with: &str,
) -> Vec<KeptKeys> {
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
            Some(_) => left.push(KeptKeys::WrittenOtherwise(name)),
            None => match source.read_keys(&config.path, ENVIRONMENT, config.needs) {
                Ok(keys) => source.keys = keys,
                Err(mistakes) => left.push(KeptKeys::Unreadable(name, mistakes)),
            },
        }
        config.sources.push(source);
    }
    left
}

/// Keeps what cannot be used of the other config's source. Where it names other files, those are
/// read from now on.
fn leave(source: &SourceConfig, other: &mut SourceConfig, parts: &BrokenParts) {
    let name = source.name.to_string();
    if parts.why(&Part::Keys(name.clone())).is_some() {
        other.keys = source.keys.clone();
    }
    if parts.why(&Part::Schemas(name)).is_some() && other.schemas.is_none() {
        other.schemas = source.schemas.clone();
    }
}

/// Whether both lists of keys verify the same requests.
pub fn are_same(held: &[Key], read: &[Key]) -> bool {
    held.len() == read.len() && held.iter().zip(read).all(|(one, other)| one.is_same(other))
}
