//! Tracks whether the broker rejects every publish or does not confirm it in time, and for how
//! long. A single rejection means little: the queue may be electing a leader, or may be full for a
//! moment. In this file, a publish whose confirm is late counts as rejected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long every publish must have been rejected before the driver reports that it is not
/// ready. It is longer than an election of a queue's leader, which takes a second or two.
const LASTS: Duration = Duration::from_secs(5);

/// How long after the last rejection the driver reports itself ready again. The broker may still
/// reject every publish then, but only another publish can show that. While the driver is not
/// ready, load balancers send no requests to the ingest, so nothing is published.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The rejections since the last publish that was confirmed.
#[derive(Default)]
pub(crate) struct Rejections {
    span: Mutex<Option<Span>>,
    is_shown: AtomicBool,
}

#[derive(Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Rejections {
    /// Records whether the broker has confirmed any message of a publish round, or has rejected all
    /// of them.
    pub fn record(&self, is_any_confirmed: bool, now: Instant) {
        if is_any_confirmed {
            self.confirmed();
        } else {
            self.rejected(now);
        }
    }

    /// Records that the broker confirmed a publish. The earlier rejections no longer count, because
    /// the broker does not reject every publish.
    pub fn confirmed(&self) {
        *self.span() = None;
    }

    /// Records that the broker rejected a publish.
    pub fn rejected(&self, now: Instant) {
        let mut span = self.span();
        let first = span.map_or(now, |span| span.first);
        *span = Some(Span { first, last: now });
    }

    /// Returns for how long every publish has been rejected; `None` when that is shorter than
    /// [`LASTS`], or when the last rejection is too old.
    pub fn lasting(&self, now: Instant) -> Option<Duration> {
        let span = (*self.span())?;
        let lasts = span.last.duration_since(span.first);
        let is_known = now.duration_since(span.last) < FORGOTTEN;
        (lasts >= LASTS && is_known).then_some(lasts)
    }

    /// Records whether the driver now names the rejections as the reason why it is not ready.
    /// Returns `true` if the driver names them now and did not name them before.
    pub fn show(&self, is_shown: bool) -> bool {
        !self.is_shown.swap(is_shown, Ordering::Relaxed) && is_shown
    }

    /// Returns whether the driver names the rejections as the reason why it is not ready. If so,
    /// the driver is connected, and it must try a publish to find out whether publishes are
    /// accepted again.
    pub fn is_shown(&self) -> bool {
        self.is_shown.load(Ordering::Relaxed)
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn span(&self) -> MutexGuard<'_, Option<Span>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_without_a_confirm_counts() {
        let (rejections, began) = (Rejections::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(rejections.lasting(at(0)), None);
        rejections.rejected(at(0));
        assert_eq!(
            rejections.lasting(at(6)),
            None,
            "after a single rejection, the driver must not report that every publish is rejected"
        );
        rejections.rejected(at(4));
        assert_eq!(
            rejections.lasting(at(6)),
            None,
            "rejections over only 4 s must not count as lasting, because the election of a queue's \
             leader may take as long"
        );
        rejections.rejected(at(6));
        assert_eq!(rejections.lasting(at(6)), Some(Duration::from_secs(6)));
        assert_eq!(rejections.lasting(at(35)), Some(Duration::from_secs(6)));
        assert_eq!(
            rejections.lasting(at(36)),
            None,
            "30 s after the last rejection, the rejections must no longer count"
        );
        // The next rejection counts together with the earlier ones, because nothing was confirmed
        // in the meantime.
        rejections.rejected(at(36));
        assert_eq!(rejections.lasting(at(36)), Some(Duration::from_secs(36)));
        rejections.confirmed();
        assert_eq!(rejections.lasting(at(36)), None);
        rejections.rejected(at(37));
        assert_eq!(rejections.lasting(at(37)), None);
    }
}
