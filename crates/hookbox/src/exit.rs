//! The exit codes, after `sysexits.h`, and the final messages about errors.

use hookbox_config::Mistakes;
use hookbox_driver::OpenError;
use hookbox_operations::CommandError;
use hookbox_operations::render::terminal;

/// An exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

/// The command has done what it was asked to do.
pub const OK: Exit = Exit(0);
/// The command failed, or the check found problems.
pub const FAILED: Exit = Exit(1);
/// The arguments are wrong; `clap` uses the same code.
pub const ARGUMENTS: Exit = Exit(2);
/// The config cannot be used (`EX_USAGE`).
pub const CONFIG: Exit = Exit(64);
/// The broker or the store cannot be reached (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: Exit = Exit(69);
/// An internal error (`EX_SOFTWARE`).
pub const INTERNAL: Exit = Exit(70);
/// hookbox refuses to run with another environment, another identity key, another schema, other
/// queues or unsafe settings, or to continue after the cursor of another store (`EX_CONFIG`).
pub const REFUSED: Exit = Exit(78);
/// SIGINT stopped the process at once while it drained (128 + SIGINT).
pub const STOPPED: Exit = Exit(130);

/// A context for an error: something that the config names, such as a file or a handler, cannot be
/// used. With this context, the exit code is the one for an invalid config.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

impl Exit {
    /// Returns the exit code as a number.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// The name of the program that is built from this repository.
pub const PROGRAM: &str = "hookbox";

/// Returns the exit code for an error, and the message with the error and its causes. In commands
/// that the message names, `hookbox` is replaced by `program`, which may be a user's program.
pub fn report(error: &anyhow::Error, json: bool, program: &str) -> (Exit, String) {
    let exit = code(error);
    let text = error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    let text = text.replace(&format!("`{PROGRAM} "), &format!("`{program} "));
    let message = if json {
        let error = serde_json::json!({ "error": text, "exit_code": exit.code() });
        terminal::json(&error.to_string())
    } else {
        // Line breaks are kept, because some error texts of hookbox have several lines.
        let lines: Vec<String> = text.lines().map(terminal::line).collect();
        format!("{program}: {}", lines.join("\n"))
    };
    (exit, message)
}

fn code(error: &anyhow::Error) -> Exit {
    if error.is::<Mistakes>() || error.is::<Unusable>() {
        return CONFIG;
    }
    if let Some(CommandError::UnknownName { .. }) = error.downcast_ref() {
        return ARGUMENTS;
    }
    if let Some(CommandError::CursorRefused { .. }) = error.downcast_ref() {
        return REFUSED;
    }
    match error.downcast_ref::<OpenError>() {
        Some(OpenError::Unavailable { .. }) => UNAVAILABLE,
        Some(OpenError::Options { .. }) => CONFIG,
        Some(
            OpenError::Environment { .. }
            | OpenError::Identity { .. }
            | OpenError::SchemaOlder { .. }
            | OpenError::SchemaNewer { .. }
            | OpenError::Unsafe { .. }
            | OpenError::Refused { .. }
            | OpenError::Topology(_),
        ) => REFUSED,
        None => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_a_message_has_the_name_of_the_program() {
        let error = anyhow::anyhow!("run `hookbox migrate`").context("open hookbox's store");
        let (_, message) = report(&error, false, "own-service");
        assert_eq!(
            message,
            "own-service: open hookbox's store: run `own-service migrate`"
        );
        let error = anyhow::anyhow!("run `hookbox migrate`");
        let (_, message) = report(&error, true, "own-service");
        assert!(message.contains("run `own-service migrate`"), "{message}");
        let (_, message) = report(&error, false, PROGRAM);
        assert_eq!(message, "hookbox: run `hookbox migrate`");
    }
}
