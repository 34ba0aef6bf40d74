//! Publishes that are rejected, or unroutable.

use std::collections::HashSet;

use hookbox_driver::{Broker, PublishErrorKind};

use super::{batch, envelopes, next, publish_until_taken, subscribe};
use crate::harness::{BrokerHarness, one, two};
use crate::of_number;

/// Enough that publishers that share what they must not (H1) mix their confirms up.
const PUBLISHES: usize = 4_000;

/// As many at least must be accepted, and as many refused, by a broker on a busy machine.
const SHOWN_MIN: usize = 200;

/// A publish to no route is in no queue, so it is not accepted; nor is one to a route that the
/// config does not have, whole or in part.
pub async fn publishing_to_no_route_is_an_error<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let answer = broker.publish(&[], &batch(&[of_number(1)])).await;
    let error = answer.expect_err("it went nowhere");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    let nowhere = "nowhere".parse().expect("a name");
    let answer = broker
        .publish(&[one(), nowhere], &batch(&[of_number(1)]))
        .await;
    let error = answer.expect_err("half of it went nowhere");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    publish_until_taken(&*broker, 2).await;
    broker.close().await;
}

/// A rejection by one queue is reported to the publishers to that queue, and costs no other
/// publisher what was accepted.
pub async fn a_refusing_queue_is_never_reported_as_accepted<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    world.refuse_two().await;
    let publishes = (0..PUBLISHES).map(|number| {
        let broker = &broker;
        async move {
            let route = if number % 2 == 0 { one() } else { two() };
            let answer = broker.publish(&[route], &batch(&[of_number(number)])).await;
            (number, answer.map_err(|error| error.kind))
        }
    });
    let answers = futures_util::future::join_all(publishes).await;
    let of = |remainder| answers.iter().filter(move |(it, _)| it % 2 == remainder);
    let (accepted, refused) = (of(0).filter(|(_, it)| it.is_ok()).count(), H::REFUSED);
    for (number, answer) in of(1) {
        assert!(answer.is_err(), "number {number} was refused and accepted");
    }
    // Others may have waited too long; without these, nothing would be shown.
    let refusals = of(1).filter(|(_, it)| *it == Err(refused)).count();
    assert!(
        refusals >= SHOWN_MIN,
        "{refusals} were answered {refused:?}"
    );
    if H::REFUSES_ALONE {
        assert!(
            accepted >= SHOWN_MIN,
            "{accepted} of the others were accepted"
        );
        let mistaken = of(0).find(|(_, it)| *it == Err(refused));
        assert_eq!(
            mistaken, None,
            "it was refused by a queue that refuses nothing"
        );
    }
    let both = broker
        .publish(&[one(), two()], &batch(&[of_number(PUBLISHES)]))
        .await;
    assert!(both.is_err(), "one of the two refused");
    world.restore().await;
    publish_until_taken(&*broker, PUBLISHES + 1).await;
    let mut missing: HashSet<_> = answers
        .iter()
        .filter(|(_, answer)| answer.is_ok())
        .map(|(number, _)| *number)
        .chain([PUBLISHES + 1])
        .map(|number| of_number(number).event)
        .collect();
    let mut subscription = subscribe(&*broker, 500).await;
    while !missing.is_empty() {
        let delivery = next(&mut *subscription).await;
        for envelope in envelopes(&delivery) {
            missing.remove(&envelope.event);
        }
        delivery.ack().await.expect("acknowledged");
    }
    subscription.close().await;
    broker.close().await;
}
