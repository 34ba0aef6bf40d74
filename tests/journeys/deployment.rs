//! hookbox as it is deployed: a config, an ingest and workers, each in a separate process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use hookbox_driver_rabbitmq::{Options, delete_topology};
use hookbox_testkit::binary;
use hookbox_testkit::servers::ReservedPort;
use hookbox_testkit::servers::process::wait_until;
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::{random_name, variable};
use serde_json::Value;
use sqlx::Connection;

pub use crate::process::Process;

/// The longest wait for a condition. A debug build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// The broker and the store that a deployment uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    RabbitmqPostgres,
    SqliteAlone,
}

/// A folder with a config, and the database that belongs to it.
pub struct Deployment {
    pub folder: PathBuf,
    /// The port that the ingest listens on. A restart does not change it.
    pub port: u16,
    _reserved: ReservedPort,
    environment: String,
    pub postgres: Option<PostgresWorld>,
    pub own: Option<Own>,
}

/// The URLs of servers that only one test uses, so that the test may break them.
#[derive(Debug, Clone)]
pub struct Own {
    /// The URL with which hookbox reaches PostgreSQL.
    pub store: String,
    /// The URL with which hookbox reaches RabbitMQ.
    pub broker: String,
    /// The URL with which the test itself reaches PostgreSQL. It stays usable when the test breaks
    /// the connections of hookbox.
    pub direct: String,
    /// Lines that are written to the config before its first table.
    pub settings: String,
}

impl Deployment {
    pub async fn new(pair: Pair) -> Self {
        let postgres = match pair {
            Pair::RabbitmqPostgres => Some(PostgresWorld::before_migrate().await),
            Pair::SqliteAlone => None,
        };
        let deployment = Self::begin(postgres, None);
        deployment.run(&["migrate"]);
        deployment
    }

    /// Makes a deployment whose database has no schema yet.
    pub async fn without_a_schema(pair: Pair) -> Self {
        let postgres = match pair {
            Pair::RabbitmqPostgres => Some(PostgresWorld::empty().await),
            Pair::SqliteAlone => None,
        };
        Self::begin(postgres, None)
    }

    /// Makes a deployment on the private servers of the test, and runs `hookbox migrate`.
    pub fn over(own: Own) -> Self {
        let deployment = Self::unmigrated(own);
        deployment.run(&["migrate"]);
        deployment
    }

    /// Makes a deployment on private servers, without running `hookbox migrate`.
    pub fn unmigrated(own: Own) -> Self {
        Self::begin(None, Some(own))
    }

    fn begin(postgres: Option<PostgresWorld>, own: Option<Own>) -> Self {
        let folder = std::env::temp_dir().join(random_name("hookbox-journey"));
        std::fs::create_dir(&folder).unwrap();
        let reserved = ReservedPort::choose().unwrap();
        let environment = random_name("journey");
        let deployment = Self {
            folder,
            port: reserved.number(),
            _reserved: reserved,
            environment,
            postgres,
            own,
        };
        deployment.write("key", "a-key-for-tests");
        deployment.write("hookbox.toml", &deployment.config());
        deployment
    }

    fn config(&self) -> String {
        let files = ("{ file = \"store\" }", "{ file = \"broker\" }");
        let (store, broker) = match (&self.postgres, &self.own) {
            (Some(postgres), _) => {
                self.write("store", postgres.database.url());
                self.write("broker", &variable("HOOKBOX_TEST_AMQP_URL"));
                files
            }
            (None, Some(own)) => {
                self.write("store", &own.store);
                self.write("broker", &own.broker);
                files
            }
            (None, None) => ("\"sqlite:hookbox.db\"", "\"sqlite:hookbox.db\""),
        };
        let settings = self.own.as_ref().map_or("", |own| &own.settings);
        format!(
            "environment = \"{}\"\n{settings}[store]\nurl = {store}\n[broker]\nurl = {broker}\n\
             [ingest]\nlisten = \"127.0.0.1:{}\"\n\
             [[source]]\nname = \"begini\"\npreset = \"begini\"\n\
             secrets = [{{ id = \"test\", file = \"key\" }}]\n\
             [[route]]\nname = \"scores\"\ntopics = [\"begini.*_score.complete\"]\n\
             handler = {{ kind = \"begini\" }}\n\
             retry = {{ attempts = 3, first = \"50 ms\", max = \"50 ms\" }}\n\
             [[route]]\nname = \"applications\"\ntopics = [\"begini.application.*\"]\n\
             handler = {{ kind = \"begini\" }}\n",
            self.environment, self.port
        )
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// Gives handlers a short time limit. `reconcile --wait` takes a message for in flight for as
    /// long as a handler may run on 64 events, and 15 s. So a test that waits until receipts are
    /// missing waits for half a minute, and not for minutes.
    pub fn shorten_time_limit(&self) {
        let config = std::fs::read_to_string(self.folder.join("hookbox.toml")).unwrap();
        let limit = "worker.handler_time_limit = \"250 ms\"\n";
        self.write("hookbox.toml", &format!("{limit}{config}"));
    }

    /// Builds a command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&binary::built().unwrap(), arguments)
    }

    /// Builds a command of another hookbox binary.
    pub fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        binary::command(binary, &self.folder, arguments)
    }

    /// Runs a command to its end, and checks that it succeeds.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command to its end, whether it succeeds or not, and returns its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said(&output)))
    }

    /// Starts a service with these arguments.
    pub fn start(&self, arguments: &[&str]) -> Process {
        self.spawn(self.command(arguments))
    }

    /// Starts a command as a service. Its log goes to a file of the deployment.
    pub fn spawn(&self, mut command: Command) -> Process {
        let log = self.folder.join("log");
        let process = binary::Process::start_service(&mut command, &log);
        Process::from(process.unwrap())
    }

    /// Starts an ingest, and waits until it is ready.
    pub fn start_ingest(&self) -> Process {
        self.spawn_ingest(self.command(&["ingest"]))
    }

    /// Starts a command as an ingest, and waits until it is ready.
    pub fn spawn_ingest(&self, command: Command) -> Process {
        let ingest = self.spawn(command);
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let is_ready = wait_until(PATIENCE, || {
            let mut asked = self.command(&["healthcheck", "--url", &url]);
            asked.output().unwrap().status.success()
        });
        assert!(is_ready, "ingest must become ready: {}", self.log());
        ingest
    }

    /// Returns the logs of all services.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Reads one number from the store.
    pub async fn count(&self, statement: &'static str) -> u64 {
        match (&self.postgres, &self.own) {
            (Some(postgres), _) => postgres.count_all(statement).await,
            (None, Some(own)) => {
                let mut connection = sqlx::PgConnection::connect(&own.direct).await.unwrap();
                let count: i64 = sqlx::query_scalar(statement)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
                u64::try_from(count).unwrap()
            }
            (None, None) => {
                let path = format!("sqlite:{}", self.folder.join("hookbox.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
                let count: i64 = sqlx::query_scalar(statement)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
                u64::try_from(count).unwrap()
            }
        }
    }

    /// Reads bytes from the SQLite file.
    pub async fn bytes(&self, statement: &'static str) -> Vec<u8> {
        let path = format!("sqlite:{}", self.folder.join("hookbox.db").display());
        let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
        let bytes = sqlx::query_scalar(statement)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        bytes
    }

    /// Runs a statement that changes the store.
    pub async fn execute(&self, statement: &'static str) {
        match (&self.postgres, &self.own) {
            (Some(postgres), _) => postgres.execute(statement).await,
            (None, Some(own)) => {
                let mut connection = sqlx::PgConnection::connect(&own.direct).await.unwrap();
                sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
            (None, None) => {
                let path = format!("sqlite:{}", self.folder.join("hookbox.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
                sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// Removes the folder only. The test has started its own servers and has already ended them, so
    /// no queue or database is left.
    pub fn remove(self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }

    /// Removes the folder, the queues and the database.
    pub async fn finish(self) {
        let broker = match (&self.postgres, &self.own) {
            (Some(_), _) => Some(variable("HOOKBOX_TEST_AMQP_URL")),
            (None, Some(own)) => Some(own.broker.clone()),
            (None, None) => None,
        };
        if let Some(url) = broker {
            let routes = ["scores", "applications", "unrouted"].map(|name| name.parse().unwrap());
            let environment = self.environment.parse().unwrap();
            delete_topology(&Options::new(url, environment, routes.into()))
                .await
                .unwrap();
        }
        if let Some(postgres) = self.postgres {
            postgres.finish().await;
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{} {}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}
