//! The lock that lets one process at a time read the witness messages: an exclusive queue
//! (<https://www.rabbitmq.com/docs/queues#exclusive-queues>). While the queue exists, RabbitMQ
//! answers with 405 (`RESOURCE_LOCKED`) when another connection declares it. The queue never holds
//! a message, and is not durable. RabbitMQ removes it when its only consumer is gone. So the lock
//! is free as soon as the channel closes, even if the process died. If the process gives up, or is
//! suspended, after it has declared the queue and before it consumes from it, the queue has no
//! consumer that could go. Then it expires (<https://www.rabbitmq.com/docs/ttl#queue-ttl>).

use std::time::Duration;

use hookbox_driver::Fault;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep};

use crate::diagnose::{in_time, late};
use crate::jitter::jittered;
use crate::refusal::soft_error;

const TAKING: &str = "wait until no other process reads the witnesses";

const RELEASING: &str = "let other processes read the witnesses";

/// The pause before the process tries to take the lock for the second time. A read of the witnesses
/// takes about as long. The pause doubles up to [`PAUSE_MAX`], because each try opens a channel,
/// and RabbitMQ closes it.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two tries to take the lock.
const PAUSE_MAX: Duration = Duration::from_millis(640);

/// After this time without a consumer, RabbitMQ removes the queue, in milliseconds. Consuming
/// begins one reply after the queue is declared, so this is far longer than a slow broker needs,
/// and short enough that other processes need not wait long.
const EXPIRES_MS: i32 = 10_000;

/// The lock, held by this process until the channel closes.
pub(crate) struct WitnessLock {
    channel: Channel,
    /// When this field is dropped, lapin cancels the consumer, and RabbitMQ then removes the queue.
    _consumer: Consumer,
}

impl WitnessLock {
    /// Waits until no other process holds the lock of this queue of witness messages, and then
    /// takes the lock.
    ///
    /// # Errors
    /// When another process holds the lock for longer than the deadline, or when the broker does
    /// not answer in time.
    pub async fn take(
        connection: &Connection,
        queue: &str,
        deadline: Duration,
    ) -> Result<Self, Fault> {
        let name = format!("{queue}.reader");
        let (until, mut pause) = (Instant::now() + deadline, PAUSE);
        loop {
            let left = || until.saturating_duration_since(Instant::now());
            let channel = in_time(left(), TAKING, connection.create_channel()).await?;
            match in_time(left(), TAKING, Self::consume(&channel, &name)).await {
                Ok(Some(consumer)) => {
                    return Ok(Self {
                        channel,
                        _consumer: consumer,
                    });
                }
                Ok(None) => {}
                Err(fault) => {
                    // The broker may have begun to consume for this process, which does not know
                    // that. The end of the channel ends it.
                    let closing = channel.close(200, "the broker answers too late".into());
                    let _ = in_time(deadline, RELEASING, closing).await;
                    return Err(fault);
                }
            }
            if left().is_zero() {
                return Err(late(TAKING));
            }
            sleep(jittered(pause).min(left())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Lets other processes take the lock.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    pub async fn release(self, deadline: Duration) -> Result<(), Fault> {
        let closing = self.channel.close(200, "the witnesses were read".into());
        in_time(deadline, RELEASING, closing).await
    }

    /// Declares the exclusive queue, and consumes from it. Returns `None` if another connection has
    /// declared it. Then the broker has closed the channel.
    async fn consume(channel: &Channel, name: &str) -> Result<Option<Consumer>, lapin::Error> {
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        // The type is set because only a classic queue can be exclusive, and the virtual host may
        // have another default type.
        let classic = AMQPValue::LongString("classic".into());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), classic);
        arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRES_MS));
        let declared = channel.queue_declare(name.into(), options, arguments).await;
        if let Err(error) = declared {
            return match soft_error(&error) {
                Some((AMQPSoftError::RESOURCELOCKED, _)) => Ok(None),
                Some(_) | None => Err(error),
            };
        }
        let options = BasicConsumeOptions::default();
        let consuming =
            channel.basic_consume(name.into(), "".into(), options, FieldTable::default());
        Ok(Some(consuming.await?))
    }
}
