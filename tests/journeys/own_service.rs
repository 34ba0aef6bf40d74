//! A user's service with its own handler: the package `examples/own-service`, which the test copies
//! to a fresh folder, builds there, and runs on RabbitMQ and PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use hookbox_driver_rabbitmq::{Options, delete_topology};
use hookbox_testkit::binary;
use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::ReservedPort;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::{random_name, variable};
use sqlx::{Connection, PgConnection};

use crate::process::Process;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The exit code for a config that cannot be used.
const UNUSABLE: i32 = 64;

/// The most non-blank lines that `src/main.rs` of the service may have.
const LINES_MAX: usize = 40;

/// The name of the file that gives cargo the build profile of hookbox's workspace.
const PROFILE: &str = "profile.toml";

/// The SQL that creates the service's own tables.
const MIGRATION: &str = include_str!("../../examples/own-service/migrations/0001_receipts.sql");

/// A copy of `examples/own-service`. Each copy uses a database and an environment name of its own,
/// so that tests do not disturb each other.
struct OwnService {
    folder: PathBuf,
    environment: String,
    postgres: PostgresWorld,
}

impl OwnService {
    async fn new() -> Self {
        let folder = std::env::temp_dir().join(random_name("hookbox-own-service"));
        let service = Self {
            folder,
            environment: random_name("journey"),
            postgres: PostgresWorld::empty().await,
        };
        copy(&root().join("examples/own-service"), &service.folder);
        let hookbox = root().join("crates/hookbox");
        service.replace(
            "Cargo.toml",
            "../../crates/hookbox",
            hookbox.to_str().unwrap(),
        );
        // With the lock file of the workspace, cargo uses the versions of dependencies that are
        // already downloaded.
        std::fs::copy(root().join("Cargo.lock"), service.folder.join("Cargo.lock")).unwrap();
        service.write_profile();
        service.replace(
            "hookbox.toml",
            "\"sandbox\"",
            &format!("{:?}", service.environment),
        );
        service
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} must contain {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Writes the profile `dev` of hookbox's workspace into a file for cargo. Without this file,
    /// the copied package would have other build settings than the workspace, and cargo would build
    /// every dependency again.
    fn write_profile(&self) {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let start = manifest.find("[profile.dev]").unwrap();
        let end = manifest.find("[profile.test]").unwrap();
        std::fs::write(self.folder.join(PROFILE), &manifest[start..end]).unwrap();
    }

    /// Runs cargo in the folder of the service, with the target folder of this workspace.
    fn cargo(&self, arguments: &[&str]) -> Output {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.folder).args(arguments);
        command.arg("--offline");
        command.args(["--config", PROFILE]);
        command.env("CARGO_TARGET_DIR", target());
        command.env("TEST_DATABASE_URL", self.postgres.database.url());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output
    }

    /// Prepares a run of a program (the service or hookbox) with the config of the service.
    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = binary::command(program, &self.folder, arguments);
        command.env("DATABASE_URL", self.postgres.database.url());
        command.env("AMQP_URL", variable("HOOKBOX_TEST_AMQP_URL"));
        command.env(
            "BILLING_SECRET",
            "whsec_aG9va2JveC1ob29rYm94LWhvb2tib3gtaG9va2JveA==",
        );
        command
    }

    /// Runs the service with these arguments, which must succeed, and returns its output.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(&own_service(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program, which must refuse the config, and returns its output.
    fn refuses(&self, program: &Path, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        let said = said(&output);
        assert_eq!(
            output.status.code(),
            Some(UNUSABLE),
            "{arguments:?}: {said}"
        );
        said
    }

    /// Applies the service's own migration in one transaction, as `psql --single-transaction` does.
    async fn migrate_own_tables(&self) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(self.postgres.database.url()).await?;
        let mut tx = connection.begin().await?;
        sqlx::raw_sql(MIGRATION).execute(&mut *tx).await?;
        tx.commit().await?;
        connection.close().await
    }

    async fn finish(self) {
        let routes = ["receipts", "unrouted"].map(|name| name.parse().unwrap());
        let environment = self.environment.parse().unwrap();
        let url = variable("HOOKBOX_TEST_AMQP_URL");
        let options = Options::new(url, environment, routes.into());
        delete_topology(&options).await.unwrap();
        self.postgres.finish().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Returns the target folder of this workspace.
fn target() -> PathBuf {
    let hookbox = binary::built().unwrap();
    hookbox.ancestors().nth(2).unwrap().to_owned()
}

fn own_service() -> PathBuf {
    target().join("debug/own-service")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = entry
            .map(|it| (it.path(), to.join(it.file_name())))
            .unwrap();
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).unwrap();
        }
    }
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).join(" ")
}

#[test]
fn a_service_with_a_handler_of_its_own_is_short() {
    let main = root().join("examples/own-service/src/main.rs");
    let main = std::fs::read_to_string(main).unwrap();
    let lines = main.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(
        lines <= LINES_MAX,
        "the service may have {LINES_MAX} lines, but has {lines}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_a_handler_of_its_own_is_built_and_run_from_a_fresh_folder() {
    let service = OwnService::new().await;
    service.cargo(&["build"]);
    let port = ReservedPort::choose().unwrap();
    let listen = format!("127.0.0.1:{}", port.number());
    service.replace("hookbox.toml", "127.0.0.1:8080", &listen);

    // The tables of the service are in the database of hookbox. A second run of their migration
    // must fail, and hookbox's own migration must still succeed.
    service.run(&["migrate"]);
    service.migrate_own_tables().await.unwrap();
    assert!(service.migrate_own_tables().await.is_err());
    service.run(&["migrate"]);
    let config = service.run(&["check-config", "--json"]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["routes"][0]["handler"], "book-receipt");
    assert_eq!(config["routes"][0]["handler_settings"]["currency"], "EUR");

    // The service runs, and an event that is sent to it must have its effect.
    let log = service.folder.join("log");
    let mut command = service.command(&own_service(), &["run"]);
    let running = Process::from(binary::Process::start_service(&mut command, &log).unwrap());
    let url = format!("http://{listen}/readyz");
    within(PATIENCE, "the service must become ready", async || {
        let mut check = service.command(&own_service(), &["healthcheck", "--url", &url]);
        check.output().unwrap().status.success()
    })
    .await;
    let body = r#"{"type":"invoice.paid","invoice":"2026-0001","cents":1250}"#;
    std::fs::write(service.folder.join("paid.json"), body).unwrap();
    service.run(&["send", "--file", "paid.json"]);
    let booked = "select count(*) from own_service.receipts where invoice = '2026-0001' \
                  and cents = 1250 and currency = 'EUR'";
    within(PATIENCE, "the receipt must be booked", async || {
        service.postgres.count_all(booked).await == 1
    })
    .await;
    service.run(&["reconcile", "--wait", "60s"]);
    running.stop();

    // Hookbox itself does not have the handler `book-receipt`, so each command must refuse the
    // config.
    let stock = binary::built().unwrap();
    for command in ["check-config", "ingest", "worker", "migrate"] {
        let said = service.refuses(&stock, &[command]);
        assert!(
            said.contains("it has \"record\", \"begini\", \"sql\""),
            "{command}: {said}"
        );
    }
    // The service must refuse a handler that it does not have, and a setting that its handler does
    // not have.
    service.replace("hookbox.toml", "\"book-receipt\"", "\"book-recipt\"");
    let said = service.refuses(&own_service(), &["worker"]);
    let expected = "it has \"record\", \"begini\", \"sql\", \"forward\", \"publish\", \
                    \"book-receipt\"; did you mean \"book-receipt\"?";
    assert!(said.contains(expected), "{said}");
    service.replace("hookbox.toml", "\"book-recipt\"", "\"book-receipt\"");
    service.replace("hookbox.toml", "currency", "curency");
    let said = service.refuses(&own_service(), &["worker"]);
    assert!(said.contains("did you mean \"currency\"?"), "{said}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_of_a_service_with_a_handler_of_its_own_passes() {
    let service = OwnService::new().await;
    let output = service.cargo(&["test"]);
    let said = said(&output);
    assert!(said.contains("a_paid_invoice_is_booked ... ok"), "{said}");
    // The test of the service must leave no tables behind.
    let schemas = "select count(*) from pg_namespace where nspname = 'own_service'";
    assert_eq!(service.postgres.count_all(schemas).await, 0);
    service.postgres.finish().await;
    std::fs::remove_dir_all(&service.folder).unwrap();
}
