//! The `hookbox` binary that the tests run, and its output.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the path of the built binary. Cargo does not give the tests of one package the binary of
/// another, so the path is derived from the folder that cargo builds into.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/cli-…
    let folder = test.parent().and_then(Path::parent).unwrap();
    let binary = folder.join("hookbox");
    assert!(
        binary.is_file(),
        "{} is not there: run `cargo build -p hookbox` first (`cargo xtask test` does)",
        binary.display()
    );
    binary
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Parses the standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the command exited with code 0, and returns its output.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Builds a command that runs in a folder, without a terminal and without the user's settings.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("HOOKBOX_CONFIG")
        .env("USER", "tester")
        .stdin(Stdio::null());
    command
}

/// Runs a command, and waits for its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Said {
    let output = command(folder, arguments).output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
