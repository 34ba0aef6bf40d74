//! The only code that prints: reports on standard output, as text or as JSON, and notes on standard
//! error.
//!
//! A failure to print never ends the process. Printing fails, for example, when a disk is full or a
//! reader has closed the pipe.

use std::io::{self, Write};

use hookbox_operations::render::{Text, json};
use serde::Serialize;

use crate::exit::{self, Exit};

/// Prints a report on standard output.
pub fn report(report: &(impl Text + Serialize), as_json: bool) -> io::Result<()> {
    if as_json {
        text(&json(report))
    } else {
        text(&report.text())
    }
}

/// Prints a text on standard output. A reader that has closed the pipe (as `| head` does) is not an
/// error.
pub fn text(text: &str) -> io::Result<()> {
    text_while_read(text).map(|_| ())
}

/// Prints a text on standard output, for a command that prints until it is stopped. Returns whether
/// standard output is still read: a reader that has closed the pipe ends such a command.
pub fn text_while_read(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    let written = written.and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let what =
                "standard output cannot be written; changes that the command made are not undone";
            Err(io::Error::new(error.kind(), format!("{what}: {error}")))
        }
    }
}

/// Prints a note on standard error. A failure to print it cannot be reported anywhere, and does not
/// change the exit code.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints the output of the argument parser `clap`: help, the version, or what is wrong with the
/// arguments.
pub fn arguments(said: &clap::Error) -> Exit {
    let printed = match said.print().and_then(|()| io::stdout().lock().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    };
    match (said.use_stderr(), printed) {
        (true, _) => exit::ARGUMENTS,
        (false, Ok(())) => exit::OK,
        (false, Err(_)) => exit::FAILED,
    }
}
