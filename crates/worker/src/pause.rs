//! Waits after a fault of a dependency: for a growing time with jitter, until the shutdown at most.
//! Each outage is logged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, Rng, describe};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest wait after a fault; the wait grows with each further fault in a row. It is long
/// enough that the first refused connections of a failover do not cause a storm of reconnects, and
/// short enough that users do not notice it.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two checks of an unavailable dependency, and so the longest time in
/// which its recovery is not noticed.
const LONGEST: Duration = Duration::from_secs(5);

/// How many times in a row work is repeated without a pause after contention. After that, the
/// contention is treated like an outage.
const CONTENTION_MAX: u32 = 5;

/// The longest wait before work that met contention is repeated.
const CONTENTION_WAIT: Duration = Duration::from_millis(25);

/// A run that met contention and took longer than this has waited for a lock. Another session then
/// probably holds the lock for long, so the run is not repeated at once.
const QUICK: Duration = Duration::from_secs(1);

/// How long contention may last before it is logged. Shorter contention is normal, because a slow
/// handler may hold the claim.
const CONTENTION_SHOWN: Duration = Duration::from_secs(8);

/// Counts consecutive faults of one piece of work, and waits after each of them.
pub(crate) struct Pause<'a> {
    pub what: &'a str,
    /// Whether this kind of work is paused. All work of the kind shares it, so that an outage is
    /// logged once.
    pub paused: &'a AtomicBool,
    pub rng: &'a Arc<dyn Rng>,
    pub shutdown: &'a CancellationToken,
    in_a_row: u32,
    /// When the first of the consecutive faults occurred.
    since: Option<Instant>,
}

/// The error for work that was stopped before it had its outcome, by a shutdown or because it has
/// waited for too long.
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

    /// Returns whether contention may be over soon: there were few faults in a row, and the run was
    /// too short to have waited for a lock. `took` is how long the run took.
    pub fn is_quick(&self, took: Duration) -> bool {
        self.in_a_row < CONTENTION_MAX && took < QUICK
    }

    /// Returns whether no fault has occurred since the work last succeeded.
    pub fn is_first(&self) -> bool {
        self.in_a_row == 0
    }

    /// Waits after a fault. The wait depends on the kind of the fault, and grows with the number
    /// of faults in a row. Returns [`Stopped`] if the shutdown comes first.
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
        self.idle(wait).await
    }

    /// Waits for the time `wait`, for example between two checks that both succeed. Returns
    /// [`Stopped`] if the shutdown comes first.
    pub async fn idle(&self, wait: Duration) -> Result<(), Stopped> {
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

    /// Records that the work succeeded, and logs that it resumes if it was paused.
    pub fn over(&mut self) {
        self.in_a_row = 0;
        self.since = None;
        if self.paused.swap(false, Ordering::Relaxed) {
            tracing::info!(what = self.what, "{} resumes", self.what);
        }
    }

    /// Logs the beginning of an outage, once for the outage and not once for each message.
    fn log(&self, fault: &Fault) {
        if !self.paused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                what = self.what,
                fault.kind = fault.kind().as_str(),
                error = describe(fault),
                "{} is paused: what is in flight is kept, and it resumes when the fault is over",
                self.what
            );
        }
    }
}
