//! What follows from how an attempt ended: one pure table, tested as a table.

use std::time::Duration;

use hookbox_driver::{DeadReason, DeferReason, FailureClass, FaultKind, Then};

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
    /// No attempt is counted: run it again here, after a pause.
    Again(FaultKind),
    /// No attempt is counted: put it off, unless running it again at once may do.
    Defer(DeferReason),
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
        Ended::Fault(FaultKind::Contention) => Settlement::Defer(DeferReason::ForeignLock),
        Ended::Fault(FaultKind::MissingRight) => Settlement::Defer(DeferReason::MissingRight),
        Ended::Fault(kind @ (FaultKind::Unavailable | FaultKind::Internal)) => {
            Settlement::Again(kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(ended: Ended, attempt: u32, expect: Settlement) {
        let retry = Retry::new(3, 2 * SECOND, 2.0, 60 * SECOND, 0.0).expect("valid");
        let settled = settle(ended, attempt, &retry, 0.5);
        assert_eq!(settled, expect, "{ended:?} at attempt {attempt}");
    }

    fn after(class: FailureClass, seconds: u32) -> Settlement {
        let after = seconds * SECOND;
        Settlement::Record(class, Then::Retry { after })
    }

    fn dead(class: FailureClass, reason: DeadReason) -> Settlement {
        Settlement::Record(class, Then::Dead { reason })
    }

    #[test]
    fn what_may_pass_is_tried_again_until_it_is_exhausted() {
        let transient = |wish| Ended::Failed(Class::Transient { wish });
        let class = FailureClass::Transient;
        check(transient(None), 1, after(class, 2));
        check(transient(None), 2, after(class, 4));
        check(transient(None), 3, dead(class, DeadReason::Exhausted));
        check(transient(None), 9, dead(class, DeadReason::Exhausted));
        check(transient(Some(9 * SECOND)), 1, after(class, 9));
        check(transient(Some(900 * SECOND)), 1, after(class, 60));
        for (ended, class) in [
            (Ended::Panicked, FailureClass::Panicked),
            (Ended::TimedOut, FailureClass::TimedOut),
            (Ended::BrokeTransaction, FailureClass::BrokeTransaction),
        ] {
            check(ended, 1, after(class, 2));
            check(ended, 3, dead(class, DeadReason::Exhausted));
        }
    }

    #[test]
    fn what_will_never_pass_is_a_dead_letter_now() {
        let permanent = Ended::Failed(Class::Permanent);
        check(
            permanent,
            1,
            dead(FailureClass::Permanent, DeadReason::Rejected),
        );
        let orphaned = dead(FailureClass::BrokeTransaction, DeadReason::Orphaned);
        check(Ended::Orphaned, 1, orphaned);
    }

    #[test]
    fn our_own_faults_cost_no_attempt() {
        let locked = Settlement::Defer(DeferReason::ForeignLock);
        for (kind, expect) in [
            (
                FaultKind::Unavailable,
                Settlement::Again(FaultKind::Unavailable),
            ),
            (FaultKind::Internal, Settlement::Again(FaultKind::Internal)),
            (FaultKind::Contention, locked),
            (
                FaultKind::MissingRight,
                Settlement::Defer(DeferReason::MissingRight),
            ),
        ] {
            for attempt in [1, 3, 99] {
                check(Ended::Fault(kind), attempt, expect);
            }
        }
    }
}
