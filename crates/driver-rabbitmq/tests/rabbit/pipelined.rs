//! What the broker itself closes while many publishes are on their way: a connection, and the
//! channel of a message that it does not take.

use std::collections::HashSet;
use std::path::Path;

use futures_util::future::join_all;
use hookbox_driver::{Broker, Queue, describe};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::servers::{RabbitmqServer, find};

use crate::world::{
    PATIENCE, World, all_are_there, batch, eventually, route, subscribe, until_ready,
};

/// Messages on their way at once: two full rounds of a channel.
const PIPELINED: usize = 64;

/// What the broker takes; one byte more closes the channel.
const MESSAGE_MAX: usize = 65_536;

/// Rounds in which a channel is closed, each with the large message at another place.
const CLOSED_CHANNELS: usize = 8;

/// What RabbitMQ's log says as it closes a channel for it (406).
const TOO_LARGE: &str = "precondition_failed: message size";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_closes_under_64_publishes_accepts_nothing_that_is_not_there() {
    let settings = format!("max_message_size = {MESSAGE_MAX}\n");
    let server = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), &settings).unwrap();
    let mut world = World::on(server.url()).await;
    let rabbit = world.open().await;
    let log = server.folder().join("log/broker.log");
    channels_are_closed(&rabbit, &log).await;
    let server = connections_are_closed(&rabbit, server).await;
    assert!(!world.raw.status().connected(), "all were to be closed");
    rabbit.close().await;
    world.connect_again().await;
    world.finish().await;
    drop(server);
}

/// One of the messages is too large for the broker, each time at another place.
async fn channels_are_closed(rabbit: &Rabbit, log: &Path) {
    let mut neighbour = subscribe(rabbit, Queue::Route(route())).await;
    let mut accepted = HashSet::new();
    for round in 0..CLOSED_CHANNELS {
        until_ready(rabbit).await;
        let large = round * 9;
        let (taken, refused) = pipelined(rabbit, &format!("small {round}"), Some(large)).await;
        assert!(!taken.contains(&text(&format!("small {round}"), large)));
        assert!(!refused.is_empty());
        accepted.extend(taken);
    }
    eventually("the broker says what was too large", PATIENCE, async || {
        let log = std::fs::read_to_string(log).unwrap();
        match log.matches(TOO_LARGE).count() {
            CLOSED_CHANNELS => Ok(()),
            other => Err(other),
        }
    })
    .await;
    until_ready(rabbit).await;
    rabbit.publish(&[route()], &batch("next")).await.unwrap();
    accepted.insert("next".to_owned());
    // Over the connection that stayed open, without subscribing again.
    all_are_there(&mut *neighbour, accepted).await;
    neighbour.close().await;
}

/// An operator closes all connections.
async fn connections_are_closed(rabbit: &Rabbit, server: RabbitmqServer) -> RabbitmqServer {
    let closing = tokio::task::spawn_blocking(move || {
        server
            .ctl(&["close_all_connections", "an operator wants it"])
            .unwrap();
        server
    });
    let mut accepted = HashSet::new();
    let mut rounds = 0;
    loop {
        let (taken, refused) = pipelined(rabbit, &format!("round {rounds}"), None).await;
        accepted.extend(taken);
        rounds += 1;
        if !refused.is_empty() {
            break;
        }
    }
    let server = closing.await.unwrap();
    eventually("a publish is taken again", PATIENCE, async || {
        rabbit.publish(&[route()], &batch("after")).await
    })
    .await;
    accepted.insert("after".to_owned());
    let mut subscription = eventually("it subscribes again", PATIENCE, async || {
        rabbit
            .subscribe(&Queue::Route(route()), 500)
            .await
            .map_err(drop)
    })
    .await;
    all_are_there(&mut *subscription, accepted).await;
    subscription.close().await;
    server
}

fn text(prefix: &str, number: usize) -> String {
    format!("{prefix}, number {number}")
}

/// Publishes so many at once, one of them too large, if wanted. All are answered: the texts of
/// those that were accepted, and why the others were not.
async fn pipelined(
    rabbit: &Rabbit,
    prefix: &str,
    large: Option<usize>,
) -> (HashSet<String>, Vec<String>) {
    let publishes = (0..PIPELINED).map(|number| async move {
        let text = text(prefix, number);
        let space = if large == Some(number) {
            MESSAGE_MAX
        } else {
            0
        };
        let message = batch(&format!("{text}{}", " ".repeat(space)));
        (rabbit.publish(&[route()], &message).await, text)
    });
    let (mut taken, mut refused) = (HashSet::new(), Vec::new());
    for (published, text) in join_all(publishes).await {
        match published {
            Ok(()) => {
                taken.insert(text);
            }
            Err(error) => refused.push(describe(&error)),
        }
    }
    assert_eq!(taken.len() + refused.len(), PIPELINED);
    (taken, refused)
}
