//! Logging: what is logged, in which format, and what must never be logged.

mod lines;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hookbox_config::{LOG_FILTER, LogConfig};
use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

use self::lines::{LineWriter, Lines};
use crate::command::print;
use crate::log_args::LogArgs;

/// The maximum levels of some libraries, which no filter can raise. The first matching entry
/// applies.
///
/// lapin is off. It logs returned messages with their payload, and closed channels and lost
/// connections without saying which. It also returns each of these as an error, which hookbox logs
/// once, with its consequences. Only panics of lapin's threads are logged, because they are not
/// returned as errors.
///
/// Two targets of sqlx are off, because they log text of handlers, which may contain values of an
/// event: the warnings that a trigger or a function of the database raises, and the SQL of a slow
/// statement. Below `warn`, rustls logs frames and handshakes.
const CEILINGS: [(&str, LevelFilter); 6] = [
    ("lapin::thread", LevelFilter::WARN),
    ("lapin", LevelFilter::OFF),
    ("sqlx::postgres::notice", LevelFilter::OFF),
    ("sqlx::query", LevelFilter::OFF),
    ("sqlx", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
];

/// The maximum level of all libraries that are not in [`CEILINGS`]: at levels below `info`,
/// libraries log the data that they carry.
const CEILING: LevelFilter = LevelFilter::INFO;

/// How long the process waits at its end until the log is written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// How long a panic waits until the log is written, because the process may abort right after the
/// panic.
const PANIC_FLUSH_MAX: Duration = Duration::from_millis(200);

/// The log of this process. It is off before [`Log::begin`], and in commands that only print.
#[derive(Clone, Default)]
pub struct Log(Arc<OnceLock<ActiveLog>>);

struct ActiveLog {
    lines: Arc<Lines>,
    args: LogArgs,
    refilter: Refilter,
}

/// A function that replaces the current filter.
type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

impl Log {
    /// Starts logging to standard error; standard output is for the output of commands. The
    /// arguments override the config, also when the config is reloaded.
    pub fn begin(&self, args: &LogArgs, config: &LogConfig) -> io::Result<()> {
        let config = args.over(config);
        let json = config.json;
        // The log uses a separate file descriptor. The standard library locks its stderr while a
        // write waits for a slow reader, and no other code may wait for that lock.
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let notice = move |dropped| notice(json, SystemClock.now(), dropped);
        let lines = Lines::start(out, Box::new(notice))?;
        let writer = Arc::clone(&lines);
        let writer = move || LineWriter(Arc::clone(&writer));
        let (subscriber, refilter) = subscriber(&config, io::stderr().is_terminal(), writer);
        // If a subscriber exists already (in a test), it stays in use.
        let _ = subscriber.try_init();
        let args = args.clone();
        let _ = self.0.set(ActiveLog {
            lines,
            args,
            refilter,
        });
        Ok(())
    }

    /// Uses the log filter of another config from now on; returns that filter.
    pub fn refilter(&self, config: &LogConfig) -> anyhow::Result<String> {
        let config = match self.0.get() {
            Some(active) => active.args.over(config),
            None => config.clone(),
        };
        let text = config.filter.unwrap_or_else(|| LOG_FILTER.to_owned());
        if let Some(active) = self.0.get() {
            (active.refilter)(EnvFilter::builder().parse(&text)?)?;
        }
        Ok(text)
    }

    /// Returns the number of lines that were dropped because they were not read, or could not be
    /// written.
    pub fn dropped(&self) -> u64 {
        self.0.get().map_or(0, |active| active.lines.dropped())
    }

    /// Prints the final message of this process on standard error. If the log is on, the message is
    /// queued after the lines of the log. So the process does not block here if standard error is
    /// no longer read.
    pub fn print(&self, text: &str) {
        match self.0.get() {
            Some(active) => active.lines.push(format!("{text}\n").as_bytes()),
            None => print::note(text),
        }
    }

    /// Waits until everything that was logged is written, but not longer than a second.
    pub fn flush(&self) {
        self.flush_within(FLUSH_MAX);
    }

    fn flush_within(&self, limit: Duration) {
        if let Some(active) = self.0.get() {
            active.lines.flush(limit);
        }
    }
}

/// Returns the line that replaces dropped lines. It is written regardless of the filter.
fn notice(json: bool, now: Timestamp, dropped: u64) -> Vec<u8> {
    let what = format!(
        "{dropped} log lines were dropped, because standard error was not read or the lines were \
         too long"
    );
    let line = if json {
        let fields = serde_json::json!({ "message": what, "dropped": dropped });
        let line =
            serde_json::json!({ "timestamp": now.to_string(), "level": "WARN", "fields": fields });
        line.to_string()
    } else {
        format!("{now}  WARN {what} dropped={dropped}")
    };
    format!("{line}\n").into_bytes()
}

/// Logs only the place of a panic. The message of a panic may contain data, so it is not logged,
/// but stored with the attempt, in the same database as bodies. A panic while another panic unwinds
/// aborts the process, before queued lines can be written. So every panic waits until the log is
/// written.
pub fn hide_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a panic at {place}");
        } else {
            print::note(&format!("hookbox: a panic at {place}"));
        }
        log.flush_within(PANIC_FLUSH_MAX);
    }));
}

fn subscriber<W>(
    config: &LogConfig,
    is_terminal: bool,
    writer: W,
) -> (impl Subscriber + Send + Sync + use<W>, Refilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The filter has no mistakes that `parse_lossy` would ignore: it was checked with the config,
    // and the default filter is valid.
    let wanted = EnvFilter::builder().parse_lossy(config.filter.as_deref().unwrap_or(LOG_FILTER));
    let (wanted, handle) = reload::Layer::new(wanted);
    let lines = fmt::layer()
        .with_target(false)
        .log_internal_errors(false)
        .with_writer(writer);
    let lines = if config.json {
        lines.json().boxed()
    } else {
        lines.with_ansi(is_terminal).boxed()
    };
    // A line must pass two filters: the maximum level of its library, and the filter of the config.
    // So no directive in the config, however specific, raises a maximum.
    let subscriber = tracing_subscriber::registry()
        .with(filter_fn(is_allowed))
        .with(lines.with_filter(wanted));
    (subscriber, Box::new(move |filter| handle.reload(filter)))
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

/// Returns whether `target` is the module or a module inside it.
fn is_within(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Returns whether `target` belongs to a crate of a library's family, as `sqlx_core` belongs to
/// `sqlx`.
fn is_crate_of(target: &str, library: &str) -> bool {
    target
        .strip_prefix(library)
        .is_some_and(|rest| rest.starts_with('_'))
}

#[cfg(test)]
mod tests;
