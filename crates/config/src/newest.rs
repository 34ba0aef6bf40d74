//! Checks the setting `newest` of a route, with which the route handles only the newest event of
//! each key.

use hookbox_event::{Newest, Pointer, VersionKind};

use super::condition::pointer;
use super::file::newest as file;
use super::place::Places;

/// Checks the setting `newest` of a route, and records its mistakes. Returns `None` if it cannot be
/// parsed. `at` is the JSON Pointer to the route in the config.
pub fn check(at: &str, newest: &file::Newest, places: &mut Places) -> Option<Newest> {
    let at = format!("{at}/newest");
    let mut key: Vec<Pointer> = Vec::new();
    for (index, text) in newest.key.iter().enumerate() {
        let at = format!("{at}/key/{index}");
        let Some(pointer) = pointer(&at, text, places) else {
            continue;
        };
        if key.contains(&pointer) {
            places.mistake(&at, "the list `key` already contains this pointer");
        }
        key.push(pointer);
    }
    let version = pointer(&format!("{at}/version"), &newest.version, places)?;
    if key.contains(&version) {
        places.mistake(
            &format!("{at}/version"),
            "the version must not be a part of the key, or every version would be a key of its own",
        );
    }
    // The config schema allows only the words that `VersionKind::parse` knows.
    let kind = VersionKind::parse(&newest.kind)?;
    (key.len() == newest.key.len()).then_some(Newest { key, version, kind })
}
