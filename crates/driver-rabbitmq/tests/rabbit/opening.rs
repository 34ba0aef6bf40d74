//! Tests of opening the driver: with queues that differ from their declarations, and with brokers
//! that cannot be used.

use std::time::{Duration, Instant};

use hookbox_driver::{Broker, OpenError, TopologyDifference, describe};
use hookbox_driver_rabbitmq::{Options, Rabbit};
use lapin::types::AMQPValue;
use tokio::net::TcpListener;

use crate::alone::{alone, no_amqp_thread_is_left};
use crate::world::{PATIENCE, World, batch, route, url};

async fn refused(options: Options) -> OpenError {
    match Rabbit::open(options).await {
        Ok(_) => panic!("opening the driver must fail, but the driver opened"),
        Err(error) => error,
    }
}

/// Opens the driver, which must fail because of exactly one difference, and returns that
/// difference.
async fn difference(world: &World) -> TopologyDifference {
    match refused(world.options()).await {
        OpenError::Topology(mut differences) => {
            assert_eq!(differences.len(), 1, "{differences:?}");
            differences.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[tokio::test]
async fn another_delivery_limit_is_reported_and_nothing_is_changed() {
    let world = World::new().await;
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-delivery-limit", AMQPValue::LongLongInt(7)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&world.dead())),
        ("x-dead-letter-strategy", text("at-least-once")),
    ];
    world.declare(&world.queue(), &arguments).await;
    let found = difference(&world).await;
    assert_eq!(found.queue, world.queue());
    for part in ["x-delivery-limit", "'1000'", "'7'"] {
        assert!(found.difference.contains(part), "{part}: {found}");
    }
    assert_eq!(world.waiting(&world.dead()).await, None);
    world.finish().await;
}

#[tokio::test]
async fn a_classic_queue_is_reported() {
    let world = World::new().await;
    let arguments = [
        ("x-queue-type", text("classic")),
        ("x-overflow", text("reject-publish")),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&world.dead())),
    ];
    world.declare(&world.queue(), &arguments).await;
    let found = difference(&world).await;
    assert_eq!(found.queue, world.queue());
    for part in ["x-queue-type", "'quorum'", "'classic'"] {
        assert!(found.difference.contains(part), "{part}: {found}");
    }
    world.finish().await;
}

#[tokio::test]
async fn queues_that_equal_their_declarations_are_used_unchanged() {
    let world = World::new().await;
    let first = world.open().await;
    first.publish(&[route()], &batch("kept")).await.unwrap();
    let second = world.open().await;
    assert_eq!(world.waiting(&world.queue()).await, Some(1));
    second.close().await;
    first.close().await;
    world.finish().await;
}

#[tokio::test]
async fn opening_fails_at_once_where_nothing_listens() {
    // No process listens on port 1, and no test gets that port for its own server.
    let url = "amqp://guest:hunter2@127.0.0.1:1/%2f";
    let mut options = Options::new(url, "test".parse().unwrap(), vec![route()]);
    options.preflight_deadline = PATIENCE;
    options.connect_deadline = PATIENCE;
    let began = Instant::now();
    let error = refused(options).await;
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert!(!describe(&error).contains("hunter2"));
    assert!(
        began.elapsed() < PATIENCE / 2,
        "an error must be returned without waiting for a deadline"
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let right = url();
    let (user, server) = right.split_once('@').unwrap();
    let user = user.rsplit_once(':').unwrap().0;
    let wrong = format!("{user}:hunter2@{server}");
    let mut options = Options::new(wrong, "test".parse().unwrap(), vec![route()]);
    options.preflight_deadline = PATIENCE;
    options.connect_deadline = PATIENCE;
    let began = Instant::now();
    let error = refused(options).await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
    assert!(describe(&error).contains("ACCESS_REFUSED"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(
        began.elapsed() < PATIENCE / 2,
        "an error must be returned without waiting for a deadline"
    );
}

#[tokio::test]
async fn an_unresponsive_broker_times_out_and_costs_no_thread() {
    if !alone("opening::an_unresponsive_broker_times_out_and_costs_no_thread") {
        return;
    }
    // The kernel accepts connections to this port, but no process reads from them or writes to
    // them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for _ in 0..3 {
        let url = format!("amqp://guest:guest@{address}/%2f");
        let mut options = Options::new(url, "test".parse().unwrap(), vec![route()]);
        options.preflight_deadline = Duration::from_millis(300);
        options.connect_deadline = PATIENCE;
        let began = Instant::now();
        let error = refused(options).await;
        assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
        assert!(describe(&error).contains("does not answer"), "{error:?}");
        assert!(
            began.elapsed() < PATIENCE / 2,
            "opening must not wait longer than the preflight deadline"
        );
    }
    // The listener still holds the sockets open. So the threads must have ended by themselves, and
    // not because the sockets were closed.
    no_amqp_thread_is_left().await;
    drop(silent);
}
