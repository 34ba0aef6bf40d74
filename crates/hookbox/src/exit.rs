//! Exit codes, after `sysexits.h`, and how an error is told.

use hookbox_console::CommandError;
use hookbox_console::render::terminal;
use hookbox_driver::OpenError;

use crate::config::Mistakes;
use crate::telemetry::Log;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

/// It did what it was asked.
pub const OK: Exit = Exit(0);
/// It did not, or what it looked at is not well.
pub const FAILED: Exit = Exit(1);
/// Wrong arguments, by clap's custom.
pub const ARGUMENTS: Exit = Exit(2);
/// The config cannot be used (`EX_USAGE`).
pub const CONFIG: Exit = Exit(64);
/// The broker or the store cannot be reached (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: Exit = Exit(69);
/// Something that should not happen (`EX_SOFTWARE`).
pub const INTERNAL: Exit = Exit(70);
/// Refused: another environment, another schema, other queues, unsafe settings (`EX_CONFIG`).
pub const REFUSED: Exit = Exit(78);
/// Stopped at once by SIGINT, while it drained (128 + SIGINT).
pub const STOPPED: Exit = Exit(130);

/// Something that the config names cannot be used. As the context of an error, it makes the exit
/// code that of a config.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// Prints an error with its causes on standard error, and says with which code to exit.
pub fn tell(error: &anyhow::Error, json: bool, log: &Log) -> Exit {
    let exit = code(error);
    let text = error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    if json {
        let error = serde_json::json!({ "error": text, "exit_code": exit.code() });
        log.print(&terminal::json(&error.to_string()));
    } else {
        // Lines are ours: an error's text of several is laid out so.
        let lines: Vec<String> = text.lines().map(terminal::line).collect();
        log.print(&format!("hookbox: {}", lines.join("\n")));
    }
    exit
}

fn code(error: &anyhow::Error) -> Exit {
    if error.is::<Mistakes>() || error.is::<Unusable>() {
        return CONFIG;
    }
    if let Some(CommandError::UnknownName { .. }) = error.downcast_ref() {
        return ARGUMENTS;
    }
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Unavailable { .. }) => UNAVAILABLE,
        Some(OpenError::Options { .. }) => CONFIG,
        Some(
            OpenError::Environment { .. }
            | OpenError::SchemaOlder { .. }
            | OpenError::SchemaNewer { .. }
            | OpenError::Unsafe { .. }
            | OpenError::Refused { .. }
            | OpenError::Topology(_),
        ) => REFUSED,
        None => FAILED,
    }
}
