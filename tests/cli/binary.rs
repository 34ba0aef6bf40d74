//! The `hookbox` binary that the tests run, and its output.

use std::path::Path;
use std::process::Command;

use hookbox_testkit::binary;

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
    let mut command = binary::command(&binary::built().unwrap(), folder, arguments);
    command.env("USER", "tester");
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
