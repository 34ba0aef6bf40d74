//! `[ingest] spool`: where events are spooled that the broker cannot take now.

use std::path::{Path, PathBuf};

use super::check::sqlite;
use super::file::Ingest;
use super::place::Places;
use super::units::size;
use super::{BrokerUrl, Config, StoreUrl, place};

/// The place in the file.
const AT: &str = "/ingest/spool";

/// How much the spool may hold, unless configured: a million events of 1 KiB, which any disk can
/// spare.
const STANDARD: usize = 1024 * 1024 * 1024;

/// The smallest useful size: some batches of the largest body.
const LEAST: usize = 16 * 1024 * 1024;

/// The spool of an ingest.
pub struct SpoolConfig {
    /// A SQLite file of its own.
    pub path: PathBuf,
    /// How many bytes it may hold.
    pub bytes_max: u64,
}

/// Checks the spool's settings; `None` is a mistake, and `Some(None)` no spool.
pub fn check(folder: &Path, given: &Ingest, places: &mut Places) -> Option<Option<SpoolConfig>> {
    let bytes_max = match &given.spool_max {
        Some(text) => places.take("/ingest/spool_max", size(text))?,
        None => STANDARD,
    };
    let Some(url) = &given.spool else {
        if given.spool_max.is_some() {
            places.mistake("/ingest/spool_max", "there is no spool for it to bound");
        }
        return Some(None);
    };
    if bytes_max < LEAST {
        places.mistake("/ingest/spool_max", "it must be 16 MiB or more");
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        places.mistake(AT, "it must begin with sqlite:, as \"sqlite:spool.db\"");
        return None;
    };
    let path = sqlite(AT, folder, path, places)?;
    let bytes_max = bytes_max as u64;
    Some(Some(SpoolConfig { path, bytes_max }))
}

/// Whether a spool is of use with this broker, and its file is used for nothing else.
pub fn fits(config: &Config, places: &mut Places) {
    let Some(spool) = &config.ingest.spool else {
        return;
    };
    match &config.broker {
        BrokerUrl::Sqlite(_) => {
            let what =
                "the broker is a file on this machine, and never unavailable: remove the spool";
            places.mistake(AT, what);
        }
        BrokerUrl::Amqp(_) | BrokerUrl::NotResolved => {}
    }
    if let StoreUrl::Sqlite(store) = &config.store
        && place(store) == place(&spool.path)
    {
        places.mistake(AT, "it is the store's file; the spool needs one of its own");
    }
}
