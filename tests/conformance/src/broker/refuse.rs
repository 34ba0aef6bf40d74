//! The promises of a broker for publishes that it rejects or cannot route.

use std::collections::HashSet;

use hookbox_driver::{Broker, PublishErrorKind};

use super::{batch, envelopes, next, publish_until_taken, subscribe};
use crate::harness::{BrokerHarness, one, two};
use crate::of_number;

/// The number of concurrent publishes. It is so large that publishers which wrongly share a channel
/// (H1) get each other's confirms.
const PUBLISHES: usize = 4_000;

/// The least number of publishes that must be accepted, and also the least number that must be
/// rejected, even on a busy machine. With fewer of them the case would show nothing.
const SHOWN_MIN: usize = 200;

/// Checks that a publish to no route at all is an error, because the message is unroutable. A
/// publish that names a route which the config does not have is an error too, even if its other
/// routes exist.
pub async fn publishing_to_no_route_is_an_error<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let answer = broker.publish(&[], &batch(&[of_number(1)])).await;
    let error = answer.expect_err("it went nowhere");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    let nowhere = "nowhere".parse().expect("a name");
    let answer = broker
        .publish(&[one(), nowhere], &batch(&[of_number(1)]))
        .await;
    let error = answer.expect_err("one of the two routes does not exist");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    publish_until_taken(&*broker, 2).await;
    broker.close().await;
}

/// Checks that a rejection by one queue is reported to the publishers to that queue alone.
/// Publishes to another queue stay accepted.
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
        assert!(
            answer.is_err(),
            "message {number} was accepted by a queue that refuses"
        );
    }
    // Some publishes may have timed out instead of being rejected. Without enough rejections the
    // case shows nothing.
    let refusals = of(1).filter(|(_, it)| *it == Err(refused)).count();
    assert!(
        refusals >= SHOWN_MIN,
        "only {refusals} publishes failed with {refused:?}"
    );
    if H::REFUSES_ALONE {
        assert!(
            accepted >= SHOWN_MIN,
            "only {accepted} publishes to the other queue were accepted"
        );
        let mistaken = of(0).find(|(_, it)| *it == Err(refused));
        assert_eq!(
            mistaken, None,
            "a queue that accepts everything refused a publish"
        );
    }
    let both = broker
        .publish(&[one(), two()], &batch(&[of_number(PUBLISHES)]))
        .await;
    assert!(both.is_err(), "one of the two queues refuses the message");
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
