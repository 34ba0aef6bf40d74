//! What the confirms of a round say to each of its requests. Neither waits nor sends, so that
//! every mix of them can be tried.

use hookbox_driver::{PublishError, PublishErrorKind};
use lapin::Confirmation;

use super::Ended;

/// What one publish came to: its confirm, or why there will be none.
pub(super) struct Outcome {
    /// Whose it is.
    pub request: usize,
    pub confirm: Result<Confirmation, Ended>,
}

/// The answers to the requests of a round.
pub(super) struct Answers {
    /// One for each, in their order.
    pub each: Vec<Result<(), PublishError>>,
    /// Why the publisher must end, if it must.
    pub ended: Option<Ended>,
}

/// The answers to requests of so many publishes each. A publish without an outcome is not
/// accepted.
pub(super) fn answers(publishes: &[usize], outcomes: Vec<Outcome>) -> Answers {
    let mut confirmed = vec![0; publishes.len()];
    let mut returned = None;
    let mut lost = None;
    for Outcome { request, confirm } in outcomes {
        match confirm {
            Ok(Confirmation::Ack(None)) => confirmed[request] += 1,
            Ok(Confirmation::Nack(None)) => {}
            Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) => {
                returned = Some(back.delivery.routing_key.to_string());
            }
            Ok(Confirmation::NotRequested) => lost = lost.or(Some(Ended::NotConfirming)),
            Err(ended) => lost = lost.or(Some(ended)),
        }
    }
    let ended = lost.or(returned.map(Ended::Unroutable));
    let answer = |(confirmed, publishes)| match &ended {
        // Only when nothing at all is wrong with the round does an ack say what it seems to say:
        // a return sticks to whichever confirm completes next.
        None if confirmed == publishes => Ok(()),
        None => Err(PublishError::plain(PublishErrorKind::Rejected)),
        Some(ended) => Err(ended.as_publish_error()),
    };
    let each = confirmed.iter().zip(publishes).map(answer).collect();
    Answers { each, ended }
}

#[cfg(test)]
mod tests;
