//! Canaries: this crate has workarounds for faults of lapin and RabbitMQ, and each test asserts
//! that one of these faults still exists. When a test fails after an update of lapin or RabbitMQ,
//! the fault is fixed, and the failure message says which workaround may be removed.
#![allow(clippy::unwrap_used)]

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

const URL: &str = "HOOKBOX_TEST_AMQP_URL";

/// How long a test tries to make lapin or RabbitMQ misbehave, if they do so only by chance. Usually
/// it succeeds within a second.
const PATIENCE: Duration = Duration::from_secs(9);

/// How long a consumer must yield nothing to count as hanging.
const HANG: Duration = Duration::from_secs(4);

pub(crate) async fn connect(properties: ConnectionProperties) -> Connection {
    let url = std::env::var(URL)
        .unwrap_or_else(|_| panic!("{URL} must name a RabbitMQ server, such as amqp://…/%2f"));
    Connection::connect(&url, properties).await.unwrap()
}

pub(crate) async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    channel
}

fn random_name() -> String {
    format!("hookbox-canary-{:016x}", RandomState::new().hash_one(0))
}

/// Declares a queue that the broker deletes when the connection closes. If `full` is true, the
/// queue rejects every message.
async fn fleeting(channel: &Channel, full: bool) -> String {
    let name = random_name();
    let mut arguments = FieldTable::default();
    if full {
        let reject = AMQPValue::LongString("reject-publish".into());
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
        arguments.insert("x-overflow".into(), reject);
    }
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.as_str().into(), options, arguments)
        .await
        .unwrap();
    name
}

/// Declares a quorum queue, which the test must delete.
async fn quorum(channel: &Channel) -> String {
    let name = random_name();
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    let options = QueueDeclareOptions::durable();
    channel
        .queue_declare(name.as_str().into(), options, arguments)
        .await
        .unwrap();
    name
}

pub(crate) async fn delete(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.into(), options).await.unwrap()
}

pub(crate) async fn publish(channel: &Channel, queue: &str, id: &str) -> PublisherConfirm {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.into());
    channel
        .basic_publish("".into(), queue.into(), options, b"x", properties)
        .await
        .unwrap()
}

/// Tests H1: when several tasks publish on one channel, a rejected message is reported as accepted,
/// or the reverse.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn confirms_of_a_shared_channel_are_swapped() {
    let connection = connect(ConnectionProperties::default()).await;
    let channel = confirming(&connection).await;
    let (full, open) = (
        fleeting(&channel, true).await,
        fleeting(&channel, false).await,
    );
    let swapped = Arc::new(AtomicUsize::new(0));
    let give_up = Instant::now() + PATIENCE;
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let is_full = number % 2 == 0;
        let queue = if is_full { full.clone() } else { open.clone() };
        let (channel, swapped) = (channel.clone(), Arc::clone(&swapped));
        tasks.spawn(async move {
            while swapped.load(Ordering::Relaxed) == 0 && Instant::now() < give_up {
                let confirm = publish(&channel, &queue, "x").await;
                if confirm.await.unwrap().is_ack() == is_full {
                    swapped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(
        swapped.load(Ordering::Relaxed) > 0,
        "lapin gave no task the confirm of another task's publish on a shared channel (H1): if it \
         never does so now, publishers need no separate channels"
    );
    let _ = connection.close(200, "done".into()).await;
}

/// Tests H2: a message that was unroutable, and was therefore returned, is reported as acknowledged
/// without a return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_sticks_to_another_message() {
    let connection = connect(ConnectionProperties::default()).await;
    let channel = confirming(&connection).await;
    let queue = quorum(&channel).await;
    let nowhere = random_name();
    let give_up = Instant::now() + PATIENCE;
    let mut taken_for_accepted = 0;
    while taken_for_accepted == 0 && Instant::now() < give_up {
        let mut pending = Vec::new();
        for number in 0..200 {
            let bad = number % 10 == 7;
            let to = if bad { &nowhere } else { &queue };
            pending.push((bad, publish(&channel, to, &number.to_string()).await));
        }
        for (bad, confirm) in pending {
            let clean = matches!(confirm.await.unwrap(), Confirmation::Ack(None));
            taken_for_accepted += usize::from(bad && clean);
        }
    }
    delete(&channel, &queue).await;
    let _ = connection.close(200, "done".into()).await;
    assert!(
        taken_for_accepted > 0,
        "lapin reported each return with the message that was returned (H2): if it always does \
         now, a returned message need not fail all messages that were published with it, and the \
         next messages need not wait for all confirms"
    );
}

/// Tests H3: `wait_for_confirms` does not report rejected messages.
#[tokio::test]
async fn waiting_for_confirms_hides_rejections() {
    let connection = connect(ConnectionProperties::default()).await;
    let channel = confirming(&connection).await;
    let full = fleeting(&channel, true).await;
    let reported = publish(&channel, &full, "reported").await.await.unwrap();
    assert!(
        reported.is_nack(),
        "a queue with the length limit 0 must reject the message"
    );
    for _ in 0..10 {
        drop(publish(&channel, &full, "hidden").await);
    }
    let waited = timeout(HANG, channel.wait_for_confirms()).await;
    let hidden = matches!(&waited, Ok(Ok(returned)) if returned.is_empty());
    let _ = connection.close(200, "done".into()).await;
    assert!(
        hidden,
        "lapin's wait_for_confirms reports rejected messages (H3): {waited:?}; if it reports all \
         of them, it may be used in place of awaiting each confirm"
    );
}

/// Tests H4: with lapin's auto-recovery, a consumer whose channel was closed waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_recovery_leaves_a_consumer_hanging() {
    assert!(
        !hangs(ConnectionProperties::default()).await,
        "without lapin's auto-recovery, a consumer must not hang; if a consumer hangs, \
         subscriptions need a watchdog of their own"
    );
    assert!(
        hangs(ConnectionProperties::default().enable_auto_recover()).await,
        "a consumer ends or continues when lapin recovers its channel (H4): auto-recovery may be \
         considered again, in place of hookbox's supervisor"
    );
}

/// Returns whether a consumer hangs after an error has closed its channel: for [`HANG`], the
/// consumer neither ends nor yields the message that waits in the queue.
async fn hangs(properties: ConnectionProperties) -> bool {
    let connection = connect(properties).await;
    let other = confirming(&connection).await;
    let queue = quorum(&other).await;
    let channel = connection.create_channel().await.unwrap();
    let mut consumer = channel
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let missing = random_name();
    let declared = channel
        .queue_declare(missing.into(), passive, FieldTable::default())
        .await;
    assert!(
        declared.is_err(),
        "declaring the queue must fail, which closes the channel"
    );
    publish(&other, &queue, "waits").await.await.unwrap();
    let until_the_end = async {
        while let Some(next) = consumer.next().await {
            if next.is_ok() {
                break;
            }
        }
    };
    let hangs = timeout(HANG, until_the_end).await.is_err();
    delete(&other, &queue).await;
    let _ = timeout(HANG, connection.close(200, "done".into())).await;
    hangs
}

/// Tests H5: when a queue is deleted, RabbitMQ acknowledges messages that the queue has never
/// stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_acknowledges_what_it_never_took() {
    let connection = connect(ConnectionProperties::default()).await;
    let (publishing, admin) = (
        confirming(&connection).await,
        connection.create_channel().await.unwrap(),
    );
    let give_up = Instant::now() + PATIENCE;
    let mut lost = 0;
    while lost == 0 && Instant::now() < give_up {
        let queue = quorum(&admin).await;
        let mut pending = Vec::new();
        for _ in 0..3_000 {
            pending.push(publish(&publishing, &queue, "x").await);
        }
        let stored = delete(&admin, &queue).await;
        let mut acknowledged = 0_u32;
        for confirm in pending {
            let confirmed = timeout(HANG, confirm).await;
            acknowledged += u32::from(matches!(confirmed, Ok(Ok(Confirmation::Ack(None)))));
        }
        lost = acknowledged.saturating_sub(stored);
    }
    let _ = connection.close(200, "done".into()).await;
    assert!(
        lost > 0,
        "RabbitMQ acknowledged only what was in the queue when it was deleted (H5): the warning \
         against deleting queues in use may be dropped for this version of the broker"
    );
}
