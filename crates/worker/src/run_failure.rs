//! The failure of one run of a handler on some of the events of a transaction.

use std::ops::Range;
use std::time::Duration;

use hookbox_event::EventId;

use crate::attempt_error::{AttemptError, FailedAttempt, of_statement};
use crate::claimed_event::ClaimedEvent;
use crate::handler_failure::HandlerFailure;
use crate::settle::FailureCause;

/// A failed run, with the events that may have caused the failure.
pub(crate) struct RunFailure {
    /// The positions, among the events of the batch, of those that may have caused the failure: a
    /// single one if the cause is known.
    pub of: Range<usize>,
    pub failure: HandlerFailure,
}

impl RunFailure {
    /// Builds the failure of a run on several events. `which` are their positions in `events`, and
    /// `named` is the event that the handler names as the cause.
    pub fn of_several(
        which: Range<usize>,
        events: &[&ClaimedEvent],
        failure: HandlerFailure,
        named: Option<EventId>,
    ) -> Self {
        // If the handler has ended the transaction, the event that its error names does not count:
        // it may have ended the transaction on any event of the run.
        let named = named.filter(|_| failure.cause != FailureCause::Orphaned);
        let is_named = |at: &usize| {
            let event = events.get(*at);
            event.is_some_and(|it| Some(it.envelope.event) == named)
        };
        let at = which.clone().find(is_named);
        let of = at.map_or(which, |at| at..at + 1);
        Self { of, failure }
    }

    /// Converts the failure into the error that ends the transaction. `events` are the events of
    /// the batch, and `took` is how long the transaction has been handling them.
    pub fn into_error(self, events: &[&ClaimedEvent], took: Duration) -> AttemptError {
        let Self { of, failure } = self;
        let events = events.get(of).unwrap_or_default();
        if let [event] = events {
            return AttemptError::handler(event, failure, took);
        }
        match failure.cause {
            FailureCause::Fault(kind) => AttemptError::Fault(of_statement(kind)),
            FailureCause::Orphaned => {
                let one = |event: &&ClaimedEvent| FailedAttempt {
                    event: (*event).clone(),
                    failure: failure.clone(),
                    took,
                };
                AttemptError::Ended(events.iter().map(one).collect())
            }
            FailureCause::Returned(_)
            | FailureCause::Panicked
            | FailureCause::TimedOut
            | FailureCause::BrokeTransaction => AttemptError::Unnamed {
                is_interrupted: failure.interrupted,
            },
        }
    }
}
