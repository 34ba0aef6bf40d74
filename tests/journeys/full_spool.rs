//! An ingest with a spool, its local store-and-forward queue, whose disk fills up while RabbitMQ is
//! unavailable. Only events that do not fit into the spool are answered 503. The spool accepts
//! events again as soon as there is free space. Every event that was answered 200 is processed
//! exactly once, in its order on each route.

use std::collections::HashSet;
use std::time::Duration;

use hookbox_event::decode_batch;
use hookbox_testkit::eventually::within;
use hookbox_testkit::proxy::{Mode, Proxy};
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::small_disk::SmallDisk;
use hookbox_tests::variable;
use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::rounds::Rounds;
use crate::shown::{Shown, get};
use crate::signed::Signed;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The size of the disk: several times what the spool needs for the events of this test.
const DISK_MIB: u32 = 16;

/// The number of events that are sent between two checks of the disk (one round). They are sent one
/// after the other, so that they have an order.
const ROUND: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_spool_is_answered_503_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let proxy = Proxy::before(&broker).unwrap();
    let through = proxy.url(&broker);
    let deployment = Deployment::over(own(postgres.url(), &through, postgres.url()));
    spool_on(&disk, &deployment);
    let shown = Shown::new();
    let ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let signed = Signed::catch(&deployment, &[]);
    let in_order_of_answers = ["--concurrency", "1"];
    let mut rounds = Rounds::new(&deployment, ROUND, &in_order_of_answers);

    proxy.set(Mode::Hole);
    proxy.cut();
    assert_eq!(rounds.send(), ROUND, "no event of the round may be refused");
    let kept = || shown.metric("hookbox_spool_kept_total");
    assert_eq!(
        kept(),
        Some(ROUND as f64),
        "every event must have gone to the spool"
    );

    disk.fill();
    // The write-ahead log of the spool already has some space on the disk. Events that fit into
    // this space are still accepted.
    while rounds.send() == ROUND {}
    let answer = signed.send(deployment.port);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    let takes = || get(deployment.port, "/readyz").map(|(status, _)| status) == Some(200);
    within(
        PATIENCE,
        "the full disk must make ingest not ready",
        async || !takes(),
    )
    .await;

    disk.free();
    within(PATIENCE, "ingest must be ready again", async || takes()).await;
    assert_eq!(rounds.send(), ROUND, "the spool must accept every event");
    let accepted = rounds.accepted();
    assert_eq!(kept(), Some(accepted.len() as f64));

    proxy.set(Mode::Pass);
    within(PATIENCE, "the spool must forward all events", async || {
        shown.metric("hookbox_spool_events") == Some(0.0)
            && shown.metric("hookbox_spool_forwarded_total") >= kept()
    })
    .await;
    in_order(&deployment, &broker, &accepted).await;
    let worker = deployment.start(&["worker"]);
    // The ingest publishes its last accept report when it stops. Until then `reconcile` may not
    // know the latest receipts.
    ingest.stop();
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(deployment.count(effects).await, accepted.len() as u64);
    worker.stop();
    let log = deployment.log();
    assert!(!log.contains("a panic at"), "{log}");
    deployment.finish().await;
}

fn spool_on(disk: &SmallDisk, deployment: &Deployment) {
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let file = disk.folder().join("spool.db");
    let spooling = format!("[ingest]\nspool = \"sqlite:{}\"\n", file.display());
    deployment.write("hookbox.toml", &config.replace("[ingest]\n", &spooling));
}

/// Checks that every one of these receipts is in a queue of the broker, and that each queue has
/// them in the order in which their requests were answered. A receipt may be in a queue twice, if
/// the spool was forwarding it at the moment when its disk was full.
async fn in_order(deployment: &Deployment, broker: &str, accepted: &[String]) {
    let listed = deployment.json(&["queues"]);
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(broker, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut found = HashSet::new();
    for queue in listed["queues"].as_array().unwrap() {
        let name = queue["broker"]["name"].as_str().unwrap();
        if !name.contains(".route.") {
            continue;
        }
        let mut last = None;
        let looking = BasicGetOptions::default();
        while let Some(got) = channel.basic_get(name.into(), looking).await.unwrap() {
            for envelope in decode_batch(&got.data.clone().into()).unwrap() {
                let receipt = envelope.unwrap().receipt.to_string();
                let place = accepted.iter().position(|one| *one == receipt);
                assert!(
                    place.is_some(),
                    "receipt {receipt} is in a queue, so its request must have been answered 200"
                );
                if found.insert(receipt.clone()) {
                    assert!(
                        place > last,
                        "receipt {receipt} in queue {name} must not be behind the \
                         receipt of a request that was answered later"
                    );
                    last = place;
                }
            }
        }
    }
    assert_eq!(found.len(), accepted.len());
    // The messages were read without being acknowledged, so closing the connection puts all of them
    // back on their queues.
    connection.close(200, "queues read".into()).await.unwrap();
}
