//! A running `hookbox dev` in a private folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary::Process;

use crate::binary::{Said, command, run};

/// The longest wait until `hookbox dev` has started. A debug build on a busy machine is slow.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A running `hookbox dev`. At the end of the test it is stopped, and its folder is removed.
pub struct Development {
    folder: PathBuf,
    url: String,
    process: Process,
}

impl Development {
    /// Starts `hookbox dev` on a free port, in a folder that is named after the test.
    pub fn start(test: &str) -> Self {
        Self::start_in(test, |_| {})
    }

    /// Does the same as `start`, but first lets `prepare` write files into the folder.
    pub fn start_in(test: &str, prepare: impl FnOnce(&Path)) -> Self {
        let name = format!("hookbox-cli-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        prepare(&folder);
        let mut dev = command(&folder, &["dev", "--listen", "127.0.0.1:0"]);
        dev.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut dev).unwrap();
        let url = process.stdout().unwrap().find(UP_WITHIN, |line| {
            let url = line.strip_prefix("hookbox listens on ")?;
            url.strip_suffix("/hooks/begini").map(str::to_owned)
        });
        let url = url.expect("hookbox dev must print the URL on which it listens");
        Self {
            folder,
            url,
            process,
        }
    }

    /// Runs a hookbox command in the folder of this `hookbox dev`, and so with its config.
    pub fn run(&self, arguments: &[&str]) -> Said {
        run(&self.folder, arguments)
    }

    /// Runs a hookbox command in the folder of this `hookbox dev`, and returns its JSON output.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--json"]].concat()).well().json()
    }

    /// Sends events to this `hookbox dev` with `hookbox generate`.
    pub fn generate(&self, arguments: &[&str]) -> Said {
        let to = ["generate", "--json", "--url", self.url.as_str()];
        self.run(&[&to, arguments].concat())
    }

    /// Waits until all work is done, and checks that the accounting balances.
    #[track_caller]
    pub fn settle(&self) -> serde_json::Value {
        self.json(&["reconcile", "--wait", "60s"])
    }

    /// Returns the URL that `hookbox dev` listens on.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the path of the folder in which this `hookbox dev` runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
