//! RabbitMQ takes a message away that is not settled within its consumer timeout, and closes the
//! channel. A worker whose store is frozen for longer loses what it has in hand to itself: it comes
//! again, has one effect, and no attempt is spent.

use std::time::{Duration, Instant};

use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find};

use crate::deployment::{Deployment, Own};

/// Two seconds instead of 30 minutes.
const SETTINGS: &str = "consumer_timeout = 2000\n";

/// Looked at each second instead of each minute; not a setting of `rabbitmq.conf`.
const EACH_SECOND: &str = "application:set_env(rabbit, channel_tick_interval, 1000).";

/// Longest wait for the time-out, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_consumer_timeout_nothing_is_lost_doubled_or_spent() {
    let rabbitmq = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), SETTINGS).unwrap();
    rabbitmq.ctl(&["eval", EACH_SECOND]).unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: String::new(),
    });
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.run(&["simulate", "--count", "20", "--seed", "1"]);
    deployment.run(&["reconcile", "--wait", "60s"]);
    postgres.stop().unwrap();
    deployment.run(&["simulate", "--count", "60", "--seed", "2"]);
    let began = Instant::now();
    let log = rabbitmq.folder().join("log/broker.log");
    // "Consumer … on channel … has timed out waiting for delivery acknowledgement"
    while !std::fs::read_to_string(&log)
        .unwrap_or_default()
        .contains("timed out")
    {
        assert!(began.elapsed() < PATIENCE, "no consumer has timed out");
        tokio::task::yield_now().await;
    }
    postgres.cont().unwrap();
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(
        books["verdict"],
        "balanced",
        "{books}; {}",
        deployment.log()
    );
    let doubled = "select count(*) - count(distinct (route, event_id)) from claims";
    assert_eq!(deployment.count(doubled).await, 0);
    let spent = "select count(*) from attempts";
    assert_eq!(
        deployment.count(spent).await,
        0,
        "an attempt was spent on a time-out"
    );
    let waiting = "select count(*) from claims where state not in ('done', 'dead')";
    assert_eq!(deployment.count(waiting).await, 0);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
