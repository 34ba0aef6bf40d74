//! The handler `sql` as a user sets it up, with the files of `examples/sql/`: an event arrives at
//! the socket, and has its effect in the user's own tables. A mistake in the user's SQL must be
//! reported with its line and column.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use sqlx::Connection;

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The files of the example for one kind of store. The query `scores` counts the rows for the sent
/// events. The query `events` returns the sum of the events that the user's statements have
/// counted.
struct Example {
    pair: Pair,
    config: &'static str,
    tables: &'static str,
    statements: &'static str,
    scores: &'static str,
    events: &'static str,
}

const EXAMPLES: [Example; 2] = [
    Example {
        pair: Pair::RabbitmqPostgres,
        config: include_str!("../../examples/sql/postgres/hookbox.toml"),
        tables: include_str!("../../examples/sql/postgres/tables.sql"),
        statements: include_str!("../../examples/sql/postgres/on_score.sql"),
        scores: "select count(*) from scoring.scores
                 where uid in ('user-1', 'user-2') and score = 1",
        events: "select coalesce(sum(events)::bigint, 0) from scoring.newest",
    },
    Example {
        pair: Pair::SqliteAlone,
        config: include_str!("../../examples/sql/sqlite/hookbox.toml"),
        tables: include_str!("../../examples/sql/sqlite/tables.sql"),
        statements: include_str!("../../examples/sql/sqlite/on_score.sql"),
        scores: "select count(*) from scoring_scores
                 where uid in ('user-1', 'user-2') and score = '1'",
        events: "select coalesce(sum(events), 0) from scoring_newest",
    },
];

impl Example {
    /// Makes a deployment whose route `scores` has the handler and the tables of the example.
    async fn deployment(&self) -> Deployment {
        let deployment = Deployment::new(self.pair).await;
        let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
        let handler = self.config.find("[route.handler]").unwrap();
        // In TOML, the table `[route.handler]` must come after the other keys of its route.
        let before = "handler = { kind = \"begini\" }\n";
        let after = "[[route]]\nname = \"applications\"";
        let handler = format!("{}{after}", &self.config[handler..]);
        let config = config.replacen(before, "", 1).replacen(after, &handler, 1);
        deployment.write("hookbox.toml", &config);
        deployment.write("on_score.sql", self.statements);
        match &deployment.postgres {
            Some(postgres) => postgres.execute_any(self.tables).await,
            None => {
                let path = format!("sqlite:{}", deployment.folder.join("hookbox.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
                let tables = sqlx::raw_sql(self.tables);
                tables.execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
        deployment
    }
}

fn send(deployment: &Deployment, uid: &str) {
    deployment.write("body.json", &score(uid));
    deployment.run(&["send", "--file", "body.json"]);
}

/// Runs a command that must fail with this exit code, and returns its message.
fn refused(deployment: &Deployment, arguments: &[&str], code: i32) -> String {
    let output = deployment.command(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_fills_its_tables_once_for_each_event() {
    for example in EXAMPLES {
        let deployment = example.deployment().await;
        deployment.run(&["check-config"]);
        let ingest = deployment.start_ingest();
        let worker = deployment.start(&["worker"]);
        for uid in ["user-1", "user-2", "user-1"] {
            send(&deployment, uid);
        }
        let receipts = "select count(*) from receipts where outcome in ('done', 'duplicate')";
        within(
            PATIENCE,
            "all receipts must have their outcome",
            async || deployment.count(receipts).await == 3,
        )
        .await;
        assert_eq!(deployment.count(example.scores).await, 2);
        assert_eq!(deployment.count(example.events).await, 2);
        worker.stop();
        ingest.stop();
        deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_sql_of_a_user_is_reported_with_its_place() {
    for example in EXAMPLES {
        let deployment = example.deployment().await;
        for (text, command, code, place) in [
            (
                "select 1;\n commit",
                "check-config",
                64,
                "on_score.sql, line 2, column 2: ",
            ),
            (
                "select :uid, :score,\n :other",
                "worker",
                64,
                "on_score.sql, line 2, column 2: ",
            ),
            (
                "select :uid, :score, :scored_at;\nselect 1 from absent",
                "worker",
                78,
                "on_score.sql, line 2, column ",
            ),
        ] {
            deployment.write("on_score.sql", text);
            let message = refused(&deployment, &[command], code);
            assert!(message.contains(place), "{message}");
        }
        deployment.finish().await;
    }
}
