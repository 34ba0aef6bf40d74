//! Tests what happens when the broker closes the whole connection or one channel while many
//! publishes are under way. The broker closes a channel when a message on it is too large for the
//! broker. No publish may succeed whose message is not in the queue.

use std::collections::HashSet;
use std::path::Path;

use futures_util::future::join_all;
use hookbox_driver::{Broker, Queue, describe};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::{RabbitmqServer, find};

use crate::world::{World, all_are_there, batch, route, subscribe, until_ready};

/// The number of concurrent publishes: twice as many as one channel publishes before it waits for
/// their confirms.
const PIPELINED: usize = 64;

/// The largest message that this test's broker accepts, in bytes. For a larger message, the broker
/// closes the channel.
const MESSAGE_MAX: usize = 65_536;

/// How many times the test makes the broker close a channel. Each time, a different one of the
/// concurrent messages is too large.
const CLOSED_CHANNELS: usize = 8;

/// What RabbitMQ writes into its log when it closes a channel because of a message that is too
/// large (code 406).
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
    assert!(
        !world.raw.status().connected(),
        "close_all_connections must have closed the test's own connection as well"
    );
    rabbit.close().await;
    world.connect_again().await;
    world.finish().await;
    drop(server);
}

/// Publishes [`PIPELINED`] messages several times. Each time, a different one of these messages is
/// too large for the broker.
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
    eventually(
        "the broker must log each message that was too large",
        async || {
            let log = std::fs::read_to_string(log).unwrap();
            match log.matches(TOO_LARGE).count() {
                CLOSED_CHANNELS => Ok(()),
                other => Err(other),
            }
        },
    )
    .await;
    until_ready(rabbit).await;
    rabbit.publish(&[route()], &batch("next")).await.unwrap();
    accepted.insert("next".to_owned());
    // The subscription's connection must have stayed open, so the subscription must still deliver
    // every accepted message.
    all_are_there(&mut *neighbour, accepted).await;
    neighbour.close().await;
}

/// Publishes again and again while an operator closes all connections.
async fn connections_are_closed(rabbit: &Rabbit, server: RabbitmqServer) -> RabbitmqServer {
    let closing = tokio::task::spawn_blocking(move || {
        server
            .ctl(&["close_all_connections", "an operator closes all"])
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
    eventually(
        "a publish must succeed after the broker has closed the connection",
        async || rabbit.publish(&[route()], &batch("after")).await,
    )
    .await;
    accepted.insert("after".to_owned());
    let mut subscription = eventually(
        "subscribing must succeed after the broker has closed the connection",
        async || {
            rabbit
                .subscribe(&Queue::Route(route()), 500)
                .await
                .map_err(drop)
        },
    )
    .await;
    all_are_there(&mut *subscription, accepted).await;
    subscription.close().await;
    server
}

fn text(prefix: &str, number: usize) -> String {
    format!("{prefix}, number {number}")
}

/// Publishes [`PIPELINED`] messages at once; the message with the number `large`, if any, is too
/// large for the broker. Returns the texts of the accepted messages, and the errors of the others.
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
