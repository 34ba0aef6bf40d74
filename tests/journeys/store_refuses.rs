//! PostgreSQL is reachable and refuses the connection. A running worker pauses and logs the remedy;
//! a command prints the remedy and ends with exit code 78.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::sessions::TERMINATE;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code for an error that an operator must fix.
const REFUSED: Option<i32> = Some(78);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_of_the_store_is_logged_and_processing_resumes() {
    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let deployment = Deployment::over(own(postgres.url(), &broker, postgres.url()));
    let shown = Shown::new();
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;

    let mut admin = PgConnection::connect(postgres.url()).await.unwrap();
    let set = |password: &str| {
        let statement = format!("alter role postgres password '{password}'");
        sqlx::raw_sql(AssertSqlSafe(statement))
    };
    admin.execute(set("another")).await.unwrap();
    admin.execute(TERMINATE).await.unwrap();
    within(
        PATIENCE,
        "readiness must report the refused password",
        async || {
            let trouble = shown.trouble("store");
            trouble.is_some_and(|why| why.contains("does not accept the password of role postgres"))
        },
    )
    .await;
    let output = deployment.command(&["events", "list"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), REFUSED, "{said}");
    assert!(said.contains("ALTER ROLE postgres PASSWORD"), "{said}");
    let printed = format!("{said}{}", deployment.log());
    for unwanted in ["cannot be reached", "at line"] {
        assert!(!printed.contains(unwanted), "{unwanted}: {printed}");
    }

    let (account, _) = postgres.url().rsplit_once('@').unwrap();
    let (_, password) = account.rsplit_once(':').unwrap();
    assert!(
        !printed.contains(password),
        "neither output nor log may show a password"
    );
    admin.execute(set(password)).await.unwrap();
    within(PATIENCE, "hookbox must be ready again", async || {
        shown.is_ready()
    })
    .await;
    assert!(
        !deployment.log().contains("dead letter"),
        "no event may become a dead letter"
    );
    worker.stop();
    admin.close().await.unwrap();
    deployment.finish().await;
}
