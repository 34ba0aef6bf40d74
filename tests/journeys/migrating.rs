//! `hookbox migrate` run by several processes at once, and killed at each of its steps and then run
//! again. In both cases the schema must be complete at the end.

use std::process::Stdio;

use serde_json::Value;

use crate::deployment::{Deployment, Pair};

const PAIRS: [Pair; 2] = [Pair::RabbitmqPostgres, Pair::SqliteAlone];

/// Returns the names of the crash points of a migration, from the list of all crash points in
/// crates/crash.
fn steps() -> Vec<&'static str> {
    let points = hookbox_crash::POINTS.iter().map(|point| point.name);
    points.filter(|name| name.starts_with("migrate.")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_migrators_at_once_one_migrates_and_all_are_content() {
    const AT_ONCE: usize = 6;
    for pair in PAIRS {
        let deployment = Deployment::without_a_schema(pair).await;
        let migrators: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let mut migrate = deployment.command(&["migrate", "--json"]);
                migrate
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut began_from = Vec::new();
        for migrator in migrators {
            let output = migrator.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{pair:?}: {said}");
            let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
            let store = &printed["migrated"][0];
            assert_eq!(store["what"], "store", "{printed}");
            began_from.push(store["from"].as_i64().unwrap());
        }
        let newest = began_from.iter().max().copied().unwrap();
        began_from.sort_unstable();
        let mut wanted = vec![newest; AT_ONCE];
        wanted[0] = 0;
        assert_eq!(
            began_from, wanted,
            "{pair:?}: exactly one process must have started with an empty database"
        );
        works(&deployment).await;
        deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migrator_killed_at_any_step_is_followed_by_one_that_finishes() {
    assert!(steps().len() >= 3, "{:?}", steps());
    for pair in PAIRS {
        for step in steps() {
            // A migration of an empty database reaches each step, and so does a migration of a
            // database that is migrated already.
            for is_new in [true, false] {
                let deployment = if is_new {
                    Deployment::without_a_schema(pair).await
                } else {
                    Deployment::new(pair).await
                };
                let mut killed = deployment.command(&["migrate"]);
                killed.env("HOOKBOX_CRASH_AT", step);
                let ended = killed.stderr(Stdio::null()).status().unwrap();
                assert_eq!(
                    ended.code(),
                    None,
                    "{pair:?} {step}: a signal must have ended the migration"
                );
                deployment.run(&["migrate"]);
                works(&deployment).await;
                deployment.finish().await;
            }
        }
    }
}

/// Checks that the schema is complete: an event is processed, and `reconcile` finds no imbalance.
async fn works(deployment: &Deployment) {
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.run(&["send"]);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(
        books["imbalances"].as_array().map(Vec::len),
        Some(0),
        "{books:#}"
    );
    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(deployment.count(effects).await, 1, "{books:#}");
    worker.stop();
    ingest.stop();
}
