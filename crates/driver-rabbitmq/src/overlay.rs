//! Keeps the last findings about policies and queue members. A finding is kept until a successful
//! check contradicts it, because an unavailable API repairs no queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{TopologyDifference, describe};

use crate::management::{Management, ManagementError};
use crate::topology::QueueDeclaration;

/// How many checks in a row must fail before that is logged. A single failure may be chance; this
/// many take ten seconds.
const FAILED_MAX: u32 = 4;

/// The management API and its last findings.
pub(crate) struct Overlay {
    management: Management,
    known: Mutex<LastFindings>,
}

#[derive(Default)]
struct LastFindings {
    /// The findings of the last check that succeeded.
    found: Option<Vec<TopologyDifference>>,
    /// The number of checks that failed since.
    failed: u32,
}

impl Overlay {
    pub fn new(management: Management) -> Self {
        Self {
            management,
            known: Mutex::default(),
        }
    }

    /// Returns what is wrong with these queues: the findings of a check now, or those of the last
    /// successful check when this one fails.
    ///
    /// An API that stays unavailable is logged once and stops nothing that runs. The API may be on
    /// only one of three nodes, it holds no message, and the last check found no problem. Refusing
    /// every request with 503 until a monitoring API works again would lose more events than it
    /// saves. At a start nothing is known yet, so a start waits for the API.
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
