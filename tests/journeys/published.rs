//! The handler `publish` as a user sets it up: each event is published to the user's exchange, on
//! the broker of hookbox or on another broker. When a worker crashes before it has recorded that a
//! message was confirmed, the next worker publishes the message again, with the same id and a
//! higher epoch.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_tests::{random_name, variable};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::deployment::{Deployment, Pair};
use crate::event::score;
use crate::forwarded::send;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

const DONE: &str = "select count(*) from claims where state = 'done'";

/// The binding key with which the queue gets the messages for scores from the exchange.
const SCORES: &str = "begini.in.psychometric_score.#";

/// The user's exchange, and a queue that gets its messages for scores.
struct Exchange {
    name: String,
    connection: Connection,
    channel: Channel,
}

impl Exchange {
    /// Connects to the broker, and chooses a name for the exchange. The exchange is not declared
    /// yet.
    async fn choose() -> Self {
        let url = variable("HOOKBOX_TEST_AMQP_URL");
        let connection = Connection::connect(&url, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        Self {
            name: random_name("orders"),
            channel: connection.create_channel().await.unwrap(),
            connection,
        }
    }

    fn queue(&self) -> String {
        format!("{}.queue", self.name)
    }

    async fn declare(&self) {
        let (name, queue) = (self.name.as_str(), self.queue());
        let options = ExchangeDeclareOptions::default();
        let table = FieldTable::default;
        self.channel
            .exchange_declare(name.into(), ExchangeKind::Topic, options, table())
            .await
            .unwrap();
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(queue.as_str().into(), options, table())
            .await
            .unwrap();
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(
                queue.as_str().into(),
                name.into(),
                SCORES.into(),
                options,
                table(),
            )
            .await
            .unwrap();
    }

    /// Removes the binding of the queue, so that it gets no more messages.
    async fn unbind(&self) {
        let (name, queue) = (self.name.as_str(), self.queue());
        self.channel
            .queue_unbind(
                queue.as_str().into(),
                name.into(),
                SCORES.into(),
                FieldTable::default(),
            )
            .await
            .unwrap();
    }

    /// Takes the next message from the queue; `None` if the queue is empty.
    async fn next(&self) -> Option<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        let queue = self.queue();
        let got = self.channel.basic_get(queue.as_str().into(), options);
        got.await.unwrap()
    }

    async fn finish(self) {
        let (name, queue) = (self.name.as_str(), self.queue());
        let options = QueueDeleteOptions::default();
        let deleted = self.channel.queue_delete(queue.as_str().into(), options);
        deleted.await.unwrap();
        let options = ExchangeDeleteOptions::default();
        let deleted = self.channel.exchange_delete(name.into(), options);
        deleted.await.unwrap();
        self.connection.close(200, "done".into()).await.unwrap();
    }
}

/// Makes a deployment whose only route publishes all events to this exchange.
async fn deployment(pair: Pair, exchange: &str) -> Deployment {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    // If the handler has no URL, it publishes to the broker of hookbox.
    let url = match pair {
        Pair::RabbitmqPostgres => "",
        Pair::SqliteAlone => "url = { file = \"amqp\", mode = \"any\" }",
    };
    let route = format!(
        r#"
[[route]]
name = "scores"
topics = ["begini.#"]
retry = {{ attempts = 2, first = "50 ms", max = "50 ms" }}
[route.handler]
kind = "publish"
exchange = "{exchange}"
routing_key = "{{source}}.in.{{event_type}}"
headers = {{ x-tenant = "a" }}
{url}
"#
    );
    deployment.write("hookbox.toml", &format!("{before}{route}"));
    deployment.write("amqp", &variable("HOOKBOX_TEST_AMQP_URL"));
    deployment
}

/// Returns the value of a header as text.
fn header(message: &BasicGetMessage, name: &str) -> String {
    let headers = message.properties.headers().as_ref().unwrap();
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::LongLongInt(number)) => number.to_string(),
        other => panic!("the header {name} must be a text or a number, but is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_message_is_published_again_on_rabbitmq_and_postgres() {
    survive(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_message_is_published_again_on_sqlite() {
    survive(Pair::SqliteAlone).await;
}

async fn survive(pair: Pair) {
    let exchange = Exchange::choose().await;
    let deployment = deployment(pair, &exchange.name).await;
    deployment.run(&["check-config"]);
    let ingest = deployment.start_ingest();
    send(&deployment, &score("user-1"));

    // The exchange does not exist yet. This is not the fault of the event, so the event must wait.
    let worker = deployment.start(&["worker"]);
    let waits =
        "select count(*) from retries where deferred_reason in ('target_fault', 'target_closed')";
    within(
        PATIENCE,
        "the event must wait for the exchange",
        async || deployment.count(waits).await == 1,
    )
    .await;
    worker.stop();
    // `hookbox targets list` must show the reason to an operator.
    let targets = deployment.json(&["targets", "list"]);
    assert!(targets["targets"][0]["last_error"].is_string(), "{targets}");
    exchange.declare().await;

    // This worker crashes after the message was confirmed and before the confirm is recorded.
    let mut command = deployment.command(&["worker"]);
    command.env(hookbox_crash::CRASH_AT, "effect.after_call");
    let mut worker = deployment.spawn(command);
    within(
        PATIENCE,
        "the worker must end at the crash point",
        async || worker.has_ended(),
    )
    .await;
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "the event must be done", async || {
        deployment.count(DONE).await == 1
    })
    .await;

    let (epochs, ids) = published(&exchange).await;
    assert_eq!(epochs.len(), 2, "{epochs:?}");
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    assert!(ids[0] == ids[1] && ids[0].ends_with("-scores-1"), "{ids:?}");

    // A message that the exchange routes to no queue must be a failed attempt.
    exchange.unbind().await;
    send(&deployment, &score("user-2"));
    let unroutable = "select count(*) from attempts where error like 'no queue got the message%'";
    let exhausted = "select count(*) from dead_letters where reason = 'exhausted'";
    within(
        PATIENCE,
        "the event must become a dead letter",
        async || deployment.count(exhausted).await == 1,
    )
    .await;
    assert_eq!(deployment.count(unroutable).await, 2);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    ingest.stop();
    exchange.finish().await;
    deployment.finish().await;
}

/// Takes all messages from the queue, checks that they are for the event `user-1`, and returns
/// their epochs and ids.
async fn published(exchange: &Exchange) -> (Vec<u32>, Vec<String>) {
    let (mut epochs, mut ids) = (Vec::new(), Vec::new());
    while let Some(message) = exchange.next().await {
        assert_eq!(message.data, score("user-1").as_bytes());
        let key = message.routing_key.as_str();
        assert_eq!(key, "begini.in.psychometric_score.complete");
        assert_eq!(header(&message, "x-tenant"), "a");
        assert_eq!(
            header(&message, "hookbox-topic"),
            "begini.psychometric_score.complete"
        );
        assert_eq!(header(&message, "hookbox-attempt"), "1");
        epochs.push(header(&message, "hookbox-epoch").parse().unwrap());
        let id = message.properties.message_id().as_ref().unwrap();
        ids.push(id.to_string());
    }
    (epochs, ids)
}
