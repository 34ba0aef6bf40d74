//! Tests what is known at the end of a publish round.
#![allow(clippy::unwrap_used)]

use hookbox_event::ReceiptId;

use super::*;

/// Returns a publish round of one request, which was published to these queues. The caller of the
/// request no longer waits.
fn round(queues: &[&str]) -> Round {
    let batch = Batch {
        topic: "provider.thing.happened".parse().unwrap(),
        count: 1,
        first_receipt: ReceiptId::from_bytes([7; 16]),
        bytes: "text".into(),
    };
    let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
    Round {
        messages: vec![(queues, batch)],
        replies: vec![None],
        pending: Vec::new(),
        arrived: Vec::new(),
        last_arrival: None,
    }
}

#[test]
fn a_publish_round_knows_when_its_last_confirm_or_rejection_arrived() {
    assert_eq!(round(&["a"]).end().last_arrival, None);
    let began = Instant::now();
    let last = began + Duration::from_secs(1);
    let mut round = round(&["a", "b"]);
    round.arrives(0, Ok(Confirmation::Ack(None)), began);
    round.arrives(0, Ok(Confirmation::Nack(None)), last);
    assert_eq!(round.end().last_arrival, Some(last));
}

#[test]
fn a_late_confirm_is_attributed_to_the_alarm_while_the_connection_is_blocked() {
    let mut end = round(&["a"]).end();
    assert!(!end.is_late_by_alarm(false));
    assert!(!end.is_late_by_alarm(true));
    end.late.push("a".to_owned());
    assert!(!end.is_late_by_alarm(false));
    assert!(end.is_late_by_alarm(true));
}
