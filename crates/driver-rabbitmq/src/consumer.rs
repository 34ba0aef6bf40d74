//! Subscriptions: each has its own channel, a prefetch limit, and a consumer tag that the broker
//! generates.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use hookbox_driver::{Delivery, Fault, FaultKind, Subscription};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::delivery::{Acker, MessageSettler, close};
use crate::diagnose::{fault, fault_of, late};
use crate::refusal::Account;

/// What is needed to begin a subscription and to renew it.
#[derive(Clone)]
pub(crate) struct Beginning {
    pub connection: Arc<Connection>,
    pub account: Account,
    pub queue: String,
    pub prefetch: u16,
    pub options: Options,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// A subscription to one queue.
pub(crate) struct RabbitSubscription {
    /// Kept for renewals. It also keeps the connection open as long as the subscription exists.
    beginning: Beginning,
    /// The runtime on which messages are settled.
    runtime: Handle,
    consumer: Consumer,
    acker: Acker,
}

/// Subscribes. Messages are settled on the runtime on which this function is called.
pub(crate) async fn subscribe(beginning: Beginning) -> Result<RabbitSubscription, Fault> {
    let runtime = Handle::current();
    let (consumer, acker) = beginning.begin(&runtime).await?;
    Ok(RabbitSubscription {
        beginning,
        runtime,
        consumer,
        acker,
    })
}

impl Beginning {
    /// Begins to consume on a new channel.
    async fn begin(&self, runtime: &Handle) -> Result<(Consumer, Acker), Fault> {
        let doing = || format!("subscribe to {}", self.queue);
        let failed = |error| fault_of(&self.account, doing(), error);
        let deadline = Instant::now() + self.options.connect_deadline;
        let opened = timeout_at(deadline, self.connection.create_channel()).await;
        let channel = opened.map_err(|_elapsed| late(doing()))?.map_err(failed)?;
        let Ok(consumed) = timeout_at(deadline, self.consume(&channel)).await else {
            // The channel is closed, because the broker may still begin to deliver on it once the
            // queue has a leader again, and nothing would read these deliveries (H23).
            close(&channel, self.options.close_deadline).await;
            return Err(late(doing()));
        };
        let consumer = consumed.map_err(failed)?;
        let (stop, deadline) = (self.stop.clone(), self.options.close_deadline);
        let acker = Acker::start(channel, &self.tasks, runtime, stop, deadline);
        Ok((consumer, acker))
    }

    async fn consume(&self, channel: &Channel) -> lapin::Result<Consumer> {
        // The prefetch is set for each consumer on the channel and before consuming, because quorum
        // queues refuse a prefetch for the whole channel (`global`).
        channel
            .basic_qos(self.prefetch, BasicQosOptions { global: false })
            .await?;
        channel
            .basic_consume(
                self.queue.as_str().into(),
                // With an empty consumer tag, the broker generates a tag. If the driver chose the
                // tags, it could use one tag twice. Deliveries have been seen to stop after that.
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
    }
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

    /// Consumes on a new channel. When the old channel closes, the broker returns to the queue
    /// every message that it has delivered on that channel and that never arrived (H22). If this
    /// call is cancelled half-way, the subscription has ended, and the next call of `next` returns
    /// that as a fault. No channel stays open after such a call: the task that opens the new
    /// channel runs to its end, and then drops the channel, which closes it.
    async fn renew(&mut self) -> Result<(), Fault> {
        let queue = &self.beginning.queue;
        tracing::debug!(queue, "no message came for a while; subscribing again");
        self.acker.close().await;
        let (beginning, runtime) = (self.beginning.clone(), self.runtime.clone());
        let begin = async move { beginning.begin(&runtime).await };
        let begun = self.beginning.tasks.spawn_on(begin, &self.runtime).await;
        (self.consumer, self.acker) = begun.map_err(|_| self.ended(None))??;
        Ok(())
    }

    fn ended(&self, error: Option<lapin::Error>) -> Fault {
        let doing = format!("consume from {}", self.beginning.queue);
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
        let limit = self.beginning.options.renew_after;
        loop {
            match timeout(limit, self.consumer.next()).await {
                Ok(Some(Ok(delivery))) => return Ok(self.delivery(delivery)),
                Ok(Some(Err(error))) => return Err(self.ended(Some(error))),
                Ok(None) => return Err(self.ended(None)),
                Err(_elapsed) if self.acker.is_idle() => self.renew().await?,
                Err(_elapsed) => {}
            }
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
