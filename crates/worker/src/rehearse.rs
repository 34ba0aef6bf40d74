//! Runs one handler on one event in a transaction that is rolled back, for the tests of handler
//! authors.

use std::time::{Duration, Instant};

use hookbox_driver::{CommitError, Fault, Store};
use hookbox_event::{Envelope, EventNumber, JsonError};

use crate::Json;
use crate::attempt::event_of;
use crate::registered::{self, Readied, Registered};
use crate::settle::FailureCause;

/// The time limit of a handler in a rehearsal, which is one run whose effects are rolled back.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The result of a rehearsal, which is one run of a handler whose effects are rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rehearsal {
    /// The handler succeeded. Nothing of what it wrote was kept.
    Handled {
        /// How long the handler took.
        took: Duration,
    },
    /// The handler failed.
    Failed {
        /// Whether the event would become a dead letter at once (permanent), instead of being tried
        /// again.
        permanent: bool,
        /// The error and its causes.
        error: String,
    },
}

/// Runs `handler` on `envelope` in a transaction and rolls it back. The store does not change.
pub async fn rehearse<S: Store>(
    store: &S,
    handler: &Registered<S>,
    envelope: &Envelope,
) -> Result<Rehearsal, Fault> {
    let read = match Json::read(&envelope.body) {
        Ok(read) => read,
        Err(error) => return Ok(malformed(&error)),
    };
    let mut tx = store.begin_for_handler().await?;
    let started = Instant::now();
    let event = event_of(envelope, EventNumber::from_i64(0), 1, Some(read));
    let Readied { prepared, unready } = handler.prepare(vec![event]);
    let ran = match unready.first() {
        Some((_, why)) => Err(registered::unready(store, why)),
        None => {
            let connection = store.connection(&mut tx);
            registered::run(store, &*prepared, 0, connection, TIME_LIMIT).await
        }
    };
    let took = started.elapsed();
    match ran {
        Ok(()) => {
            let proved = store.prove(&mut tx).await;
            store.rollback(tx).await;
            match proved {
                Ok(()) => Ok(Rehearsal::Handled { took }),
                Err(CommitError::Fault(fault)) => Err(fault),
                Err(
                    broken @ (CommitError::BrokenByHandler { .. }
                    | CommitError::EndedByHandler { .. }),
                ) => Ok(Rehearsal::Failed {
                    permanent: matches!(broken, CommitError::EndedByHandler { .. }),
                    error: broken.to_string(),
                }),
            }
        }
        Err(failed) if failed.interrupted => {
            drop(tx);
            Ok(Rehearsal::Failed {
                permanent: false,
                error: failed.error,
            })
        }
        Err(failed) => {
            store.rollback(tx).await;
            match failed.cause {
                FailureCause::Fault(kind) => {
                    Err(Fault::new(kind, "rehearse a handler", failed.error))
                }
                FailureCause::Returned(crate::error::Class::Permanent) => Ok(Rehearsal::Failed {
                    permanent: true,
                    error: failed.error,
                }),
                FailureCause::Returned(crate::error::Class::Transient { .. })
                | FailureCause::Panicked
                | FailureCause::TimedOut
                | FailureCause::BrokeTransaction
                | FailureCause::Orphaned => Ok(Rehearsal::Failed {
                    permanent: false,
                    error: failed.error,
                }),
            }
        }
    }
}

/// The rehearsal of a body that is not JSON. A worker makes such an event a dead letter.
fn malformed(error: &JsonError) -> Rehearsal {
    Rehearsal::Failed {
        permanent: true,
        error: error.to_string(),
    }
}
