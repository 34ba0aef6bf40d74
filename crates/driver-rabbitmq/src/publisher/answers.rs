//! The results of the requests of a round, from its confirms. It neither waits nor sends, so that
//! every mix of confirms can be tested.

use hookbox_driver::{PublishError, PublishErrorKind};
use lapin::Confirmation;

use super::error::PublisherError;

/// The confirm of one publish, or why there will be none.
pub(super) struct PublishConfirm {
    /// The request that it belongs to.
    pub request: usize,
    pub confirm: Result<Confirmation, PublisherError>,
}

/// The results of the requests of a round.
pub(super) struct RoundAnswers {
    /// One for each, in their order.
    pub each: Vec<Result<(), PublishError>>,
    /// Why the publisher must end, if it must.
    pub ended: Option<PublisherError>,
}

/// The results of requests of so many publishes each. A publish without a confirm is not accepted.
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
        // Only when nothing at all is wrong with the round can an ack be trusted: a return sticks
        // to whichever confirm completes next.
        None if confirmed == publishes => Ok(()),
        None => Err(PublishError::plain(PublishErrorKind::Rejected)),
        Some(ended) => Err(ended.as_publish_error()),
    };
    let each = confirmed.iter().zip(publishes).map(answer).collect();
    RoundAnswers { each, ended }
}

#[cfg(test)]
mod tests;
