//! Corrects the result of a handler's run. After the run the store proves whether the handler has
//! left its transaction intact; if it has not, the handler did not succeed, whatever it returned.

use std::time::Duration;

use hookbox_driver::{CommitError, Fault, Store};

use crate::handler_failure::HandlerFailure;
use crate::settle::FailureCause;

/// How long to wait for the store's proof about the transaction after a handler was stopped,
/// perhaps in the middle of a statement that still runs. If there is no proof by then, the run
/// ends with the failure for which it was stopped.
const AFTER_INTERRUPTION: Duration = Duration::from_secs(1);

/// Corrects the result of a run. A handler that ended its transaction must never run again, whether
/// it then succeeded, failed, panicked or was stopped. The outer `Err` is a fault of the store
/// during the proof of a run that had succeeded.
pub(crate) async fn prove<S: Store>(
    store: &S,
    tx: &mut S::Tx,
    ran: Result<(), HandlerFailure>,
) -> Result<Result<(), HandlerFailure>, Fault> {
    let proved = if ran.as_ref().is_err_and(|failed| failed.interrupted) {
        match tokio::time::timeout(AFTER_INTERRUPTION, store.prove(tx)).await {
            Ok(proved) => proved,
            Err(_elapsed) => return Ok(ran),
        }
    } else {
        store.prove(tx).await
    };
    correct(proved, ran)
}

/// Combines the proof with the result of the run.
fn correct(
    proved: Result<(), CommitError>,
    ran: Result<(), HandlerFailure>,
) -> Result<Result<(), HandlerFailure>, Fault> {
    match (proved, ran) {
        (Err(CommitError::EndedByHandler { why }), ran) => Ok(Err(ended(&why, ran.err()))),
        (Ok(()), ran) => Ok(ran),
        // The handler has failed already, and its transaction will be rolled back. So it does not
        // matter that the transaction is broken or could not be checked.
        (Err(CommitError::BrokenByHandler { .. } | CommitError::Fault(_)), Err(failed)) => {
            Ok(Err(failed))
        }
        (Err(CommitError::BrokenByHandler { why }), Ok(())) => Ok(Err(HandlerFailure {
            cause: FailureCause::BrokeTransaction,
            error: why,
            interrupted: false,
            remedy: None,
        })),
        (Err(CommitError::Fault(fault)), Ok(())) => Err(fault),
    }
}

/// Builds the failure of a handler that ended its transaction.
pub(crate) fn ended(why: &str, failed: Option<HandlerFailure>) -> HandlerFailure {
    let mut error = format!(
        "the handler ended its own transaction ({why}); whether all of its effects stand is not \
         known, so it is not run again"
    );
    let interrupted = failed.as_ref().is_some_and(|failed| failed.interrupted);
    if let Some(failed) = failed {
        error.push_str("; then: ");
        error.push_str(&failed.error);
    }
    HandlerFailure {
        cause: FailureCause::Orphaned,
        error,
        interrupted,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use hookbox_driver::FaultKind;

    fn failed(cause: FailureCause) -> Result<(), HandlerFailure> {
        Err(HandlerFailure {
            cause,
            error: "the error of the handler".to_owned(),
            interrupted: false,
            remedy: None,
        })
    }

    fn broken() -> Result<(), CommitError> {
        let why = "broken".to_owned();
        Err(CommitError::BrokenByHandler { why })
    }

    fn ended_by_itself() -> Result<(), CommitError> {
        let why = "gone".to_owned();
        Err(CommitError::EndedByHandler { why })
    }

    fn fault() -> Result<(), CommitError> {
        Err(Fault::plain(FaultKind::Unavailable, "prove").into())
    }

    #[test]
    fn an_ended_transaction_outranks_all_and_a_failure_the_rest() {
        let transient = || failed(FailureCause::Returned(Class::Transient { wish: None }));
        let contention = || failed(FailureCause::Fault(FaultKind::Contention));
        let transient_end = Some(FailureCause::Returned(Class::Transient { wish: None }));
        for (proved, ran, expect) in [
            (Ok(()), Ok(()), None),
            (Ok(()), transient(), transient_end),
            (broken(), Ok(()), Some(FailureCause::BrokeTransaction)),
            (broken(), transient(), transient_end),
            (fault(), transient(), transient_end),
            (
                broken(),
                contention(),
                Some(FailureCause::Fault(FaultKind::Contention)),
            ),
            (ended_by_itself(), Ok(()), Some(FailureCause::Orphaned)),
            (ended_by_itself(), transient(), Some(FailureCause::Orphaned)),
            (
                ended_by_itself(),
                failed(FailureCause::Panicked),
                Some(FailureCause::Orphaned),
            ),
            (
                ended_by_itself(),
                failed(FailureCause::TimedOut),
                Some(FailureCause::Orphaned),
            ),
        ] {
            let what = format!("{proved:?} {ran:?}");
            let corrected = correct(proved, ran).expect("there must be no fault of the store");
            assert_eq!(corrected.err().map(|it| it.cause), expect, "{what}");
        }
        assert!(
            correct(fault(), Ok(())).is_err(),
            "a fault of the store must not become a failure of the handler"
        );
    }

    #[test]
    fn the_failure_of_an_ended_transaction_keeps_the_handlers_error() {
        let failed = ended("the claim is gone", failed(FailureCause::Panicked).err());
        assert!(failed.error.contains("claim is gone"), "{}", failed.error);
        assert!(failed.error.ends_with("; then: the error of the handler"));
    }
}
