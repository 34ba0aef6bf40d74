//! Tests messages to an exchange that belongs to the user when the broker refuses them: which error
//! a message gets, and that messages are published once the broker accepts them again.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::join_all;
use hookbox_driver_rabbitmq::{ExchangeError, ExchangeMessage, ExchangePublisher};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::{RabbitmqServer, find};
use lapin::types::AMQPValue;

use crate::exchange::{Exchange, message};
use crate::world::{PATIENCE, World};

/// How many good messages are published at the same time as a bad one: half of them before it, and
/// half of them after it.
const GOOD: usize = 10;

/// The largest message that this test's broker accepts, in bytes.
const MESSAGE_MAX: usize = 65_536;

/// The checks run one after the other on one broker, because the start of a broker takes seconds of
/// processor time. At its end, each check removes the cause of the refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_published_when_it_no_longer_is() {
    let settings = format!("max_message_size = {MESSAGE_MAX}\n");
    let server = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), &settings).unwrap();
    a_missing_right_to_write_is_named_until_it_is_granted(&server).await;
    a_refused_routing_key_fails_its_own_message(&server).await;
    a_message_that_is_too_large_fails_alone(&server).await;
    a_deleted_exchange_is_named_for_each_message_until_it_is_declared(&server).await;
    a_full_queue_rejects_messages_until_it_has_room(&server).await;
    an_alarm_blocks_messages_until_it_is_over(&server).await;
}

async fn a_missing_right_to_write_is_named_until_it_is_granted(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    let exchange = Exchange::new(&world).await;
    let permit = |write: &str| {
        let words = ["set_permissions", "-p", "/", "hookbox", ".*", write, ".*"];
        server.ctl(&words).unwrap();
    };
    permit("^hookbox");
    let publisher = exchange.publisher();
    for id in ["one", "two"] {
        let refused = publisher.publish(message(id, "kept.a")).await;
        assert!(
            matches!(&refused, Err(ExchangeError::NoRight(name)) if *name == exchange.name),
            "{refused:?}"
        );
    }
    permit(".*");
    publisher.publish(message("three", "kept.a")).await.unwrap();
    assert_eq!(world.waiting(&exchange.queue).await, Some(1));
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

/// Publishes [`GOOD`] good messages and a bad one at the same time, and returns the error of the
/// bad one. Each good message must be confirmed. The task of the publisher takes some of the first
/// messages into its first publish round, and all others into the second, because it connects
/// meanwhile. So in each case, the bad message has neighbours.
async fn publish_with(
    publisher: &ExchangePublisher,
    exchange: &Exchange<'_>,
    bad: ExchangeMessage,
) -> ExchangeError {
    let good: Vec<String> = (0..GOOD).map(|number| format!("good {number}")).collect();
    let mut messages: Vec<_> = good.iter().map(|id| message(id, "kept.a")).collect();
    messages.insert(GOOD / 2, bad);
    let publishes = messages.into_iter().map(|it| publisher.publish(it));
    let mut published = join_all(publishes).await;
    let refused = published.remove(GOOD / 2).unwrap_err();
    for (result, id) in published.into_iter().zip(&good) {
        assert!(result.is_ok(), "{id}: {result:?}; the bad one: {refused:?}");
    }
    // A message that the broker has stored before it closes the channel may be stored twice.
    let stored = exchange.take_ids().await;
    assert!(stored.len() <= 2 * GOOD, "{stored:?}");
    let stored: HashSet<String> = stored.into_iter().collect();
    let good: HashSet<String> = good.into_iter().collect();
    assert_eq!(stored, good);
    refused
}

/// Returns a publisher that waits for confirms even on a busy machine.
fn patient_publisher(world: &World, exchange: &Exchange<'_>) -> ExchangePublisher {
    let mut options = world.options();
    options.confirm_deadline = PATIENCE;
    ExchangePublisher::new(options, &*exchange.name).unwrap()
}

async fn a_refused_routing_key_fails_its_own_message(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    let exchange = Exchange::new(&world).await;
    let name = exchange.name.as_str();
    let words = ["set_topic_permissions", "-p", "/", "hookbox", name];
    server
        .ctl(&[&words[..], &[r"^kept\.a$", ".*"]].concat())
        .unwrap();
    let publisher = patient_publisher(&world, &exchange);
    let refused = publish_with(&publisher, &exchange, message("bad", "kept.b")).await;
    assert!(
        matches!(&refused, ExchangeError::RefusedKey(found) if found == name),
        "{refused:?}"
    );
    // No other message shows that the account may write to the exchange.
    let refused = publisher.publish(message("bad", "kept.b")).await;
    assert!(
        matches!(&refused, Err(ExchangeError::NoRight(found)) if found == name),
        "{refused:?}"
    );
    server
        .ctl(&["clear_topic_permissions", "-p", "/", "hookbox", name])
        .unwrap();
    publisher.publish(message("bad", "kept.b")).await.unwrap();
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

async fn a_message_that_is_too_large_fails_alone(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    let exchange = Exchange::new(&world).await;
    let publisher = patient_publisher(&world, &exchange);
    let large = || ExchangeMessage {
        body: Bytes::from(vec![b' '; MESSAGE_MAX + 1]),
        ..message("bad", "kept.a")
    };
    let refused = publish_with(&publisher, &exchange, large()).await;
    assert!(
        matches!(refused, ExchangeError::RefusedMessage(_)),
        "{refused:?}"
    );
    let refused = publisher.publish(large()).await;
    assert!(
        matches!(refused, Err(ExchangeError::RefusedMessage(_))),
        "{refused:?}"
    );
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

async fn a_deleted_exchange_is_named_for_each_message_until_it_is_declared(
    server: &RabbitmqServer,
) {
    let world = World::on(server.url()).await;
    let exchange = Exchange::new(&world).await;
    let publisher = patient_publisher(&world, &exchange);
    publisher
        .publish(message("before", "kept.a"))
        .await
        .unwrap();
    exchange.delete().await;
    let ids: Vec<String> = (0..GOOD).map(|number| number.to_string()).collect();
    let publishes = ids
        .iter()
        .map(|id| publisher.publish(message(id, "kept.a")));
    for refused in join_all(publishes).await {
        assert!(
            matches!(&refused, Err(ExchangeError::NoExchange(name)) if *name == exchange.name),
            "{refused:?}"
        );
    }
    let exchange = Exchange::new(&world).await;
    publisher.publish(message("after", "kept.a")).await.unwrap();
    assert_eq!(exchange.take_ids().await, ["before", "after"]);
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

/// RabbitMQ remembers for each channel that a quorum queue was full, and does not forget that when
/// the limit of the queue is removed (H16).
async fn a_full_queue_rejects_messages_until_it_has_room(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    let quorum = AMQPValue::LongString("quorum".into());
    let exchange = Exchange::with(&world, &[("x-queue-type", quorum)]).await;
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    server
        .ctl(&["set_policy", "theirs", "^user", policy])
        .unwrap();
    let publisher = exchange.publisher();
    eventually("the queue must reject a message", async || match publisher
        .publish(message("one more", "kept.a"))
        .await
    {
        Err(ExchangeError::Rejected) => Ok(()),
        other => Err(other),
    })
    .await;
    server.ctl(&["clear_policy", "theirs"]).unwrap();
    eventually("a message must be confirmed", async || {
        publisher.publish(message("room again", "kept.a")).await
    })
    .await;
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

/// RabbitMQ blocks a connection only when something is published over it, and confirms nothing on
/// that connection until the alarm is over.
async fn an_alarm_blocks_messages_until_it_is_over(server: &RabbitmqServer) {
    let world = World::on(server.url()).await;
    let exchange = Exchange::new(&world).await;
    let publisher = exchange.publisher();
    publisher
        .publish(message("before", "kept.a"))
        .await
        .unwrap();
    let limit = |of_memory: &str| {
        let words = ["set_vm_memory_high_watermark", of_memory];
        server.ctl(&words).unwrap();
    };
    limit("0.00001");
    eventually("the broker must block a message", async || match publisher
        .publish(message("one more", "kept.a"))
        .await
    {
        Err(ExchangeError::Blocked) => Ok(()),
        other => Err(other),
    })
    .await;
    // While the alarm lasts, no further message must be sent.
    for id in ["two", "three"] {
        let blocked = publisher.publish(message(id, "kept.a")).await;
        assert!(
            matches!(blocked, Err(ExchangeError::Blocked)),
            "{blocked:?}"
        );
    }
    limit("0.4");
    eventually("a message must be confirmed", async || {
        publisher.publish(message("after", "kept.a")).await
    })
    .await;
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}
