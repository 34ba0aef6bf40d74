//! Logs: what, how, and above all what never.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::LogConfig;

/// What is logged where nothing else is said.
const DEFAULT: &str = "info";

/// How much of a library is logged at most, whatever anyone asks for; the first match counts.
/// lapin logs returned messages with their payload, and every closed channel and lost connection
/// without saying whose: all of these are errors that it returns as well, and that are logged once,
/// by us, with what follows from them. A panic of its threads is the one thing that it does not
/// return. sqlx logs statements, the others frames and handshakes.
const CEILINGS: [(&str, LevelFilter); 4] = [
    ("lapin::thread", LevelFilter::WARN),
    ("lapin", LevelFilter::OFF),
    ("sqlx", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
];

/// The ceiling of every other library: below `info` they show what they carry.
const CEILING: LevelFilter = LevelFilter::INFO;

/// Begins logging to standard error. Standard output belongs to what a command prints.
pub fn begin(config: &LogConfig) {
    let is_terminal = io::stderr().is_terminal();
    // A subscriber that is there already (in a test) stays.
    let _ = subscriber(config, is_terminal, io::stderr).try_init();
}

/// Checks what to log, as `info` or `hookbox_worker=debug,info`.
pub fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{text:?} does not say what to log, as \"info\" or \"hookbox_worker=debug,info\" do \
             ({error})"
        )),
    }
}

/// A panic's message may hold what was being worked on, so only its place is told. The text goes
/// into the store with the attempt, where bodies are.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a panic at {place}");
        } else {
            eprintln!("hookbox: a panic at {place}");
        }
    }));
}

fn subscriber<W>(
    config: &LogConfig,
    is_terminal: bool,
    writer: W,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The text was checked with the config, and the default is our own.
    let wanted = EnvFilter::builder().parse_lossy(config.filter.as_deref().unwrap_or(DEFAULT));
    let lines = fmt::layer().with_target(false).with_writer(writer);
    let lines = if config.json {
        lines.json().boxed()
    } else {
        lines.with_ansi(is_terminal).boxed()
    };
    // Two filters that must both agree: no directive, however exact, lifts a ceiling.
    tracing_subscriber::registry()
        .with(filter_fn(is_allowed))
        .with(lines.with_filter(wanted))
}

fn is_allowed(event: &Metadata<'_>) -> bool {
    let target = event.target();
    if is_within(target, "hookbox") || target.starts_with("hookbox_") {
        return true;
    }
    let ceiling = CEILINGS
        .iter()
        .find(|(library, _)| is_within(target, library) || is_crate_of(target, library));
    *event.level() <= ceiling.map_or(CEILING, |(_, ceiling)| *ceiling)
}

/// The module or one below it.
fn is_within(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A crate of the same family, as `sqlx_core` is one of `sqlx`.
fn is_crate_of(target: &str, library: &str) -> bool {
    target
        .strip_prefix(library)
        .is_some_and(|rest| rest.starts_with('_'))
}

#[cfg(test)]
mod tests;
