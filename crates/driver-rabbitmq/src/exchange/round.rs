//! Computes the results of one publish round, that is, of the messages that are published before
//! their confirms are awaited. The code in this file neither waits nor sends, so that tests can
//! cover every combination of confirms.

use std::collections::HashSet;

use lapin::Confirmation;
use lapin::message::BasicReturnMessage;

use super::error::ExchangeError;

/// What became of the confirm of one message.
// A round has a few dozen of these for a moment, so a box for each would cost more than the space.
#[expect(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Confirm {
    /// The broker has confirmed or rejected the message.
    Arrived(Confirmation),
    /// The confirm never arrives: the message was not sent, or the channel was closed before.
    Lost,
    /// The confirm did not arrive in time, and may still arrive.
    Late,
}

/// The results of one publish round, in the order of its messages.
#[derive(Debug)]
pub(super) struct RoundResults {
    /// `None` where it is not known whether the message was published.
    pub each: Vec<Option<Result<(), ExchangeError>>>,
    /// Whether the results that are known are certain. If not, none is known.
    pub is_certain: bool,
    /// Whether the channel may be used further: all results are known.
    pub is_usable: bool,
}

/// Returns the results of one publish round. `ids` has the ids of its messages, and `confirms` has
/// their confirms in the same order.
///
/// lapin attaches a returned message to whichever confirm arrives next (H2), so returned messages
/// are recognised by their ids. The broker returns a message before it confirms that message. So
/// when all confirms of the publish round have arrived, all returned messages are known.
///
/// If confirms are lost, a message is certainly published only if its own confirm came without a
/// returned message: lapin attaches the returned messages in the order in which they arrive, so
/// none that had arrived by then is missing. If a confirm is late, a returned message may be
/// attached to it after all. Then no result is known.
pub(super) fn results(ids: &[String], confirms: Vec<Confirm>) -> RoundResults {
    let mut returned = HashSet::new();
    let mut each = Vec::with_capacity(ids.len());
    let mut is_certain = confirms.len() == ids.len();
    let mut is_whole = true;
    for confirm in confirms {
        let (back, result) = match confirm {
            Confirm::Arrived(Confirmation::Ack(back)) => (back, Some(Ok(()))),
            Confirm::Arrived(Confirmation::Nack(back)) => {
                (back, Some(Err(ExchangeError::Rejected)))
            }
            Confirm::Arrived(Confirmation::NotRequested) | Confirm::Late => {
                is_certain = false;
                (None, None)
            }
            Confirm::Lost => {
                is_whole = false;
                (None, None)
            }
        };
        let has_return = back.is_some();
        match back.map(|back| id_of(&back)) {
            None => {}
            Some(Some(id)) => {
                returned.insert(id);
            }
            // Every message of the publish round has an id. So a returned message without an id
            // does not belong to this publish round.
            Some(None) => is_certain = false,
        }
        each.push((result, has_return));
    }
    if !is_certain || !returned.iter().all(|id| ids.contains(id)) {
        return RoundResults {
            each: ids.iter().map(|_| None).collect(),
            is_certain: false,
            is_usable: false,
        };
    }
    let each = ids.iter().zip(each).map(|(id, (result, has_return))| {
        if returned.contains(id) {
            return Some(Err(ExchangeError::Unroutable));
        }
        match result {
            Some(Ok(())) if has_return && !is_whole => None,
            result => result,
        }
    });
    RoundResults {
        each: each.collect(),
        is_certain: true,
        is_usable: is_whole,
    }
}

fn id_of(back: &BasicReturnMessage) -> Option<String> {
    let id = back.delivery.properties.message_id().as_ref();
    id.map(ToString::to_string)
}

#[cfg(test)]
mod tests;
