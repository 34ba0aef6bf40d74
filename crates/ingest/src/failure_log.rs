//! Limits the log lines about failed publishes: the first failure of a kind in a minute has its own
//! line, and the others are counted in a summary at the end of that minute. Without this, a full
//! disk or an unavailable broker would write a line for every publish.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::PublishErrorKind;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The length of a window. In each window, the first failure of each kind has its own log line. So
/// during a long outage, each minute of the log has such a line, also in a log file that starts in
/// the middle of the outage.
const WINDOW: Duration = Duration::from_secs(60);

/// For each kind of failure, the number of failed requests in the current window that have no log
/// line of their own. A kind is in the map once its first failure was logged in this window.
#[derive(Default)]
pub(crate) struct FailureLog(Mutex<BTreeMap<&'static str, u64>>);

/// The number of failed requests of one kind that have no log line of their own.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    kind: &'static str,
    more: u64,
}

impl FailureLog {
    /// Creates the log and starts a task that writes its summaries until `stop`.
    pub fn start(tasks: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let log = Arc::new(Self::default());
        tasks.spawn(summarize(Arc::clone(&log), stop, Summary::log));
        log
    }

    /// Returns whether this failure gets its own log line. If not, its `requests` are added to the
    /// next summary.
    pub fn admits(&self, kind: PublishErrorKind, requests: u64) -> bool {
        let mut window = self.lock();
        if let Some(more) = window.get_mut(kind.as_str()) {
            *more += requests;
            return false;
        }
        window.insert(kind.as_str(), 0);
        true
    }

    /// Ends the window, and returns the counts of the failures that were not logged.
    fn end_window(&self) -> Vec<Summary> {
        let window = std::mem::take(&mut *self.lock());
        let all = window.into_iter();
        all.map(|(kind, more)| Summary { kind, more })
            .filter(|it| it.more > 0)
            .collect()
    }

    /// Locks the map, even after a thread has panicked while it held the lock: a panic cannot leave
    /// these numbers half-changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Summary {
    fn log(self) {
        let Self { kind, more } = self;
        tracing::warn!(
            kind,
            more,
            "{more} more requests were answered 503 since this failure was last logged: not on \
             disk ({kind})"
        );
    }
}

/// Writes the summaries of the current window every minute, and those of the last window when
/// `stop` is cancelled.
async fn summarize(log: Arc<FailureLog>, stop: CancellationToken, write: impl Fn(Summary) + Send) {
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(WINDOW) => false,
        };
        log.end_window().into_iter().for_each(&write);
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// Returns a log that sends its summaries to a channel.
    fn summarized() -> (
        Arc<FailureLog>,
        UnboundedReceiver<Summary>,
        CancellationToken,
    ) {
        let (log, stop) = (Arc::new(FailureLog::default()), CancellationToken::new());
        let (summaries, written) = unbounded_channel();
        let write = move |summary| summaries.send(summary).unwrap();
        TaskTracker::new().spawn(summarize(Arc::clone(&log), stop.clone(), write));
        (log, written, stop)
    }

    fn blocked(more: u64) -> Summary {
        Summary {
            kind: PublishErrorKind::Blocked.as_str(),
            more,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_outage_has_its_own_summary_and_the_next_one_begins_at_none() {
        let (log, mut written, stop) = summarized();
        let fails = |requests| log.admits(PublishErrorKind::Blocked, requests);
        assert!(fails(64), "the first failure must have its own log line");
        assert!(!fails(64));
        assert!(!fails(3));
        // The summary is written at the end of the minute, although no further failure occurs.
        assert_eq!(written.recv().await, Some(blocked(67)));
        // No summary is written for an hour without failures.
        tokio::time::sleep(60 * WINDOW).await;
        assert!(written.is_empty());
        assert!(
            fails(1),
            "the first failure of another outage must have its own log line"
        );
        assert!(!fails(2));
        assert_eq!(written.recv().await, Some(blocked(2)));
        // When the process ends, the failures that were counted and not yet logged are logged.
        assert!(fails(1));
        assert!(!fails(5));
        stop.cancel();
        assert_eq!(written.recv().await, Some(blocked(5)));
        assert_eq!(
            written.recv().await,
            None,
            "no failure may be in two summaries"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_lasts_has_two_lines_a_minute_of_each_kind() {
        let (log, mut written, _stop) = summarized();
        let mut lines = 0;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for _ in 0..100 {
                lines += u64::from(log.admits(PublishErrorKind::Blocked, 1));
            }
        }
        assert!(
            log.admits(PublishErrorKind::TimedOut, 1),
            "the first failure of another kind must have its own log line"
        );
        let (mut summaries, mut counted) = (0, 0);
        while let Ok(summary) = written.try_recv() {
            (summaries, counted) = (summaries + 1, counted + summary.more);
        }
        assert!(
            lines <= 11,
            "at most 11 failures in ten minutes may have their own line, not {lines}"
        );
        assert!(
            summaries <= 10,
            "ten minutes may have at most 10 summaries, not {summaries}"
        );
        let open: u64 = log.end_window().iter().map(|it| it.more).sum();
        assert_eq!(
            lines + counted + open,
            60_000,
            "every failed request must have a log line or be counted in a summary"
        );
    }
}
