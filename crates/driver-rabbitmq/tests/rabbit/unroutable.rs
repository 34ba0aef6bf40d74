//! Tests that publishing an unroutable message never succeeds, even among many messages that are
//! published at the same time and have a queue.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use hookbox_driver::{Broker, PublishErrorKind, Queue};
use hookbox_event::RouteName;

use crate::world::{World, all_are_there, batch, route, subscribe, until_ready};

/// The number of messages that are published at once in one repetition of the test. A returned
/// message ends the connection, so more messages at once would not test more.
const ROUND: usize = 128;

/// The least number of repetitions, each over new connections: 6,400 messages in all. The test
/// proves something only if the broker has returned enough messages and has confirmed enough other
/// messages.
const ROUNDS: usize = 50;

/// The most repetitions. The test fails if the broker has returned or confirmed too few messages in
/// all these repetitions.
const ROUNDS_MAX: usize = 10 * ROUNDS;

/// When a message is unroutable, the broker returns it between the confirms of other messages. The
/// return must not be attributed to one of the other messages (H2). One message in sixteen is
/// published to no existing queue, or to two queues of which only one exists. Which messages these
/// are differs between the repetitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_thousands_of_good_messages_no_unroutable_one_is_ever_ok() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let nowhere: RouteName = "nowhere".parse().unwrap();
    let mut accepted = HashSet::new();
    let mut refused = BTreeMap::<&str, usize>::new();
    let unroutable = PublishErrorKind::Unroutable.as_str();
    // In each repetition, some messages are confirmed before a returned message ends the
    // connection. How many these are depends on the machine, so the number of repetitions is not
    // fixed.
    let is_enough = |round: usize, accepted: usize, refused: &BTreeMap<&str, usize>| {
        let returned = refused.get(unroutable).copied().unwrap_or(0);
        round >= ROUNDS && returned >= ROUNDS && accepted >= ROUNDS * 2
    };
    let mut round = 0;
    while !is_enough(round, accepted.len(), &refused) {
        assert!(
            round < ROUNDS_MAX,
            "the broker must confirm and return enough messages: {} were confirmed, and the \
             errors of unroutable ones were {refused:?}",
            accepted.len()
        );
        until_ready(&rabbit).await;
        let publishes = (0..ROUND).map(|number| {
            let routes = match (number + round) % 64 {
                7 => vec![nowhere.clone()],
                33 => vec![route(), nowhere.clone()],
                _ => vec![route()],
            };
            let text = format!("{round}.{number}");
            let rabbit = &rabbit;
            async move {
                let published = rabbit.publish(&routes, &batch(&text)).await;
                (published, routes, text)
            }
        });
        for (published, routes, text) in join_all(publishes).await {
            let bad = routes.contains(&nowhere);
            match published {
                Ok(()) => {
                    assert!(
                        !bad,
                        "{text} reached no queue, so its publish must not return Ok"
                    );
                    accepted.insert(text);
                }
                Err(error) if bad => *refused.entry(error.kind.as_str()).or_default() += 1,
                Err(_) => {}
            }
        }
        round += 1;
    }
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    all_are_there(&mut *subscription, accepted).await;
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}
