//! Whether everything that is published is rejected, and for how long: one rejection may be an
//! election of a leader, or a queue that is full for a moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So long everything must have been rejected. An election takes a second or two.
const LASTS: Duration = Duration::from_secs(5);

/// So long after the last rejection it is no longer known whether the next publish would be
/// rejected, too: it is tried again, since nothing else would show that.
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
    /// A publish was confirmed: not everything is rejected.
    pub fn confirmed(&self) {
        *self.span() = None;
    }

    /// A publish was rejected.
    pub fn rejected(&self, now: Instant) {
        let mut span = self.span();
        let first = span.map_or(now, |span| span.first);
        *span = Some(Span { first, last: now });
    }

    /// For how long everything has been rejected, where that has lasted.
    pub fn lasting(&self, now: Instant) -> Option<Duration> {
        let span = (*self.span())?;
        let lasts = span.last.duration_since(span.first);
        let is_known = now.duration_since(span.last) < FORGOTTEN;
        (lasts >= LASTS && is_known).then_some(lasts)
    }

    /// Sets it as the reason why the driver is not ready, or clears it. Returns whether it was
    /// newly set.
    pub fn show(&self, is_shown: bool) -> bool {
        !self.is_shown.swap(is_shown, Ordering::Relaxed) && is_shown
    }

    /// Whether it is why the driver is not ready: there is a connection, and the next publish shows
    /// whether publishes are accepted again.
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
        assert_eq!(rejections.lasting(at(6)), None, "one is an accident");
        rejections.rejected(at(4));
        assert_eq!(rejections.lasting(at(6)), None, "an election");
        rejections.rejected(at(6));
        assert_eq!(rejections.lasting(at(6)), Some(Duration::from_secs(6)));
        assert_eq!(rejections.lasting(at(35)), Some(Duration::from_secs(6)));
        assert_eq!(rejections.lasting(at(36)), None, "it is tried again");
        // It is as before at once, and no longer.
        rejections.rejected(at(36));
        assert_eq!(rejections.lasting(at(36)), Some(Duration::from_secs(36)));
        rejections.confirmed();
        assert_eq!(rejections.lasting(at(36)), None);
        rejections.rejected(at(37));
        assert_eq!(rejections.lasting(at(37)), None);
    }
}
