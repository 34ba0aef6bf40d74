//! What lies over the queues, as far as is known: policies, and who holds them. What was found
//! stays found until a look that succeeds says otherwise: an API that is away mends no queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{TopologyDifference, describe};

use crate::management::{Management, Unanswered};
use crate::topology::QueueDeclaration;

/// How many looks in a row must fail before it is told: one is nothing, and these are ten seconds.
const FAILED_MAX: u32 = 4;

/// The API, and what it said last.
pub(crate) struct Overlay {
    management: Management,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the last look that succeeded.
    found: Option<Vec<TopologyDifference>>,
    /// Looks that failed since.
    failed: u32,
}

impl Overlay {
    pub fn new(management: Management) -> Self {
        Self {
            management,
            known: Mutex::default(),
        }
    }

    /// What is wrong with these queues, by a look now, or else by the last one that succeeded.
    ///
    /// An API that stays away is told once, and stops nothing that runs: it is on one node of
    /// maybe three, it holds no message, and the queues were well when it was last asked. To
    /// answer every sender with 503 until somebody mends what only watches would lose more events
    /// than it saves. A start is another matter: nothing is known yet, so it waits.
    ///
    /// # Errors
    /// When it does not answer, and never did.
    pub async fn look(
        &self,
        queues: &[QueueDeclaration],
    ) -> Result<Vec<TopologyDifference>, Unanswered> {
        let looked = self.management.look(queues).await;
        let mut known = self.known();
        match looked {
            Ok(found) => {
                if known.failed >= FAILED_MAX {
                    tracing::info!("policies and members of the queues are watched again");
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
                        "policies and members of the queues are not watched now; what was known \
                         of them last holds"
                    );
                }
                Ok(found)
            }
        }
    }

    // Nothing in a lock's scope panics.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
