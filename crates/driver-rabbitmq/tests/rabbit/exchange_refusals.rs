//! Tests messages to an exchange that belongs to the user when the broker refuses them: which error
//! a message gets, and that messages are published once the broker accepts them again.

use hookbox_driver_rabbitmq::ExchangeError;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::RabbitmqServer;
use lapin::types::AMQPValue;

use crate::exchange::{Exchange, message};
use crate::world::World;

/// The checks run one after the other on one broker, because the start of a broker takes seconds of
/// processor time. At its end, each check removes the cause of the refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_published_when_it_no_longer_is() {
    let server = RabbitmqServer::start().unwrap();
    a_missing_right_to_write_is_named_until_it_is_granted(&server).await;
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
