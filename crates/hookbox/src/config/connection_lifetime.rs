//! How long a connection to PostgreSQL is kept at most.

use std::time::Duration;

use super::file::Store;
use super::place::Places;
use super::units::duration;

/// The driver's own default.
const DEFAULT: Duration = Duration::from_secs(60);

/// Shortest and longest: a new connection costs milliseconds, and stopping a pooler waits for the
/// old ones.
const RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Reads it; a mistake is noted.
pub fn read(store: &Store, places: &mut Places) -> Option<Duration> {
    let at = "/store/connection_lifetime";
    let Some(text) = &store.connection_lifetime else {
        return Some(DEFAULT);
    };
    let lifetime = places.take(at, duration(text))?;
    if lifetime < RANGE.0 || lifetime > RANGE.1 {
        places.mistake(at, "it must be from 1 s to 1 h");
    }
    Some(lifetime)
}
