//! What hookbox refuses to start with, and what it says then.

use crate::deployment::{Deployment, Pair};

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
