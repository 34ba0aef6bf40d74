//! Tests messages to an exchange that belongs to the user. Each message is confirmed and mandatory,
//! and an error shows whether the message may have been published.

use bytes::Bytes;
use futures_util::future::join_all;
use hookbox_driver_rabbitmq::{ExchangeError, ExchangeMessage, ExchangePublisher, HeaderValue};
use lapin::ExchangeKind;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::world::World;

/// An exchange with one queue, which gets the messages whose routing key begins with `kept.`.
pub struct Exchange<'w> {
    world: &'w World,
    pub name: String,
    pub queue: String,
}

impl<'w> Exchange<'w> {
    pub async fn new(world: &'w World) -> Self {
        Self::with(world, &[]).await
    }

    /// Declares the exchange, and its queue with these arguments.
    pub async fn with(world: &'w World, arguments: &[(&str, AMQPValue)]) -> Self {
        let name = format!("user.{}", world.environment);
        let queue = format!("{name}.queue");
        world.declare(&queue, arguments).await;
        let channel = world.raw.create_channel().await.unwrap();
        let options = ExchangeDeclareOptions::default();
        let table = FieldTable::default;
        let declared =
            channel.exchange_declare(name.as_str().into(), ExchangeKind::Topic, options, table());
        declared.await.unwrap();
        let key = "kept.#".into();
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(
            queue.as_str().into(),
            name.as_str().into(),
            key,
            options,
            table(),
        );
        bound.await.unwrap();
        Self { world, name, queue }
    }

    pub fn publisher(&self) -> ExchangePublisher {
        ExchangePublisher::new(self.world.options(), &*self.name).unwrap()
    }

    /// Deletes the exchange. The queue stays.
    pub async fn delete(&self) {
        let channel = self.world.raw.create_channel().await.unwrap();
        let options = ExchangeDeleteOptions::default();
        let deleted = channel.exchange_delete(self.name.as_str().into(), options);
        deleted.await.unwrap();
    }

    /// Takes all messages from the queue, and returns their ids.
    pub async fn take_ids(&self) -> Vec<String> {
        let channel = self.world.raw.create_channel().await.unwrap();
        let mut ids = Vec::new();
        loop {
            let queue = self.queue.as_str().into();
            let got = channel.basic_get(queue, BasicGetOptions { no_ack: true });
            let Some(got) = got.await.unwrap() else {
                return ids;
            };
            ids.push(got.properties.message_id().as_ref().unwrap().to_string());
        }
    }

    pub async fn finish(self) {
        self.world.delete(&self.queue).await;
        self.delete().await;
    }
}

pub fn message(id: &str, routing_key: &str) -> ExchangeMessage {
    ExchangeMessage {
        routing_key: routing_key.to_owned(),
        message_id: id.to_owned(),
        content_type: "application/json".to_owned(),
        headers: vec![
            (
                "hookbox-topic".to_owned(),
                HeaderValue::Text("begini.score".to_owned()),
            ),
            ("hookbox-epoch".to_owned(), HeaderValue::Number(3)),
        ],
        body: Bytes::from_static(b"{\"uid\":1}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_comes_through_as_it_was_given() {
    let world = World::new().await;
    let exchange = Exchange::new(&world).await;
    let publisher = exchange.publisher();
    publisher.publish(message("one", "kept.a")).await.unwrap();
    let channel = world.raw.create_channel().await.unwrap();
    let got = channel
        .basic_get(
            exchange.queue.as_str().into(),
            BasicGetOptions { no_ack: true },
        )
        .await
        .unwrap()
        .expect("the queue must hold the message");
    assert_eq!(got.data, b"{\"uid\":1}");
    let properties = &got.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().to_string(), "one");
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().as_ref().unwrap().inner();
    let topic = AMQPValue::LongString("begini.score".into());
    assert_eq!(headers.get("hookbox-topic"), Some(&topic));
    let epoch = AMQPValue::LongLongInt(3);
    assert_eq!(headers.get("hookbox-epoch"), Some(&epoch));
    assert_eq!(headers.len(), 2);
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_good_messages_each_unroutable_one_is_found() {
    let world = World::new().await;
    let exchange = Exchange::new(&world).await;
    let publisher = exchange.publisher();
    for round in 0..20 {
        let publishes = (0..64).map(|number| {
            let key = if (number + round) % 5 == 0 {
                "nowhere"
            } else {
                "kept.a"
            };
            let (publisher, id) = (&publisher, format!("{round}.{number}"));
            async move { (key, publisher.publish(message(&id, key)).await) }
        });
        for (key, published) in join_all(publishes).await {
            match published {
                Ok(()) => assert_eq!(key, "kept.a"),
                Err(ExchangeError::Unroutable) => assert_eq!(key, "nowhere"),
                Err(other) => panic!("{key}: {other:?}"),
            }
        }
    }
    let kept = 20 * 64
        - (0..20)
            .map(|round| (0..64).filter(|it| (it + round) % 5 == 0).count())
            .sum::<usize>();
    assert_eq!(
        world.waiting(&exchange.queue).await,
        Some(u32::try_from(kept).unwrap())
    );
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_exchange_is_named_and_found_once_it_is_declared() {
    let world = World::new().await;
    let absent = ExchangePublisher::new(world.options(), "user.absent").unwrap();
    let refused = absent.publish(message("one", "kept.a")).await;
    assert!(
        matches!(&refused, Err(ExchangeError::NoExchange(name)) if name == "user.absent"),
        "{refused:?}"
    );
    absent.close().await;
    let exchange = Exchange::new(&world).await;
    let publisher = exchange.publisher();
    let long = message("one", &"k".repeat(256));
    let refused = publisher.publish(long).await;
    assert!(
        matches!(refused, Err(ExchangeError::TooLong("routing key"))),
        "{refused:?}"
    );
    publisher.publish(message("two", "kept.a")).await.unwrap();
    publisher.close().await;
    exchange.finish().await;
    world.finish().await;
}
