//! Commands whose output cannot be written, because the disk is full or the reader of the pipe is
//! gone.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use crate::binary::command;
use crate::development::Development;

/// Opens a file that behaves like a full disk.
fn full() -> File {
    let mut options = File::options();
    options.write(true).open("/dev/full").unwrap()
}

/// Returns the writing end of a pipe whose reading end is closed.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs a command and returns its exit code, or `None` if a signal (such as an abort) ended it.
fn code(folder: &Path, arguments: &[&str], out: Stdio, err: Stdio) -> Option<i32> {
    let mut command = command(folder, arguments);
    command.stdout(out).stderr(err).status().unwrap().code()
}

#[test]
fn a_full_disk_ends_no_command_but_with_its_exit_code() {
    let dev = Development::start("a_full_disk_ends_no_command");
    let ready = format!("{}/readyz", dev.url());
    // The first number is the exit code when both outputs are full, and the second one when only
    // standard error is full.
    for (arguments, both, errors_alone) in [
        // The result of these commands is the text that they print, so they must fail when they
        // cannot print.
        (&["--help"][..], 1, 0),
        (&["--version"], 1, 0),
        (&["check-config"], 1, 0),
        (&["migrate"], 1, 0),
        (&["events", "list"], 1, 0),
        (&["events", "list", "--json"], 1, 0),
        (&["queues"], 1, 0),
        (&["dead", "list"], 1, 0),
        (&["reconcile"], 1, 0),
        (&["send", "--url", dev.url()], 1, 0),
        (&["generate", "--url", dev.url(), "--count", "3"], 1, 0),
        // The result of `healthcheck` is its exit code, so it must succeed even if it cannot print.
        (&["healthcheck", "--url", &ready], 0, 0),
        // These commands fail, and write their error to standard error only. They print nothing to
        // a full standard output, so they must exit with the code of their error.
        (&[], 2, 2),
        (&["nonsense"], 2, 2),
        (&["events", "list", "--state", "lost"], 2, 2),
        (&["events", "list", "--config", "nowhere.toml"], 64, 64),
        (
            &["events", "list", "--config", "nowhere.toml", "--json"],
            64,
            64,
        ),
        (&["dead", "show", "4711"], 1, 1),
        (&["worker", "--route", "nowhere"], 1, 1),
    ] {
        let folder = dev.folder();
        let found = code(folder, arguments, full().into(), full().into());
        assert_eq!(found, Some(both), "{arguments:?}");
        let found = code(folder, arguments, Stdio::null(), full().into());
        assert_eq!(found, Some(errors_alone), "{arguments:?}");
    }
    // The events that `send` and `generate` sent in both runs were stored, although the output
    // could not be written.
    dev.settle();
    let events = dev.json(&["events", "list", "--limit", "100"]);
    let events = events["events"].as_array().unwrap().len();
    assert_eq!(events, 2 * (1 + 3));
    let output = command(dev.folder(), &["events", "list"])
        .stdout(full())
        .output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("standard output cannot be written"), "{said}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dev = Development::start("a_reader_that_has_gone");
    let malformed = ["--count", "3", "--malformed", "100", "--seed", "2"];
    dev.generate(&malformed).well();
    dev.settle();
    let exported = dev.run(&["dead", "export"]).well();
    assert_eq!(exported.out.lines().count(), 3, "{exported:?}");
    let export = &["dead", "export"];
    let found = code(dev.folder(), export, full().into(), full().into());
    assert_eq!(
        found,
        Some(1),
        "an export that could not be written completely must fail"
    );
    for arguments in [
        &["--help"][..],
        &["check-config"],
        &["events", "list"],
        &["dead", "export"],
        &["reconcile"],
    ] {
        let mut command = command(dev.folder(), arguments);
        let output = command.stdout(closed()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.replace(USING, ""), "", "{arguments:?}");
    }
    for (arguments, expected) in [(&["nonsense"][..], 2), (&["events", "list"], 0)] {
        let found = code(dev.folder(), arguments, closed(), closed());
        assert_eq!(found, Some(expected), "{arguments:?}");
    }
}

/// The line that a command prints when it uses the config of `hookbox dev`.
const USING: &str = "using .hookbox-dev/hookbox.toml, made by `hookbox dev`\n";
