//! Confirmed publishes to a quorum queue: one connection, one channel, one event in each message.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
};

use super::meter::{Length, Meter};

/// The size of one message: about one event of Begini.
const BODY_BYTES: usize = 600;

/// The most publishes that wait for their confirm.
const OUTSTANDING: usize = 64;

const QUEUE: &str = "floor";

pub(super) async fn measure(url: &str, length: Length) -> Result<f64> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    let rate = publish(&channel, length).await;
    channel
        .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
        .await?;
    connection.close(200, "done".into()).await?;
    rate
}

async fn publish(channel: &Channel, length: Length) -> Result<f64> {
    let body = [b'x'; BODY_BYTES];
    let mut waiting: VecDeque<PublisherConfirm> = VecDeque::new();
    let mut meter = Meter::new(length);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    loop {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let sent = channel
            .basic_publish("".into(), QUEUE.into(), options, &body, persistent)
            .await?;
        waiting.push_back(sent);
        if waiting.len() < OUTSTANDING {
            continue;
        }
        if let Some(first) = waiting.pop_front() {
            confirmed(first).await?;
        }
        if !meter.more() {
            break;
        }
    }
    let rate = meter.rate();
    for left in waiting {
        confirmed(left).await?;
    }
    Ok(rate)
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
            bail!("a publish was not confirmed")
        }
    }
}
