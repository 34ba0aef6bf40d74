//! Tests that only an operator or a deployment declares queues, never a process that publishes or
//! consumes.

use hookbox_driver::{
    Broker, ExpectedIdentity, IdentityMismatch, NotReadyKind, OpenError, PublishErrorKind, Queue,
    Readiness, describe,
};
use hookbox_driver_rabbitmq::{Rabbit, Stamping, declare, missing};
use hookbox_event::IdentityKey;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::servers::RabbitmqServer;

use crate::world::{World, batch, next, route, subscribe, take, until_ready};

/// The messages of a deleted queue are lost. A process that starts afterwards must not hide that by
/// declaring the queue, and must not be ready until an operator has declared it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_misses_a_queue_is_not_ready_until_it_is_declared() {
    let world = World::new().await;
    let first = world.open().await;
    for text in ["lost", "lost too"] {
        first.publish(&[route()], &batch(text)).await.unwrap();
    }
    first.close().await;
    assert_eq!(world.delete(&world.queue()).await, 2);

    let rabbit = Rabbit::open(world.options()).await.unwrap();
    let Readiness::NotReady { kind, why } = rabbit.readiness() else {
        panic!("the driver must not be ready without its queue");
    };
    assert_eq!(kind, NotReadyKind::Topology);
    for part in [&*world.queue(), "is missing", "`hookbox queues declare`"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let refused = rabbit.publish(&[route()], &batch("meanwhile")).await;
    assert_eq!(refused.unwrap_err().kind, PublishErrorKind::Unavailable);
    let depths = rabbit.depths().await.unwrap();
    let of = |queue: Queue| depths.iter().find(|depth| depth.queue == queue).unwrap();
    assert_eq!(of(Queue::Route(route())).ready, None);
    // While one queue is missing, the depths of the other queues must be readable, and these queues
    // must be consumable.
    assert_eq!(of(Queue::Accounts).ready, Some(0));
    subscribe(&rabbit, Queue::Dead).await.close().await;
    let named = missing(&world.options()).await.unwrap();
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!(
        (&named[0].queue, &named[0].name),
        (&Queue::Route(route()), &world.queue())
    );
    assert_eq!(
        world.waiting(&world.queue()).await,
        None,
        "listing the missing queues must not declare them"
    );

    assert_eq!(world.declare_missing().await, [world.queue()]);
    assert_eq!(world.declare_missing().await, [""; 0]);
    until_ready(&rabbit).await;
    rabbit.publish(&[route()], &batch("after")).await.unwrap();
    take(&rabbit, "after").await;
    rabbit.close().await;
    world.finish().await;
}

/// When the limit on the number of queues is reached, the broker refuses to declare the anchor
/// queue. That must not fail the command that declares queues, and must not fail a process whose
/// queues all exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_queues_that_is_reached_stops_nothing_that_is_declared() {
    let server = RabbitmqServer::start().unwrap();
    let world = World::on(server.url()).await;
    world.declare_missing().await;
    let limit = ["set_vhost_limits", "-p", "/", r#"{"max-queues":3}"#];
    server.ctl(&limit).unwrap();
    let again = declare(&world.options()).await.unwrap();
    assert_eq!(again.declared, [""; 0]);
    let why = again.anchor_refused.unwrap();
    assert!(why.contains("(3) is reached"), "{why}");
    let rabbit = Rabbit::open(world.options()).await.unwrap();
    rabbit.publish(&[route()], &batch("taken")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    next(&mut *subscription).await.ack().await.unwrap();
    subscription.close().await;
    rabbit.close().await;

    // A fourth queue would exceed the limit of three, so the broker must refuse it.
    let mut more = world.options();
    more.routes.push("more".parse().unwrap());
    let refused = declare(&more).await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused:?}");
    let refused = describe(&refused);
    assert!(
        refused.contains("queue limit in vhost '/' (3) is reached"),
        "{refused}"
    );
    world.finish().await;
}

/// RabbitMQ does not count the messages in flight of a queue. So an empty queue with a consumer may
/// still have events whose ids were computed without a key, and the broker must not be stamped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_consumers_gets_no_identity_key() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("plain")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let delivery = next(&mut *subscription).await;
    eventually("no message may wait in the queue", async || {
        world.waiting(&world.queue()).await == Some(0)
    })
    .await;
    let mut options = world.options();
    let key = IdentityKey::from_bytes([1; IdentityKey::BYTES]);
    options.identity = ExpectedIdentity::Keyed(key.fingerprint());
    let refused = declare(&options).await.unwrap_err();
    let OpenError::Identity { why, .. } = refused else {
        panic!("expected an error about the identity key, but got: {refused}");
    };
    assert_eq!(why, IdentityMismatch::PlainEvents);
    delivery.ack().await.unwrap();
    subscription.close().await;
    rabbit.close().await;
    eventually("the broker must get the stamp of the key", async || {
        declare(&options).await.is_ok()
    })
    .await;
    world.finish().await;
}

/// If the broker has messages and lost its stamp, it must be stamped again only if the store has
/// the stamp. While the store's stamp is not known, the broker must not be stamped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_messages_is_stamped_only_for_a_store_with_the_stamp() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("kept")).await.unwrap();
    rabbit.close().await;
    let mut options = world.options();
    let key = IdentityKey::from_bytes([1; IdentityKey::BYTES]);
    options.identity = ExpectedIdentity::Keyed(key.fingerprint());
    for (stamping, expect) in [
        (Stamping::WithoutMessages, IdentityMismatch::PlainEvents),
        (Stamping::None, IdentityMismatch::NotStamped),
    ] {
        options.stamping = stamping;
        let refused = declare(&options).await.unwrap_err();
        let OpenError::Identity { why, .. } = refused else {
            panic!("expected an error about the identity key, but got: {refused}");
        };
        assert_eq!(why, expect);
    }
    options.stamping = Stamping::All;
    assert_eq!(declare(&options).await.unwrap().declared, [""; 0]);
    options.stamping = Stamping::None;
    declare(&options).await.unwrap();
    let rabbit = Rabbit::open(options).await.unwrap();
    take(&rabbit, "kept").await;
    rabbit.close().await;
    world.finish().await;
}
