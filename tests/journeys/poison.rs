//! An event that no handler can process becomes one dead letter with its history, and is done after
//! its cause is fixed and it is replayed.

use serde_json::Value;

use crate::deployment::{Deployment, Pair};
use crate::until::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_always_fails_is_shown_fixed_and_replayed_on_rabbitmq_and_postgres() {
    fix(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_always_fails_is_shown_fixed_and_replayed_on_sqlite() {
    fix(Pair::SqliteAlone).await;
}

/// Makes an event fail because the database rejects every score. Then fixes the database, and
/// checks that the dead letter is done after a replay.
async fn fix(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    deployment.refuse_scores().await;
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.run(&["send", "--type", "psychometric_score.complete"]);
    let dead = until(&deployment, &["dead", "list"], |dead| entries(dead) == 1);
    let id = dead["dead"][0]["id"].as_i64().unwrap().to_string();
    let shown = deployment.json(&["dead", "show", &id]);
    assert_eq!(shown["dead"]["reason"], "exhausted", "{shown:#}");
    assert_eq!(shown["dead"]["attempts"], 3, "{shown:#}");
    let text = deployment.run(&["dead", "show", &id]);
    assert_eq!(
        text.matches("transient").count(),
        3,
        "`dead show` must list all three attempts:\n{text}"
    );
    assert!(
        !text.contains("uid"),
        "`dead show` must not show the body without --body:\n{text}"
    );
    deployment.take_scores().await;
    deployment.run(&["dead", "replay", &id, "--yes"]);
    until(&deployment, &["reconcile"], |books| {
        books["routes"]
            .as_array()
            .is_some_and(|routes| routes.iter().any(|route| route["store"]["done"] == 1))
    });
    assert_eq!(
        deployment.count("select count(*) from begini_scores").await,
        1
    );
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

fn entries(dead: &Value) -> usize {
    dead["dead"].as_array().map_or(0, Vec::len)
}

/// Checks a genuine event that does not follow its JSON Schema. Its dead letter must name the path
/// and the violated rule, and the event must be processed by a replay after the schema is fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_break_their_schema_are_replayed_once_it_is_fixed() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    std::fs::create_dir(deployment.folder.join("schemas")).unwrap();
    let schema = |kind: &str| {
        format!(r#"{{"properties":{{"event":{{"properties":{{"type":{{"type":"{kind}"}}}}}}}}}}"#)
    };
    deployment.write("schemas/application.complete.json", &schema("integer"));
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let preset = "preset = \"begini\"\n";
    let with_schemas = format!("{preset}schemas = \"schemas\"\n");
    deployment.write("hookbox.toml", &config.replacen(preset, &with_schemas, 1));
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.run(&["send", "--type", "application.complete"]);
    let dead = until(&deployment, &["dead", "list"], |dead| entries(dead) == 1);
    let dead_letter = &dead["dead"][0];
    assert_eq!(dead_letter["reason"], "schema_broken");
    let detail = dead_letter["detail"].as_str().unwrap();
    let rule = "/event/type: the value is not of type \"integer\" \
                (rule /properties/event/properties/type/type)";
    assert_eq!(detail, rule);
    worker.stop();
    deployment.write("schemas/application.complete.json", &schema("string"));
    let worker = deployment.start(&["worker"]);
    deployment.run(&["dead", "replay", "--all", "--yes"]);
    let done = |books: &Value| {
        let routes = books["routes"].as_array();
        routes.is_some_and(|routes| routes.iter().any(|route| route["store"]["done"] == 1))
    };
    until(&deployment, &["reconcile"], done);
    assert_eq!(
        deployment
            .count("select count(*) from begini_applications")
            .await,
        1
    );
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
