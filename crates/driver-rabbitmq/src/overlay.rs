//! Keeps what the management API last reported about policies and queue members. A finding is kept
//! until a successful check contradicts it. If the API is unavailable, the finding stays, because
//! the queue may still be wrong.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{TopologyDifference, describe};

use crate::management::{Management, ManagementError};
use crate::topology::QueueDeclaration;

/// How many checks in a row must fail before a warning is logged. A single failure may be chance.
/// Four failures in a row take about ten seconds.
const FAILED_MAX: u32 = 4;

/// The management API, and what its last successful check found.
pub(crate) struct Overlay {
    management: Management,
    known: Mutex<LastFindings>,
}

#[derive(Default)]
struct LastFindings {
    /// What the last successful check found; `None` before the first successful check.
    found: Option<Vec<TopologyDifference>>,
    /// How many checks have failed since the last one that succeeded.
    failed: u32,
}

impl Overlay {
    pub fn new(management: Management) -> Self {
        Self {
            management,
            known: Mutex::default(),
        }
    }

    /// Checks the given queues and returns what is wrong with them. If the check fails, returns
    /// what the last successful check found.
    ///
    /// If the API becomes unavailable, a warning is logged once, and a driver whose last check
    /// found no problem stays ready. No message passes through the API, and it may run on only one
    /// node of the cluster. Answering 503 to every request until the API works again would lose
    /// more events than it saves. When a process starts, nothing has been checked yet, so the start
    /// waits until the API answers.
    ///
    /// # Errors
    /// When the API does not answer, and no check has succeeded before.
    pub async fn check(
        &self,
        queues: &[QueueDeclaration],
    ) -> Result<Vec<TopologyDifference>, ManagementError> {
        let checked = self.management.check(queues).await;
        let mut known = self.known();
        match checked {
            Ok(found) => {
                if known.failed >= FAILED_MAX {
                    tracing::info!(
                        "checks of policies and queue members recovered: the management API answers"
                    );
                }
                known.failed = 0;
                known.found = Some(found.clone());
                Ok(found)
            }
            Err(error) => {
                known.failed = known.failed.saturating_add(1);
                let Some(found) = known.found.clone() else {
                    return Err(error);
                };
                if known.failed == FAILED_MAX {
                    tracing::warn!(
                        error = describe(&error),
                        "policies and queue members are not checked: the management API does not \
                         answer; the last findings still apply"
                    );
                }
                Ok(found)
            }
        }
    }

    // No code panics while it holds this lock, so the lock is never poisoned.
    fn known(&self) -> MutexGuard<'_, LastFindings> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
