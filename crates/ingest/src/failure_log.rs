//! Failed publishes in the log: the first of its kind in each minute by itself, the others counted
//! in a summary when that minute ends. A full disk, or a broker that is unavailable, fails every
//! publish.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::PublishErrorKind;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For how long failures of the same kind are counted together: a log that rotates must still
/// contain the first one.
const WINDOW: Duration = Duration::from_secs(60);

/// Requests that failed in this window and have no line, by the name of the kind. A kind in this
/// map has its line.
#[derive(Default)]
pub(crate) struct FailureLog(Mutex<BTreeMap<&'static str, u64>>);

/// Failed requests of one kind that have no line of their own.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    kind: &'static str,
    more: u64,
}

impl FailureLog {
    /// Starts one that logs its summaries until `stop`.
    pub fn start(tasks: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let log = Arc::new(Self::default());
        tasks.spawn(summarize(Arc::clone(&log), stop, Summary::log));
        log
    }

    /// Whether so many failed requests have a line of their own; where they have not, they are in
    /// the next summary.
    pub fn admits(&self, kind: PublishErrorKind, requests: u64) -> bool {
        let mut window = self.lock();
        if let Some(more) = window.get_mut(kind.as_str()) {
            *more += requests;
            return false;
        }
        window.insert(kind.as_str(), 0);
        true
    }

    /// Ends the window, and returns what has no line.
    fn end_window(&self) -> Vec<Summary> {
        let window = std::mem::take(&mut *self.lock());
        let all = window.into_iter();
        all.map(|(kind, more)| Summary { kind, more })
            .filter(|it| it.more > 0)
            .collect()
    }

    /// Numbers have no state that a panic could leave half-changed.
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
            "{more} more requests were answered 503 since that was last logged: not on disk \
             ({kind})"
        );
    }
}

/// Ends windows until `stop`, and then the last one.
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

    /// A log whose summaries arrive at a channel.
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
        assert!(fails(64), "the first has a line");
        assert!(!fails(64));
        assert!(!fails(3));
        // It ends long before its minute does, and its summary waits for no other failure.
        assert_eq!(written.recv().await, Some(blocked(67)));
        // An hour without a failure has no summary.
        tokio::time::sleep(60 * WINDOW).await;
        assert!(written.is_empty());
        assert!(fails(1), "another outage has a line");
        assert!(!fails(2));
        assert_eq!(written.recv().await, Some(blocked(2)));
        // What is counted when the process ends is logged, too.
        assert!(fails(1));
        assert!(!fails(5));
        stop.cancel();
        assert_eq!(written.recv().await, Some(blocked(5)));
        assert_eq!(written.recv().await, None, "nothing is logged twice");
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
        assert!(log.admits(PublishErrorKind::TimedOut, 1), "its own line");
        let (mut summaries, mut counted) = (0, 0);
        while let Ok(summary) = written.try_recv() {
            (summaries, counted) = (summaries + 1, counted + summary.more);
        }
        assert!(lines <= 11, "{lines} lines in ten minutes");
        assert!(summaries <= 10, "{summaries} summaries in ten minutes");
        let open: u64 = log.end_window().iter().map(|it| it.more).sum();
        assert_eq!(lines + counted + open, 60_000, "every request is counted");
    }
}
