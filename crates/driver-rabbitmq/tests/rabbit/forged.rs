//! Tests that forged broker headers change nothing. Any client that may publish can write them.

use std::collections::BTreeMap;

use hookbox_driver::{Broker, Queue};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};

use crate::consuming::DELIVERIES_TO_DEATH;
use crate::world::{World, next, route, subscribe};

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Publishes a message with the given headers over a plain channel, as any client could.
async fn publish(channel: &Channel, queue: &str, bytes: &str, headers: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    let properties = BasicProperties::default().with_headers(table);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            bytes.as_bytes(),
            properties,
        )
        .await
        .unwrap();
}

/// Returns a forged entry of the header `x-death`, which says that the message was dead-lettered
/// from this queue for this reason.
fn death(queue: &str, reason: &str) -> AMQPValue {
    let mut death = FieldTable::default();
    death.insert("queue".into(), text(queue));
    death.insert("reason".into(), text(reason));
    death.insert("exchange".into(), text(""));
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    death.insert("time".into(), AMQPValue::Timestamp(1));
    let keys = AMQPValue::FieldArray(vec![text(queue)].into());
    death.insert("routing-keys".into(), keys);
    AMQPValue::FieldTable(death)
}

/// A message with forged headers must arrive with its content and must be settled like any other,
/// in a route's queue and in the dead-letter queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_a_publisher_forged_change_nothing() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let mut death = FieldTable::default();
    death.insert("queue".into(), text(&world.queue()));
    death.insert("count".into(), AMQPValue::LongLongInt(i64::MIN));
    let forged = [
        ("x-delivery-count", AMQPValue::LongLongInt(-5)),
        ("x-delivery-count", AMQPValue::LongLongInt(1_000_000)),
        ("x-delivery-count", text("many")),
        ("x-delivery-count", AMQPValue::Void),
        (
            "x-death",
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()),
        ),
        ("x-death", text("not an array")),
        ("x-death", AMQPValue::FieldArray(Vec::new().into())),
        (
            "x-death",
            AMQPValue::FieldArray(vec![text("no table")].into()),
        ),
        ("x-first-death-queue", text("hookbox.other.route.stolen")),
        ("x-first-death-queue", AMQPValue::Boolean(true)),
        ("x-last-death-reason", text("rejected")),
    ];
    let channel = world.raw.create_channel().await.unwrap();
    for (queue, name) in [
        (Queue::Route(route()), world.queue()),
        (Queue::Dead, world.dead()),
    ] {
        let mut subscription = subscribe(&rabbit, queue).await;
        for header in &forged {
            publish(&channel, &name, "forged", std::slice::from_ref(header)).await;
            let delivery = next(&mut *subscription).await;
            assert_eq!(delivery.bytes, "forged", "{header:?}");
            delivery.ack().await.unwrap();
        }
        subscription.close().await;
        assert_eq!(world.waiting(&name).await, Some(0));
    }
    rabbit.close().await;
    world.finish().await;
}

/// RabbitMQ keeps the entries that it finds in the header `x-death` of a message, and adds its own.
/// If a forged entry names the dead-letter queue, RabbitMQ 3.x assumes a cycle and does not forward
/// the message there (H11). All other messages must arrive in the dead-letter queue, and must name
/// the queue from which they were really dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_death_header_neither_names_a_queue_nor_affects_other_messages() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let stolen = "hookbox.other.route.stolen";
    let (dead, queue) = (world.dead(), world.queue());
    let forged = |deaths: Vec<AMQPValue>| {
        [
            ("x-death", AMQPValue::FieldArray(deaths.into())),
            ("x-first-death-queue", text(stolen)),
            ("x-first-death-reason", text("rejected")),
            ("x-first-death-exchange", text("")),
            ("x-last-death-queue", text(stolen)),
        ]
    };
    let elsewhere = forged(vec![death(stolen, "rejected"), death(&queue, "expired")]);
    let circle = forged(vec![
        death(stolen, "expired"),
        death(&dead, "delivery_limit"),
    ]);
    let channel = world.raw.create_channel().await.unwrap();
    publish(&channel, &queue, "circle", &circle).await;
    publish(&channel, &queue, "elsewhere", &elsewhere).await;
    publish(&channel, &queue, "genuine", &[]).await;
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    for _ in 0..3 * DELIVERIES_TO_DEATH {
        next(&mut *subscription).await.release().await.unwrap();
    }
    let mut collecting = subscribe(&rabbit, Queue::Dead).await;
    let mut died = BTreeMap::new();
    while !(died.contains_key("elsewhere") && died.contains_key("genuine")) {
        let delivery = next(&mut *collecting).await;
        let name = String::from_utf8(delivery.bytes.to_vec()).unwrap();
        died.insert(name, delivery.died_in.clone());
        delivery.ack().await.unwrap();
    }
    assert!(
        died.values().all(|it| it.as_ref() == Some(&queue)),
        "{died:?}"
    );
    assert_eq!(world.waiting(&queue).await, Some(0));
    collecting.close().await;
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}
