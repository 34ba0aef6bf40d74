//! Decides what is recorded about the end of a call, and what this end shows about the target. This
//! is a table in one pure function, and a test checks every row.

use std::time::Duration;

use hookbox_driver::{
    CallDeferral, CallFailure, CallResult, DeadReason, DeferReason, FailureClass, TargetAnswer,
    Then,
};

use crate::Retry;
use crate::call_error::CallClass;
use crate::settle::then;

/// The shortest wait of an event whose call is deferred. The target may be reachable again after
/// this time.
const DEFERRED_LEAST: Duration = Duration::from_secs(1);

/// The longest wait of an event whose call is deferred, unless the target asked for more.
const DEFERRED_MOST: Duration = Duration::from_secs(60);

/// How long the call of a single event may be deferred while other calls to the target are
/// answered. After that, each further failure counts as an attempt, so that the event reaches an
/// outcome.
const DEFERRED_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// The limit that replaces [`DEFERRED_AGE_MAX`] if this process did not make the call, or dropped
/// it. The target and the event are not the cause then, so the event may be deferred without limit.
const OURS_AGE_MAX: Duration = Duration::MAX;

/// How long no calls are made to a target that asked for a pause without saying how long.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// How a call ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallCause {
    /// The effect returned an error.
    Returned(CallClass),
    /// The effect panicked.
    Panicked,
    /// The call ran over its time limit.
    TimedOut,
    /// The call was not made, because its lease had already lasted too long.
    NotMade,
    /// The call still ran at the end of a drain, and was dropped.
    Dropped,
}

/// How a call ended without success, with the text that is stored.
#[derive(Debug, Clone)]
pub(crate) struct FailedCall {
    pub cause: CallCause,
    pub error: String,
    /// See [`hookbox_driver::CallEnd::target_error`].
    pub target_error: Option<String>,
}

/// Returns what is recorded about the end of a call, and what this end shows about the target.
/// `attempt` counts from 1 within the current round; `chance` is a random number from 0 to 1, for
/// the jitter.
pub(crate) fn settle_call(
    end: Result<(), FailedCall>,
    attempt: u32,
    retry: &Retry,
    chance: f64,
) -> (CallResult, TargetAnswer) {
    let FailedCall { cause, error, .. } = match end {
        Ok(()) => return (CallResult::Done, TargetAnswer::Answered),
        Err(failed) => failed,
    };
    let failed = |class, wish: Option<Duration>| CallFailure {
        class,
        error: error.clone(),
        then: then(wish, attempt, retry, chance),
    };
    // The jitter spreads the calls for many events that were deferred at the same time.
    let deferred = |reason, pause: Duration, age_max| {
        CallResult::Deferred(CallDeferral {
            reason,
            least: pause.mul_f64(1.0 + 0.5 * chance),
            most: DEFERRED_MOST,
            age_max,
            expired: failed(FailureClass::Transient, None),
        })
    };
    match cause {
        CallCause::Returned(CallClass::Transient { wish }) => {
            let failure = failed(FailureClass::Transient, wish);
            (CallResult::Failed(failure), TargetAnswer::Answered)
        }
        CallCause::Returned(CallClass::Permanent) => {
            let failure = CallFailure {
                class: FailureClass::Permanent,
                error,
                then: Then::Dead {
                    reason: DeadReason::Rejected,
                },
            };
            (CallResult::Failed(failure), TargetAnswer::Answered)
        }
        CallCause::Returned(CallClass::Busy { after }) => {
            let pause = after.map_or(BUSY_PAUSE, |after| retry.clamp(after));
            let result = deferred(DeferReason::TargetBusy, pause, DEFERRED_AGE_MAX);
            (result, TargetAnswer::Wait(pause))
        }
        CallCause::Returned(CallClass::TargetFault) => {
            let reason = DeferReason::TargetFault;
            let result = deferred(reason, DEFERRED_LEAST, DEFERRED_AGE_MAX);
            (result, TargetAnswer::Fault)
        }
        CallCause::Returned(CallClass::Unanswered) => {
            let failure = failed(FailureClass::Transient, None);
            (CallResult::Failed(failure), TargetAnswer::Nothing)
        }
        CallCause::Panicked => {
            let failure = failed(FailureClass::Panicked, None);
            (CallResult::Failed(failure), TargetAnswer::Nothing)
        }
        CallCause::TimedOut => {
            let failure = failed(FailureClass::TimedOut, None);
            (CallResult::Failed(failure), TargetAnswer::Nothing)
        }
        CallCause::NotMade | CallCause::Dropped => {
            let result = deferred(DeferReason::Leased, DEFERRED_LEAST, OURS_AGE_MAX);
            (result, TargetAnswer::Nothing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const EXHAUSTED: Then = Then::Dead {
        reason: DeadReason::Exhausted,
    };

    fn settled(cause: CallCause, attempt: u32) -> (CallResult, TargetAnswer) {
        let retry =
            Retry::new(3, 2 * SECOND, 2.0, 60 * SECOND, 0.0).expect("the policy must be valid");
        let failed = FailedCall {
            cause,
            error: "why".to_owned(),
            target_error: None,
        };
        settle_call(Err(failed), attempt, &retry, 0.5)
    }

    fn after(seconds: u32) -> Then {
        Then::Retry {
            after: seconds * SECOND,
        }
    }

    fn transient(wish: Option<u32>) -> CallCause {
        let wish = wish.map(|seconds| seconds * SECOND);
        CallCause::Returned(CallClass::Transient { wish })
    }

    #[test]
    fn a_success_is_an_answer_of_the_target() {
        let retry = Retry::default();
        let (result, answer) = settle_call(Ok(()), 1, &retry, 0.5);
        assert!(matches!(result, CallResult::Done));
        assert_eq!(answer, TargetAnswer::Answered);
    }

    #[test]
    fn a_failure_of_the_event_counts_as_an_attempt() {
        use FailureClass::{Panicked, Permanent, TimedOut, Transient};
        use TargetAnswer::{Answered, Nothing};
        let rejected = Then::Dead {
            reason: DeadReason::Rejected,
        };
        let permanent = CallCause::Returned(CallClass::Permanent);
        let unanswered = CallCause::Returned(CallClass::Unanswered);
        for (cause, attempt, class, then, answer) in [
            (transient(None), 1, Transient, after(2), Answered),
            (transient(None), 2, Transient, after(4), Answered),
            (transient(None), 3, Transient, EXHAUSTED, Answered),
            (transient(Some(9)), 1, Transient, after(9), Answered),
            (transient(Some(900)), 1, Transient, after(60), Answered),
            (transient(Some(9)), 3, Transient, EXHAUSTED, Answered),
            (permanent, 1, Permanent, rejected, Answered),
            (unanswered, 1, Transient, after(2), Nothing),
            (unanswered, 3, Transient, EXHAUSTED, Nothing),
            (CallCause::Panicked, 1, Panicked, after(2), Nothing),
            (CallCause::Panicked, 3, Panicked, EXHAUSTED, Nothing),
            (CallCause::TimedOut, 1, TimedOut, after(2), Nothing),
            (CallCause::TimedOut, 3, TimedOut, EXHAUSTED, Nothing),
        ] {
            let (result, shown) = settled(cause, attempt);
            let CallResult::Failed(failure) = result else {
                panic!("{cause:?} must count as an attempt: {result:?}");
            };
            let found = (failure.class, failure.then, shown);
            assert_eq!(
                found,
                (class, then, answer),
                "attempt {attempt} that ended with {cause:?} must be settled as expected"
            );
            assert_eq!(failure.error, "why");
        }
    }

    #[test]
    fn a_failure_that_the_event_did_not_cause_costs_no_attempt() {
        use DeferReason::{Leased, TargetBusy, TargetFault};
        let busy = |seconds: Option<u32>| {
            let after = seconds.map(|seconds| seconds * SECOND);
            CallCause::Returned(CallClass::Busy { after })
        };
        let fault = CallCause::Returned(CallClass::TargetFault);
        let wait = |seconds| TargetAnswer::Wait(seconds * SECOND);
        for (cause, reason, pause, answer) in [
            (busy(None), TargetBusy, SECOND, wait(1)),
            (busy(Some(20)), TargetBusy, 20 * SECOND, wait(20)),
            (busy(Some(900)), TargetBusy, 60 * SECOND, wait(60)),
            (fault, TargetFault, SECOND, TargetAnswer::Fault),
            (CallCause::NotMade, Leased, SECOND, TargetAnswer::Nothing),
            (CallCause::Dropped, Leased, SECOND, TargetAnswer::Nothing),
        ] {
            // The third attempt is the last one of the policy, and a deferral does not use it up.
            let (result, shown) = settled(cause, 3);
            let CallResult::Deferred(deferral) = result else {
                panic!("{cause:?} must cost no attempt: {result:?}");
            };
            let found = (deferral.reason, deferral.least, shown);
            assert_eq!(found, (reason, pause.mul_f64(1.25), answer), "{cause:?}");
            assert_eq!(deferral.expired.class, FailureClass::Transient);
            assert_eq!(deferral.expired.then, EXHAUSTED);
        }
    }
}
