//! Tracks whether the broker rejects every publish, and for how long. A single rejection may be the
//! election of a leader, or a queue that is full for a moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long every publish must have been rejected before the driver is not ready. An election takes
/// a second or two.
const LASTS: Duration = Duration::from_secs(5);

/// How long after the last rejection the driver is ready again. Then it is unknown whether the next
/// publish would be rejected, and only a publish can show it.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The rejections since the last confirmed publish.
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
    /// Records a confirmed publish: the broker does not reject everything.
    pub fn confirmed(&self) {
        *self.span() = None;
    }

    /// Records a rejected publish.
    pub fn rejected(&self, now: Instant) {
        let mut span = self.span();
        let first = span.map_or(now, |span| span.first);
        *span = Some(Span { first, last: now });
    }

    /// Returns for how long every publish has been rejected, if that is long enough to count.
    pub fn lasting(&self, now: Instant) -> Option<Duration> {
        let span = (*self.span())?;
        let lasts = span.last.duration_since(span.first);
        let is_known = now.duration_since(span.last) < FORGOTTEN;
        (lasts >= LASTS && is_known).then_some(lasts)
    }

    /// Records whether these rejections are shown as the reason why the driver is not ready.
    /// Returns whether they were not shown before.
    pub fn show(&self, is_shown: bool) -> bool {
        !self.is_shown.swap(is_shown, Ordering::Relaxed) && is_shown
    }

    /// Returns whether these rejections are why the driver is not ready. Then there is a
    /// connection, and the next publish shows whether publishes are accepted again.
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
            "a single rejection must not count"
        );
        rejections.rejected(at(4));
        assert_eq!(rejections.lasting(at(6)), None, "an election");
        rejections.rejected(at(6));
        assert_eq!(rejections.lasting(at(6)), Some(Duration::from_secs(6)));
        assert_eq!(rejections.lasting(at(35)), Some(Duration::from_secs(6)));
        assert_eq!(
            rejections.lasting(at(36)),
            None,
            "after 30 s without a rejection, a publish is tried again"
        );
        // The next rejection restores the old span at once.
        rejections.rejected(at(36));
        assert_eq!(rejections.lasting(at(36)), Some(Duration::from_secs(36)));
        rejections.confirmed();
        assert_eq!(rejections.lasting(at(36)), None);
        rejections.rejected(at(37));
        assert_eq!(rejections.lasting(at(37)), None);
    }
}
