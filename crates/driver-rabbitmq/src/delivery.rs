//! Settles deliveries: for each channel, one task writes all acknowledgements and releases, one
//! after the other.
//!
//! lapin's own `Acker` spawns a task for each acknowledgement, so acknowledgements can overtake
//! each other. An acknowledgement that covers several delivery tags may then cover tags that are
//! settled already, and RabbitMQ closes the channel for that. Here, each delivery tag is settled
//! separately, so no acknowledgement covers a delivery that is still being processed. This costs
//! little: a message holds a whole batch, so there are few tags.

use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{Fault, FaultKind, Settler};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::DeliveryTag;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::diagnose::fault;

/// Where to send the result of a settlement; `None` when the caller does not wait for the result.
type Reply = Option<oneshot::Sender<Result<(), Fault>>>;

enum Command {
    Ack(DeliveryTag, Reply),
    Release(DeliveryTag, Reply),
    Close(oneshot::Sender<()>),
}

/// The handle to a channel's settlement task. When the last handle is dropped, the task ends and
/// the AMQP channel is closed.
#[derive(Clone)]
pub(crate) struct Acker {
    // This internal queue of commands is unbounded. It stays short all the same, because the
    // prefetch limits the number of messages in flight, and each message has one command.
    commands: mpsc::UnboundedSender<Command>,
}

impl Acker {
    pub fn start(
        channel: Channel,
        tasks: &TaskTracker,
        runtime: &Handle,
        stop: CancellationToken,
        close_deadline: Duration,
    ) -> Self {
        let (commands, waiting) = mpsc::unbounded_channel();
        tasks.spawn_on(settle_all(channel, waiting, stop, close_deadline), runtime);
        Self { commands }
    }

    /// Returns whether the channel has no unsettled delivery. Each unsettled delivery has a handle
    /// to the task, so the channel is idle if this handle is the only one.
    pub fn is_idle(&self) -> bool {
        self.commands.strong_count() == 1
    }

    /// Waits until the settlements that were requested before have been written, and then closes
    /// the AMQP channel.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).is_ok() {
            let _ = closed.await;
        }
    }
}

async fn settle_all(
    channel: Channel,
    mut waiting: mpsc::UnboundedReceiver<Command>,
    stop: CancellationToken,
    close_deadline: Duration,
) {
    loop {
        let next = tokio::select! {
            // Commands are preferred over the stop signal, so that commands that were sent before
            // the driver closed are written before this task ends.
            biased;
            next = waiting.recv() => next,
            // The driver closes the whole connection next, so the channel need not be closed here.
            () = stop.cancelled() => return,
        };
        let Some(command) = next else {
            // The subscription was dropped without being closed.
            close(&channel, close_deadline).await;
            return;
        };
        let (result, reply) = match command {
            Command::Ack(tag, reply) => {
                let options = BasicAckOptions { multiple: false };
                (channel.basic_ack(tag, options).await, reply)
            }
            Command::Release(tag, reply) => {
                let options = BasicNackOptions {
                    multiple: false,
                    requeue: true,
                };
                (channel.basic_nack(tag, options).await, reply)
            }
            Command::Close(done) => {
                close(&channel, close_deadline).await;
                let _ = done.send(());
                return;
            }
        };
        if let Some(reply) = reply {
            let result = result.map_err(|error| fault("settle a message", error));
            let _ = reply.send(result);
        }
    }
}

/// Closes a channel. The broker then returns the unsettled deliveries of the channel to the queue,
/// even if it answers only after the deadline.
pub(crate) async fn close(channel: &Channel, deadline: Duration) {
    let _ = timeout(deadline, channel.close(200, "done".into())).await;
}

/// Settles one delivery. If this value is dropped without having been used, the message is
/// released.
pub(crate) struct MessageSettler {
    tag: DeliveryTag,
    acker: Option<Acker>,
}

impl MessageSettler {
    pub fn new(tag: DeliveryTag, acker: Acker) -> Self {
        Self {
            tag,
            acker: Some(acker),
        }
    }

    async fn send(
        mut self: Box<Self>,
        command: fn(DeliveryTag, Reply) -> Command,
    ) -> Result<(), Fault> {
        let gone = || {
            let why = "the delivery's channel is gone; the message will be redelivered";
            Fault::new(FaultKind::Unavailable, "settle a message", why)
        };
        let acker = self.acker.take().ok_or_else(gone)?;
        let (reply, replied) = oneshot::channel();
        acker
            .commands
            .send(command(self.tag, Some(reply)))
            .map_err(|_| gone())?;
        replied.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Settler for MessageSettler {
    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        self.send(Command::Ack).await
    }

    async fn release(self: Box<Self>) -> Result<(), Fault> {
        self.send(Command::Release).await
    }
}

impl Drop for MessageSettler {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            // Sending fails when the settlement task has ended. The channel is closed in that case,
            // and the broker has already returned the message to its queue.
            let _ = acker.commands.send(Command::Release(self.tag, None));
        }
    }
}
