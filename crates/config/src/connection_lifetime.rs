//! The setting `store.connection_lifetime`: how long a connection to PostgreSQL is kept.

use std::time::Duration;

use hookbox_driver_postgres::Options;

use super::file::Store;
use super::place::Places;
use super::units::duration;

/// How long a connection is kept if the config does not say so: as long as the PostgreSQL driver
/// keeps it by default.
pub const DEFAULT: Duration = Options::CONNECTION_LIFETIME;

/// The shortest and longest allowed lifetime. A shorter lifetime is wasteful, because opening a
/// connection takes milliseconds. A longer one delays the shutdown of a connection pooler, which
/// waits for old connections.
const RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Reads the setting, and records a mistake if it is invalid.
pub fn read(store: &Store, places: &mut Places) -> Option<Duration> {
    let at = "/store/connection_lifetime";
    let Some(text) = &store.connection_lifetime else {
        return Some(DEFAULT);
    };
    let lifetime = places.take(at, duration(text))?;
    if lifetime < RANGE.0 || lifetime > RANGE.1 {
        places.mistake(at, "the value must be from 1 s to 1 h");
    }
    Some(lifetime)
}
