//! Limits the log lines about refused requests: the first ones of each second have their own line,
//! the others are counted.
//!
//! The number of refused requests has no limit. Each refusal is counted in the metrics and, where
//! there is a store, stored. A log line for each of them would crowd out everything else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time in which refusals are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// The most log lines about one source in one [`WINDOW`]: enough to recognise a pattern of
/// addresses and reasons.
const LINES_MAX: u64 = 10;

/// The refusals since the last summaries were written.
#[derive(Default)]
pub(crate) struct RefusalLog(Mutex<Window>);

#[derive(Default)]
struct Window {
    /// The refusals of each source that exists, by its name.
    sources: BTreeMap<String, RefusalCounts>,
    /// The refusals of requests whose path names no existing source. The sender chose these names,
    /// so they are not used as keys: all of them are counted together.
    unknown: RefusalCounts,
}

#[derive(Default)]
struct RefusalCounts {
    lines: u64,
    /// Refusals without a log line, by reason.
    more: BTreeMap<&'static str, u64>,
}

/// The refusals of one source that have no log line of their own.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    source: Option<String>,
    more: u64,
    /// The reasons with their counts, such as `wrong_signature 200, missing_header 14`.
    reasons: String,
}

impl RefusalLog {
    /// Creates the log and starts a task that writes its summaries until `stop`.
    pub fn start(tasks: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let log = Arc::new(Self::default());
        tasks.spawn(summarize(Arc::clone(&log), stop));
        log
    }

    /// Returns whether a refusal gets its own log line; if not, it is counted in the next summary.
    /// `source` is the name of an existing source, otherwise `None`.
    pub fn admits(&self, source: Option<&str>, reason: &'static str) -> bool {
        let mut window = self.lock();
        let Window { sources, unknown } = &mut *window;
        let refused = match source {
            None => unknown,
            Some(name) => sources.entry(name.to_owned()).or_default(),
        };
        if refused.lines < LINES_MAX {
            refused.lines += 1;
            return true;
        }
        *refused.more.entry(reason).or_default() += 1;
        false
    }

    /// Ends the current window, and returns a summary for each source that had refusals without a
    /// log line.
    fn end_window(&self) -> Vec<Summary> {
        let Window { sources, unknown } = std::mem::take(&mut *self.lock());
        let sources = sources.into_iter().map(|(name, it)| (Some(name), it));
        let all = sources.chain([(None, unknown)]);
        let summary = |(source, refused): (Option<String>, RefusalCounts)| {
            let reasons = refused.more.iter();
            let reasons: Vec<String> = reasons
                .map(|(reason, count)| format!("{reason} {count}"))
                .collect();
            Summary {
                source,
                more: refused.more.values().sum(),
                reasons: reasons.join(", "),
            }
        };
        all.map(summary).filter(|it| it.more > 0).collect()
    }

    /// Locks the counts, even after a thread has panicked while it held the lock. This is safe,
    /// because each change of the counts is a single step.
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn summarize(log: Arc<RefusalLog>, stop: CancellationToken) {
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(WINDOW) => false,
        };
        for summary in log.end_window() {
            let Summary {
                source,
                more,
                reasons,
            } = summary;
            match source {
                Some(source) => tracing::info!(
                    source,
                    more,
                    reasons,
                    "{more} more requests to source {source} were not accepted in this second: \
                     {reasons}"
                ),
                None => tracing::info!(
                    more,
                    reasons,
                    "{more} more requests to sources that do not exist were not accepted in this \
                     second: {reasons}"
                ),
            }
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_window_have_a_line_and_the_others_are_counted() {
        let log = RefusalLog::default();
        let admitted =
            |source: Option<&str>, reason| (0..25).filter(|_| log.admits(source, reason)).count();
        assert_eq!(admitted(Some("begini"), "wrong_signature"), 10);
        assert_eq!(admitted(Some("begini"), "missing_header"), 0);
        // Each source has its own ten lines, and a flood of requests to names of no source does not
        // use them up.
        assert_eq!(admitted(None, "unknown_source"), 10);
        assert_eq!(admitted(Some("shop"), "too_large"), 10);
        let summary = |source: Option<&str>, more, reasons: &str| Summary {
            source: source.map(str::to_owned),
            more,
            reasons: reasons.to_owned(),
        };
        assert_eq!(
            log.end_window(),
            [
                summary(Some("begini"), 40, "missing_header 25, wrong_signature 15"),
                summary(Some("shop"), 15, "too_large 15"),
                summary(None, 15, "unknown_source 15"),
            ]
        );
        assert_eq!(
            log.end_window(),
            [],
            "no refusal may be counted in two summaries"
        );
        assert!(
            log.admits(Some("begini"), "wrong_signature"),
            "refusals must have log lines again when a new window has begun"
        );
        assert_eq!(
            log.end_window(),
            [],
            "a refusal that has a log line must not be counted in a summary"
        );
    }
}
