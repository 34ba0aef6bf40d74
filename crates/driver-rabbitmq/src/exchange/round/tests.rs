//! Tests the results of publish rounds with a few messages. The tests cover every combination of
//! confirms.

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
    Lost,
}

use Fate::{Accepted, Lost, Rejected, Returned};

const ALL: [Fate; 4] = [Accepted, Rejected, Returned, Lost];

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

/// Returns the confirms of one publish round whose messages have these `fates`. lapin may attach a
/// returned message to the confirm of another message. So the returned messages are attached here
/// in reverse order, the first of them to the confirm at the position `turned`.
fn confirms(ids: &[String], fates: &[Fate], turned: usize) -> Vec<Option<Confirmation>> {
    let fated = ids.iter().zip(fates);
    let back = fated.filter(|(_, fate)| **fate == Returned);
    let mut back: Vec<&str> = back.map(|(id, _)| id.as_str()).collect();
    let confirmed = (0..fates.len()).filter(|index| fates[*index] != Lost);
    let mut places: Vec<usize> = confirmed.collect();
    let turns = turned % places.len().max(1);
    places.rotate_left(turns);
    let mut handed_out: Vec<Option<BasicReturnMessage>> = Vec::new();
    handed_out.resize_with(fates.len(), || None);
    for place in places {
        handed_out[place] = back.pop().map(|id| returned(Some(id)));
    }
    let confirms = fates.iter().zip(handed_out);
    let confirms = confirms.map(|(fate, back)| match fate {
        Accepted | Returned => Some(Confirmation::Ack(back)),
        Rejected => Some(Confirmation::Nack(back)),
        Lost => None,
    });
    confirms.collect()
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

fn is_as_expected(result: &Result<(), ExchangeError>, fate: Fate) -> bool {
    match fate {
        Accepted => result.is_ok(),
        Rejected => matches!(result, Err(ExchangeError::Rejected)),
        Returned => matches!(result, Err(ExchangeError::Unroutable)),
        Lost => matches!(result, Err(ExchangeError::Unknown)),
    }
}

#[test]
fn each_message_gets_its_own_result_whatever_confirm_it_was_returned_with() {
    let mut whole = 0;
    for length in 1..=MESSAGES_MAX {
        let ids = ids(length);
        for fates in lists(length) {
            for turned in 0..length {
                let RoundResults { each, is_usable } =
                    results(&ids, confirms(&ids, &fates, turned));
                // If a confirm is missing, a returned message may be missing as well. Then all
                // results must be unknown.
                let is_whole = !fates.contains(&Lost);
                assert_eq!(is_usable, is_whole, "{fates:?}");
                assert_eq!(each.len(), length);
                for (result, fate) in each.iter().zip(&fates) {
                    let expect = if is_whole { *fate } else { Lost };
                    assert!(is_as_expected(result, expect), "{fates:?}: {each:?}");
                }
                whole += usize::from(is_whole);
            }
        }
    }
    assert!(
        whole > 300,
        "the test must cover more than 300 publish rounds with all confirms, not {whole}"
    );
}

/// If it is not certain which message a confirm or a return belongs to, no message may count as
/// published.
#[test]
fn a_round_with_a_missing_or_foreign_confirm_publishes_nothing() {
    let ack = |back| Some(Confirmation::Ack(back));
    for confirms in [
        vec![ack(None)],
        vec![],
        vec![ack(None), Some(Confirmation::NotRequested)],
        vec![ack(None), ack(Some(returned(Some("id-9"))))],
        vec![ack(Some(returned(None))), ack(None)],
    ] {
        let shown = format!("{confirms:?}");
        let RoundResults { each, is_usable } = results(&ids(2), confirms);
        assert!(!is_usable, "{shown}");
        assert_eq!(each.len(), 2, "{shown}");
        for result in each {
            assert!(is_as_expected(&result, Lost), "{shown}: {result:?}");
        }
    }
    let RoundResults { each, is_usable } = results(&[], Vec::new());
    assert!(each.is_empty() && is_usable);
}
