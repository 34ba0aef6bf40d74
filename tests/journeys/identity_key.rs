//! A deployment with an identity key, from `hookbox keys generate` to the stored events. Event ids
//! stay the same over restarts, no digest without the key is stored, and hookbox refuses to start
//! with another identity key or without one.

use std::time::Duration;

use hookbox_event::{ContentDigest, Digester, EventId, IdentityKey, Scalar, SourceName, scan};
use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::event;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The exit code of a process that refuses its broker or its store.
const REFUSED: i32 = 78;

/// The exit code when the broker or the store cannot be reached.
const UNAVAILABLE: i32 = 69;

/// A URL at which no broker listens.
const NOWHERE: &str = "amqp://127.0.0.1:1";

const RECEIPTS: &str = "select count(*) from receipts";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_keyed_on_rabbitmq_and_postgres() {
    keyed(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_keyed_on_sqlite() {
    keyed(Pair::SqliteAlone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_events_without_one_is_refused_on_rabbitmq_and_postgres() {
    plain(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_events_without_one_is_refused_on_sqlite() {
    plain(Pair::SqliteAlone).await;
}

/// Checks that a store gets no identity stamp while its broker, which may have another stamp,
/// cannot be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_stamped_only_after_its_broker_was_compared() {
    let deployment = Deployment::without_a_schema(Pair::SqliteAlone).await;
    let in_one_file = with_key(&config(&deployment));
    deployment.write("identity", &deployment.run(&["keys", "generate"]));
    deployment.write("broker", NOWHERE);
    let broker = "[broker]\nurl = \"sqlite:hookbox.db\"";
    assert!(in_one_file.contains(broker), "{in_one_file}");
    let with_broker =
        |url: &str| in_one_file.replacen(broker, &format!("[broker]\nurl = {url}"), 1);
    deployment.write("hookbox.toml", &with_broker("{ file = \"broker\" }"));
    let migrated = deployment.command(&["migrate"]).output().unwrap();
    assert_eq!(migrated.status.code(), Some(UNAVAILABLE), "{migrated:?}");
    let store = deployment.folder.join("hookbox.db");
    assert!(!store.exists());

    deployment.write("hookbox.toml", &with_broker("\"sqlite:broker.db\""));
    deployment.run(&["migrate"]);
    std::fs::remove_file(&store).unwrap();
    deployment.write("identity", &deployment.run(&["keys", "generate"]));
    refused(
        &deployment,
        "migrate",
        "the fingerprint of another identity key",
    );
    assert!(!store.exists());
    deployment.finish().await;
}

/// Checks that a broker gets no identity stamp while its store cannot be reached. The store may
/// have events whose ids were computed without a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_stamped_only_after_its_store_was_compared() {
    let deployment = Deployment::without_a_schema(Pair::RabbitmqPostgres).await;
    deployment.write("hookbox.toml", &with_key(&config(&deployment)));
    deployment.write("identity", &deployment.run(&["keys", "generate"]));
    deployment.write("store", "postgres://absent@127.0.0.1:1/nothing");
    let declaring = ["queues", "declare", "--yes"];
    let declared = deployment.command(&declaring).output().unwrap();
    assert_eq!(declared.status.code(), Some(UNAVAILABLE), "{declared:?}");
    let said = String::from_utf8_lossy(&declared.stderr);
    assert!(said.contains("only be stamped after the store"), "{said}");
    deployment.finish().await;
}

/// Checks that an ingest creates no spool while no broker has accepted its identity key. If the
/// broker later refused the key, the events in the spool could not be forwarded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_is_stamped_only_after_its_broker_was_compared() {
    let deployment = Deployment::without_a_schema(Pair::SqliteAlone).await;
    deployment.write("identity", &deployment.run(&["keys", "generate"]));
    deployment.write("broker", NOWHERE);
    let keyed = with_key(&config(&deployment));
    let broker = "[broker]\nurl = \"sqlite:hookbox.db\"\n";
    assert!(keyed.contains(broker), "{keyed}");
    let keyed = keyed.replacen(broker, "[broker]\nurl = { file = \"broker\" }\n", 1);
    let spool = "[ingest]\nspool = \"sqlite:spool.db\"\n";
    deployment.write("hookbox.toml", &keyed.replacen("[ingest]\n", spool, 1));
    let ingest = deployment.start(&["ingest"]);
    within(PATIENCE, "ingest must wait for the broker", async || {
        deployment.log().contains("waiting for the broker")
    })
    .await;
    assert!(!deployment.folder.join("spool.db").exists());
    let sent = deployment.command(&["send"]).output().unwrap();
    assert!(!sent.status.success(), "{sent:?}");
    ingest.stop();
    deployment.finish().await;
}

async fn keyed(pair: Pair) {
    let deployment = Deployment::without_a_schema(pair).await;
    let without = config(&deployment);
    let text = deployment.run(&["keys", "generate"]);
    let key: IdentityKey = text.trim().parse().unwrap();
    deployment.write("identity", &text);
    deployment.write("hookbox.toml", &with_key(&without));
    deployment.run(&["migrate"]);
    let shown = deployment.json(&["check-config"]);
    let fingerprint = key.fingerprint().to_string();
    assert_eq!(shown["identity_key"]["fingerprint"], fingerprint.as_str());
    assert!(!shown.to_string().contains(text.trim()));

    // The same event is received before and after a restart of all processes.
    for receipts in 1..=2 {
        receive(&deployment, receipts).await;
    }
    assert_eq!(deployment.count("select count(*) from events").await, 1);
    let duplicates = "select count(*) from receipts where outcome = 'duplicate'";
    assert_eq!(deployment.count(duplicates).await, 1);
    let [id, digest] = digests(&Digester::Keyed(key));
    assert!(is_stored(&deployment, &id).await && is_stored(&deployment, &digest).await);
    for plain in digests(&Digester::Plain) {
        assert!(!is_stored(&deployment, &plain).await, "{plain}");
    }

    let other = deployment.run(&["keys", "generate"]);
    deployment.write("identity", &other);
    refuses(&deployment, "the fingerprint of another identity key");
    deployment.write("hookbox.toml", &without);
    refuses(&deployment, "an identity key, and the config has none");
    // A command that computes no event ids must work without the file of the key.
    deployment.write("hookbox.toml", &with_key(&without));
    std::fs::remove_file(deployment.folder.join("identity")).unwrap();
    let listed = deployment.json(&["events", "list"]);
    assert_eq!(listed["events"][0]["event"], id.as_str(), "{listed:#}");
    deployment.run(&["queues"]);

    deployment.write("identity", &text);
    receive(&deployment, 3).await;
    assert_eq!(deployment.count("select count(*) from events").await, 1);
    deployment.finish().await;
}

async fn plain(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let without = config(&deployment);
    receive(&deployment, 1).await;
    for plain in digests(&Digester::Plain) {
        assert!(is_stored(&deployment, &plain).await, "{plain}");
    }
    deployment.write("identity", &deployment.run(&["keys", "generate"]));
    deployment.write("hookbox.toml", &with_key(&without));
    for command in ["migrate", "worker"] {
        refused(&deployment, command, "computed without an identity key");
    }
    // The ingest knows only that the broker has no stamp, so its error differs from that of the
    // worker. The test checks only its exit code.
    let output = deployment.command(&["ingest"]).output().unwrap();
    assert_eq!(output.status.code(), Some(REFUSED), "{output:?}");

    deployment.write("hookbox.toml", &without);
    receive(&deployment, 2).await;
    assert_eq!(deployment.count("select count(*) from events").await, 1);
    deployment.finish().await;
}

fn config(deployment: &Deployment) -> String {
    std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap()
}

fn with_key(config: &str) -> String {
    let table = "[identity]\nkey = { file = \"identity\" }\n[ingest]\n";
    assert!(config.contains("[ingest]\n"), "{config}");
    config.replacen("[ingest]\n", table, 1)
}

/// Starts an ingest and a worker, sends the event, waits until the store has this many receipts,
/// and stops both processes.
async fn receive(deployment: &Deployment, receipts: u64) {
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.write("body.json", &body());
    deployment.run(&["send", "--file", "body.json"]);
    within(PATIENCE, "the event must have its outcome", async || {
        deployment.count(RECEIPTS).await == receipts
    })
    .await;
    worker.stop();
    ingest.stop();
}

fn body() -> String {
    event::score("PERSON-1")
}

/// Returns the id and the content digest of the event, in hex.
fn digests(digester: &Digester) -> [String; 2] {
    let source: SourceName = "begini".parse().unwrap();
    let text = |text: &str| Scalar::String(text.to_owned());
    let fields = [
        text("1"),
        text("PERSON-1"),
        text("psychometric_score.complete"),
    ];
    let document = scan(body().as_bytes(), &[]).unwrap();
    [
        EventId::from_fields(digester, &source, &fields).to_string(),
        ContentDigest::of_canonical_json(digester, &document.canonical).to_string(),
    ]
}

/// Returns whether the store has an event with this id or content digest. In an SQLite file, all
/// bytes of the file are searched.
async fn is_stored(deployment: &Deployment, digest: &str) -> bool {
    if let Some(postgres) = &deployment.postgres {
        let find = "select count(*) from events
             where encode(event_id, 'hex') = $1 or encode(content_digest, 'hex') = $1";
        return postgres.count(find, digest).await > 0;
    }
    let wanted: Vec<u8> = (0..digest.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap())
        .collect();
    ["hookbox.db", "hookbox.db-wal"].iter().any(|name| {
        let bytes = std::fs::read(deployment.folder.join(name)).unwrap_or_default();
        bytes.windows(wanted.len()).any(|part| part == wanted)
    })
}

/// Checks that worker, ingest and `migrate` refuse to start for the reason `why`.
fn refuses(deployment: &Deployment, why: &str) {
    for command in ["worker", "ingest", "migrate"] {
        refused(deployment, command, why);
    }
}

fn refused(deployment: &Deployment, command: &str, why: &str) {
    let output = deployment.command(&[command]).output().unwrap();
    assert_eq!(output.status.code(), Some(REFUSED), "{command}: {output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [why, "forget all deduplication", "`[identity] key`"] {
        assert!(said.contains(part), "{command}: {said}");
    }
}
