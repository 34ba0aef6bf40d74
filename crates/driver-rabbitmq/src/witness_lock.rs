//! The lock that lets one process at a time read the witness messages: an exclusive queue
//! (<https://www.rabbitmq.com/docs/queues#exclusive-queues>). While the queue exists, RabbitMQ
//! answers with 405 (`RESOURCE_LOCKED`) when another connection declares it. The queue never holds
//! a message, and is not durable. RabbitMQ removes it when its only consumer is gone. So the lock
//! is free as soon as the channel closes, even if the process died.

use std::time::Duration;

use hookbox_driver::Fault;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::time::sleep;

use crate::diagnose::in_time;
use crate::jitter::jittered;
use crate::refusal::soft_error;

const TAKING: &str = "wait until no other process reads the witnesses";

const RELEASING: &str = "let other processes read the witnesses";

/// The longest pause before the process tries again to take the lock. A read of the witnesses takes
/// about as long.
const PAUSE: Duration = Duration::from_millis(20);

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
        let taking = async {
            loop {
                if let Some(lock) = Self::try_to_take(connection, &name).await? {
                    return Ok(lock);
                }
                sleep(jittered(PAUSE)).await;
            }
        };
        in_time(deadline, TAKING, taking).await
    }

    /// Lets other processes take the lock.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    pub async fn release(self, deadline: Duration) -> Result<(), Fault> {
        let closing = self.channel.close(200, "the witnesses were read".into());
        in_time(deadline, RELEASING, closing).await
    }

    /// Declares the exclusive queue. Returns `None` if another connection has declared it.
    async fn try_to_take(
        connection: &Connection,
        name: &str,
    ) -> Result<Option<Self>, lapin::Error> {
        let channel = connection.create_channel().await?;
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
        let consumer = consuming.await?;
        Ok(Some(Self {
            channel,
            _consumer: consumer,
        }))
    }
}
