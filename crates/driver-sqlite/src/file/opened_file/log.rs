//! Empties the write-ahead log of a file that was displaced.
//!
//! The log stays beside the path, wherever the file is now. SQLite finds out that the file was
//! moved, and then neither empties the log nor deletes it when it closes the file. The next process
//! would apply the log to the other file that is at the path by then. So hookbox writes the log
//! into the file to which it belongs. This fails while a transaction is open, and is repeated.

use std::time::Duration;

use tokio::time::{Interval, sleep, timeout};

use crate::file::shared::Shared;

/// How long closing waits until the log is empty. A transaction of another process may be open for
/// longer.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The pause between two attempts while the file is being closed.
const PAUSE: Duration = Duration::from_millis(50);

/// Empties the log of a displaced file. Tries again at each tick, until it succeeds or the driver
/// is closed. Once the log is empty, no transaction writes to it, because a transaction checks the
/// path after it has got the write lock, and ends if the file was displaced. Only the queues of a
/// file of one process are still written.
pub(super) async fn empty_until_closed(shared: &Shared, mut ticks: Interval) {
    if !shared.file.has_its_log() {
        return;
    }
    let mut is_logged = false;
    while !shared.readers.empty_log().await {
        if !is_logged {
            is_logged = true;
            tracing::warn!(
                "{} still hold transactions of the file that was opened, and are emptied when no \
                 transaction is open; do not start hookbox on the file that is at the path before \
                 this process has ended",
                shared.file.log_files(),
            );
        }
        tokio::select! {
            () = shared.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
    }
}

/// Empties the log if the file was displaced, before the file is closed.
pub(crate) async fn empty_before_close(shared: &Shared) {
    // The file may have been displaced since it was checked last. The result is recorded in `file`.
    let _ = shared.file.check();
    // If other processes use the path, the log is emptied only once. Later, one of them may have
    // opened the file that is now at the path, and the log may contain its transactions. But the
    // queues of a file of one process are written until it is closed.
    let is_done = shared.readers.is_log_empty() && !shared.options.exclusive;
    if is_done || !shared.file.has_its_log() {
        return;
    }
    let emptied = async {
        while !shared.readers.empty_log().await {
            sleep(PAUSE).await;
        }
    };
    if timeout(CLOSE_WAIT, emptied).await.is_err() {
        tracing::error!(
            "{} still hold transactions of a SQLite file that is no longer at its path, and could \
             not be emptied; move both away before hookbox is started again, or SQLite applies \
             them to the file that is at the path then",
            shared.file.log_files(),
        );
    }
}
