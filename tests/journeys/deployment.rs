//! hookbox as it is deployed: a config, an ingest and workers, each a process of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hookbox_driver_rabbitmq::{Options, delete_topology};
use hookbox_tests::postgres::PostgresWorld;
use hookbox_tests::{random_name, variable};
use serde_json::Value;
use sqlx::Connection;

/// Longest wait for something that must come; a debug build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    RabbitmqPostgres,
    SqliteAlone,
}

/// A folder with a config, and what belongs to it.
pub struct Deployment {
    pub folder: PathBuf,
    pub port: u16,
    environment: String,
    postgres: Option<PostgresWorld>,
}

/// A process that is killed when dropped.
pub struct Process(Child);

impl Deployment {
    pub async fn new(pair: Pair) -> Self {
        let folder = std::env::temp_dir().join(random_name("hookbox-journey"));
        std::fs::create_dir(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let environment = random_name("journey");
        let postgres = match pair {
            Pair::RabbitmqPostgres => Some(PostgresWorld::empty().await),
            Pair::SqliteAlone => None,
        };
        let deployment = Self {
            folder,
            port,
            environment,
            postgres,
        };
        deployment.write("key", "a-key-for-tests");
        deployment.write("hookbox.toml", &deployment.config());
        deployment.run(&["migrate"]);
        deployment
    }

    fn config(&self) -> String {
        let (store, broker) = match &self.postgres {
            Some(postgres) => {
                self.write("store", postgres.database.url());
                self.write("broker", &variable("HOOKBOX_TEST_AMQP_URL"));
                ("{ file = \"store\" }", "{ file = \"broker\" }")
            }
            None => ("\"sqlite:hookbox.db\"", "\"sqlite:hookbox.db\""),
        };
        format!(
            "environment = \"{}\"\n[store]\nurl = {store}\n[broker]\nurl = {broker}\n\
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

    /// A command that has not begun.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_remove("HOOKBOX_CONFIG");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, well.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command to its end, well or not, and reads its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said(&output)))
    }

    /// Starts a service.
    pub fn start(&self, arguments: &[&str]) -> Process {
        let log = std::fs::OpenOptions::new();
        let log = { log }
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Process(child)
    }

    /// Starts an ingest and waits until it is ready.
    pub fn start_ingest(&self) -> Process {
        let ingest = self.start(&["ingest"]);
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let began = Instant::now();
        loop {
            let asked = self
                .command(&["healthcheck", "--url", &url])
                .output()
                .unwrap();
            if asked.status.success() {
                return ingest;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "ingest is not ready: {}",
                self.log()
            );
        }
    }

    /// What the services said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A number out of the store.
    pub async fn count(&self, statement: &'static str) -> u64 {
        match &self.postgres {
            Some(postgres) => postgres.count_all(statement).await,
            None => {
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

    /// Changes something in the store.
    pub async fn execute(&self, statement: &'static str) {
        match &self.postgres {
            Some(postgres) => postgres.execute(statement).await,
            None => {
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

    /// Removes everything.
    pub async fn finish(self) {
        if let Some(postgres) = self.postgres {
            let url = variable("HOOKBOX_TEST_AMQP_URL");
            let routes = ["scores", "applications", "unrouted"].map(|name| name.parse().unwrap());
            let environment = self.environment.parse().unwrap();
            delete_topology(&Options::new(url, environment, routes.into()))
                .await
                .unwrap();
            postgres.finish().await;
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Process {
    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As a service manager does: it must drain and end well.
    pub fn stop(mut self) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let ended = self.0.wait().unwrap();
        assert!(ended.success(), "it ended with {ended}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

/// The built binary, where cargo puts it.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let binary = folder.join("hookbox");
    assert!(
        binary.is_file(),
        "run `cargo build -p hookbox` first (`cargo xtask test` does)"
    );
    binary
}
