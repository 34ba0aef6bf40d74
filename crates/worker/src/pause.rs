//! Waiting out a fault of our own: growing, jittered, ended by shutdown, and logged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Rng, describe};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First wait after a fault. Long enough for a failover's first connection refusals to pass
/// without a storm, short enough not to be noticed.
const FIRST: Duration = Duration::from_millis(100);

/// Longest wait between two checks of a dependency that is unavailable. It bounds how long its
/// recovery is not noticed.
const LONGEST: Duration = Duration::from_secs(5);

/// How often contention is run again at once, before it is treated as a dependency in trouble.
const CONTENTION_MAX: u32 = 5;

/// The wait between runs under contention, at most.
const CONTENTION_WAIT: Duration = Duration::from_millis(25);

/// A run that took longer before it met contention has waited for a lock, which is not released
/// soon.
const QUICK: Duration = Duration::from_secs(1);

/// How long contention may last before it is shown. Whatever holds a claim may be a handler that
/// takes its time.
const CONTENTION_SHOWN: Duration = Duration::from_secs(8);

/// Counts the faults in a row of one piece of work.
pub(crate) struct Pause<'a> {
    pub what: &'a str,
    /// Shared by all work of one kind, so that an outage is one line in the log.
    pub paused: &'a AtomicBool,
    pub rng: &'a Arc<dyn Rng>,
    pub shutdown: &'a CancellationToken,
    in_a_row: u32,
    /// When the first of them was met.
    since: Option<Instant>,
}

/// Work was stopped by shutdown before it had its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl<'a> Pause<'a> {
    pub fn new(
        what: &'a str,
        paused: &'a AtomicBool,
        rng: &'a Arc<dyn Rng>,
        shutdown: &'a CancellationToken,
    ) -> Self {
        Self {
            what,
            paused,
            rng,
            shutdown,
            in_a_row: 0,
            since: None,
        }
    }

    /// Whether contention, met after a run of this length, may be over at once: there were few in
    /// a row, and nothing was waited for.
    pub fn is_quick(&self, took: Duration) -> bool {
        self.in_a_row < CONTENTION_MAX && took < QUICK
    }

    /// Waits as long as this fault asks for.
    pub async fn after(&mut self, fault: &Fault) -> Result<(), Stopped> {
        self.in_a_row += 1;
        let lasts = self.since.get_or_insert_with(Instant::now).elapsed();
        let wait = match fault.kind() {
            FaultKind::Contention if self.in_a_row <= CONTENTION_MAX => {
                CONTENTION_WAIT.mul_f64(self.rng.unit())
            }
            FaultKind::Contention => {
                if lasts >= CONTENTION_SHOWN {
                    self.log(fault);
                }
                self.backoff()
            }
            FaultKind::Unavailable | FaultKind::MissingRight | FaultKind::Internal => {
                self.log(fault);
                self.backoff()
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    fn backoff(&self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.in_a_row.min(10));
        doubled.min(LONGEST).mul_f64(0.5 + 0.5 * self.rng.unit())
    }

    /// It works (again).
    pub fn over(&mut self) {
        self.in_a_row = 0;
        self.since = None;
        if self.paused.swap(false, Ordering::Relaxed) {
            tracing::info!(what = self.what, "{} resumes", self.what);
        }
    }

    /// Logs an outage once, not once per message.
    fn log(&self, fault: &Fault) {
        if !self.paused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                what = self.what,
                fault.kind = fault.kind().as_str(),
                error = describe(fault),
                "{} is paused: it holds what it has and resumes when this is over",
                self.what
            );
        }
    }
}
