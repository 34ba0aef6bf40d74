//! Configs and database schemas with which hookbox refuses to start, and the errors that it then
//! reports.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;

use crate::deployment::{Deployment, Pair};
use crate::outages::own;
use crate::sessions::execute;

fn refused(deployment: &Deployment, arguments: &[&str], code: i32) -> String {
    let output = deployment.command(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_of_another_environment_is_refused() {
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let deployment = Deployment::new(pair).await;
        let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
        let first = config.lines().next().unwrap();
        deployment.write(
            "other.toml",
            &config.replacen(first, "environment = \"other\"", 1),
        );
        for command in ["migrate", "worker"] {
            let said = refused(&deployment, &[command, "--config", "other.toml"], 78);
            assert!(said.contains("is stamped with environment"), "{said}");
        }
        deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_and_a_newer_schema_are_refused() {
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let deployment = Deployment::new(pair).await;
        let raise = "insert into _sqlx_migrations (version, description, success, checksum, \
                     execution_time) select 9000, 'x', true, checksum, 0 from _sqlx_migrations \
                     where version = 1";
        deployment.execute(raise).await;
        deployment
            .execute("update meta set value = '9000' where key = 'works_from'")
            .await;
        let said = refused(&deployment, &["worker"], 78);
        assert!(said.contains("knows only"), "{said}");
        deployment
            .execute("delete from _sqlx_migrations where version > 1")
            .await;
        let said = refused(&deployment, &["worker"], 78);
        assert!(said.contains("run `hookbox migrate`"), "{said}");
        deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_is_wrong_is_refused_before_anything_is_touched() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    deployment.write("bad.toml", "environment = 3\nsurprise = true\n");
    for command in ["check-config", "worker", "ingest", "migrate", "reconcile"] {
        let said = refused(&deployment, &[command, "--config", "bad.toml"], 64);
        assert!(
            said.contains("bad.toml:2:1: surprise: there is no such key"),
            "{said}"
        );
    }
    let said = refused(&deployment, &["worker", "--config", "nowhere.toml"], 64);
    assert!(said.contains("cannot be read"), "{said}");
    deployment.finish().await;
}

/// Checks that hookbox refuses a PostgreSQL server whose settings allow it to lose committed
/// transactions in a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_keep_what_it_committed_is_refused() {
    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let deployment = Deployment::over(own(postgres.url(), &broker, postgres.url()));
    let settings = [
        (
            "fsync",
            "alter system set fsync = off",
            "alter system reset fsync",
        ),
        (
            "full_page_writes",
            "alter system set full_page_writes = off",
            "alter system reset full_page_writes",
        ),
    ];
    for (name, off, on) in settings {
        execute(postgres.url(), off).await;
        execute(postgres.url(), "select pg_reload_conf()").await;
        let is_off = "select count(*) from pg_settings
             where name in ('fsync', 'full_page_writes') and setting = 'off'";
        within(
            Duration::from_secs(20),
            &format!("PostgreSQL must switch the setting {name} off"),
            async || deployment.count(is_off).await == 1,
        )
        .await;
        for command in ["worker", "migrate"] {
            let said = refused(&deployment, &[command], 78);
            assert!(said.contains(&format!("{name} is off")), "{said}");
        }
        execute(postgres.url(), on).await;
        execute(postgres.url(), "select pg_reload_conf()").await;
        within(
            Duration::from_secs(20),
            &format!("PostgreSQL must switch the setting {name} on"),
            async || deployment.count(is_off).await == 0,
        )
        .await;
    }
    deployment.finish().await;
}
