//! The setting `[ingest] spool`: where to keep events that the broker cannot take now.

use std::path::{Path, PathBuf};

use super::file::Ingest;
use super::place::Places;
use super::server::{BrokerUrl, StoreUrl};
use super::sqlite_path;
use super::units::size;

/// The JSON Pointer to the setting in the config file.
const AT: &str = "/ingest/spool";

/// The default limit for the size of the spool, in bytes. It is enough for a million events of 1
/// KiB, and any disk has room for it.
pub const STANDARD: usize = 1024 * 1024 * 1024;

/// The smallest useful size of a spool, in bytes: several batches of the largest body.
const LEAST: usize = 16 * 1024 * 1024;

/// The settings of the spool of an ingest.
pub struct SpoolConfig {
    /// The SQLite file of the spool, which contains nothing else.
    pub path: PathBuf,
    /// How many bytes the spool may contain.
    pub bytes_max: u64,
}

/// Checks the settings of the spool. `None` means a mistake, `Some(None)` no spool.
pub fn check(folder: &Path, given: &Ingest, places: &mut Places) -> Option<Option<SpoolConfig>> {
    let bytes_max = match &given.spool_max {
        Some(text) => places.take("/ingest/spool_max", size(text))?,
        None => STANDARD,
    };
    let Some(url) = &given.spool else {
        if given.spool_max.is_some() {
            places.mistake(
                "/ingest/spool_max",
                "spool_max limits a spool, but no spool is set",
            );
        }
        return Some(None);
    };
    if bytes_max < LEAST {
        places.mistake("/ingest/spool_max", "the value must be 16 MiB or more");
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        places.mistake(
            AT,
            "the value must begin with sqlite:, as in \"sqlite:spool.db\"",
        );
        return None;
    };
    let path = sqlite_path::check(AT, folder, path, places)?;
    let bytes_max = bytes_max as u64;
    Some(Some(SpoolConfig { path, bytes_max }))
}

/// Checks that a spool is useful with this broker, and that its file is not used for anything else.
pub fn fits(spool: &SpoolConfig, store: &StoreUrl, broker: &BrokerUrl, places: &mut Places) {
    match broker {
        BrokerUrl::Sqlite(_) => {
            let what =
                "the broker is a file on this machine, and never unavailable: remove the spool";
            places.mistake(AT, what);
        }
        BrokerUrl::Amqp(_) | BrokerUrl::NotResolved => {}
    }
    if let StoreUrl::Sqlite(store) = store
        && sqlite_path::is_same(store, &spool.path)
    {
        places.mistake(
            AT,
            "this is the file of the store; the spool needs another file",
        );
    }
}
