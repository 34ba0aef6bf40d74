//! The promises of a broker for publishes that it rejects or cannot route.

use std::collections::HashSet;

use hookbox_driver::{Broker, PublishErrorKind};

use super::{batch, envelopes, next, publish_until_taken, subscribe};
use crate::harness::{BrokerHarness, one, two};
use crate::of_number;

/// The number of publishes that run at the same time. If publishers wrongly shared a channel (H1),
/// some of so many publishers would receive each other's confirms, and the case would fail.
const PUBLISHES: usize = 4_000;

/// The case needs at least this many accepted publishes, and at least this many rejected ones. With
/// fewer it would prove nothing. Even a busy machine reaches this number.
const SHOWN_MIN: usize = 200;

/// Checks that a publish to no route at all is an error, because the message would reach no queue.
/// A publish to two routes is also an error if only one of them is in the config.
pub async fn publishing_to_no_route_is_an_error<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let answer = broker.publish(&[], &batch(&[of_number(1)])).await;
    let error = answer.expect_err("a publish to no route must be an error");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    let nowhere = "nowhere".parse().expect("a valid name");
    let answer = broker
        .publish(&[one(), nowhere], &batch(&[of_number(1)]))
        .await;
    let error =
        answer.expect_err("a publish must be an error if one of its two routes does not exist");
    assert_eq!(error.kind, PublishErrorKind::Unroutable);
    publish_until_taken(&*broker, 2).await;
    broker.close().await;
}

/// Checks that when one queue rejects messages, only publishes to that queue fail. Publishes to
/// another queue must still be accepted.
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
            "message {number} must not be accepted, because its queue rejects every message"
        );
    }
    // On a busy machine some publishes may time out instead of being rejected. If too few are
    // rejected, the case proves nothing.
    let refusals = of(1).filter(|(_, it)| *it == Err(refused)).count();
    assert!(
        refusals >= SHOWN_MIN,
        "at least {SHOWN_MIN} publishes must fail with {refused:?}, not only {refusals}"
    );
    if H::REFUSES_ALONE {
        assert!(
            accepted >= SHOWN_MIN,
            "the queue that rejects nothing must accept at least {SHOWN_MIN} publishes, not only \
             {accepted}"
        );
        let mistaken = of(0).find(|(_, it)| *it == Err(refused));
        assert_eq!(
            mistaken, None,
            "the queue that accepts every message must reject no publish"
        );
    }
    let both = broker
        .publish(&[one(), two()], &batch(&[of_number(PUBLISHES)]))
        .await;
    assert!(
        both.is_err(),
        "the publish must fail, because one of its two queues rejects the message"
    );
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
