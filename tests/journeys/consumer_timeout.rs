//! RabbitMQ closes the channel of a consumer, and requeues its message, when the message is not
//! acknowledged within the consumer timeout. The message is redelivered while its handler still
//! runs. The second run of the handler must wait for the transaction of the first one, and then
//! find the event done. Therefore no attempt may be used up.

use std::time::{Duration, Instant};

use crate::deployment::Deployment;
use crate::gate;
use crate::outages::own;
use crate::shown::Shown;
use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find};

/// A consumer timeout of two seconds instead of 30 minutes.
const SETTINGS: &str = "consumer_timeout = 2000\n";

/// A command that makes RabbitMQ check the consumer timeout every second instead of every minute.
/// `rabbitmq.conf` has no setting for this interval.
const EACH_SECOND: &str = "application:set_env(rabbit, channel_tick_interval, 1000).";

/// A query that counts the handlers that the test holds up in their statement while a second
/// session waits for their transaction. The second session belongs to the handler of the
/// redelivered message.
const AGAIN: &str = "select count(*) from pg_stat_activity as first
     where first.wait_event = 'PgSleep'
     and exists (select from pg_stat_activity as again
                 where first.pid = any (pg_blocking_pids(again.pid))
                 and again.wait_event = 'transactionid')";

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_over_the_consumer_timeout_loses_doubles_and_spends_nothing() {
    let rabbitmq = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), SETTINGS).unwrap();
    rabbitmq.ctl(&["eval", EACH_SECOND]).unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let ingest = deployment.start_ingest();
    let shown = Shown::new();
    let mut worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    deployment.run(&["send"]);
    let rows = "select count(*) from begini_scores";
    within(PATIENCE, "the first event must be done", async || {
        deployment.count(rows).await == 1
    })
    .await;
    gate::prepare(&deployment).await;
    gate::hold_scores(&deployment).await;
    // The test sends fewer events than the worker runs at once. The handler of a redelivered
    // message can therefore start although the first handlers still run.
    for _ in 0..2 {
        deployment.run(&["send"]);
    }
    let start = Instant::now();
    within(
        PATIENCE,
        "a message must be redelivered while its handler runs",
        async || deployment.count(AGAIN).await >= 1,
    )
    .await;
    let took = start.elapsed();
    eprintln!("a message was redelivered after {took:?}");
    let log = rabbitmq.folder().join("log/broker.log");
    // The full line in RabbitMQ's log is "Consumer … on channel … has timed out waiting for
    // delivery acknowledgement".
    within(
        PATIENCE,
        "RabbitMQ must log that the consumer timed out",
        async || std::fs::read_to_string(&log).unwrap().contains("timed out"),
    )
    .await;
    gate::free_scores(&deployment).await;
    let again = "hookbox_receipts_total{route=\"scores\",outcome=\"redelivered\"}";
    within(PATIENCE, "the worker must count a redelivery", async || {
        shown.metric(again).is_some_and(|count| count >= 1.0)
    })
    .await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    let log = deployment.log();
    assert_eq!(books["verdict"], "balanced", "{books}; {log}");
    assert_eq!(deployment.count(rows).await, 3);
    for spent in [
        "select count(*) from attempts",
        "select count(*) from dead_letters",
        "select count(*) from retries",
    ] {
        assert_eq!(deployment.count(spent).await, 0, "{spent}: {log}");
    }
    assert!(
        !worker.has_ended(),
        "the worker must still run after the timeout: {log}"
    );
    deployment.run(&["send"]);
    within(PATIENCE, "processing must resume", async || {
        deployment.count(rows).await == 4
    })
    .await;
    worker.stop();
    ingest.stop();
    drop((postgres, rabbitmq));
    deployment.remove();
}
