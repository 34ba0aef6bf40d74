//! Whole numbers that are written differently in JSON, such as `712`, `712.0` and `7.12e2`. The
//! JSON Schema and the handler must both take them for the same number.

use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_number_is_processed_however_it_is_written_on_rabbitmq_and_postgres() {
    whole_numbers(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_number_is_processed_however_it_is_written_on_sqlite() {
    whole_numbers(Pair::SqliteAlone).await;
}

async fn whole_numbers(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    let written = [
        "712",
        "712.0",
        "7.12e2",
        "9007199254740993.0",
        "712.5",
        "712.00000000000000000001",
        "9007199254740993.5",
    ];
    for (number, text) in written.into_iter().enumerate() {
        let event = score(&format!("whole-number-{number}"));
        let event = event.replace(r#""score":1,"#, &format!(r#""score":{text},"#));
        let event = event.replace(r#""scored_at":1,"#, r#""scored_at":1.0,"#);
        deployment.write("body", &event);
        deployment.run(&["send", "--file", "body"]);
    }
    within(PATIENCE, "each event must have its outcome", async || {
        let ended = "select count(*) from claims where state in ('done', 'dead')";
        deployment.count(ended).await == written.len() as u64
    })
    .await;
    let scores = "select count(*) from begini_scores where score = 712 and scored_at = 1";
    assert_eq!(deployment.count(scores).await, 3);
    // This score is too large for an exact floating-point number. A handler that computed with
    // floating-point numbers would round it to an even number.
    let large = "select count(*) from begini_scores where score = 9007199254740993";
    assert_eq!(deployment.count(large).await, 1);
    // A score must be a whole number. The schema must refuse any other number before a handler sees
    // the event.
    let dead = "select count(*) from dead_letters where reason = 'schema_broken'";
    assert_eq!(deployment.count(dead).await, 3);
    assert_eq!(
        deployment.count("select count(*) from dead_letters").await,
        3
    );
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
