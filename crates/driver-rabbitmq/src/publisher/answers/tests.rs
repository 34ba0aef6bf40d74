//! Tests the results of the publish requests (batches) of one publish round, that is, of the
//! batches that one channel publishes before it waits for the confirms. The tests cover every
//! combination of answers to a few publishes, and every way to distribute these publishes over the
//! requests.
#![allow(clippy::unwrap_used)]

use hookbox_driver::{PublishError, PublishErrorKind};
use lapin::message::{BasicReturnMessage, Delivery};
use lapin::{Confirmation, ErrorKind};

use super::{PublishConfirm, RoundAnswers, accepted, answers};
use crate::publisher::PublisherError;

/// The largest number of publishes in one publish round that the tests cover.
const PUBLISHES_MAX: usize = 5;

/// The largest number of publish requests in one publish round that the tests cover.
const REQUESTS_MAX: usize = 3;

/// The name of the missing queue to which a returned message was published.
const NOWHERE: &str = "hookbox.test.route.nowhere";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Accepted,
    AcceptedAndReturned,
    Rejected,
    RejectedAndReturned,
    Late,
    Lost,
}

use Came::{Accepted, AcceptedAndReturned, Late, Lost, Rejected, RejectedAndReturned};

const ALL: [Came; 6] = [
    Accepted,
    AcceptedAndReturned,
    Rejected,
    RejectedAndReturned,
    Late,
    Lost,
];

impl Came {
    fn confirm(self) -> Result<Confirmation, PublisherError> {
        match self {
            Accepted => Ok(Confirmation::Ack(None)),
            AcceptedAndReturned => Ok(Confirmation::Ack(Some(returned()))),
            Rejected => Ok(Confirmation::Nack(None)),
            RejectedAndReturned => Ok(Confirmation::Nack(Some(returned()))),
            Late => Err(PublisherError::Late),
            Lost => Err(PublisherError::Channel(
                ErrorKind::MissingHeartbeatError.into(),
            )),
        }
    }
}

fn returned() -> BasicReturnMessage {
    BasicReturnMessage {
        delivery: Delivery::mock(0, "".into(), NOWHERE.into(), false, Vec::new()),
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
    }
}

/// Returns all sequences of this length whose elements are taken from `of`.
fn sequences<T: Copy>(of: &[T], length: usize) -> Vec<Vec<T>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = shorter.iter().flat_map(|sequence| {
            of.iter().map(|one| {
                let mut longer = sequence.clone();
                longer.push(*one);
                longer
            })
        });
        longer.collect()
    })
}

/// Returns the results of a publish round. For each publish, `owners` holds the index of its
/// publish request, and `came` holds what the broker answered.
fn answers_to(requests: usize, owners: &[usize], came: &[Came]) -> RoundAnswers {
    let publishes: Vec<usize> = (0..requests)
        .map(|request| owners.iter().filter(|owner| **owner == request).count())
        .collect();
    let outcome = |(request, came): (&usize, &Came)| PublishConfirm {
        request: *request,
        confirm: came.confirm(),
    };
    answers(&publishes, owners.iter().zip(came).map(outcome).collect())
}

fn kind(answer: &Result<(), PublishError>) -> Result<(), PublishErrorKind> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) => Err(error.kind),
    }
}

/// Returns the result that one publish request must get: `Ok` only if the broker accepted each of
/// its publishes, and no publish of the whole round was returned or lost. Late confirms of other
/// requests do not matter.
fn promised(request: usize, owners: &[usize], came: &[Came]) -> Result<(), PublishErrorKind> {
    if came.contains(&Lost) {
        return Err(PublishErrorKind::Unavailable);
    }
    if came.contains(&AcceptedAndReturned) || came.contains(&RejectedAndReturned) {
        return Err(PublishErrorKind::Unroutable);
    }
    let own = owners
        .iter()
        .zip(came)
        .filter(|(owner, _)| **owner == request);
    let own: Vec<Came> = own.map(|(_, came)| *came).collect();
    if own.iter().all(|came| *came == Accepted) {
        Ok(())
    } else if own.contains(&Late) {
        Err(PublishErrorKind::TimedOut)
    } else {
        Err(PublishErrorKind::Rejected)
    }
}

#[test]
fn every_mix_of_confirms_is_reported_once_to_each_publisher() {
    let (mut rounds, mut yes, mut yes_beside_a_no) = (0, 0, 0);
    for requests in 1..=REQUESTS_MAX {
        let names: Vec<usize> = (0..requests).collect();
        for length in requests..=PUBLISHES_MAX {
            let mixes = sequences(&ALL, length);
            for owners in sequences(&names, length) {
                // A publish request has at least one publish, because a request that names no queue
                // is refused before it reaches a publisher.
                if !names.iter().all(|request| owners.contains(request)) {
                    continue;
                }
                for came in &mixes {
                    let RoundAnswers { each, ended } = answers_to(requests, &owners, came);
                    let each: Vec<_> = each.iter().map(kind).collect();
                    let wanted: Vec<_> = names
                        .iter()
                        .map(|request| promised(*request, &owners, came))
                        .collect();
                    assert_eq!(each, wanted, "{owners:?} {came:?}");
                    let unclean = |it: &Came| !matches!(it, Accepted | Rejected | Late);
                    let ends = came.iter().any(unclean);
                    assert_eq!(ended.is_some(), ends, "{owners:?} {came:?}");
                    rounds += 1;
                    yes += each.iter().filter(|it| it.is_ok()).count();
                    yes_beside_a_no +=
                        usize::from(each.contains(&Ok(())) && each.iter().any(Result::is_err));
                }
            }
        }
    }
    assert!(
        rounds > 500_000,
        "the test must cover more than 500,000 publish rounds, not {rounds}"
    );
    assert!(
        yes > 0 && yes_beside_a_no > 0,
        "the tests must cover accepted requests ({yes}) and publish rounds with an accepted and a \
         failed request ({yes_beside_a_no})"
    );
}

/// A publish without a confirm must never count as accepted. A publish has no confirm if the broker
/// never answers it. It also has no confirm if the confirm of an earlier publish was lost, because
/// the publisher then waits for no later confirm.
#[test]
fn a_publish_without_an_outcome_is_never_accepted() {
    for missing in 1..=PUBLISHES_MAX {
        for length in 0..=PUBLISHES_MAX - missing {
            for came in sequences(&ALL, length) {
                let outcome = |came: &Came| PublishConfirm {
                    request: 0,
                    confirm: came.confirm(),
                };
                let outcomes = came.iter().map(outcome).collect();
                let RoundAnswers { each, .. } = answers(&[length + missing], outcomes);
                assert_eq!(each.len(), 1);
                assert!(
                    each[0].is_err(),
                    "a request must not be accepted after the answers {came:?} with {missing} \
                     confirms missing"
                );
            }
        }
    }
}

#[test]
fn the_first_loss_is_why_a_publisher_ends_and_a_return_is_named() {
    let unsent = PublishConfirm {
        request: 0,
        confirm: Err(PublisherError::Unsent),
    };
    let others = [AcceptedAndReturned, Lost].map(|came| PublishConfirm {
        request: 0,
        confirm: came.confirm(),
    });
    let outcomes = [unsent].into_iter().chain(others).collect();
    let RoundAnswers { each, ended } = answers(&[3], outcomes);
    assert_eq!(kind(&each[0]), Err(PublishErrorKind::TimedOut));
    assert!(matches!(ended, Some(PublisherError::Unsent)), "{ended:?}");

    let RoundAnswers { each, ended } = answers_to(1, &[0, 0], &[Rejected, RejectedAndReturned]);
    assert!(matches!(ended, Some(PublisherError::Unroutable(queue)) if queue == NOWHERE));
    let why = each[0].as_ref().unwrap_err().source.as_ref().unwrap();
    assert!(why.to_string().contains(NOWHERE), "{why}");
}

/// If a channel is not in confirm mode, nothing that is published on it may count as accepted.
#[test]
fn a_publish_on_a_channel_without_confirms_is_not_accepted() {
    let outcome = |confirm| PublishConfirm {
        request: 0,
        confirm: Ok(confirm),
    };
    let outcomes = [Confirmation::Ack(None), Confirmation::NotRequested].map(outcome);
    let RoundAnswers { each, ended } = answers(&[2], outcomes.into());
    assert_eq!(kind(&each[0]), Err(PublishErrorKind::Unavailable));
    assert!(
        matches!(ended, Some(PublisherError::NotConfirming)),
        "{ended:?}"
    );
}

/// Returns what lapin reports when the broker acks the publishes in this order, and returns some of
/// them. For each publish, `returned_before` holds the place in the order before which its return
/// arrives. lapin attaches each return to the confirm that completes next (H2).
fn acked_in(order: &[usize], returned_before: &[Option<usize>]) -> Vec<PublishConfirm> {
    let mut waiting = 0;
    let confirm = |(place, publish): (usize, &usize)| {
        let here = returned_before.iter().filter(|it| **it == Some(place));
        waiting += here.count();
        let back = (waiting > 0).then(returned);
        waiting -= usize::from(back.is_some());
        PublishConfirm {
            request: *publish,
            confirm: Ok(Confirmation::Ack(back)),
        }
    };
    order.iter().enumerate().map(confirm).collect()
}

/// A request must be accepted early only if its message was not returned, whatever arrives later.
/// The test covers every order of the acks of a few publishes, every choice of returned ones, every
/// place of a return before the ack of its message, and every number of acks that have arrived.
#[test]
fn no_returned_message_is_accepted_while_other_confirms_are_outstanding() {
    const PUBLISHES: usize = 4;
    let all: Vec<usize> = (0..PUBLISHES).collect();
    let places: Vec<Option<usize>> = all.iter().copied().map(Some).chain([None]).collect();
    let (mut early, mut beside_a_return) = (0, 0);
    for order in sequences(&all, PUBLISHES) {
        if !all.iter().all(|publish| order.contains(publish)) {
            continue;
        }
        let place_of = |publish: usize| order.iter().position(|it| *it == publish);
        for returned_before in sequences(&places, PUBLISHES) {
            // The broker returns a message before it acks that message.
            let is_possible = |(publish, place): (usize, &Option<usize>)| {
                place.is_none() || *place <= place_of(publish)
            };
            if !returned_before.iter().enumerate().all(is_possible) {
                continue;
            }
            for arrived in 0..=PUBLISHES {
                let mut confirms = acked_in(&order, &returned_before);
                confirms.truncate(arrived);
                let accepted = accepted(&[1; PUBLISHES], &confirms);
                for publish in all.iter().filter(|publish| accepted[**publish]) {
                    let is_returned = returned_before[*publish].is_some();
                    assert!(!is_returned, "{order:?} {returned_before:?} {arrived}");
                    early += usize::from(arrived < PUBLISHES);
                    beside_a_return += usize::from(returned_before.iter().any(Option::is_some));
                }
            }
        }
    }
    assert!(
        early > 0 && beside_a_return > 0,
        "the test must cover requests that are accepted early ({early}), also in publish rounds \
         with a later return ({beside_a_return})"
    );
}
