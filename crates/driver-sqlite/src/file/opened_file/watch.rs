//! Checks at intervals that the path still leads to the open file. When it no longer does,
//! committed data that is only in the write-ahead log is written into the open file.

use std::time::Duration;

use sqlx::ConnectOptions;
use tokio::time::{MissedTickBehavior, interval};

use super::Displaced;
use crate::diagnose::{Unusable, unusable};
use crate::file::connect;
use crate::file::shared::Shared;
use crate::meta;

/// How often the path is compared with the open file, even while nothing is read or written.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// One in this many checks also reads the random mark in the file. `cp` over the open file changes
/// the content of the file, but neither its name nor its inode number, so only the mark shows it.
/// The mark is read over a new connection, because an open connection could read the old content
/// from its cache.
const BIRTH_EVERY: u32 = 10;

/// Checks the file until the driver is closed or the file is displaced.
pub(crate) async fn watch(shared: &Shared) {
    let mut ticks = interval(CHECK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_birth = BIRTH_EVERY;
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let mut checked = shared.file.check();
        until_birth = until_birth.saturating_sub(1);
        if checked.is_ok() && until_birth == 0 {
            until_birth = BIRTH_EVERY;
            checked = match birth(shared).await {
                Ok(found) => shared.file.check_birth(found),
                Err(error) => by_error(shared, &error),
            };
        }
        if checked.is_err() && shared.file.is_displaced() {
            if shared.file.has_its_log() {
                // Afterwards all committed data is in the file that was opened, wherever that file
                // is now. The write-ahead log is empty, so SQLite cannot apply it to the other file
                // that is now at the path.
                shared.readers.empty_log().await;
            }
            return;
        }
    }
}

/// Classifies an error of reading the file. The tables of hookbox were in the file when it was
/// opened, so if they are missing now, the content was replaced.
fn by_error(shared: &Shared, error: &sqlx::Error) -> Result<(), Displaced> {
    match unusable(error) {
        Some(Unusable::NoDatabase | Unusable::Damaged | Unusable::Foreign) => {
            shared.file.check_birth(None)
        }
        Some(Unusable::Forbidden) | None => {
            // This is only logged at level `debug`, because reads and writes get the same error and
            // report it.
            tracing::debug!(%error, "the SQLite file could not be read over a new connection");
            Ok(())
        }
    }
}

async fn birth(shared: &Shared) -> sqlx::Result<Option<String>> {
    let mut connection = shared.read_options().connect().await?;
    let found = meta::birth(&mut connection).await;
    connect::close(connection).await;
    found
}
