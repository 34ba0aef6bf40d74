//! Every event that was answered 200 must be accounted for. The test takes a message out of a
//! queue, and `hookbox reconcile` must list exactly the receipts in this message as missing.

use std::collections::BTreeSet;

use hookbox_event::{Envelope, decode_batch};
use hookbox_tests::variable;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;

use crate::deployment::{Deployment, Pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_from_the_broker_by_hand_is_named_on_rabbitmq_and_postgres() {
    lose(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_from_the_broker_by_hand_is_named_on_sqlite() {
    lose(Pair::SqliteAlone).await;
}

async fn lose(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    deployment.shorten_time_limit();
    let ingest = deployment.start_ingest();
    generate(&deployment, "300", "1");
    let worker = deployment.start(&["worker"]);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    generate(&deployment, "40", "2");
    let lost = take_one(&deployment, pair).await;
    assert!(
        !lost.is_empty(),
        "the message that the test takes must have receipts"
    );
    let worker = deployment.start(&["worker"]);
    // The ingest publishes its last accept report when it stops. Until then `reconcile` may not
    // know the latest receipts.
    ingest.stop();
    let command = ["reconcile", "--wait", "60s"];
    let output = deployment.command(&command).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let books = deployment.json(&command);
    assert_eq!(books["verdict"], "imbalanced", "{books:#}");
    let named = books["accept_reports"]["receipts"].as_array().unwrap();
    let named: BTreeSet<String> = named.iter().map(|it| string(&it["receipt"])).collect();
    assert_eq!(named, lost, "{text}");
    for receipt in &lost {
        assert!(text.contains(receipt.as_str()), "{text}");
    }
    assert_eq!(books["accept_reports"]["open"], lost.len());
    assert_eq!(books["accept_reports"]["gaps"].as_array().unwrap().len(), 0);
    for line in books["routes"].as_array().unwrap() {
        let settled = line["store"]["receipts"].as_u64().unwrap();
        let reported = line["reported"].as_u64().unwrap();
        let of_route = line["route"].as_str() == Some("scores");
        let missing = if of_route { lost.len() as u64 } else { 0 };
        assert_eq!(reported, settled + missing, "{line:#}");
    }
    // The operator writes the lost receipts off (declares them lost). From then on `reconcile`
    // reports an imbalance only if more receipts are lost.
    write_off(&deployment, lost.len()).await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    deployment.finish().await;
}

/// Writes the lost receipts off while another imbalance exists that cannot be written off. The exit
/// code must report this other imbalance.
async fn write_off(deployment: &Deployment, lost: usize) {
    let one = "create table kept as select * from receipts where outcome = 'done' limit 1";
    let gone = "delete from receipts where receipt_id in (select receipt_id from kept)";
    let back = "insert into receipts select * from kept";
    deployment.execute(one).await;
    deployment.execute(gone).await;
    let request = ["--write-off", "taken by hand", "--yes", "--by", "ann"];
    let command = [&["reconcile", "--wait", "60s", "--json"][..], &request].concat();
    let output = deployment.command(&command).output().unwrap();
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(written["written_off"], lost, "{written:#}");
    assert_eq!(written["verdict"], "imbalanced", "{written:#}");
    assert_eq!(output.status.code(), Some(1), "{written:#}");
    deployment.execute(back).await;
    deployment.execute("drop table kept").await;
}

fn generate(deployment: &Deployment, count: &str, seed: &str) {
    let words = [
        "generate",
        "--count",
        count,
        "--seed",
        seed,
        "--duplicates",
        "5",
    ];
    deployment.run(&words);
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Takes one message out of the queue of route `scores`, and returns the receipts in it.
async fn take_one(deployment: &Deployment, pair: Pair) -> BTreeSet<String> {
    let bytes = match pair {
        Pair::RabbitmqPostgres => {
            let queues = deployment.json(&["queues"]);
            let name = string(&queues["queues"][0]["broker"]["name"]);
            let url = variable("HOOKBOX_TEST_AMQP_URL");
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&url, properties).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let got = channel
                .basic_get(name.as_str().into(), BasicGetOptions::default())
                .await
                .unwrap()
                .expect("a message must wait in the queue");
            let bytes = got.data.clone();
            got.acker.ack(BasicAckOptions::default()).await.unwrap();
            connection.close(200, "done".into()).await.unwrap();
            bytes
        }
        Pair::SqliteAlone => {
            deployment
                .bytes(
                    "delete from messages where id = (select min(id) from messages \
                     where queue like '%.route.scores') returning bytes",
                )
                .await
        }
    };
    let envelopes = decode_batch(&bytes.into()).unwrap();
    let receipt = |envelope: Envelope| envelope.receipt.to_string();
    envelopes
        .into_iter()
        .map(|it| receipt(it.unwrap()))
        .collect()
}
