//! The upgrade of a database of the first version whose services connect with a role of their own.
//! This role has the rights that the first version needed, and does not own the tables. After the
//! owner has run `hookbox migrate`, the services must work without a further `GRANT`.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::receiver::{Answer, Receiver};
use hookbox_tests::random_name;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::deployment::{Deployment, Pair};
use crate::event::score;
use crate::forwarded::{KEY, send};
use crate::shown::Shown;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// The schema version of the first version of hookbox.
const FIRST: i64 = 5;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two routes that get each event. Together they use all tables that are new since the first
/// version, such as the table of keys for `newest`, and the table of targets for `forward`.
const ROUTES: &str = r#"
[[route]]
name = "scores"
topics = ["begini.#"]
newest = { key = ["/uid"], version = "/event/details/scored_at", type = "integer" }
handler = { kind = "begini" }
[[route]]
name = "applications"
topics = ["begini.#"]
[route.handler]
kind = "forward"
url = "URL"
private_host = "127.0.0.1"
secrets = [{ id = "test", file = "forward.key", mode = "any" }]
"#;

/// Makes a deployment with these routes whose database has no schema yet.
async fn deployment(receiver: &Receiver) -> Deployment {
    let deployment = Deployment::without_a_schema(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    let routes = ROUTES.replace("URL", &receiver.url());
    deployment.write("hookbox.toml", &format!("{before}{routes}"));
    deployment.write("forward.key", KEY);
    deployment
}

/// Runs statements as the owner of the tables.
async fn run(owner: &mut PgConnection, statements: String) {
    let statements = sqlx::raw_sql(AssertSqlSafe(statements));
    statements.execute(owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_a_role_of_their_own_work_after_an_upgrade() {
    let receiver = Receiver::start(|_, _| Answer::Status("200 OK")).await;
    let receiver = receiver.unwrap();
    let deployment = deployment(&receiver).await;
    let url = std::fs::read_to_string(deployment.folder.join("store")).unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    MIGRATIONS.run_to(FIRST, &mut owner).await.unwrap();
    let role = random_name("service").replace('-', "_");
    let rights = format!(
        "create role {role} login password 'right';
         grant usage on schema public to {role};
         grant select, insert, update, delete on all tables in schema public to {role}"
    );
    run(&mut owner, rights).await;
    let migrated = deployment.json(&["migrate"]);
    assert_eq!(migrated["migrated"][0]["from"], FIRST, "{migrated:#}");

    let (_, server) = url.rsplit_once('@').unwrap();
    let as_role = format!("postgres://{role}:right@{server}");
    deployment.write("store", &as_role);
    let (ingest, shown) = (deployment.start_ingest(), Shown::new());
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    send(&deployment, &score("user-1"));
    let done = "select count(*) from claims where state = 'done'";
    within(
        PATIENCE,
        "the event must be done on both routes",
        async || deployment.count(done).await == 2,
    )
    .await;
    within(PATIENCE, "the worker must be ready", async || {
        match shown.get("/readyz") {
            Some((200, _)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    for used in [
        "select count(*) from bodies",
        "select count(*) from ends",
        "select count(*) from newest",
        "select count(*) from targets",
        "select count(*) from witness where newest is not null",
    ] {
        assert!(deployment.count(used).await > 0, "{used}");
    }
    worker.stop();
    ingest.stop();
    run(
        &mut owner,
        format!("drop owned by {role}; drop role {role}"),
    )
    .await;
    owner.close().await.unwrap();
    deployment.finish().await;
}
