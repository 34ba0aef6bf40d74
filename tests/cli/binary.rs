//! The binary beside the tests, and its output.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The built binary. Tests of one package cannot ask cargo for the binary of another, so it is
/// searched for where cargo puts it.
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

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Its JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The result itself, after checking that the command succeeded.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A command in a folder, without a terminal and without the user's settings.
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

/// Runs a command to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Said {
    let output = command(folder, arguments).output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
