//! The handler `publish` as a user sets it up: each event is published to an exchange of the
//! user's, on the broker of hookbox or on another one. When a worker ends before it has recorded
//! that a message was confirmed, the next one publishes it again, with the same id and a higher
//! epoch.

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

/// The routing keys of the messages that the queue gets.
const SCORES: &str = "begini.in.psychometric_score.#";

/// An exchange of the user's, and a queue that gets the messages for scores.
struct Exchange {
    name: String,
    connection: Connection,
    channel: Channel,
}

impl Exchange {
    /// Connects, and chooses a name. The exchange does not exist yet.
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

    /// Lets no message reach the queue.
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

    /// Takes the next message; `None` if there is none.
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

/// Makes a deployment whose only route publishes all events to the exchange.
async fn deployment(pair: Pair, exchange: &str) -> Deployment {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    // Without a URL, messages go to the broker of hookbox.
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

/// Returns the value of a header.
fn header(message: &BasicGetMessage, name: &str) -> String {
    let headers = message.properties.headers().as_ref().unwrap();
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(AMQPValue::LongLongInt(number)) => number.to_string(),
        other => panic!("the header {name} is {other:?}"),
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

    // The exchange does not exist. That is no fault of the event, which waits.
    let worker = deployment.start(&["worker"]);
    let waits = "select count(*) from retries where deferred_reason = 'target_fault'";
    within(
        PATIENCE,
        "the event must wait for the exchange",
        async || deployment.count(waits).await == 1,
    )
    .await;
    worker.stop();
    // Operators see why.
    let targets = deployment.json(&["targets", "list"]);
    assert!(targets["targets"][0]["last_error"].is_string(), "{targets}");
    exchange.declare().await;

    // This worker ends between the confirm and the record of it.
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

    // A message that no queue gets is a failed attempt.
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

/// Takes all messages from the queue, which must be of the first event, and returns their epochs
/// and ids.
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
