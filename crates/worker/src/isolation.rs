//! Runs suspected events (whose handler may have ended a process), each alone in its process, and
//! in an order that does not quarantine an innocent event.
//!
//! A process that is killed again and again, by an operator or for lack of memory, dies with
//! whatever happens to run. So an event whose isolated run has already ended with the death of a
//! process runs last. It waits until the process has done other work, and then until the process
//! has nothing else to do or has run for a while. If three processes die during such runs of the
//! event, the event is almost certainly the cause.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::{Counted, Counters};
use crate::pause::Stopped;

/// How long a process must have had no other work before it runs an event whose isolated run has
/// already ended with the death of a process. This time is longer than prefetched messages take to
/// arrive.
const IDLE: Duration = Duration::from_secs(1);

/// How long a process that has completed nothing must be idle before it runs an event whose
/// isolated run has already ended with the death of a process. The process cannot wait for other
/// work to be completed first, because there may be no other event.
const QUIET: Duration = Duration::from_secs(5);

/// The longest time that an event waits before its next isolated run, after an earlier one has
/// ended with the death of a process. A process that has stayed alive for this long is probably not
/// being killed again and again for another reason. So if it dies in the next run of the event, the
/// event is the likely cause.
const TURN_MAX: Duration = Duration::from_secs(30);

/// How often a suspected event that waits for its isolated run checks whether it may run.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// The longest time for which other work may not start while a suspected event waits for running
/// handlers to end. If they do not end in this time, other work may start again for a period of the
/// same length.
const ISOLATE_WAIT: Duration = Duration::from_secs(5);

/// The isolation lock. Ordinary attempts hold it shared, and a suspected event holds it
/// exclusively.
#[derive(Default)]
pub(crate) struct Isolation {
    lock: RwLock<()>,
    /// The number of ordinary attempts that run, or that wait for an isolated run to end.
    shared: AtomicU64,
    /// Suspected events that wait or run. Each entry has the number of process deaths during the
    /// event's isolated runs, and the event's ticket number, which says when it started to wait.
    tickets: Mutex<BTreeSet<(u32, u64)>>,
    /// How many attempts, ordinary or isolated, have started or begun to wait since this process
    /// started.
    entered: AtomicU64,
}

/// Lets one ordinary attempt run. The permission lasts until this value is dropped.
pub(crate) struct Shared<'a> {
    _counted: Counted<'a>,
    _lock: RwLockReadGuard<'a, ()>,
}

/// Lets one suspected event run in isolation: no other handler runs until this value is dropped.
pub(crate) struct Isolated<'a> {
    _lock: RwLockWriteGuard<'a, ()>,
    _ticket: Ticket<'a>,
}

/// The position of a suspected event among those that wait.
pub(crate) struct Ticket<'a> {
    isolation: &'a Isolation,
    deaths: u32,
    number: u64,
}

impl Isolation {
    /// Waits while an event runs in isolation, and then admits one ordinary attempt.
    pub async fn shared(&self) -> Shared<'_> {
        self.entered.fetch_add(1, Ordering::Relaxed);
        let counted = Counted::new(&self.shared, 1);
        Shared {
            _counted: counted,
            _lock: self.lock.read().await,
        }
    }

    /// Waits until it is the turn of a suspected event, and until nothing else runs in this
    /// process. `deaths` is the number of processes that died during the event's isolated runs.
    /// Returns `None` if running handlers do not end within [`ISOLATE_WAIT`]. One of them may be
    /// blocked for hours, and no other work may start during this wait.
    pub async fn isolate(
        &self,
        deaths: u32,
        counters: &Counters,
        shutdown: &CancellationToken,
    ) -> Result<Option<Isolated<'_>>, Stopped> {
        let ticket = self.ticket(deaths);
        let isolated = async {
            ticket.wait_for_turn(counters).await;
            timeout(ISOLATE_WAIT, ticket.isolate()).await
        };
        let isolated = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(Stopped),
            isolated = isolated => isolated,
        };
        if let Ok(isolated) = isolated {
            return Ok(Some(isolated));
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(Stopped),
            () = sleep(ISOLATE_WAIT) => Ok(None),
        }
    }

    /// Takes a position among the waiting suspected events, behind those with fewer process deaths
    /// in isolation.
    fn ticket(&self, deaths: u32) -> Ticket<'_> {
        let number = self.entered.fetch_add(1, Ordering::Relaxed);
        self.tickets().insert((deaths, number));
        Ticket {
            isolation: self,
            deaths,
            number,
        }
    }

    fn tickets(&self) -> MutexGuard<'_, BTreeSet<(u32, u64)>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Ticket<'a> {
    /// Waits until it is this event's turn. That is at once if no process has died during an
    /// isolated run of the event.
    pub async fn wait_for_turn(&self, counters: &Counters) {
        if self.deaths == 0 {
            return;
        }
        let began = Instant::now();
        let (mut seen, mut quiet_since) = (self.activity(counters), began);
        loop {
            sleep(CHECK_EVERY).await;
            let activity = self.activity(counters);
            if activity != seen || self.is_behind() {
                (seen, quiet_since) = (activity, Instant::now());
            }
            let quiet = if counters.has_completed() {
                IDLE
            } else {
                QUIET
            };
            if quiet_since.elapsed() >= quiet || began.elapsed() >= TURN_MAX {
                return;
            }
        }
    }

    /// Waits until no other handler runs.
    pub async fn isolate(self) -> Isolated<'a> {
        Isolated {
            _lock: self.isolation.lock.write().await,
            _ticket: self,
        }
    }

    /// Returns a number that grows whenever an attempt starts or is completed. If it stays the
    /// same, the process is idle.
    fn activity(&self, counters: &Counters) -> u64 {
        let entered = self.isolation.entered.load(Ordering::Relaxed);
        entered.wrapping_add(counters.settled())
    }

    /// Returns whether this event must wait for others to run first: for ordinary work, or for a
    /// suspected event with a better position.
    fn is_behind(&self) -> bool {
        let first = self.isolation.tickets().first().copied();
        self.isolation.shared.load(Ordering::Relaxed) > 0
            || first.is_some_and(|first| first < (self.deaths, self.number))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut tickets = self.isolation.tickets();
        tickets.remove(&(self.deaths, self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Counters {
        Counters::new([&"scores".parse().expect("the name must be valid")])
    }

    fn complete(counters: &Counters) {
        for route in counters.routes.values() {
            route.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn waits(ticket: &Ticket<'_>, counters: &Counters) -> Duration {
        let began = Instant::now();
        ticket.wait_for_turn(counters).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_without_a_death_runs_in_isolation_at_once() {
        let isolation = Isolation::default();
        let _busy = isolation.shared().await;
        let waited = waits(&isolation.ticket(0), &counters()).await;
        assert_eq!(waited, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_event_runs_after_a_quiet_time() {
        let isolation = Isolation::default();
        let waited = waits(&isolation.ticket(1), &counters()).await;
        assert_eq!(waited, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn after_other_work_an_event_runs_as_soon_as_the_process_is_idle() {
        let (isolation, counters) = (Isolation::default(), counters());
        complete(&counters);
        let waited = waits(&isolation.ticket(1), &counters).await;
        assert_eq!(waited, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_for_those_with_fewer_deaths() {
        let (isolation, counters) = (Isolation::default(), counters());
        complete(&counters);
        let worse = isolation.ticket(2);
        let better = isolation.ticket(1);
        let second = async {
            waits(&better, &counters).await;
            sleep(3 * IDLE).await;
            complete(&counters);
            drop(better);
        };
        let (waited, ()) = tokio::join!(waits(&worse, &counters), second);
        assert!(waited > 5 * IDLE - CHECK_EVERY, "{waited:?}");
        assert!(waited < TURN_MAX, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_does_not_wait_for_ever_beside_work_that_never_ends() {
        let (isolation, counters) = (Isolation::default(), counters());
        complete(&counters);
        let _busy = isolation.shared().await;
        let waited = waits(&isolation.ticket(1), &counters).await;
        assert_eq!(waited, TURN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn no_other_handler_runs_beside_an_isolated_one() {
        let isolation = Isolation::default();
        let isolated = isolation.ticket(0).isolate().await;
        let other = tokio::time::timeout(QUIET, isolation.shared()).await;
        assert!(
            other.is_err(),
            "no other handler may run beside the isolated one"
        );
        drop(isolated);
        let _other = isolation.shared().await;
        let beside = tokio::time::timeout(QUIET, isolation.ticket(0).isolate()).await;
        assert!(
            beside.is_err(),
            "no isolated run may start beside another handler"
        );
    }
}
