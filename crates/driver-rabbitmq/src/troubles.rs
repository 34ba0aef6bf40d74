//! Logs why nothing can be published: when the reason changes, and once a minute while it lasts.

use std::time::Duration;

use hookbox_driver::NotReadyKind;
use tokio::time::Instant;

/// How often a reason that has not changed is logged again, so that a rotated log still contains
/// it.
const AGAIN: Duration = Duration::from_secs(60);

/// The reason that was logged last, and when it was logged.
#[derive(Default)]
pub(crate) struct Troubles(Option<(String, Instant)>);

impl Troubles {
    /// Logs a reason: as an error if an operator has to act, and as a warning otherwise. The same
    /// reason within the interval is logged at `debug` only.
    pub fn log(&mut self, kind: NotReadyKind, why: &str) {
        if !self.is_due(why, Instant::now()) {
            tracing::debug!(error = why, "still nothing can be published: {why}");
            return;
        }
        match kind {
            NotReadyKind::Topology | NotReadyKind::Refused | NotReadyKind::Storage => {
                tracing::error!(error = why, "nothing can be published: {why}");
            }
            NotReadyKind::Starting
            | NotReadyKind::Unreachable
            | NotReadyKind::Alarm
            | NotReadyKind::Closing => {
                tracing::warn!(error = why, "nothing can be published: {why}");
            }
        }
    }

    fn is_due(&mut self, why: &str, now: Instant) -> bool {
        let is_due = self
            .0
            .as_ref()
            .is_none_or(|(last, at)| last != why || now.duration_since(*at) >= AGAIN);
        if is_due {
            self.0 = Some((why.to_owned(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_when_it_changes_and_once_a_minute() {
        let mut troubles = Troubles::default();
        let began = Instant::now();
        assert!(troubles.is_due("a", began));
        assert!(!troubles.is_due("a", began + AGAIN / 2));
        assert!(troubles.is_due("b", began + AGAIN / 2));
        assert!(!troubles.is_due("b", began + AGAIN));
        assert!(troubles.is_due("b", began + AGAIN / 2 + AGAIN));
    }
}
