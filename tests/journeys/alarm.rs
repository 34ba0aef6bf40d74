//! RabbitMQ raises a resource alarm, which blocks publishers and not consumers. Ingest answers 503
//! in time, workers process the waiting messages, and every process can be stopped.

use std::time::{Duration, Instant};

use hookbox_testkit::eventually::{promised, within};
use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::shown::{self, Shown};
use crate::signed::Signed;

/// The line of the config that limits the time of an orderly shutdown (a drain).
const DRAIN: &str = "drain = \"10 s\"\n";

/// The time within which a drain must end: the limit in [`DRAIN`], and one more second for a debug
/// build.
const DRAIN_MAX: Duration = Duration::from_secs(11);

/// The longest time for an answer. A request waits up to 2.8 s until the broker has confirmed its
/// event. The rest is a margin for sending the request.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// The time within which the alarm must be reported: twice the deadline of a publisher confirm,
/// which is 2.5 s.
const TWO_DEADLINES: Duration = Duration::from_secs(5);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events that wait when the alarm starts.
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
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let signed = Signed::catch(&deployment, &[]);
    let count = BACKLOG.to_string();
    deployment.run(&["generate", "--count", &count, "--seed", "6"]);
    let alarm = |limit: &str| rabbitmq.ctl(&["set_disk_free_limit", limit]).unwrap();

    alarm("1000GB");
    until_refused(&signed, &deployment).await;
    promised(TWO_DEADLINES, "metrics must show the alarm", async || {
        shown.metric("hookbox_broker_up") == Some(0.0)
    })
    .await;
    // The alarm does not block consumers, so every accepted event is processed during the alarm.
    let began = Instant::now();
    assert_eq!(deployment.count(DONE).await, 0, "no worker has started yet");
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "all waiting events must be done", async || {
        deployment.count(DONE).await >= BACKLOG
    })
    .await;
    // Ingest must report the alarm for as long as it lasts; 12 s are longer than any deadline of
    // hookbox. No request arrives in this time, so no failed publish shows the alarm.
    within(PATIENCE, "the alarm must have lasted 12 s", async || {
        assert!(!shown.is_ready(), "the alarm must make ingest not ready");
        began.elapsed() > Duration::from_secs(12)
    })
    .await;
    let why = shown.trouble("broker").unwrap();
    assert!(why.contains("alarm"), "{why}");
    let (status, _) = shown::get(deployment.port, "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(refused(&signed, &deployment), "ingest must answer 503");
    alarm("50MB");
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    deployment.run(&["send"]);

    // RabbitMQ does not answer on a blocked connection. The drain must close it nevertheless.
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
    assert!(
        alarms.unwrap().contains("disk"),
        "the disk alarm must still be on"
    );
    alarm("50MB");
    let (ingest, worker) = (start(), deployment.start(&["worker"]));
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    deployment.run(&["send"]);
    deployment.run(&["reconcile", "--wait", "120s"]);
    assert!(deployment.count(DONE).await >= BACKLOG + 2);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// Sends requests until one is refused. This takes a while, because RabbitMQ reports an alarm only
/// to a connection that publishes.
async fn until_refused(signed: &Signed, deployment: &Deployment) {
    within(PATIENCE, "a request must be answered 503", async || {
        refused(signed, deployment)
    })
    .await;
}

/// Sends a request and returns whether it is answered 503. Also checks that the answer comes in
/// time, whatever its status is.
fn refused(signed: &Signed, deployment: &Deployment) -> bool {
    let lateness = Lateness::measure();
    let answer = signed.send(deployment.port);
    let bound = ANSWERED_WITHIN + lateness.allowance();
    assert!(answer.took < bound, "{:?}", answer.took);
    if answer.status == 503 {
        assert!(
            answer.header("retry-after").is_some(),
            "a 503 must have a Retry-After header"
        );
        return true;
    }
    assert_eq!(answer.status, 200);
    false
}
