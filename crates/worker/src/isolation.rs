//! Running one suspected event alone in its process, in an order that convicts no innocent.
//!
//! A process that is killed again and again, by an operator or for want of memory, dies with
//! whatever happens to run. So what has died alone before runs last: when the process has done
//! other work, and has nothing else to do or has lived for a while. What ends the process then,
//! three times, is hardly an accident.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::{Counted, Counters};
use crate::pause::Stopped;

/// How long there must be nothing else to do before an event runs that has died alone before:
/// longer than what was prefetched takes to arrive.
const IDLE: Duration = Duration::from_secs(1);

/// How long nothing must be completed before such an event runs although nothing was: it may be
/// the only one there is.
const QUIET: Duration = Duration::from_secs(5);

/// The longest that such an event waits for its turn. A process that has lived for so long with
/// other work is not one that is killed all the time.
const TURN_MAX: Duration = Duration::from_secs(30);

/// How often a waiting event checks whether its turn has come.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// How long a suspected event that has its turn keeps other work from starting while it waits for
/// what runs, and how long it then lets other work start again.
const ISOLATE_WAIT: Duration = Duration::from_secs(5);

/// Held shared by ordinary attempts, exclusively by a suspected event.
#[derive(Default)]
pub(crate) struct Isolation {
    lock: RwLock<()>,
    /// Ordinary work that runs, or waits for an event that runs alone.
    shared: AtomicU64,
    /// Suspected events that wait for their turn or run: how often each has died alone, and its
    /// number.
    tickets: Mutex<BTreeSet<(u32, u64)>>,
    /// Work that ever entered.
    entered: AtomicU64,
}

/// Ordinary work, until this is dropped.
pub(crate) struct Shared<'a> {
    _counted: Counted<'a>,
    _lock: RwLockReadGuard<'a, ()>,
}

/// A suspected event that has its turn: nothing else runs until this is dropped.
pub(crate) struct Isolated<'a> {
    _lock: RwLockWriteGuard<'a, ()>,
    _ticket: Ticket<'a>,
}

/// A suspected event in its place.
pub(crate) struct Ticket<'a> {
    isolation: &'a Isolation,
    deaths: u32,
    number: u64,
}

impl Isolation {
    /// Enters ordinary work.
    pub async fn shared(&self) -> Shared<'_> {
        self.entered.fetch_add(1, Ordering::Relaxed);
        let counted = Counted::new(&self.shared, 1);
        Shared {
            _counted: counted,
            _lock: self.lock.read().await,
        }
    }

    /// Waits for the turn of an event that has died alone so often, and until nothing else runs in
    /// this process. It gives up where that takes long: nothing else starts meanwhile, and what
    /// runs may itself be held up for hours.
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
            isolated = isolated => isolated,
            () = shutdown.cancelled() => return Err(Stopped),
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

    /// Takes a place among the suspected events, behind those that have died less often.
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
    /// Waits until this event is to run. One that has not died alone yet does not wait.
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

    /// Waits until nothing else runs.
    pub async fn isolate(self) -> Isolated<'a> {
        Isolated {
            _lock: self.isolation.lock.write().await,
            _ticket: self,
        }
    }

    /// What grows with everything that enters and everything that is completed.
    fn activity(&self, counters: &Counters) -> u64 {
        let entered = self.isolation.entered.load(Ordering::Relaxed);
        entered.wrapping_add(counters.settled())
    }

    /// Whether there is work that is less suspicious.
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
        Counters::new([&"scores".parse().expect("a valid name")])
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
    async fn the_first_time_alone_is_at_once() {
        let isolation = Isolation::default();
        let _busy = isolation.shared().await;
        let waited = waits(&isolation.ticket(0), &counters()).await;
        assert_eq!(waited, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_event_there_is_runs_after_a_quiet_while() {
        let isolation = Isolation::default();
        let waited = waits(&isolation.ticket(1), &counters()).await;
        assert_eq!(waited, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn after_other_work_it_runs_as_soon_as_there_is_none() {
        let (isolation, counters) = (Isolation::default(), counters());
        complete(&counters);
        let waited = waits(&isolation.ticket(1), &counters).await;
        assert_eq!(waited, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_behind_what_has_died_less_often() {
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
    async fn it_does_not_wait_for_ever_beside_work_that_never_ends() {
        let (isolation, counters) = (Isolation::default(), counters());
        complete(&counters);
        let _busy = isolation.shared().await;
        let waited = waits(&isolation.ticket(1), &counters).await;
        assert_eq!(waited, TURN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_runs_beside_it() {
        let isolation = Isolation::default();
        let isolated = isolation.ticket(0).isolate().await;
        let other = tokio::time::timeout(QUIET, isolation.shared()).await;
        assert!(other.is_err(), "something runs beside it");
        drop(isolated);
        let _other = isolation.shared().await;
        let beside = tokio::time::timeout(QUIET, isolation.ticket(0).isolate()).await;
        assert!(beside.is_err(), "it runs beside something");
    }
}
