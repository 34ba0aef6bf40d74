//! Policies that apply to the queues, and the nodes that hold them, as far as is known. A finding
//! is kept until a successful check contradicts it: an unavailable API fixes no queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{TopologyDifference, describe};

use crate::management::{Management, ManagementError};
use crate::topology::QueueDeclaration;

/// How many checks in a row must fail before that is logged: one may be chance, and these take ten
/// seconds.
const FAILED_MAX: u32 = 4;

/// The API, and its last findings.
pub(crate) struct Overlay {
    management: Management,
    known: Mutex<LastFindings>,
}

#[derive(Default)]
struct LastFindings {
    /// Of the last check that succeeded.
    found: Option<Vec<TopologyDifference>>,
    /// Checks that failed since.
    failed: u32,
}

impl Overlay {
    pub fn new(management: Management) -> Self {
        Self {
            management,
            known: Mutex::default(),
        }
    }

    /// What is wrong with these queues, by a check now, or else by the last one that succeeded.
    ///
    /// An API that stays unavailable is logged once, and stops nothing that runs: it is on one node
    /// of maybe three, it holds no message, and the queues had no problem at the last check.
    /// Answering every sender with 503 until a monitoring API is fixed would lose more events than
    /// it saves. At a start nothing is known yet, so a start waits for it.
    ///
    /// # Errors
    /// When it does not answer, and never did.
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
