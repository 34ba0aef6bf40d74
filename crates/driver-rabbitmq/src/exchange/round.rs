//! Computes the results of one publish round, that is, of the messages that are published before
//! their confirms are awaited. The code in this file neither waits nor sends, so that tests can
//! cover every combination of confirms.

use std::collections::HashSet;

use lapin::Confirmation;
use lapin::message::BasicReturnMessage;

use super::error::ExchangeError;

/// The results of one publish round, in the order of its messages, and whether the connection may
/// be used further.
#[derive(Debug)]
pub(super) struct RoundResults {
    pub each: Vec<Result<(), ExchangeError>>,
    pub is_usable: bool,
}

/// Returns the results of one publish round. `ids` has the ids of its messages. `confirms` has
/// their confirms in the same order; a confirm that was lost or late is `None`.
///
/// lapin attaches a returned message to whichever confirm completes next (H2), so returned messages
/// are recognised by their ids. The broker returns a message before it confirms that message. So
/// when all confirms of the publish round have arrived, all returned messages are known. If a
/// confirm is missing, it is not known whether the broker has returned more messages. Then no
/// message of the publish round counts as published.
pub(super) fn results(ids: &[String], confirms: Vec<Option<Confirmation>>) -> RoundResults {
    let mut returned = HashSet::new();
    let mut each = Vec::with_capacity(ids.len());
    let mut is_whole = confirms.len() == ids.len();
    for confirm in confirms {
        let (back, result) = match confirm {
            Some(Confirmation::Ack(back)) => (back, Ok(())),
            Some(Confirmation::Nack(back)) => (back, Err(ExchangeError::Rejected)),
            Some(Confirmation::NotRequested) | None => {
                is_whole = false;
                (None, Err(ExchangeError::Unknown))
            }
        };
        match back.map(|back| id_of(&back)) {
            None => {}
            Some(Some(id)) => {
                returned.insert(id);
            }
            // Every message of the publish round has an id. So a returned message without an id
            // does not belong to this publish round.
            Some(None) => is_whole = false,
        }
        each.push(result);
    }
    if !is_whole || !returned.iter().all(|id| ids.contains(id)) {
        let unknown = || Err(ExchangeError::Unknown);
        return RoundResults {
            each: ids.iter().map(|_| unknown()).collect(),
            is_usable: false,
        };
    }
    for (id, result) in ids.iter().zip(&mut each) {
        if returned.contains(id) {
            *result = Err(ExchangeError::Unroutable);
        }
    }
    RoundResults {
        each,
        is_usable: true,
    }
}

fn id_of(back: &BasicReturnMessage) -> Option<String> {
    let id = back.delivery.properties.message_id().as_ref();
    id.map(ToString::to_string)
}

#[cfg(test)]
mod tests;
