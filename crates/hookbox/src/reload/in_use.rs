//! Merges a newly read config with what is running: settings that need a restart stay as they were.

use hookbox_config::{BrokenParts, Config, Differences, ENVIRONMENT, Mistakes, Part, SourceConfig};
use hookbox_event::SourceName;
use hookbox_signature::Key;

/// Keys of a running source that stay in use although the config has changed.
pub enum KeptKeys {
    /// New keys were read, but they are not valid for the source as it runs. The preset or the
    /// scheme of the source has changed as well, which needs a restart, and they decide the form of
    /// the keys.
    WrittenOtherwise(SourceName),
    /// The config no longer contains the source, and the source's keys cannot be read from the
    /// places that the previous config named.
    Unreadable(SourceName, Mistakes),
}

impl KeptKeys {
    /// Returns the source of the keys.
    pub fn source(&self) -> &SourceName {
        match self {
            KeptKeys::WrittenOtherwise(source) | KeptKeys::Unreadable(source, _) => source,
        }
    }
}

/// Merges what runs now (`before`) into the newly read `config`, because some changes need a
/// restart.
///
/// The sources stay those of `before`. Each source gets its new keys and its new JSON Schemas if
/// they can be used, and otherwise keeps its old ones. A source that the config no longer contains
/// still reads its keys from the previous files. The previous certificate files stay if the new
/// config names none.
///
/// Returns the keys that stay in use although the config has changed.
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

/// Keeps the keys and JSON Schemas that a source uses now, if the new ones cannot be used. If the
/// new config names other files for them, the other files are read from now on.
fn leave(source: &SourceConfig, other: &mut SourceConfig, parts: &BrokenParts) {
    let name = source.name.to_string();
    if parts.why(&Part::Keys(name.clone())).is_some() {
        other.keys = source.keys.clone();
    }
    if parts.why(&Part::Schemas(name)).is_some() && other.schemas.is_none() {
        other.schemas = source.schemas.clone();
    }
}

/// Returns whether both lists contain the same keys in the same order.
pub fn are_same(held: &[Key], read: &[Key]) -> bool {
    held.len() == read.len() && held.iter().zip(read).all(|(one, other)| one.is_same(other))
}
