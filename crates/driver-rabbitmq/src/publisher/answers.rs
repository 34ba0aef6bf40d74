//! Computes the results of one publish round. A publish round is what a channel publishes before it
//! waits for the confirms. A publish request is one batch, published once to each of its queues,
//! and its result follows from the confirms of these publishes. The code in this file neither waits
//! nor sends, so that tests can cover every combination of confirms.

use hookbox_driver::{PublishError, PublishErrorKind};
use lapin::Confirmation;

use super::error::PublisherError;

/// The confirm of one publish, or the reason why the publish has no confirm.
pub(super) struct PublishConfirm {
    /// The index of the publish request to which the publish belongs.
    pub request: usize,
    pub confirm: Result<Confirmation, PublisherError>,
}

/// The results of all publish requests of one publish round.
pub(super) struct RoundAnswers {
    /// The result of each publish request, in the order of the requests.
    pub each: Vec<Result<(), PublishError>>,
    /// The error because of which the publisher must end; `None` when it may continue.
    pub ended: Option<PublisherError>,
}

/// Returns the results of the publish requests of one publish round. `publishes` holds how many
/// publishes each request has. A publish without a confirm counts as not accepted.
pub(super) fn answers(publishes: &[usize], outcomes: Vec<PublishConfirm>) -> RoundAnswers {
    let mut confirmed = vec![0; publishes.len()];
    let mut returned = None;
    let mut lost = None;
    for PublishConfirm { request, confirm } in outcomes {
        match confirm {
            Ok(Confirmation::Ack(None)) => confirmed[request] += 1,
            Ok(Confirmation::Nack(None)) => {}
            Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) => {
                returned = Some(back.delivery.routing_key.to_string());
            }
            Ok(Confirmation::NotRequested) => lost = lost.or(Some(PublisherError::NotConfirming)),
            Err(ended) => lost = lost.or(Some(ended)),
        }
    }
    let ended = lost.or(returned.map(PublisherError::Unroutable));
    let answer = |(confirmed, publishes)| match &ended {
        // An acknowledgement can be trusted only when no publish of this publish round was returned
        // or lost, because lapin attaches a return to whichever confirm completes next.
        None if confirmed == publishes => Ok(()),
        None => Err(PublishError::plain(PublishErrorKind::Rejected)),
        Some(ended) => Err(ended.as_publish_error()),
    };
    let each = confirmed.iter().zip(publishes).map(answer).collect();
    RoundAnswers { each, ended }
}

#[cfg(test)]
mod tests;
