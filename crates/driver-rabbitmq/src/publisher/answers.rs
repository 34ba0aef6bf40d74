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

/// Returns for each publish request of one publish round whether it is certain that the broker has
/// accepted it, although other confirms may be outstanding. `publishes` holds how many publishes
/// each request has. `confirms` must hold, with each confirm, also all confirms that had arrived
/// before that one.
///
/// lapin attaches a return to whichever confirm completes next (H2), so a message whose confirm
/// came without a return may be the one that was returned. But the broker returns a message before
/// it acks that message. So when the ack has arrived, the return is attached to that ack or to a
/// confirm before it, and never to a confirm that is outstanding. If no confirm that has arrived
/// came with a return, none of their messages was returned.
pub(super) fn accepted(publishes: &[usize], confirms: &[PublishConfirm]) -> Vec<bool> {
    let mut confirmed = vec![0; publishes.len()];
    for PublishConfirm { request, confirm } in confirms {
        match confirm {
            Ok(Confirmation::Ack(None)) => confirmed[*request] += 1,
            Ok(Confirmation::Nack(None)) | Err(PublisherError::Late) => {}
            Ok(
                Confirmation::Ack(Some(_))
                | Confirmation::Nack(Some(_))
                | Confirmation::NotRequested,
            )
            | Err(
                PublisherError::Channel(_)
                | PublisherError::Unsent
                | PublisherError::Unroutable(_)
                | PublisherError::NotConfirming
                | PublisherError::NotRenewed,
            ) => return vec![false; publishes.len()],
        }
    }
    let pairs = confirmed.iter().zip(publishes);
    pairs
        .map(|(confirmed, publishes)| confirmed == publishes)
        .collect()
}

/// Returns the results of the publish requests of one publish round at its end. A publish without a
/// confirm counts as not accepted.
///
/// A late confirm fails only its own request: see [`accepted`]. It is unknown whether the broker
/// has stored the message of a late confirm.
pub(super) fn answers(publishes: &[usize], outcomes: Vec<PublishConfirm>) -> RoundAnswers {
    let accepted = accepted(publishes, &outcomes);
    let mut is_late = vec![false; publishes.len()];
    let mut returned = None;
    let mut lost = None;
    for PublishConfirm { request, confirm } in outcomes {
        match confirm {
            Ok(Confirmation::Ack(None) | Confirmation::Nack(None)) => {}
            Ok(Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back))) => {
                returned = Some(back.delivery.routing_key.to_string());
            }
            Ok(Confirmation::NotRequested) => lost = lost.or(Some(PublisherError::NotConfirming)),
            Err(PublisherError::Late) => is_late[request] = true,
            Err(ended) => lost = lost.or(Some(ended)),
        }
    }
    let ended = lost.or(returned.map(PublisherError::Unroutable));
    let answer = |(accepted, is_late): (bool, bool)| match &ended {
        None if accepted => Ok(()),
        None if is_late => Err(PublisherError::Late.as_publish_error()),
        None => Err(PublishError::plain(PublishErrorKind::Rejected)),
        Some(ended) => Err(ended.as_publish_error()),
    };
    let each = accepted.into_iter().zip(is_late).map(answer).collect();
    RoundAnswers { each, ended }
}

#[cfg(test)]
mod tests;
