//! The promises that the `Broker` trait makes, as test cases. This file has the cases for
//! publishing. The other cases are in the submodules.

mod consume;

pub use consume::*;

mod connection;
mod identity;
mod in_flight;
mod refuse;
mod witness;

pub use connection::*;
pub use identity::*;
pub use in_flight::*;
pub use refuse::*;
pub use witness::*;

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{
    Batch, Broker, Delivery, Fault, PublishError, Queue, Readiness, Subscription,
};
use hookbox_event::{Accepted, Account, Envelope, InstanceId, ReceiptId, RouteName, decode_batch};
use hookbox_testkit::eventually::eventually_is;
use tokio::time::{Instant, timeout};

use crate::harness::{BrokerHarness, one, two};
use crate::{envelope, of_number};

/// The longest wait for a message that the broker must deliver. If a process ends without settling
/// a message, the SQLite driver delivers the message again only when its lease is over. So this
/// wait is longer than a lease.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a case waits before it concludes that no message is delivered.
const QUIET: Duration = Duration::from_millis(300);

fn batch(envelopes: &[Envelope]) -> Batch {
    Batch::of(envelopes).expect("a batch must not be empty")
}

async fn publish<B: Broker>(broker: &B, route: RouteName, number: usize) {
    let batch = batch(&[of_number(number)]);
    broker.publish(&[route], &batch).await.expect("published");
}

async fn subscribe<B: Broker>(broker: &B, prefetch: u16) -> Box<dyn Subscription> {
    broker
        .subscribe(&Queue::Route(one()), prefetch)
        .await
        .expect("subscribed")
}

async fn next(subscription: &mut dyn Subscription) -> Delivery {
    let next = timeout(PATIENCE, subscription.next())
        .await
        .expect("the broker must deliver a message within PATIENCE");
    next.expect("the wait for a message must not fail")
}

/// Acknowledges one message and releases another, and returns both results.
async fn ack_and_release(first: Delivery, second: Delivery) -> [Result<(), Fault>; 2] {
    [
        timeout(PATIENCE, first.ack())
            .await
            .expect("the ack must end in time"),
        timeout(PATIENCE, second.release())
            .await
            .expect("the release must end in time"),
    ]
}

async fn quiet(subscription: &mut dyn Subscription) {
    let next = timeout(QUIET, subscription.next()).await;
    assert!(
        next.is_err(),
        "the subscription must deliver nothing more: {next:?}"
    );
}

fn envelopes(delivery: &Delivery) -> Vec<Envelope> {
    let frames = decode_batch(&delivery.bytes).expect("the message must be a batch of envelopes");
    frames
        .into_iter()
        .map(|frame| frame.expect("each frame must be an envelope"))
        .collect()
}

async fn ready<B: Broker>(broker: &B) {
    let wanted = |now: &Readiness| *now == Readiness::Ready;
    eventually_is(
        "the broker must be ready again after the fault",
        async || broker.readiness(),
        wanted,
    )
    .await;
}

/// Repeats the publish until the broker accepts the message, as an ingest with retries does.
async fn publish_until_taken<B: Broker>(broker: &B, number: usize) {
    let try_once = async || {
        let batch = batch(&[of_number(number)]);
        broker.publish(&[one()], &batch).await
    };
    eventually_is(
        "a publish must succeed when it is repeated until the broker accepts it",
        try_once,
        |tried| tried.is_ok(),
    )
    .await
    .expect("published");
}

pub async fn bytes_survive_exactly<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let mut strange = envelope("strange");
    strange.body = (0..=255_u8).cycle().take(70_000).collect::<Vec<_>>().into();
    let sent = vec![strange, of_number(1), of_number(2)];
    let batch = batch(&sent);
    broker.publish(&[one()], &batch).await.expect("published");
    let mut subscription = subscribe(&*broker, 10).await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(delivery.bytes, batch.bytes);
    assert_eq!(envelopes(&delivery), sent);
    delivery.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn published_survives_a_restart_of_the_driver<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    broker.close().await;
    drop(broker);
    let broker = world.open().await;
    let mut subscription = subscribe(&*broker, 10).await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(envelopes(&delivery), [of_number(1)]);
    delivery.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn publishing_to_nowhere_is_an_error<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let nowhere: RouteName = "nowhere".parse().expect("a valid name");
    let batch = batch(&[of_number(1)]);
    let one_and_nowhere = broker.publish(&[one(), nowhere.clone()], &batch).await;
    assert!(one_and_nowhere.is_err());
    ready(&*broker).await;
    assert!(broker.publish(&[nowhere], &batch).await.is_err());
    ready(&*broker).await;
    publish(&*broker, two(), 2).await;
    broker.close().await;
}

pub async fn a_batch_for_two_routes_reaches_both<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    broker
        .publish(&[one(), two()], &batch(&[of_number(1)]))
        .await
        .expect("published");
    for route in [one(), two()] {
        let queue = Queue::Route(route);
        let mut subscription = broker.subscribe(&queue, 1).await.expect("subscribed");
        let delivery = next(&mut *subscription).await;
        assert_eq!(envelopes(&delivery), [of_number(1)]);
        delivery.ack().await.expect("acknowledged");
        subscription.close().await;
    }
    broker.close().await;
}

/// Checks that a publish which the broker rejects is never reported as accepted. Many other
/// publishes run at the same time (H1, H2).
pub async fn a_rejected_publish_is_never_reported_as_accepted<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let nowhere: RouteName = "nowhere".parse().expect("a valid name");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (broker, nowhere) = (Arc::clone(&broker), nowhere.clone());
        tasks.spawn(async move {
            let bad = number % 10 == 3;
            let route = if bad { nowhere } else { one() };
            let answer: Result<(), PublishError> =
                broker.publish(&[route], &batch(&[of_number(number)])).await;
            (number, bad, answer.is_ok())
        });
    }
    let mut accepted = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (number, bad, ok) = done.expect("the task must not panic");
        assert!(
            !(bad && ok),
            "the publish of message {number} must fail, because there is no queue for it"
        );
        if ok {
            accepted.push(of_number(number).receipt);
        }
    }
    // Each message that was reported as accepted must be in the queue.
    let mut subscription = subscribe(&*broker, 500).await;
    let mut missing: std::collections::HashSet<_> = accepted.into_iter().collect();
    while !missing.is_empty() {
        let delivery = next(&mut *subscription).await;
        for envelope in envelopes(&delivery) {
            missing.remove(&envelope.receipt);
        }
        delivery.ack().await.expect("acknowledged");
    }
    subscription.close().await;
    broker.close().await;
}

pub async fn publish_without_a_broker_fails_within_its_deadline<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    world.sever().await;
    let began = Instant::now();
    let answer = broker.publish(&[one()], &batch(&[of_number(1)])).await;
    assert!(answer.is_err());
    // The confirm deadline of every driver is 2.5 s. The limit here is 10 s, because the machine
    // may be busy. A driver without a confirm deadline would wait for ever.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the publish must fail at its confirm deadline, but failed only after {:?}",
        began.elapsed()
    );
    world.restore().await;
    publish_until_taken(&*broker, 2).await;
    broker.close().await;
}

pub async fn a_lost_confirm_is_not_an_acceptance<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    world.lose_answers().await;
    assert!(
        broker
            .publish(&[one()], &batch(&[of_number(1)]))
            .await
            .is_err()
    );
    world.restore().await;
    // The broker may have stored the first message although its confirm was lost. If so, the next
    // publish stores the message a second time. The store recognises such a duplicate.
    publish_until_taken(&*broker, 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(envelopes(&delivery), [of_number(1)]);
    delivery.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn depths_count_what_waits<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    for number in 0..3 {
        publish(&*broker, two(), number).await;
    }
    let ready = async || {
        let depths = broker.depths().await.expect("depths");
        let of = |queue| {
            depths
                .iter()
                .find(|depth| depth.queue == queue)
                .and_then(|it| it.ready)
        };
        (
            of(Queue::Route(one())),
            of(Queue::Route(two())),
            of(Queue::Dead),
            of(Queue::Accounts),
        )
    };
    let wanted = (Some(0), Some(3), Some(0), Some(0));
    eventually_is(
        "each queue must report the number of messages that were left in it",
        ready,
        |depths| *depths == wanted,
    )
    .await;
    broker.close().await;
}

/// Checks the publish of an accept report, in which an ingest says what it has accepted. The report
/// is on disk when it is confirmed, its bytes are unchanged, and a consumer can settle it like any
/// other message.
pub async fn an_account_reaches_its_queue<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let account = Account {
        instance: InstanceId::from_bytes([3; 16]),
        first: 1,
        last: 2,
        closing: false,
        accepted: vec![Accepted {
            routes: vec![one(), two()],
            first: 2,
            receipts: vec![ReceiptId::from_bytes([4; 16])],
        }],
    };
    broker.publish_report(&account).await.expect("reported");
    let mut taking = broker
        .subscribe(&Queue::Accounts, 4)
        .await
        .expect("subscribed");
    let delivery = taking
        .next()
        .await
        .expect("the wait for a message must not fail");
    assert_eq!(Account::decode(&delivery.bytes), Ok(account));
    delivery.ack().await.expect("acknowledged");
    taking.close().await;
    let ready = async || {
        let depths = broker.depths().await.expect("depths");
        let mut accounts = depths.into_iter().filter(|it| it.queue == Queue::Accounts);
        accounts.next().and_then(|it| it.ready)
    };
    eventually_is(
        "the queue of accept reports must be empty after its message was acknowledged",
        ready,
        |ready| *ready == Some(0),
    )
    .await;
    broker.close().await;
}
