//! The handler `forward` as a user sets it up: each event is posted to the user's service, and the
//! answer of the service decides the outcome of the event. The outcome of a call is unknown when
//! its worker is killed. Such a call is repeated with the same idempotency key and a higher epoch.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::receiver::{Answer, Received, Receiver};

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events that a test sends. In `survive`, the call for each of them is in flight
/// when the worker is killed.
const EVENTS: usize = 8;

/// The key with which `forward` signs its requests.
pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const DONE: &str = "select count(*) from claims where state = 'done'";
const DEAD: &str = "select count(*) from claims where state = 'dead'";
const ATTEMPTS: &str = "select count(*) from attempts";

/// Makes a deployment whose only route posts all events to a service. The file with the signing key
/// does not exist yet. The time limit of a call is long (20 s), because a call that reaches the
/// limit is a failed attempt. Even on a busy machine the test must be able to kill the worker
/// before that.
pub async fn deployment(pair: Pair, url: &str) -> Deployment {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    let route = format!(
        r#"
[[route]]
name = "scores"
topics = ["begini.#"]
retry = {{ attempts = 3, first = "50 ms", max = "50 ms" }}
[route.handler]
kind = "forward"
url = "{url}"
private_host = "127.0.0.1"
secrets = [{{ id = "new", file = "forward.key", mode = "any" }}]
limits = {{ first_byte = "20 s", total = "20 s" }}
"#
    );
    deployment.write("hookbox.toml", &format!("{before}{route}"));
    deployment
}

/// Sends a signed request with this body to ingest.
pub fn send(deployment: &Deployment, body: &str) {
    deployment.write("body.json", body);
    deployment.run(&["send", "--file", "body.json"]);
}

/// Returns, for each request, the epoch of the call and the number of the attempt.
fn calls(received: &[Received]) -> Vec<(u32, u32)> {
    let number = |received: &Received, name: &str| received.header(name).parse().unwrap();
    let calls = received
        .iter()
        .map(|it| (number(it, "hookbox-epoch"), number(it, "hookbox-attempt")));
    calls.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_has_its_calls_repeated_on_rabbitmq_and_postgres() {
    survive(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_has_its_calls_repeated_on_sqlite() {
    survive(Pair::SqliteAlone).await;
}

async fn survive(pair: Pair) {
    let receiver = Receiver::start(|_, _| Answer::Nothing).await.unwrap();
    let deployment = deployment(pair, &receiver.url()).await;
    // The key is written only after ingest has started, because ingest must not need it.
    let ingest = deployment.start_ingest();
    deployment.write("forward.key", KEY);
    for number in 0..EVENTS {
        send(&deployment, &score(&format!("user-{number}")));
    }
    let worker = deployment.start(&["worker"]);
    within(PATIENCE, "each event must be posted", async || {
        receiver.received().len() == EVENTS
    })
    .await;
    worker.kill();
    receiver.answer(|_, _| Answer::Status("200 OK"));

    // This worker crashes after a call was answered and before the outcome of the call is recorded.
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
    within(PATIENCE, "all events must be done", async || {
        deployment.count(DONE).await == EVENTS as u64
    })
    .await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    ingest.stop();

    let mut keys = BTreeSet::new();
    let mut repeated = 0;
    for number in 0..EVENTS {
        let received = receiver.received_with(&format!("\"user-{number}\""));
        let of_event: BTreeSet<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
        assert_eq!(of_event.len(), 1, "{received:?}");
        for one in &received {
            assert_eq!(one.header("idempotency-key"), one.header("webhook-id"));
            assert_eq!(
                one.header("hookbox-topic"),
                "begini.psychometric_score.complete"
            );
            assert_eq!(one.body, score(&format!("user-{number}")));
        }
        keys.extend(of_event.into_iter().map(str::to_owned));
        let calls = calls(&received);
        // If a worker died during a call, the outcome of the call is unknown. Such a call must not
        // count as a failed attempt.
        assert!(calls.iter().all(|(_, attempt)| *attempt == 1), "{calls:?}");
        assert!(calls.is_sorted_by(|a, b| a.0 < b.0), "{calls:?}");
        assert!((2..=3).contains(&calls.len()), "{calls:?}");
        repeated += calls.len() - 2;
    }
    assert_eq!(keys.len(), EVENTS);
    assert!(
        repeated > 0,
        "the call that was answered before the crash must have been repeated"
    );
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_decides_what_becomes_of_an_event() {
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let receiver = Receiver::start(|received, earlier| {
            let is = |name: &str| received.body.contains(name);
            Answer::Status(match earlier {
                _ if is("gone") => "410 Gone",
                0 if is("fails") => "500 Internal Server Error",
                0 if is("busy") => "429 Too Many Requests\r\nretry-after: 1",
                0 if is("down") => "502 Bad Gateway",
                _ => "202 Accepted",
            })
        })
        .await
        .unwrap();
        let deployment = deployment(pair, &receiver.url()).await;
        deployment.write("forward.key", KEY);
        let ingest = deployment.start_ingest();
        let worker = deployment.start(&["worker"]);
        for name in ["well", "gone", "fails", "busy", "down"] {
            send(&deployment, &score(&format!("user-{name}")));
        }
        send(&deployment, "no JSON");
        within(PATIENCE, "all events must have an outcome", async || {
            (deployment.count(DONE).await, deployment.count(DEAD).await) == (4, 2)
        })
        .await;
        worker.stop();
        ingest.stop();
        let of = |name: &str| calls(&receiver.received_with(name));
        assert_eq!(of("well"), [(1, 1)]);
        assert_eq!(of("gone"), [(1, 1)]);
        assert_eq!(of("fails"), [(1, 1), (2, 2)]);
        // A service that is busy or down costs an event no attempt.
        assert_eq!(of("busy"), [(1, 1), (2, 1)]);
        assert_eq!(of("down"), [(1, 1), (2, 1)]);
        assert!(of("no JSON").is_empty());
        // Calls were made for five events. Each of these events has one attempt, and the event
        // `fails` has a failed attempt before that. So there are six attempts.
        assert_eq!(deployment.count(ATTEMPTS).await, 6);
        let answered = "select count(*) from attempts where error like '%410 Gone%'";
        assert_eq!(deployment.count(answered).await, 1);
        let rejected = "select count(*) from dead_letters where reason = 'rejected'";
        assert_eq!(deployment.count(rejected).await, 1);
        let malformed = "select count(*) from dead_letters where reason = 'malformed'";
        assert_eq!(deployment.count(malformed).await, 1);
        deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_for_all_costs_no_attempt_on_rabbitmq_and_postgres() {
    be_down_for_all(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_for_all_costs_no_attempt_on_sqlite() {
    be_down_for_all(Pair::SqliteAlone).await;
}

/// Checks a service that is down for every event: its breaker must open, and must open again after
/// a failed probe. Another route, which does not use the service, must not be affected.
async fn be_down_for_all(pair: Pair) {
    let receiver = Receiver::start(|_, _| Answer::Status("503 Service Unavailable")).await;
    let receiver = receiver.unwrap();
    let deployment = deployment(pair, &receiver.url()).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    // The queue of this route exists already, because the first config had a route of this name. So
    // the test need not run `migrate` again.
    let neighbour = "[[route]]\nname = \"applications\"\ntopics = [\"begini.#\"]\n";
    deployment.write("hookbox.toml", &format!("{config}{neighbour}"));
    deployment.write("forward.key", KEY);
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    for number in 0..EVENTS {
        send(&deployment, &score(&format!("user-{number}")));
    }
    let opened = "select count(*) from targets where openings >= 2";
    within(PATIENCE, "the breaker must open twice", async || {
        deployment.count(opened).await == 1
    })
    .await;
    let neighbours = "select count(*) from claims where route = 'applications' and state = 'done'";
    within(
        PATIENCE,
        "the other route must process every event",
        async || deployment.count(neighbours).await == EVENTS as u64,
    )
    .await;
    let failed = "select count(*) from attempts where outcome <> 'done'";
    assert_eq!(deployment.count(failed).await, 0);

    receiver.answer(|_, _| Answer::Status("202 Accepted"));
    within(PATIENCE, "all events must be done", async || {
        deployment.count(DONE).await == 2 * EVENTS as u64
    })
    .await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    ingest.stop();
    assert_eq!(deployment.count(failed).await, 0);
    for number in 0..EVENTS {
        let received = receiver.received_with(&format!("\"user-{number}\""));
        let calls = calls(&received);
        assert!(calls.iter().all(|(_, attempt)| *attempt == 1), "{calls:?}");
        assert!(calls.is_sorted_by(|a, b| a.0 < b.0), "{calls:?}");
    }
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_must_not_be_called_is_refused_before_anything_is_sent() {
    let deployment = deployment(Pair::SqliteAlone, "http://127.0.0.1:1/").await;
    let refused = |arguments: &[&str]| {
        let output = deployment.command(arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{message}");
        message
    };
    // The file with the signing key does not exist yet, so both commands must refuse the config.
    for command in ["check-config", "worker"] {
        let message = refused(&[command]);
        assert!(message.contains("secrets.new: "), "{message}");
    }
    deployment.write("forward.key", KEY);
    deployment.run(&["check-config"]);
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    for (from, to, expect) in [
        (
            "private_host = \"127.0.0.1\"\n",
            "",
            "url: http:// would send the body and the signature unencrypted",
        ),
        (
            "\"127.0.0.1\"\nsecrets",
            "\"localhost\"\nsecrets",
            "private_host: \"localhost\"",
        ),
        (
            "private_host",
            "privat_host",
            "there is no such key; did you mean \"private_host\"?",
        ),
        (
            " total = \"20 s\"",
            " total = \"1 h\"",
            "limits.total: must be 100ms to 300s",
        ),
        (
            "limits",
            "concurrency = 1000\nlimits",
            "concurrency: must be 1 to 256",
        ),
    ] {
        assert!(config.contains(from), "{from}");
        deployment.write("hookbox.toml", &config.replacen(from, to, 1));
        let message = refused(&["check-config"]);
        assert!(message.contains(expect), "{message}");
    }
    deployment.finish().await;
}
