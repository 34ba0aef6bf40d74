//! Subscriptions: each has its own channel, a prefetch limit, and a consumer tag that the broker
//! generates.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use hookbox_driver::{Delivery, Fault, FaultKind, Subscription};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, Consumer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::delivery::{Acker, MessageSettler};
use crate::diagnose::{fault, fault_of, late};
use crate::refusal::Account;

/// A subscription to one queue.
pub(crate) struct RabbitSubscription {
    queue: String,
    consumer: Consumer,
    acker: Acker,
    /// Keeps the connection open as long as the subscription exists.
    _connection: Arc<Connection>,
}

pub(crate) async fn subscribe(
    connection: Arc<Connection>,
    account: Account,
    queue: String,
    prefetch: u16,
    options: Options,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Result<RabbitSubscription, Fault> {
    let doing = || format!("subscribe to {queue}");
    let begin = async {
        let channel = connection.create_channel().await?;
        // The prefetch is set for each consumer on the channel and before consuming, because quorum
        // queues refuse a prefetch for the whole channel (`global`).
        channel
            .basic_qos(prefetch, BasicQosOptions { global: false })
            .await?;
        let consumer = channel
            .basic_consume(
                queue.as_str().into(),
                // With an empty consumer tag, the broker generates one. A tag that the driver chose
                // could be used twice, and in that case deliveries were seen to stop.
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok::<_, lapin::Error>((channel, consumer))
    };
    let (channel, consumer) = match timeout(options.connect_deadline, begin).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return Err(fault_of(&account, doing(), error)),
        Err(_elapsed) => return Err(late(doing())),
    };
    let acker = Acker::start(channel, &tasks, stop, options.close_deadline);
    Ok(RabbitSubscription {
        queue,
        consumer,
        acker,
        _connection: connection,
    })
}

impl RabbitSubscription {
    fn delivery(&self, delivery: lapin::message::Delivery) -> Delivery {
        let died_in = delivery
            .properties
            .headers()
            .as_ref()
            .and_then(last_death_queue);
        let settler = MessageSettler::new(delivery.delivery_tag, self.acker.clone());
        let bytes = delivery.data.into();
        Delivery::new(bytes, delivery.redelivered, died_in, Box::new(settler))
    }

    fn ended(&self, error: Option<lapin::Error>) -> Fault {
        let doing = format!("consume from {}", self.queue);
        match error {
            Some(error) => fault(doing, error),
            // When the broker cancels a consumer, the stream ends without an error. The cause is
            // that the queue was deleted or moved, or that its node went down.
            None => Fault::new(
                FaultKind::Unavailable,
                doing,
                "the broker ended the consumer",
            ),
        }
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> Result<Delivery, Fault> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => Ok(self.delivery(delivery)),
            Some(Err(error)) => Err(self.ended(Some(error))),
            None => Err(self.ended(None)),
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        match self.consumer.next().now_or_never() {
            Some(Some(Ok(delivery))) => Some(self.delivery(delivery)),
            // `try_next` cannot return a fault. If there was an error, the next call of `next`
            // returns a fault.
            Some(Some(Err(_)) | None) | None => None,
        }
    }

    async fn close(self: Box<Self>) {
        // When the channel closes, the broker returns all unsettled messages to the queue.
        self.acker.close().await;
    }
}

/// Returns the name of the queue from which RabbitMQ last dead-lettered a message, as its header
/// `x-death` records it. hookbox only shows this name to operators; no decision depends on it.
///
/// Any publisher may write such a header, and RabbitMQ keeps the header, so a publisher can forge
/// entries. RabbitMQ puts its own entry for the last dead-lettering before all other entries, so
/// this function reads only the first entry.
fn last_death_queue(headers: &FieldTable) -> Option<String> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else {
        return None;
    };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else {
        return None;
    };
    match last.inner().get("queue")? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
