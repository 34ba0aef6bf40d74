//! Printing a report, as text or as JSON.

use std::io::{self, Write};

use hookbox_console::render::{Text, json};
use serde::Serialize;

/// Prints a report.
pub fn report(report: &(impl Text + Serialize), as_json: bool) -> io::Result<()> {
    if as_json {
        text(&json(report))
    } else {
        text(&report.text())
    }
}

/// Prints text. Whoever reads may have seen enough and gone (`| head`): that is no error.
pub fn text(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
