//! Decides what follows from the failure of an attempt. This is a table in one pure function, and
//! a test checks every row.

use std::time::Duration;

use hookbox_driver::{DeadReason, DeferReason, FailureClass, FaultKind, Then};

use crate::Retry;
use crate::error::Class;

/// How one run of a handler ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureCause {
    /// The handler returned an error.
    Returned(Class),
    /// The handler panicked.
    Panicked,
    /// The handler ran over its time limit.
    TimedOut,
    /// The check before the commit found the transaction broken.
    BrokeTransaction,
    /// In this run or an earlier one, the handler ended its own transaction. The effects of that
    /// run may stand, so the handler must not run again.
    Orphaned,
    /// A fault of a dependency, whatever the handler returned.
    Fault(FaultKind),
}

/// What is done with an event after a failed run of its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Records the attempt and what follows from it, and then acknowledges the message.
    Record(FailureClass, Then),
    /// Runs the event again in this process, after a pause. No attempt is counted.
    RunAgain(FaultKind),
    /// Defers the event, unless running it again at once may succeed. No attempt is counted.
    Defer(DeferReason),
}

/// Returns what follows from the cause of a failure. `attempt` counts from 1 within the current
/// round; `chance` is a random number from 0 to 1, for the jitter.
pub(crate) fn settle(cause: FailureCause, attempt: u32, retry: &Retry, chance: f64) -> Settlement {
    let again = |class, wish| Settlement::Record(class, then(wish, attempt, retry, chance));
    let dead = |class, reason| Settlement::Record(class, Then::Dead { reason });
    match cause {
        FailureCause::Returned(Class::Transient { wish }) => again(FailureClass::Transient, wish),
        FailureCause::Returned(Class::Permanent) => {
            dead(FailureClass::Permanent, DeadReason::Rejected)
        }
        FailureCause::Panicked => again(FailureClass::Panicked, None),
        FailureCause::TimedOut => again(FailureClass::TimedOut, None),
        FailureCause::BrokeTransaction => again(FailureClass::BrokeTransaction, None),
        FailureCause::Orphaned => dead(FailureClass::BrokeTransaction, DeadReason::Orphaned),
        FailureCause::Fault(FaultKind::Contention) => Settlement::Defer(DeferReason::ForeignLock),
        FailureCause::Fault(FaultKind::MissingRight) => {
            Settlement::Defer(DeferReason::MissingRight)
        }
        FailureCause::Fault(kind @ (FaultKind::Unavailable | FaultKind::Internal)) => {
            Settlement::RunAgain(kind)
        }
    }
}

/// Returns what follows from a failure that another attempt may avoid. `wish` is the delay that the
/// failure asks for; `attempt` and `chance` are those of [`settle`].
pub(crate) fn then(wish: Option<Duration>, attempt: u32, retry: &Retry, chance: f64) -> Then {
    if attempt >= retry.attempts() {
        return Then::Dead {
            reason: DeadReason::Exhausted,
        };
    }
    let backoff = retry.delay(attempt, chance);
    Then::Retry {
        after: wish.map_or(backoff, |wish| retry.clamp(wish)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(cause: FailureCause, attempt: u32, expect: Settlement) {
        let retry =
            Retry::new(3, 2 * SECOND, 2.0, 60 * SECOND, 0.0).expect("the policy must be valid");
        let settled = settle(cause, attempt, &retry, 0.5);
        assert_eq!(
            settled, expect,
            "attempt {attempt} that failed with {cause:?} must be settled as expected"
        );
    }

    fn after(class: FailureClass, seconds: u32) -> Settlement {
        let after = seconds * SECOND;
        Settlement::Record(class, Then::Retry { after })
    }

    fn dead(class: FailureClass, reason: DeadReason) -> Settlement {
        Settlement::Record(class, Then::Dead { reason })
    }

    #[test]
    fn a_failure_that_may_pass_is_tried_again_until_attempts_are_used_up() {
        let transient = |wish| FailureCause::Returned(Class::Transient { wish });
        let class = FailureClass::Transient;
        check(transient(None), 1, after(class, 2));
        check(transient(None), 2, after(class, 4));
        check(transient(None), 3, dead(class, DeadReason::Exhausted));
        check(transient(None), 9, dead(class, DeadReason::Exhausted));
        check(transient(Some(9 * SECOND)), 1, after(class, 9));
        check(transient(Some(900 * SECOND)), 1, after(class, 60));
        for (cause, class) in [
            (FailureCause::Panicked, FailureClass::Panicked),
            (FailureCause::TimedOut, FailureClass::TimedOut),
            (
                FailureCause::BrokeTransaction,
                FailureClass::BrokeTransaction,
            ),
        ] {
            check(cause, 1, after(class, 2));
            check(cause, 3, dead(class, DeadReason::Exhausted));
        }
    }

    #[test]
    fn a_failure_that_never_passes_is_a_dead_letter_at_once() {
        let permanent = FailureCause::Returned(Class::Permanent);
        check(
            permanent,
            1,
            dead(FailureClass::Permanent, DeadReason::Rejected),
        );
        let orphaned = dead(FailureClass::BrokeTransaction, DeadReason::Orphaned);
        check(FailureCause::Orphaned, 1, orphaned);
    }

    #[test]
    fn our_own_faults_cost_no_attempt() {
        let locked = Settlement::Defer(DeferReason::ForeignLock);
        for (kind, expect) in [
            (
                FaultKind::Unavailable,
                Settlement::RunAgain(FaultKind::Unavailable),
            ),
            (
                FaultKind::Internal,
                Settlement::RunAgain(FaultKind::Internal),
            ),
            (FaultKind::Contention, locked),
            (
                FaultKind::MissingRight,
                Settlement::Defer(DeferReason::MissingRight),
            ),
        ] {
            for attempt in [1, 3, 99] {
                check(FailureCause::Fault(kind), attempt, expect);
            }
        }
    }
}
