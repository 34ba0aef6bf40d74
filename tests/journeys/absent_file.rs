//! A SQLite file that does not exist, or that hookbox cannot use. Some commands create a missing
//! file. All others must end with exit code 78 and an error that names the file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use sqlx::Connection;

use crate::deployment::{Deployment, Pair};

/// The exit code of a command that fails because of the file. Only an operator can fix this.
const REFUSED: i32 = 78;

/// The numeric id (uid) of a user who owns no files.
const UNPRIVILEGED: u32 = 65_534;

/// Runs a command that must fail with exit code 78 and an error that contains the path of the file
/// and `words`.
#[track_caller]
fn refused(deployment: &Deployment, command: &mut std::process::Command, words: &str) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(REFUSED), "{command:?}: {said}");
    let path = path(deployment);
    assert!(said.contains(path.to_str().unwrap()), "{command:?}: {said}");
    assert!(said.contains(words), "{command:?}: {said}");
}

fn path(deployment: &Deployment) -> PathBuf {
    deployment.folder.join("hookbox.db")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_migrate_dev_and_run_create_create_a_file() {
    let deployment = Deployment::without_a_schema(Pair::SqliteAlone).await;
    for arguments in [
        &["ingest"][..],
        &["worker"],
        &["run"],
        &["queues"],
        &["events", "list"],
        &["dead", "list"],
        &["reconcile"],
    ] {
        let words = "does not exist; create it with `hookbox migrate`";
        refused(&deployment, &mut deployment.command(arguments), words);
        assert!(!path(&deployment).exists(), "{arguments:?}");
    }
    let create = || deployment.spawn_ingest(deployment.command(&["run", "--create"]));
    create().stop();
    let created = fs::metadata(path(&deployment)).unwrap();
    create().stop();
    let found = fs::metadata(path(&deployment)).unwrap();
    assert_eq!(
        found.ino(),
        created.ino(),
        "`run --create` must not replace an existing file"
    );
    // A process that ends while it creates the file leaves an empty one.
    fs::write(path(&deployment), "").unwrap();
    create().stop();
    fs::remove_file(path(&deployment)).unwrap();
    deployment.run(&["migrate"]);
    deployment.start_ingest().stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_is_named_with_the_remedy() {
    let deployment = Deployment::without_a_schema(Pair::SqliteAlone).await;
    let file = path(&deployment);
    let all = |words: &str| {
        for arguments in [&["migrate"][..], &["worker"], &["ingest"], &["queues"]] {
            refused(&deployment, &mut deployment.command(arguments), words);
        }
    };
    fs::create_dir(&file).unwrap();
    all("is a folder");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "somebody's text\n".repeat(1_000)).unwrap();
    all("is not a SQLite database");
    fs::remove_file(&file).unwrap();
    let theirs = "create table accounts (name text); insert into accounts values ('theirs')";
    write_with_sqlite(&file, theirs).await;
    let before = fs::read(&file).unwrap();
    let words = "the database already has accounts";
    refused(&deployment, &mut deployment.command(&["migrate"]), words);
    assert_eq!(
        fs::read(&file).unwrap(),
        before,
        "a command that cannot use the file must not change it"
    );
    fs::remove_file(&file).unwrap();
    let theirs = "create table _sqlx_migrations (version bigint primary key, description text,
                    installed_on text, success boolean, checksum blob, execution_time bigint);
                  insert into _sqlx_migrations values (20240101, 'init', '', true, x'00', 1)";
    write_with_sqlite(&file, theirs).await;
    all("lists migration 20240101 as \"init\"");
    deployment.finish().await;
}

async fn write_with_sqlite(file: &Path, statements: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_permission_is_refused() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let file = path(&deployment);
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        // Root may open any file whatever its mode, so no command would fail if this test ran it as
        // root. The commands therefore run as another user.
        chown(&deployment.folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    }
    for (mode, words) in [
        (0o444, "cannot be opened for writing"),
        (0o000, "cannot be"),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for arguments in [&["worker"][..], &["ingest"], &["migrate"]] {
            let mut command = deployment.command(arguments);
            if is_root {
                command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
            }
            refused(&deployment, &mut command, words);
        }
    }
    deployment.finish().await;
}
