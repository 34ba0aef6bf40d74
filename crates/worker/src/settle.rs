//! What follows from how an attempt ended: one pure table, tested as a table.

use std::time::Duration;

use hookbox_driver::{DeadReason, FailureClass, FaultKind, Then};

use crate::Retry;
use crate::error::Class;

/// How one run of a handler ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The handler returned an error.
    Failed(Class),
    /// The handler panicked.
    Panicked,
    /// The handler ran over its time limit.
    TimedOut,
    /// The guard before the commit found the transaction broken.
    BrokeTransaction,
    /// An earlier run ended its own transaction: its effects stand, so it must not run again.
    Orphaned,
    /// It was our own fault, whatever the handler said.
    Fault(FaultKind),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Record the attempt and what follows from it, then acknowledge.
    Record(FailureClass, Then),
    /// No attempt is counted: run it again here, at once for contention, after a pause otherwise.
    Again(FaultKind),
}

/// The table. `attempt` counts from 1 within the present round; `chance` is from 0 to 1.
pub(crate) fn settle(ended: Ended, attempt: u32, retry: &Retry, chance: f64) -> Settlement {
    let again = |class, wish: Option<Duration>| {
        let then = if attempt >= retry.attempts() {
            Then::Dead {
                reason: DeadReason::Exhausted,
            }
        } else {
            let backoff = retry.delay(attempt, chance);
            Then::Retry {
                after: wish.map_or(backoff, |wish| retry.clamp(wish)),
            }
        };
        Settlement::Record(class, then)
    };
    let dead = |class, reason| Settlement::Record(class, Then::Dead { reason });
    match ended {
        Ended::Failed(Class::Transient { wish }) => again(FailureClass::Transient, wish),
        Ended::Failed(Class::Permanent) => dead(FailureClass::Permanent, DeadReason::Rejected),
        Ended::Panicked => again(FailureClass::Panicked, None),
        Ended::TimedOut => again(FailureClass::TimedOut, None),
        Ended::BrokeTransaction => again(FailureClass::BrokeTransaction, None),
        Ended::Orphaned => dead(FailureClass::BrokeTransaction, DeadReason::Orphaned),
        Ended::Fault(kind) => Settlement::Again(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let second = Duration::from_secs(1);
        let retry = Retry::new(3, 2 * second, 2.0, 60 * second, 0.0).expect("valid");
        let transient = |wish| Ended::Failed(Class::Transient { wish });
        let after = |seconds| Then::Retry {
            after: seconds * second,
        };
        let dead = |reason| Then::Dead { reason };
        let record = Settlement::Record;
        for (ended, attempt, expect) in [
            (
                transient(None),
                1,
                record(FailureClass::Transient, after(2)),
            ),
            (
                transient(None),
                2,
                record(FailureClass::Transient, after(4)),
            ),
            (
                transient(None),
                3,
                record(FailureClass::Transient, dead(DeadReason::Exhausted)),
            ),
            (
                transient(None),
                9,
                record(FailureClass::Transient, dead(DeadReason::Exhausted)),
            ),
            (
                transient(Some(9 * second)),
                1,
                record(FailureClass::Transient, after(9)),
            ),
            (
                transient(Some(900 * second)),
                1,
                record(FailureClass::Transient, after(60)),
            ),
            (
                Ended::Failed(Class::Permanent),
                1,
                record(FailureClass::Permanent, dead(DeadReason::Rejected)),
            ),
            (Ended::Panicked, 1, record(FailureClass::Panicked, after(2))),
            (
                Ended::Panicked,
                3,
                record(FailureClass::Panicked, dead(DeadReason::Exhausted)),
            ),
            (Ended::TimedOut, 2, record(FailureClass::TimedOut, after(4))),
            (
                Ended::BrokeTransaction,
                1,
                record(FailureClass::BrokeTransaction, after(2)),
            ),
            (
                Ended::Orphaned,
                1,
                record(FailureClass::BrokeTransaction, dead(DeadReason::Orphaned)),
            ),
            (
                Ended::Fault(FaultKind::Unavailable),
                99,
                Settlement::Again(FaultKind::Unavailable),
            ),
            (
                Ended::Fault(FaultKind::Contention),
                1,
                Settlement::Again(FaultKind::Contention),
            ),
            (
                Ended::Fault(FaultKind::Internal),
                1,
                Settlement::Again(FaultKind::Internal),
            ),
        ] {
            assert_eq!(
                settle(ended, attempt, &retry, 0.5),
                expect,
                "{ended:?} at {attempt}"
            );
        }
    }
}
