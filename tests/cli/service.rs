//! A running `hookbox run` with a SQLite file and the sources of one test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary::{Lines, Process};
use serde_json::Value;

use crate::binary::{Said, command, run};

/// The longest wait until the service has started. A debug build on a busy machine is slow.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// The start of the log line with the address on which the service listens.
const LISTENS: &str = "ingest listens on ";

/// The key files of every folder: one for each source, because two sources cannot share a key.
const KEYS: [(&str, &str); 5] = [
    ("key", "a-key-for-tests-of-32-bytes-0001"),
    ("key-2", "a-key-for-tests-of-32-bytes-0002"),
    ("key-3", "a-key-for-tests-of-32-bytes-0003"),
    ("key-4", "a-key-for-tests-of-32-bytes-0004"),
    ("key-5", "a-key-for-tests-of-32-bytes-0005"),
];

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder with a config and keys, and the hookbox process that runs in this folder. At the end of
/// the test the process is ended and the folder is removed.
pub struct Service {
    folder: PathBuf,
    url: String,
    process: Option<Process>,
    log: Option<Lines>,
}

impl Service {
    /// Creates the folder, and starts nothing yet.
    pub fn prepare(test: &str, sources: &str) -> Self {
        let name = format!("hookbox-cli-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let config = format!(
            "environment = \"test\"\n[store]\nurl = \"sqlite:hookbox.db\"\n[broker]\n\
             url = \"sqlite:hookbox.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n{sources}"
        );
        std::fs::write(folder.join("hookbox.toml"), config).unwrap();
        for (name, text) in KEYS {
            write_secret(&folder.join(name), text);
        }
        Self {
            folder,
            url: String::new(),
            process: None,
            log: None,
        }
    }

    /// Prepares a folder, starts all roles in it, and waits until the service listens.
    pub fn start(test: &str, sources: &str) -> Self {
        let mut service = Self::prepare(test, sources);
        service.begin();
        service
    }

    /// Migrates the database of the prepared folder, and starts all roles.
    pub fn begin(&mut self) {
        self.run(&["migrate"]).well();
        let mut run = command(&self.folder, &["run"]);
        run.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::start(&mut run).unwrap();
        let mut log = process.stderr().unwrap();
        let address = log.find(UP_WITHIN, |line| {
            let (_, rest) = line.split_once(LISTENS)?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        let address = address.unwrap_or_else(|| {
            panic!(
                "hookbox run must log the address on which it listens: {}",
                log.text()
            )
        });
        self.url = format!("http://{address}");
        (self.process, self.log) = (Some(process), Some(log));
    }

    /// Runs a hookbox command in the folder of the service, and so with its config.
    pub fn run(&self, arguments: &[&str]) -> Said {
        run(&self.folder, arguments)
    }

    /// Sends one body to a source, with additional headers that are not signed. The request must be
    /// accepted.
    #[track_caller]
    pub fn send(&self, source: &str, headers: &[&str], body: &str) {
        self.try_to_send(source, headers, body).well();
    }

    /// Sends one body to a source, which may refuse the request.
    pub fn try_to_send(&self, source: &str, headers: &[&str], body: &str) -> Said {
        std::fs::write(self.folder.join("body"), body).unwrap();
        let mut arguments = vec!["send", "--url", &self.url, "--source", source];
        arguments.extend(["--file", "body"]);
        for header in headers {
            arguments.extend(["--header", header]);
        }
        self.run(&arguments)
    }

    /// Waits until all work is done, and returns the topic, state and id of each event, sorted.
    pub fn events(&self) -> Vec<(String, String, String)> {
        self.run(&["reconcile", "--wait", "60s"]).well();
        let list = self.run(&["events", "list", "--limit", "100", "--json"]);
        let list = list.well().json();
        let of = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let lines = list["events"].as_array().unwrap().iter();
        let mut events: Vec<_> = lines
            .map(|line| (of(line, "topic"), of(line, "state"), of(line, "event")))
            .collect();
        events.sort();
        events
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.process
            .as_ref()
            .expect("the service must run when its process id is read")
            .id()
    }

    /// Returns everything that the service has logged.
    pub fn log(&self) -> String {
        self.log.as_ref().map(Lines::text).unwrap_or_default()
    }

    /// Returns the path of the folder with the config and the keys of the service.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
