//! Runs one build of hookbox in a folder of its own, with a database and an environment of its own.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::binary;
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::{Ending, Folder};
use hookbox_testkit::servers::ports;
use hookbox_testkit::servers::process::{Process, signal, tail, wait_until};

use crate::bench::Bench;
use crate::load::{Kind, Requests, SECRET};
use crate::store::Store;

/// How long to wait until ingest answers. Its broker is already running.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long a process may take to drain: longer than the default of the setting `drain`.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Which servers a deployment uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// RabbitMQ and PostgreSQL.
    Servers,
    /// Broker and store in two SQLite files.
    TwoFiles,
    /// Broker and store in one SQLite file.
    OneFile,
}

/// A role of hookbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ingest,
    Worker,
    /// Ingest and a worker in one process.
    All,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Worker => "worker",
            Role::All => "run",
        }
    }
}

/// What the config of a deployment says beyond the defaults.
#[derive(Clone, Copy)]
pub(crate) struct Config<'c> {
    pub storage: Storage,
    pub handler: &'c str,
    /// Further lines of the section `[route.handler]` of hookbox's config.
    pub settings: &'c str,
    /// Further lines of the section `[[source]]` of hookbox's config.
    pub source: &'c str,
    /// Further lines of the section `[[route]]` of hookbox's config.
    pub route: &'c str,
}

impl<'c> Config<'c> {
    pub fn of(storage: Storage, handler: &'c str) -> Config<'c> {
        Config {
            storage,
            handler,
            settings: "",
            source: "",
            route: "",
        }
    }
}

/// A deployment. Dropping it ends its processes and removes its folder.
pub(crate) struct Deployment<'a> {
    bench: &'a Bench<'a>,
    pub store: Store,
    /// The environment, which is a part of the names of the queues.
    pub environment: String,
    pub port: u16,
    processes: Vec<(Role, Process)>,
    started: usize,
    // The folder is dropped last, after the processes that use it have ended.
    pub folder: Folder,
}

impl<'a> Deployment<'a> {
    /// Makes the database and runs `hookbox migrate`. No process of hookbox is started yet.
    pub fn new(bench: &'a Bench<'a>, config: Config<'_>) -> Result<Deployment<'a>> {
        let folder = Folder::new("bench", Account::Ourselves)?;
        let [port] = ports::free().context("choosing a port")?;
        let environment = format!("b{}", &ports::random_name()?[..12]);
        folder.write("begini.key", SECRET)?;
        let store = match config.storage {
            Storage::Servers => {
                let servers = bench.servers()?;
                let admin = Store::Postgres(servers.postgres.clone());
                let create = format!("create database {environment}");
                bench.runtime.block_on(admin.execute(&create))?;
                let (server, _) = servers.postgres.rsplit_once('/').context("a URL")?;
                let url = format!("{server}/{environment}");
                folder.write("database_url", &url)?;
                folder.write("amqp_url", &servers.amqp)?;
                Store::Postgres(url)
            }
            Storage::TwoFiles | Storage::OneFile => Store::Sqlite(folder.path().join("hookbox.db")),
        };
        let deployment = Deployment {
            bench,
            store,
            environment,
            port,
            processes: Vec::new(),
            started: 0,
            folder,
        };
        deployment.configure(config)?;
        deployment.must(&["migrate"])?;
        Ok(deployment)
    }

    /// Writes the config. A role that runs keeps the config with which it was started.
    pub fn configure(&self, config: Config<'_>) -> Result<()> {
        let text = self.text(config);
        self.folder.write("hookbox.toml", &text)?;
        Ok(())
    }

    /// Returns a config with the defaults, one source and one route.
    fn text(&self, config: Config<'_>) -> String {
        let (store, broker) = match config.storage {
            Storage::Servers => (r#"{ file = "database_url" }"#, r#"{ file = "amqp_url" }"#),
            Storage::TwoFiles => (r#""sqlite:hookbox.db""#, r#""sqlite:broker.db""#),
            Storage::OneFile => (r#""sqlite:hookbox.db""#, r#""sqlite:hookbox.db""#),
        };
        let Config {
            storage: _,
            handler,
            settings,
            source,
            route,
        } = config;
        format!(
            r#"environment = "{environment}"
[store]
url = {store}
[broker]
url = {broker}
[ingest]
listen = "127.0.0.1:{port}"
[[source]]
name = "begini"
preset = "begini"
secrets = [{{ id = "bench", file = "begini.key" }}]
{source}
[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
{route}
[route.handler]
kind = "{handler}"
{settings}
"#,
            environment = self.environment,
            port = self.port,
        )
    }

    /// Starts a role. Ingest is ready when this returns; a worker need not be.
    pub fn start(&mut self, role: Role) -> Result<()> {
        self.spawn(role)?;
        match role {
            Role::Ingest | Role::All => self.wait_ready(),
            Role::Worker => Ok(()),
        }
    }

    /// Starts a role, and does not wait for it.
    pub fn spawn(&mut self, role: Role) -> Result<()> {
        self.started += 1;
        let log = self.log(self.started);
        let mut command = self.folder.watched(&self.bench.program.path, Ending::Kill);
        binary::isolate(&mut command, self.folder.path()).arg(role.as_str());
        let process = Process::start(command, Ending::Kill, &log)?;
        self.processes.push((role, process));
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let ready = wait_until(READY_MAX, || {
            let output = self.hookbox(&["healthcheck", "--url", &url]);
            output.is_ok_and(|output| output.status.success())
        });
        ensure!(ready, "ingest is not ready:\n{}", self.logs());
        Ok(())
    }

    /// Ends all processes of a role as an operator does, and waits until they have drained.
    pub fn stop(&mut self, role: Role) -> Result<()> {
        let is_of = |(of, _): &mut (Role, Process)| *of == role;
        let mut ending: Vec<(Role, Process)> = self.processes.extract_if(.., is_of).collect();
        for (_, process) in &ending {
            signal("TERM", &[process.id()])?;
        }
        for (_, process) in &mut ending {
            let ended = wait_until(DRAIN_MAX, || process.has_ended());
            self.folder.forget(process.id());
            ensure!(ended, "a {} does not drain", role.as_str());
        }
        Ok(())
    }

    /// Returns the requests that this deployment accepts.
    pub fn requests(&self, kind: Kind) -> Requests {
        Requests {
            port: self.port,
            kind,
        }
    }

    /// Returns the process ids of a role.
    pub fn ids(&self, role: Role) -> impl Iterator<Item = u32> {
        let of = move |(of, process): &(Role, Process)| (*of == role).then(|| process.id());
        self.processes.iter().filter_map(of)
    }

    /// Runs a hookbox command to its end, whatever its exit code.
    pub fn hookbox(&self, arguments: &[&str]) -> Result<Output> {
        let path = &self.bench.program.path;
        let output = binary::command(path, self.folder.path(), arguments).output();
        output.with_context(|| format!("running {} {}", path.display(), arguments.join(" ")))
    }

    /// Runs a hookbox command to its end; a failure is an error with the command's output.
    pub fn must(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.hookbox(arguments)?;
        if !output.status.success() {
            bail!(
                "hookbox {} failed: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output)
    }

    /// Returns the last lines of each log, for an error message.
    pub fn logs(&self) -> String {
        let one = |number| format!("process {number}:\n{}", tail(&self.log(number)));
        (1..=self.started).map(one).collect::<Vec<_>>().join("\n")
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{number}.log"))
    }
}

impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            // If a process cannot be ended here, the keeper ends it: a process that watches the
            // folder.
            let _ = process.end(&self.folder);
        }
        if let (Store::Postgres(_), Ok(servers)) = (&self.store, self.bench.servers()) {
            let admin = Store::Postgres(servers.postgres.clone());
            let drop = format!("drop database {} with (force)", self.environment);
            // If this fails, the database is removed with its server at the end of the run.
            let _ = self.bench.runtime.block_on(admin.execute(&drop));
        }
    }
}
