//! Tests the results of publish rounds with a few messages. The tests cover every combination of
//! confirms.

use std::collections::VecDeque;

use lapin::BasicProperties;
use lapin::message::Delivery;

use super::*;

/// The largest number of messages in one publish round of these tests.
const MESSAGES_MAX: usize = 4;

/// What the broker does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    Rejected,
    Returned,
    /// The channel is closed before the confirm arrives.
    Lost,
    /// The message is returned, and then the channel is closed before the confirm arrives.
    ReturnedAndLost,
}

use Fate::{Accepted, Lost, Rejected, Returned, ReturnedAndLost};

const ALL: [Fate; 5] = [Accepted, Rejected, Returned, Lost, ReturnedAndLost];

impl Fate {
    fn is_confirmed(self) -> bool {
        match self {
            Accepted | Rejected | Returned => true,
            Lost | ReturnedAndLost => false,
        }
    }

    fn is_returned(self) -> bool {
        match self {
            Returned | ReturnedAndLost => true,
            Accepted | Rejected | Lost => false,
        }
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("id-{number}")).collect()
}

fn returned(id: Option<&str>) -> BasicReturnMessage {
    let mut delivery = Delivery::mock(0, "".into(), "nowhere".into(), false, Vec::new());
    if let Some(id) = id {
        delivery.properties = BasicProperties::default().with_message_id(id.into());
    }
    BasicReturnMessage {
        delivery,
        reply_code: 312,
        reply_text: "NO_ROUTE".into(),
    }
}

/// Returns the confirms of one publish round whose messages have these `fates`, as lapin reports
/// them: each confirm takes the oldest returned message that no other confirm has taken. The
/// broker confirms the messages in this `order`, and returns them in the order in which they were
/// published: all of them at first, or each as late as possible.
fn confirms(ids: &[String], fates: &[Fate], order: &[usize], is_early: bool) -> Vec<Confirm> {
    let mut confirms: Vec<Confirm> = fates.iter().map(|_| Confirm::Lost).collect();
    let back = (0..fates.len()).filter(|index| fates[*index].is_returned());
    let mut later: VecDeque<usize> = back.collect();
    let mut waiting = VecDeque::new();
    if is_early {
        waiting.append(&mut later);
    }
    for index in order.iter().copied().filter(|it| fates[*it].is_confirmed()) {
        if fates[index].is_returned() {
            let due = later.iter().filter(|it| **it <= index).count();
            waiting.extend(later.drain(..due));
        }
        let back = waiting.pop_front().map(|it| returned(Some(&ids[it])));
        confirms[index] = Confirm::Arrived(match fates[index] {
            Rejected => Confirmation::Nack(back),
            Accepted | Returned | Lost | ReturnedAndLost => Confirmation::Ack(back),
        });
    }
    confirms
}

/// Returns every list of fates that has this length.
fn lists(length: usize) -> Vec<Vec<Fate>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = shorter.iter().flat_map(|list| {
            ALL.map(|fate| {
                let mut list = list.clone();
                list.push(fate);
                list
            })
        });
        longer.collect()
    })
}

/// Returns every order of the numbers below this one.
fn orders(length: usize) -> Vec<Vec<usize>> {
    (0..length).fold(vec![Vec::new()], |shorter, number| {
        let longer = shorter.iter().flat_map(|order| {
            (0..=order.len()).map(move |place| {
                let mut order = order.clone();
                order.insert(place, number);
                order
            })
        });
        longer.collect()
    })
}

/// Returns whether a result says what became of the message.
fn is_true(result: &Result<(), ExchangeError>, fate: Fate) -> bool {
    match result {
        Ok(()) => fate == Accepted,
        Err(ExchangeError::Rejected) => fate == Rejected,
        Err(ExchangeError::Unroutable) => fate.is_returned(),
        Err(_) => false,
    }
}

/// Calls `check` with the fates, the confirms and the results of every publish round.
fn each_round(mut check: impl FnMut(&[Fate], &[bool], &RoundResults)) {
    for length in 1..=MESSAGES_MAX {
        let (ids, orders) = (ids(length), orders(length));
        for fates in lists(length) {
            for order in &orders {
                for is_early in [false, true] {
                    let confirms = confirms(&ids, &fates, order, is_early);
                    let is_clean = |confirm: &Confirm| {
                        matches!(confirm, Confirm::Arrived(Confirmation::Ack(None)))
                    };
                    let clean: Vec<bool> = confirms.iter().map(is_clean).collect();
                    check(&fates, &clean, &results(&ids, confirms));
                }
            }
        }
    }
}

#[test]
fn each_message_gets_its_own_result_whatever_confirm_it_was_returned_with() {
    let mut whole = 0;
    each_round(|fates, _, results| {
        let is_whole = fates.iter().all(|fate| fate.is_confirmed());
        assert_eq!(results.is_usable, is_whole, "{fates:?}");
        assert_eq!(results.each.len(), fates.len());
        for (result, fate) in results.each.iter().zip(fates) {
            // If a confirm is lost, a returned message may be missing as well. Then some results
            // are not known, but none may be wrong.
            let is_true = result.as_ref().map(|result| is_true(result, *fate));
            assert!(is_true.unwrap_or(!is_whole), "{fates:?}: {results:?}");
        }
        whole += usize::from(is_whole);
    });
    assert!(
        whole > 300,
        "the test must cover more than 300 publish rounds with all confirms, not {whole}"
    );
}

/// The messages that have a result are not published again when the broker has closed the channel
/// because of another one.
#[test]
fn what_was_confirmed_before_the_channel_was_closed_has_a_result() {
    let mut closed = 0;
    each_round(|fates, clean, results| {
        if fates.iter().all(|fate| fate.is_confirmed()) {
            return;
        }
        assert!(results.is_certain, "{fates:?}");
        for ((result, fate), is_clean) in results.each.iter().zip(fates).zip(clean) {
            let is_needed = *fate == Rejected || (*fate == Accepted && *is_clean);
            assert!(result.is_some() || !is_needed, "{fates:?}: {results:?}");
            closed += usize::from(is_needed);
        }
    });
    assert!(
        closed > 300,
        "the test must cover more than 300 confirms before a lost one, not {closed}"
    );
}

/// If it is not certain which message a confirm or a return belongs to, no message may count as
/// published.
#[test]
fn a_round_with_a_late_or_foreign_confirm_publishes_nothing() {
    let ack = |back| Confirm::Arrived(Confirmation::Ack(back));
    for confirms in [
        vec![ack(None)],
        vec![],
        vec![ack(None), Confirm::Late],
        vec![Confirm::Late, Confirm::Lost],
        vec![ack(None), Confirm::Arrived(Confirmation::NotRequested)],
        vec![ack(None), ack(Some(returned(Some("id-9"))))],
        vec![ack(Some(returned(None))), ack(None)],
    ] {
        let shown = format!("{confirms:?}");
        let results = results(&ids(2), confirms);
        assert!(!results.is_usable && !results.is_certain, "{shown}");
        assert_eq!(results.each.len(), 2, "{shown}");
        assert!(results.each.iter().all(Option::is_none), "{shown}");
    }
    let results = results(&[], Vec::new());
    assert!(results.each.is_empty() && results.is_usable);
}
