//! The clocks of hookbox and of the database are wrong by days or years, and jump. Delays must
//! follow the clock of the database, and whether an event is a duplicate must depend on no clock.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{Clock, PostgresServer};
use hookbox_tests::variable;
use sqlx::Connection as _;

use crate::deployment::{Deployment, Own, Pair};
use crate::outages::own;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events in one load. A tenth of them is sent twice.
const EVENTS: u64 = 200;

/// The number of events that are sent while a database constraint rejects the rows of their
/// handler, so that each of them fails.
const FAILING: u64 = 8;

/// The retry policy in the config of every deployment.
const RETRY: &str = "attempts = 3, first = \"50 ms\", max = \"50 ms\"";

/// The retry policy with which this test replaces [`RETRY`]. With 50 attempts at intervals of 3 s,
/// retries continue for longer than this test takes.
const PATIENT_RETRY: &str = "attempts = 50, first = \"3 s\", max = \"3 s\"";

/// A statement that makes the database reject every score.
const AWAY: &str = "alter table begini_scores add constraint refused check (score < 0) not valid";

/// A statement that makes the database accept scores again after [`AWAY`].
const BACK: &str = "alter table begini_scores drop constraint refused";

/// A query that counts retries that are due more than a minute from now by the clock of the
/// database, or were due more than a minute ago. Each retry should be due three seconds after its
/// failure, whatever the clocks of the workers show.
const ODD_DELAYS: &str = "select count(*) from retries
     where not_before not between now() - interval '1 minute' and now() + interval '1 minute'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_a_day_off_and_jump_change_nothing() {
    let [of_store, of_ingest, fast, slow] = [(); 4].map(|()| Clock::new().unwrap());
    let postgres = PostgresServer::start_by(&of_store).unwrap();
    let deployment = over(&postgres);
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    assert!(config.contains(RETRY));
    deployment.write("hookbox.toml", &config.replace(RETRY, PATIENT_RETRY));
    of_ingest.shift(-1).unwrap();
    fast.shift(1).unwrap();
    slow.shift(-1).unwrap();
    let services = [
        deployment.spawn_ingest(by(&of_ingest, &deployment, "ingest")),
        deployment.spawn(by(&fast, &deployment, "worker")),
        deployment.spawn(by(&slow, &deployment, "worker")),
    ];
    load(&deployment, "1");
    settled(&deployment);

    let fail = async || {
        execute(&postgres, AWAY).await;
        for _ in 0..FAILING {
            deployment.run(&["send", "--type", "psychometric_score.complete"]);
        }
        let waiting = "select count(*) from retries";
        within(
            PATIENCE,
            "every event sent while the constraint rejects its rows must wait for a retry",
            async || deployment.count(waiting).await == FAILING,
        )
        .await;
        assert_eq!(deployment.count(ODD_DELAYS).await, 0);
    };
    fail().await;
    // While the retries wait, the clock of each process jumps by a day, and that of the database
    // does not.
    of_ingest.shift(1).unwrap();
    fast.shift(-1).unwrap();
    slow.shift(1).unwrap();
    execute(&postgres, BACK).await;
    settled(&deployment);

    fail().await;
    // Now the clock of the database jumps by a day, so all waiting retries are due at once. Each
    // event must still have one effect.
    of_store.shift(1).unwrap();
    execute(&postgres, BACK).await;
    settled(&deployment);
    of_store.shift(-1).unwrap();
    load(&deployment, "2");
    settled(&deployment);

    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(deployment.count(effects).await, 2 * (EVENTS + FAILING));
    let dead = "select count(*) from dead_letters";
    assert_eq!(deployment.count(dead).await, 0);
    for service in services {
        service.stop();
    }
    clocks_were_wrong(&deployment).await;
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_after_three_years_is_one_on_rabbitmq_and_postgres() {
    let of_store = Clock::new().unwrap();
    let postgres = PostgresServer::start_by(&of_store).unwrap();
    let deployment = over(&postgres);
    let old = "select count(*) from events where created_at < now() - interval '1000 days'";
    late(&deployment, old, &[&of_store]).await;
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_after_three_years_is_one_on_sqlite() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let old =
        "select count(*) from events where created_at / 86400000000 < unixepoch() / 86400 - 1000";
    late(&deployment, old, &[]).await;
    deployment.finish().await;
}

/// Checks that a genuine request which a wrong clock refuses is counted separately from a forged
/// one. `docs/alerts.yaml` has an alert for this count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genuine_requests_that_a_wrong_clock_refuses_are_counted_as_such() {
    const SENT: u32 = 6;
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let signing = config.replace("preset = \"begini\"", "preset = \"standard-webhooks\"");
    assert_ne!(config, signing);
    deployment.write("hookbox.toml", &signing);
    deployment.write("key", &format!("whsec_{}", BASE64.encode([7; 32])));
    let (clock, shown) = (Clock::new().unwrap(), Shown::new());
    let mut command = by(&clock, &deployment, "ingest");
    command.args(["--metrics", &shown.address()]);
    let ingest = deployment.spawn_ingest(command);
    let counted = |reason| {
        let of = format!("hookbox_requests_not_accepted_total{{reason=\"{reason}\"}}");
        shown.metric(&of).unwrap_or(0.0)
    };
    deployment.run(&["send"]);
    assert_eq!(counted("out_of_tolerance"), 0.0);
    for days in [1, -1] {
        clock.shift(days).unwrap();
        let before = counted("out_of_tolerance");
        for _ in 0..SENT {
            let refused = deployment.json(&["send"]);
            assert_eq!(refused["status"], 401, "{refused}");
        }
        let more = counted("out_of_tolerance") - before;
        assert_eq!(more, f64::from(SENT));
    }
    assert_eq!(counted("wrong_signature"), 0.0);
    deployment.logged("out_of_tolerance");
    clock.shift(0).unwrap();
    deployment.run(&["send"]);
    ingest.stop();
    deployment.finish().await;
}

/// Checks that the processes really ran with wrong clocks, because with right clocks the test would
/// show nothing.
async fn clocks_were_wrong(deployment: &Deployment) {
    let apart = "select count(*) from receipts
         where received_at not between settled_at - interval '12 hours' and settled_at";
    assert!(deployment.count(apart).await > EVENTS);
    let log = deployment.log();
    let days: BTreeSet<_> = log.lines().filter_map(|line| line.get(..10)).collect();
    assert!(days.len() > 1, "{log}");
}

/// Sends events at a date three years ago and sends the same events again today. Hookbox must still
/// know the events, because it never deletes an event by itself. So the copies must have no second
/// effect.
async fn late(deployment: &Deployment, old: &'static str, beside: &[&Clock]) {
    let clock = Clock::new().unwrap();
    let clocks = || beside.iter().copied().chain([&clock]);
    let pass = || {
        let ingest = deployment.spawn_ingest(by(&clock, deployment, "ingest"));
        let worker = deployment.spawn(by(&clock, deployment, "worker"));
        load(deployment, "3");
        settled(deployment);
        worker.stop();
        ingest.stop();
    };
    clocks().for_each(|clock| clock.shift(-3 * 365).unwrap());
    pass();
    clocks().for_each(|clock| clock.shift(0).unwrap());
    assert_eq!(
        deployment.count(old).await,
        EVENTS,
        "every event must be recorded as more than 1000 days old"
    );
    pass();
    let first = "select count(*) from receipts where outcome = 'done'";
    assert_eq!(deployment.count(first).await, EVENTS);
    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(deployment.count(effects).await, EVENTS);
    let again = "select count(*) from receipts where outcome = 'duplicate'";
    assert!(deployment.count(again).await >= EVENTS);
    assert_eq!(
        deployment.count("select count(*) from dead_letters").await,
        0
    );
}

fn over(postgres: &PostgresServer) -> Deployment {
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let own: Own = own(postgres.url(), &broker, postgres.url());
    Deployment::over(own)
}

/// Returns the command of a service that uses the given clock.
fn by(clock: &Clock, deployment: &Deployment, service: &str) -> Command {
    let mut command = deployment.command(&[service]);
    command.envs(clock.environment());
    command
}

fn load(deployment: &Deployment, seed: &str) {
    let count = EVENTS.to_string();
    deployment.run(&[
        "generate",
        "--count",
        &count,
        "--duplicates",
        "10",
        "--seed",
        seed,
    ]);
}

fn settled(deployment: &Deployment) {
    deployment.run(&["reconcile", "--wait", "120s"]);
}

async fn execute(postgres: &PostgresServer, statement: &'static str) {
    let mut connection = sqlx::PgConnection::connect(postgres.url()).await.unwrap();
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
