//! RabbitMQ has an alarm: it blocks publishers, and lets consumers continue. Ingest answers 503 in
//! time, workers do what waits, and every process can end.

use std::time::{Duration, Instant};

use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::shown::{self, Shown, promised, within};
use crate::signed::Signed;

/// What the config says, and a second for a process of a debug build to come to its end.
const DRAIN: &str = "drain = \"10 s\"\n";
const DRAIN_MAX: Duration = Duration::from_secs(11);

/// The deadline of a confirm (2.5 s), which is all that a request waits for, and a margin for its
/// way there and back.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// Two deadlines of a confirm.
const TWO_DEADLINES: Duration = Duration::from_secs(5);

/// Longest wait for a condition on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many events wait when the alarm begins.
const BACKLOG: u64 = 50;

const DONE: &str = "select count(*) from claims where state = 'done'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_of_rabbitmq_is_shown_for_as_long_as_it_lasts() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let mut own = own(postgres.url(), rabbitmq.url(), postgres.url());
    own.settings = DRAIN.to_owned();
    let deployment = Deployment::over(own);
    let shown = Shown::new();
    let start = || deployment.start(&["ingest", "--metrics", &shown.address()]);
    let ingest = start();
    within(PATIENCE, "ready", async || shown.is_ready()).await;
    let signed = Signed::catch(&deployment, &[]);
    let count = BACKLOG.to_string();
    deployment.run(&["simulate", "--count", &count, "--seed", "6"]);
    let alarm = |limit: &str| rabbitmq.ctl(&["set_disk_free_limit", limit]).unwrap();

    alarm("1000GB");
    until_refused(&signed, &deployment).await;
    promised(
        TWO_DEADLINES,
        "the broker is shown as unavailable",
        async || shown.metric("hookbox_broker_up") == Some(0.0),
    )
    .await;
    // Consumers are not blocked, and what was accepted is done.
    let began = Instant::now();
    assert_eq!(deployment.count(DONE).await, 0, "nothing waits");
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "the backlog is done", async || {
        deployment.count(DONE).await >= BACKLOG
    })
    .await;
    // And for as long as it lasts, also without requests: longer than any deadline.
    within(PATIENCE, "it lasts", async || {
        assert!(!shown.is_ready(), "it looked well during the alarm");
        began.elapsed() > Duration::from_secs(12)
    })
    .await;
    let why = shown.trouble("broker").unwrap();
    assert!(why.contains("alarm"), "{why}");
    let (status, _) = shown::get(deployment.port, "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(refused(&signed, &deployment), "taken during the alarm");
    alarm("50MB");
    within(PATIENCE, "ready again", async || shown.is_ready()).await;
    deployment.run(&["send"]);

    // The blocked connection never answers, and it is closed all the same.
    alarm("1000GB");
    until_refused(&signed, &deployment).await;
    for process in [ingest, worker] {
        let signalled = Instant::now();
        process.signal("TERM");
        let code = process.ends_within(DRAIN_MAX);
        assert_eq!(code, Some(0), "{}", deployment.log());
        eprintln!("ended after {:?}", signalled.elapsed());
    }
    let alarms = rabbitmq.ctl(&["eval", "rabbit_alarm:get_alarms()."]);
    assert!(alarms.unwrap().contains("disk"), "the alarm was over");
    alarm("50MB");
    let (ingest, worker) = (start(), deployment.start(&["worker"]));
    within(PATIENCE, "ready again", async || shown.is_ready()).await;
    deployment.run(&["send"]);
    deployment.run(&["reconcile", "--wait", "120s"]);
    assert!(deployment.count(DONE).await >= BACKLOG + 2);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// The alarm reaches a connection that publishes, so something is sent until it is refused.
async fn until_refused(signed: &Signed, deployment: &Deployment) {
    within(PATIENCE, "it is answered 503", async || {
        refused(signed, deployment)
    })
    .await;
}

/// Whether it is answered 503; in time, whatever it is.
fn refused(signed: &Signed, deployment: &Deployment) -> bool {
    let lateness = Lateness::measure();
    let answer = signed.send(deployment.port);
    let bound = ANSWERED_WITHIN + lateness.allowance();
    assert!(answer.took < bound, "{:?}", answer.took);
    if answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "when to try again");
        return true;
    }
    assert_eq!(answer.status, 200);
    false
}
