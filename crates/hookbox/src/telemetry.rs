//! Logs: what, how, and above all what never.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogConfig;

/// What is logged where nothing else is said.
const DEFAULT: &str = "info";

/// Whatever anyone asks for: lapin logs returned messages with their payload, and libraries log
/// statements and frames at their finer levels.
const ALWAYS: [&str; 6] = [
    "lapin=warn",
    "lapin::returned_messages=off",
    // What it says of closed channels is told once, by us, with what follows from it.
    "lapin::channel=off",
    "sqlx=warn",
    "hyper=info",
    "rustls=warn",
];

/// Begins logging to standard error. Standard output belongs to what a command prints.
pub fn begin(config: &LogConfig) {
    let filter = std::env::var("HOOKBOX_LOG")
        .ok()
        .or_else(|| config.filter.clone());
    let mut directives = filter.unwrap_or_else(|| DEFAULT.to_owned());
    for always in ALWAYS {
        directives.push(',');
        directives.push_str(always);
    }
    let filter = EnvFilter::builder().parse_lossy(directives);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_writer(std::io::stderr);
    // A subscriber that is there already (in a test) stays.
    let _ = if config.json {
        builder.json().try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
}

/// A panic's message may hold what was being worked on, so only its place is told. The text goes
/// into the store with the attempt, where bodies are.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a panic at {place}");
    }));
}
