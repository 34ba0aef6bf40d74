//! A SQLite file is deleted, or replaced by a backup, while hookbox uses it. From then until a
//! restart, no request may be answered 200, hookbox must not be ready, and its error must name the
//! file.

use std::fs;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::proxy::{Mode, Proxy};
use hookbox_testkit::servers::ReservedPort;
use hookbox_tests::variable;

use crate::deployment::{Deployment, Pair};
use crate::outages::own;
use crate::shown::{Shown, get};
use crate::signed::Signed;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The exit code of a command that fails because of the file. Only an operator can fix this.
const REFUSED: i32 = 78;

/// The number of events that are sent after the file was removed or replaced.
const EVENTS: usize = 10;

/// Checks that every event is answered 503, that `/readyz` at the public address is 503 too, and
/// that the log names the file in exactly one error.
fn refuses(deployment: &Deployment, signed: &Signed, port: u16, file: &str) {
    let named = refuses_and_logs(deployment, signed, port, file);
    assert_eq!(named, 1, "{}", deployment.log());
}

/// Checks the same as `refuses`, but returns in how many errors the log names the file.
fn refuses_and_logs(deployment: &Deployment, signed: &Signed, port: u16, file: &str) -> usize {
    for _ in 0..EVENTS {
        assert_eq!(signed.send(port).status, 503, "{}", deployment.log());
    }
    let (status, _) = get(port, "/readyz").unwrap();
    assert_eq!(status, 503, "{}", deployment.log());
    let field = format!(" path={}", deployment.folder.join(file).display());
    let named = |line: &&str| line.contains(" ERROR ") && line.contains(&field);
    deployment.logged(&field).lines().filter(named).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_dev_is_deleted() {
    let deployment = Deployment::without_a_schema(Pair::SqliteAlone).await;
    let reserved = ReservedPort::choose().unwrap();
    let port = reserved.number();
    let address = format!("127.0.0.1:{port}");
    let dev = ["dev", "--dir", "dev", "--listen", &address];
    let process = deployment.start(&dev);
    let is_ready = async || get(port, "/readyz").is_some_and(|(status, _)| status == 200);
    within(PATIENCE, "`hookbox dev` must be ready", is_ready).await;
    let signed = Signed::catch(&deployment, &["--config", "dev/hookbox.toml"]);
    assert_eq!(signed.send(port).status, 200);
    fs::remove_file(deployment.folder.join("dev/broker.db")).unwrap();
    refuses(&deployment, &signed, port, "dev/broker.db");
    process.stop();
    assert!(!deployment.folder.join("dev/broker.db").exists());
    // After a restart `hookbox dev` creates the missing file anew.
    let process = deployment.start(&dev);
    within(PATIENCE, "`hookbox dev` must be ready again", is_ready).await;
    assert_eq!(signed.send(port).status, 200);
    process.stop();
    deployment.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_moved_over_the_file_under_load() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let file = deployment.folder.join("hookbox.db");
    let backup = deployment.folder.join("backup.db");
    fs::copy(&file, &backup).unwrap();
    let shown = Shown::new();
    let run = deployment.command(&["run", "--metrics", &shown.address()]);
    let run = deployment.spawn_ingest(run);
    let signed = Signed::catch(&deployment, &[]);
    let load = [
        "generate",
        "--count",
        "2000",
        "--rate",
        "200",
        "--retries",
        "0",
    ];
    let load = deployment.start(&load);
    within(PATIENCE, "the load must have begun", async || {
        done(&deployment).await > 10
    })
    .await;
    fs::rename(&backup, &file).unwrap();
    refuses(&deployment, &signed, deployment.port, "hookbox.db");
    for dependency in ["broker", "store"] {
        within(PATIENCE, dependency, async || {
            let why = shown.trouble(dependency).unwrap_or_default();
            why.contains(file.to_str().unwrap()) && why.contains("replaced")
        })
        .await;
    }
    load.kill();
    run.stop();
    let run = deployment.spawn_ingest(deployment.command(&["run"]));
    assert_eq!(signed.send(deployment.port).status, 200);
    run.stop();
    deployment.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_deleted_and_migrated_anew_beside_a_running_ingest() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    let signed = Signed::catch(&deployment, &[]);
    assert_eq!(signed.send(deployment.port).status, 200);
    within(PATIENCE, "the event must be done", async || {
        done(&deployment).await == 1
    })
    .await;
    fs::remove_file(deployment.folder.join("hookbox.db")).unwrap();
    worker.stop();
    deployment.run(&["migrate"]);
    let shown = Shown::new();
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    within(PATIENCE, "the worker must be ready", async || {
        shown.is_ready()
    })
    .await;
    // The ingest logs one of these errors. The worker that was stopped may have logged another one,
    // if it noticed the deleted file too.
    let logged = refuses_and_logs(&deployment, &signed, deployment.port, "hookbox.db");
    assert!((1..=2).contains(&logged), "{}", deployment.log());
    // The old ingest still has the deleted file open, and is stopped here. The old ingest must not
    // change the write-ahead log of the new file, which has the same name.
    ingest.stop();
    assert!(shown.is_ready(), "{}", deployment.log());
    let ingest = deployment.start_ingest();
    assert_eq!(signed.send(deployment.port).status, 200);
    within(PATIENCE, "the event must be done", async || {
        done(&deployment).await == 1
    })
    .await;
    ingest.stop();
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    deployment.remove();
}

async fn done(deployment: &Deployment) -> u64 {
    let done = "select count(*) from claims where state = 'done'";
    deployment.count(done).await
}

/// Checks what happens when the file of the spool, the local queue of an ingest, is deleted while
/// the ingest has it open. The ingest must still forward the events in that file to RabbitMQ, and
/// must accept no further event into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spool_is_deleted_while_rabbitmq_is_unavailable() {
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let proxy = Proxy::before(&broker).unwrap();
    let through = proxy.url(&broker);
    let deployment = Deployment::over(own("sqlite:hookbox.db", &through, ""));
    let config = fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let spooling = config.replace("[ingest]\n", "[ingest]\nspool = \"sqlite:spool.db\"\n");
    deployment.write("hookbox.toml", &spooling);
    let shown = Shown::new();
    let start = || deployment.start(&["ingest", "--metrics", &shown.address()]);
    let ingest = start();
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let signed = Signed::catch(&deployment, &[]);
    proxy.set(Mode::Hole);
    proxy.cut();
    assert_eq!(signed.send(deployment.port).status, 200);
    assert_eq!(shown.metric("hookbox_spool_kept_total"), Some(1.0));

    let spool = deployment.folder.join("spool.db");
    fs::remove_file(&spool).unwrap();
    refuses(&deployment, &signed, deployment.port, "spool.db");
    let why = shown.trouble("spool").unwrap_or_default();
    assert!(why.contains(spool.to_str().unwrap()), "{why}");

    proxy.set(Mode::Pass);
    within(
        PATIENCE,
        "the event that the spool held must be forwarded to RabbitMQ",
        async || shown.metric("hookbox_spool_forwarded_total") == Some(1.0),
    )
    .await;
    within(PATIENCE, "RabbitMQ must accept events", async || {
        signed.send(deployment.port).status == 200
    })
    .await;
    assert!(
        shown.trouble("spool").is_some(),
        "readiness must still name the deleted file of the spool"
    );
    ingest.stop();
    let before = deployment.log().len();
    assert_eq!(start().ends_within(PATIENCE), Some(REFUSED));
    let said = deployment.log().split_off(before);
    assert!(said.contains(spool.to_str().unwrap()), "{said}");
    assert!(!spool.exists());
    // By removing the lock file, an operator accepts that events in the deleted spool may be lost.
    fs::remove_file(deployment.folder.join("spool.db.lock")).unwrap();
    let ingest = start();
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    ingest.stop();
    deployment.finish().await;
}
