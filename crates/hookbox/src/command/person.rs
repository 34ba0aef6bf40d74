//! Communicates with the operator at the terminal. Questions use standard error, so that standard
//! output contains only data.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use hookbox_operations::{NoAnswer, Operator, actor};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::signals;

/// The option that names the operator for the audit.
#[derive(Debug, Args)]
pub struct ByArgs {
    /// Your name, for the audit [default: $USER, else $LOGNAME, else the number of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// The longest reason for a change, in characters. A reason must be short, because it is shown in
/// log lines, on pages and in the audit.
const REASON_CHARS_MAX: usize = 500;

/// The options of a command that changes many things at once: how it asks for confirmation, and the
/// name of the operator.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Change nothing; only report what would be changed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) by: ByArgs,
}

/// Parses a rate: "5/s", "0.5/s", or the number without its unit.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix("/s").unwrap_or(text).trim();
    number
        .parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("{text:?} is not a rate: write a number per second, such as 5/s"))
}

/// Parses the reason for a change.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(format!(
            "give a reason of 1 to {REASON_CHARS_MAX} characters; it is kept in the audit"
        ));
    }
    Ok(reason.to_owned())
}

impl ByArgs {
    /// Returns the operator's name for the audit.
    pub fn actor(&self) -> String {
        // In a container or under cron, both `$USER` and `$LOGNAME` may be missing. In that case
        // the numeric id of the system user is recorded.
        let named = ["USER", "LOGNAME"].map(|name| std::env::var(name).ok());
        let named = named
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        let number = || format!("uid {}", rustix::process::getuid().as_raw());
        actor(self.by.clone(), Some(named.unwrap_or_else(number)))
    }
}

/// The operator who runs this command.
pub struct Person {
    bar: Option<ProgressBar>,
    /// The token that is cancelled by Ctrl-C. It is `None` before the first step of the command. As
    /// long as it is `None`, Ctrl-C ends the process at once.
    interrupt: Option<CancellationToken>,
    tasks: TaskTracker,
}

impl Person {
    /// Returns an operator at this terminal.
    pub fn new() -> Self {
        Self {
            bar: None,
            interrupt: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Makes Ctrl-C cancel the returned token, which a command checks between two steps.
    pub fn listen(&mut self) -> anyhow::Result<CancellationToken> {
        let token = signals::shutdown(&self.tasks)?;
        self.interrupt = Some(token.clone());
        Ok(token)
    }
}

impl Operator for Person {
    fn ask(&mut self, question: &str) -> Result<bool, NoAnswer> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(NoAnswer::NoTerminal);
        }
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} [y/N] ")
            .and_then(|()| stderr.flush())
            .map_err(NoAnswer::Unreadable)?;
        let mut answer = String::new();
        stdin
            .lock()
            .read_line(&mut answer)
            .map_err(NoAnswer::Unreadable)?;
        let answer = answer.trim().to_ascii_lowercase();
        Ok(matches!(answer.as_str(), "y" | "yes"))
    }

    fn progress(&mut self, done: u64, total: u64) {
        if self.interrupt.is_none() {
            // If Ctrl-C cannot be handled, it ends the process at once. In that case only the
            // report is lost, because every step of the command is a transaction.
            let _ = self.listen();
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(done);
    }

    fn interrupted(&self) -> bool {
        self.interrupt
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
