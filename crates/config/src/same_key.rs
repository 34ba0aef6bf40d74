//! Refuses a key that two sources share. A request that was captured at one source would also
//! verify at the other source, and would be a different event there.

use std::collections::HashMap;

use hookbox_driver::{Rng as _, SystemRng};

use super::file::File;
use super::place::Places;
use super::source::SourceConfig;

/// Refuses a key that two sources share, and warns about a key that one source has twice. Keys are
/// compared by fingerprints under a random salt, which is discarded immediately.
pub fn check(file: &File, sources: &[SourceConfig], places: &mut Places) {
    let mut salt = [0; 32];
    SystemRng.fill(&mut salt);
    let mut first = HashMap::new();
    for source in sources {
        for key in &source.keys {
            let Some(at) = place(file, source, key.id()) else {
                continue;
            };
            let known = first.entry(key.fingerprint(&salt)).or_insert((source, key));
            let (other, id) = (&known.0.name, known.1.id());
            if *other != source.name {
                let what = format!(
                    "this is the same key as {id:?} of the source {other}: a request that was \
                     captured at {} would also be accepted at the other source; give each source \
                     its own key",
                    source.name
                );
                places.mistake(&at, what);
            } else if id != key.id() {
                let what = format!(
                    "this is the same key as {id:?}, so no key is rotated, and \"until\" has no \
                     effect; have the provider make a new key"
                );
                places.warn(&at, what);
            }
        }
    }
}

/// Returns the JSON Pointer to a key in the config.
fn place(file: &File, source: &SourceConfig, id: &str) -> Option<String> {
    let mut sources = file.source.iter();
    let index = sources.position(|one| one.name == source.name.as_str())?;
    let mut secrets = file.source[index].secrets.iter();
    let secret = secrets.position(|secret| secret.id == id)?;
    Some(format!("/source/{index}/secrets/{secret}"))
}
