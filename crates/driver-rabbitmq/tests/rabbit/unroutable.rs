//! Tests messages that no queue takes, among many messages that one does take.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use hookbox_driver::{Broker, PublishErrorKind, Queue};
use hookbox_event::RouteName;

use crate::world::{World, all_are_there, batch, route, subscribe, until_ready};

/// The number of messages that all channels send before they wait for confirms. A return ends the
/// connection, so a round is not much longer than what one connection takes.
const ROUND: usize = 128;

/// The least number of rounds, each over new connections: 6,400 messages. The test shows something
/// only if messages of each kind were returned, and two kinds were accepted.
const ROUNDS: usize = 50;

/// Rounds at most.
const ROUNDS_MAX: usize = 10 * ROUNDS;

/// Returns arrive between the confirms of other messages, and must not be attributed to those (H2).
/// One message in sixteen goes to no queue, or to two of which one exists, each time at other
/// places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_thousands_of_good_messages_no_unroutable_one_is_ever_ok() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let nowhere: RouteName = "nowhere".parse().unwrap();
    let mut accepted = HashSet::new();
    let mut refused = BTreeMap::<&str, usize>::new();
    let unroutable = PublishErrorKind::Unroutable.as_str();
    // How much of a round is answered before a return ends its connection depends on the machine.
    let is_enough = |round: usize, accepted: usize, refused: &BTreeMap<&str, usize>| {
        let returned = refused.get(unroutable).copied().unwrap_or(0);
        round >= ROUNDS && returned >= ROUNDS && accepted >= ROUNDS * 2
    };
    let mut round = 0;
    while !is_enough(round, accepted.len(), &refused) {
        assert!(round < ROUNDS_MAX, "{} {refused:?}", accepted.len());
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
