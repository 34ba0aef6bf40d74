//! The `World` of a case: its config, its store and broker behind proxies, and the processes of the
//! real binary. Processes that end are restarted, as a service manager does.

mod logs;
mod rest;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::binary;
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::{Ending, Folder};
use hookbox_testkit::servers::{RabbitmqCluster, ports};
use serde_json::Value;

use crate::effects;
use crate::node::Node;
use crate::pair::Pair;
use crate::place::{KEY, Place};
use crate::plan::Plan;
use crate::servers::Servers;
use crate::sql::Sql;
use crate::targets::Targets;
use crate::used::{self, LiveProcesses};
use crate::user_route::SIGNING_KEY;

/// The time within which a started process must be ready. A debug build on two busy cores is slow.
const READY_MAX: Duration = Duration::from_secs(60);

/// The servers, the files and the processes of one case. Dropping the `World` ends all the
/// processes.
pub struct World {
    pub pair: Pair,
    pub services: Vec<Service>,
    /// The name of the hookbox environment, which all processes of the case use.
    pub environment: String,
    /// How many processes have ended at a crash point so far.
    pub crashes: usize,
    /// Each process that ended with an error and not at a crash point, with its exit status.
    pub ends: Vec<String>,
    /// The ids of the processes that run, by the names of their services.
    pub living: LiveProcesses,
    /// Further environment variables of every service.
    pub variables: Vec<(&'static str, PathBuf)>,
    ports: [u16; 2],
    pub place: Place,
    /// The targets of the external calls of the user routes.
    pub targets: Targets,
    binary: PathBuf,
    // The folder is the last field, because fields are dropped in order, and the folder must be
    // removed only after the processes that use it have ended.
    folder: Folder,
}

/// A hookbox process of a case, with the arguments by which it is restarted.
pub struct Service {
    /// The name of the service, and of its log file.
    pub name: &'static str,
    arguments: Vec<String>,
    /// The running process; `None` while the service is stopped.
    pub node: Option<Node>,
}

impl World {
    /// Creates a `World` whose store is migrated and has no event. The tables of effects lose their
    /// unique keys, so that a double effect would show.
    ///
    /// # Errors
    /// When the store or the broker returns an error.
    pub fn new(servers: &Servers, pair: Pair, plan: &Plan) -> Result<Self> {
        let world = Self::bare(servers, pair, plan)?;
        world.must(&["migrate"])?;
        effects::unguard(&world.place.sql)?;
        Ok(world)
    }

    /// Creates a `World` whose store has no schema yet.
    ///
    /// # Errors
    /// When the store or the broker returns an error.
    pub fn bare(servers: &Servers, pair: Pair, plan: &Plan) -> Result<Self> {
        Self::at(pair, plan, |folder| match pair {
            Pair::RabbitmqPostgres => Place::on_servers(servers, folder),
            Pair::Sqlite => Place::in_a_file(folder),
        })
    }

    /// Creates a `World` on a RabbitMQ cluster. The second ingest connects only to the nodes in
    /// `second`, and `broker` has further lines for the section `[broker]` of the config.
    ///
    /// # Errors
    /// When the store or the broker returns an error.
    pub fn on_cluster(
        servers: &Servers,
        cluster: &RabbitmqCluster,
        second: &[u8],
        broker: String,
    ) -> Result<Self> {
        let plan = Plan {
            broker,
            second_broker: "broker-2",
            ..Plan::default()
        };
        let world = Self::at(Pair::RabbitmqPostgres, &plan, |folder| {
            Place::on_cluster(servers, cluster, second, folder)
        })?;
        world.must(&["migrate"])?;
        effects::unguard(&world.place.sql)?;
        Ok(world)
    }

    fn at(pair: Pair, plan: &Plan, place: impl FnOnce(&Folder) -> Result<Place>) -> Result<Self> {
        let folder = Folder::new("chaos", Account::Ourselves)?;
        let ports = ports::free().context("choosing ports")?;
        let place = place(&folder)?;
        let targets = Targets::start(plan.user_routes, place.broker.as_deref())?;
        let world = Self {
            pair,
            services: Vec::new(),
            crashes: 0,
            ends: Vec::new(),
            living: LiveProcesses::default(),
            variables: Vec::new(),
            environment: format!("chaos-{}", &ports::random_name()?[..12]),
            ports,
            place,
            targets,
            binary: binary::built().context("finding the hookbox binary")?,
            folder,
        };
        world.folder.write("key", KEY)?;
        world.folder.write("forward.key", SIGNING_KEY)?;
        for (number, port) in (1..).zip(ports) {
            let text = plan.config(pair, &world.environment, number, port);
            let text = text + &world.targets.config();
            world
                .folder
                .write(&format!("hookbox-{number}.toml"), &text)?;
        }
        Ok(world)
    }

    /// Returns the path of the file with this name in the folder of the case.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the texts that no log may contain.
    pub fn secrets(&self) -> &[String] {
        &self.place.secrets
    }

    /// Returns the URL of the ingest with this number, from 1.
    pub fn url(&self, ingest: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[ingest - 1])
    }

    /// Returns a hookbox command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.watched(&self.binary, Ending::Kill);
        let configured = arguments.iter().any(|word| word.starts_with("--config"));
        if !configured {
            command.args(["--config", "hookbox-1.toml"]);
        }
        binary::isolate(&mut command, self.folder.path())
            .args(arguments)
            .env_remove(hookbox_crash::CRASH_AT);
        command
    }

    /// Runs a hookbox command to its end.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn hookbox(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("running hookbox")
    }

    /// Runs a hookbox command that must succeed, and returns its output.
    ///
    /// # Errors
    /// When the command fails.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.hookbox(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "hookbox {} ended with {}: {text}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// Runs a hookbox command and parses the JSON that it prints, whatever its exit code.
    ///
    /// # Errors
    /// When the command prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.hookbox(&[arguments, &["--json"]].concat())?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "hookbox {}: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Starts the ingest with this number, from 1, and waits until it is ready. The ingest ends
    /// itself at the crash point in `crash`, if there is one.
    ///
    /// # Errors
    /// When the ingest does not become ready.
    pub fn ingest(&mut self, number: usize, crash: Option<&str>) -> Result<()> {
        let config = format!("hookbox-{number}.toml");
        let name = ["ingest 1", "ingest 2"][number - 1];
        self.service(name, &["--config", &config, "ingest"], crash)?;
        self.answers(number)
    }

    /// Starts the worker with this number, from 1. The worker ends itself at the crash point in
    /// `crash`, if there is one.
    ///
    /// # Errors
    /// When the worker cannot be started.
    pub fn worker(&mut self, number: usize, crash: Option<&str>) -> Result<()> {
        let name = ["worker 1", "worker 2"][number - 1];
        self.service(name, &["worker"], crash)
    }

    fn service(
        &mut self,
        name: &'static str,
        arguments: &[&str],
        crash: Option<&str>,
    ) -> Result<()> {
        let mut service = Service {
            name,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            node: None,
        };
        service.node = Some(self.launch(&service, crash)?);
        self.services.retain(|it| it.name != name);
        self.services.push(service);
        Ok(())
    }

    fn launch(&self, service: &Service, crash: Option<&str>) -> Result<Node> {
        let words: Vec<&str> = service.arguments.iter().map(String::as_str).collect();
        let mut command = self.command(&words);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(crash) = crash {
            command.env(hookbox_crash::CRASH_AT, crash);
        }
        let node = Node::start(command, &self.path(&format!("{}.log", service.name)))?;
        used::lock(&self.living).insert(service.name, node.id());
        Ok(node)
    }

    /// Waits until an ingest is ready.
    ///
    /// # Errors
    /// When the ingest is not ready in time.
    pub fn answers(&mut self, number: usize) -> Result<()> {
        let url = format!("{}/readyz", self.url(number));
        let began = Instant::now();
        loop {
            if self
                .hookbox(&["healthcheck", "--url", &url])?
                .status
                .success()
            {
                return Ok(());
            }
            self.tend(None)?;
            if began.elapsed() > READY_MAX {
                bail!("ingest {number} is not ready:\n{}", self.tails());
            }
        }
    }

    /// Restarts the services whose process has ended, and counts those that ended at a crash point.
    /// A restarted process ends itself at the crash point in `crash`, if there is one.
    ///
    /// # Errors
    /// When a service cannot be started.
    pub fn tend(&mut self, crash: Option<&str>) -> Result<()> {
        for place in 0..self.services.len() {
            let service = &mut self.services[place];
            let Some(node) = &mut service.node else {
                continue;
            };
            let Some(status) = node.ended() else {
                continue;
            };
            if node.crashed() {
                self.crashes += 1;
            } else if !status.success() {
                self.ends.push(format!("{}: {status}", service.name));
            }
            let node = self.launch(&self.services[place], crash)?;
            self.services[place].node = Some(node);
        }
        Ok(())
    }

    /// Returns the process of a running service.
    pub fn node(&mut self, name: &str) -> Option<&mut Node> {
        let service = self.services.iter_mut().find(|it| it.name == name)?;
        service.node.as_mut()
    }

    /// Kills the process of a service as `kill -9` does, and starts it again. Returns whether the
    /// process was still alive before.
    ///
    /// # Errors
    /// When the service is stopped, or cannot be started.
    pub fn kill(&mut self, name: &str) -> Result<bool> {
        // If the process has already ended by itself, its end is recorded and it is restarted
        // first.
        self.tend(None)?;
        let place = self.services.iter().position(|it| it.name == name);
        let place = place.with_context(|| format!("{name} does not run"))?;
        let node = self.services[place].node.as_mut();
        let lived = node.with_context(|| format!("{name} does not run"))?.kill();
        let node = self.launch(&self.services[place], None)?;
        self.services[place].node = Some(node);
        Ok(lived)
    }

    /// Stops every service with SIGTERM, as a service manager does. Each must drain and exit with
    /// 0.
    ///
    /// # Errors
    /// When a service does not exit with 0 in time.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        let mut bad = Vec::new();
        for service in &self.services {
            if let Some(node) = &service.node {
                // Sending SIGTERM fails when the process has already ended. The exit status of such
                // a process is reported below.
                let _ = node.signal("TERM");
            }
        }
        for service in &mut self.services {
            let Some(mut node) = service.node.take() else {
                continue;
            };
            match node.wait(limit) {
                Some(status) if status.success() => {}
                Some(status) => bad.push(format!("{} ended with {status}", service.name)),
                None => bad.push(format!(
                    "{} still runs {} s after SIGTERM",
                    service.name,
                    limit.as_secs()
                )),
            }
        }
        self.services.clear();
        used::lock(&self.living).clear();
        ensure!(bad.is_empty(), "{}\n{}", bad.join("; "), self.tails());
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.services.clear();
        if let Some((server, name)) = &self.place.database {
            let dropped = Sql::postgres(server)
                .and_then(|sql| sql.run(&format!("drop database if exists {name} with (force)")));
            if let Err(error) = dropped {
                eprintln!("could not remove the database {name}: {error:#}");
            }
        }
    }
}
