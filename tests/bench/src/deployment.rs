//! Starts one ingest and two workers of the release build in a folder of their own.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hookbox_testkit::binary;
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::{Ending, Folder};
use hookbox_testkit::servers::ports;
use hookbox_testkit::servers::process::{Process, tail, wait_until};

use crate::repository::release;

/// The processes, as an operator would run them on a machine with two cores.
const ROLES: [(&str, &str); 3] = [
    ("ingest", "ingest"),
    ("worker 1", "worker"),
    ("worker 2", "worker"),
];

/// How long to wait until ingest answers. Its broker is already running.
const READY_MAX: Duration = Duration::from_secs(30);

/// The URLs of the private servers. Without servers, everything is in one SQLite file.
pub(crate) struct Urls {
    pub postgres: String,
    pub amqp: String,
}

/// A running hookbox. Dropping it ends its processes.
pub(crate) struct Deployment {
    processes: Vec<(&'static str, Process)>,
    // The folder is dropped last, after the processes that use it have ended.
    folder: Folder,
}

impl Deployment {
    /// Runs `hookbox migrate`, and then starts every role.
    pub fn start(urls: Option<&Urls>) -> Result<Deployment> {
        let folder = Folder::new("bench", Account::Ourselves)?;
        let [port] = ports::free().context("choosing a port")?;
        folder.write("begini.key", &ports::random_name()?)?;
        if let Some(urls) = urls {
            folder.write("database_url", &urls.postgres)?;
            folder.write("amqp_url", &urls.amqp)?;
        }
        folder.write("hookbox.toml", &config(urls.is_some(), port))?;
        let mut deployment = Deployment {
            processes: Vec::new(),
            folder,
        };
        deployment.must(&["migrate"])?;
        for (name, role) in ROLES {
            let mut command = deployment.folder.watched(&release("hookbox"), Ending::Kill);
            binary::isolate(&mut command, deployment.folder.path()).arg(role);
            let process = Process::start(command, Ending::Kill, &deployment.log(name))?;
            deployment.processes.push((name, process));
        }
        let url = format!("http://127.0.0.1:{port}/readyz");
        let answers = || {
            let output = deployment.hookbox(&["healthcheck", "--url", &url]);
            output.is_ok_and(|output| output.status.success())
        };
        if !wait_until(READY_MAX, answers) {
            bail!("ingest is not ready:\n{}", deployment.logs());
        }
        Ok(deployment)
    }

    /// Runs a hookbox command to its end, whatever its exit code.
    pub fn hookbox(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = binary::command(&release("hookbox"), self.folder.path(), arguments);
        let output = command.output();
        output.with_context(|| format!("running hookbox {}", arguments.join(" ")))
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

    /// Returns the process id of each role.
    pub fn roles(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.processes
            .iter()
            .map(|(name, process)| (*name, process.id()))
    }

    /// Returns the last lines of each log, for an error message.
    pub fn logs(&self) -> String {
        let one = |(name, _): &(&str, Process)| format!("{name}:\n{}", tail(&self.log(name)));
        self.processes
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            // If this fails, the process that watches the folder (its keeper) ends the process.
            let _ = process.end(&self.folder);
        }
    }
}

/// Returns a config with the defaults and with the routes of the Begini example.
fn config(servers: bool, port: u16) -> String {
    let (store, broker) = if servers {
        (r#"{ file = "database_url" }"#, r#"{ file = "amqp_url" }"#)
    } else {
        (r#""sqlite:hookbox.db""#, r#""sqlite:hookbox.db""#)
    };
    format!(
        r#"environment = "bench"
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
[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
handler = {{ kind = "begini" }}
[[route]]
name = "applications"
topics = ["begini.application.*"]
handler = {{ kind = "begini" }}
"#
    )
}
