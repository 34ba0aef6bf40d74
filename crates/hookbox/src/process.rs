//! The process of the program: its arguments, its runtime, its log and its exit code.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use hookbox_operations::render::terminal;

use crate::command::print;
use crate::compose::Registry;
use crate::telemetry::{self, Log};
use crate::{cli, command, core_dumps, exit};

/// Runs the program with these handlers, and returns its exit code.
pub fn main(handlers: &Registry) -> ExitCode {
    // Indirect dependencies link two cryptography providers, and rustls panics unless one is chosen
    // before its first use. Choosing fails only if a provider was chosen before, so the result is
    // ignored.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let log = Log::default();
    telemetry::hide_panics(log.clone());
    let program = program(std::env::args_os().next());
    if let Err(error) = core_dumps::switch_off() {
        print::note(&format!(
            "{program}: core dumps could not be switched off: {error}"
        ));
    }
    if let Some(mistake) = handlers.mistake() {
        print::note(&format!("{program}: {mistake}"));
        return exit::INTERNAL.into();
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return print::arguments(&said).into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            print::note(&format!("{program}: no threads could be started: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let json = cli.json;
    // `AssertUnwindSafe` is right, because no value that the panic may have left inconsistent is
    // used after the panic.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(command::run(cli, handlers, &log))
    }));
    let code = match ran {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            let (code, message) = exit::report(&error, json, &program);
            log.print(&message);
            code
        }
        // The panic hook has logged where the panic occurred, so nothing is printed here.
        Err(_) => exit::INTERNAL,
    };
    log.flush();
    // The process does not wait for tasks that still run, because they had the time of the whole
    // drain to end.
    runtime.shutdown_background();
    code.into()
}

/// Returns the name with which the program was started, which is also the name in its usage text.
/// `first` is the first of the process's arguments.
fn program(first: Option<OsString>) -> String {
    let first = first.unwrap_or_default();
    let name = Path::new(&first).file_name();
    let name = name.and_then(|name| name.to_str());
    terminal::line(name.unwrap_or(exit::PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_the_name_of_its_file() {
        let name = |first: &str| program(Some(first.into()));
        assert_eq!(name("/usr/local/bin/own-service"), "own-service");
        assert_eq!(name("own\u{1b}service"), "own\\u{1b}service");
        assert_eq!(name(""), "hookbox");
        assert_eq!(program(None), "hookbox");
    }
}
