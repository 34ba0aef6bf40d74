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

/// For how long other work may not start at first, while a suspected event waits for running
/// handlers to end. If they do not end in this window, other work may start again for a period of
/// the same length, and then the window is twice as long.
const WINDOW_FIRST: Duration = Duration::from_secs(5);

/// The longest such window. In this time every transaction ends: see `limit_of_each` of
/// [`crate::time_limits`], for the longest time limit that the config allows.
const WINDOW_MAX: Duration = Duration::from_secs(360);

/// For how long other work may start after a window in which an attempt ran that had taken longer
/// than it may. The end of such an attempt cannot be predicted: its handler may be blocked, or a
/// dependency may be unavailable. So its windows are probably in vain, and they are short and few.
const OVERDUE_BREAK: Duration = Duration::from_secs(30);

/// The isolation lock. Ordinary attempts hold it shared, and a suspected event holds it
/// exclusively.
#[derive(Default)]
pub(crate) struct Isolation {
    lock: RwLock<()>,
    /// The number of ordinary attempts that run, or that wait for an isolated run to end.
    shared: AtomicU64,
    /// When each ordinary attempt that runs ends at the latest, with the number of the attempt. The
    /// attempt may take the time of its handlers, and [`WINDOW_FIRST`] for its other statements.
    ends: Mutex<BTreeSet<(Instant, u64)>>,
    /// How long the next window is. Only one suspected event at a time keeps other work from
    /// starting. It holds this lock until its run has ended or, if its window was too short, while
    /// other work may start again. Otherwise the windows of several suspected events could follow
    /// one another without a break.
    window: tokio::sync::Mutex<Duration>,
    /// Suspected events that wait or run. Each entry has the number of process deaths during the
    /// event's isolated runs, and the event's ticket number, which says when it started to wait.
    tickets: Mutex<BTreeSet<(u32, u64)>>,
    /// How many attempts, ordinary or isolated, have started or begun to wait since this process
    /// started.
    entered: AtomicU64,
}

/// Lets one ordinary attempt run. The permission lasts until this value is dropped.
pub(crate) struct Shared<'a> {
    isolation: &'a Isolation,
    /// The entry in [`Isolation::ends`].
    end: (Instant, u64),
    _counted: Counted<'a>,
    _lock: RwLockReadGuard<'a, ()>,
}

/// Lets one suspected event run in isolation: no other handler runs until this value is dropped.
pub(crate) struct Isolated<'a> {
    _lock: RwLockWriteGuard<'a, ()>,
    _ticket: Ticket<'a>,
}

/// The turn of a suspected event: no other suspected event waits in a window until this value is
/// dropped.
pub(crate) struct Turn<'a> {
    _isolated: Isolated<'a>,
    _window: tokio::sync::MutexGuard<'a, Duration>,
}

/// The position of a suspected event among those that wait.
pub(crate) struct Ticket<'a> {
    isolation: &'a Isolation,
    deaths: u32,
    number: u64,
}

impl Isolation {
    /// Waits while an event runs in isolation, and then admits one ordinary attempt, whose handlers
    /// may take this time.
    pub async fn shared(&self, may_take: Duration) -> Shared<'_> {
        let number = self.entered.fetch_add(1, Ordering::Relaxed);
        let counted = Counted::new(&self.shared, 1);
        let lock = self.lock.read().await;
        let may_take = may_take.min(WINDOW_MAX) + WINDOW_FIRST;
        let end = (Instant::now() + may_take, number);
        self.ends().insert(end);
        Shared {
            isolation: self,
            end,
            _counted: counted,
            _lock: lock,
        }
    }

    /// Returns whether no ordinary attempt may start at the moment.
    pub fn is_closed(&self) -> bool {
        self.lock.try_read().is_err()
    }

    /// Waits until it is the turn of a suspected event, and until nothing else runs in this
    /// process. `deaths` is the number of processes that died during the event's isolated runs.
    /// Returns `None` if running handlers did not end in a window in which no other work could
    /// start (one of them may be blocked for hours), and the time in which other work could start
    /// again is over.
    pub async fn isolate(
        &self,
        deaths: u32,
        counters: &Counters,
        shutdown: &CancellationToken,
    ) -> Result<Option<Turn<'_>>, Stopped> {
        let ticket = self.ticket(deaths);
        let turn = async {
            ticket.wait_for_turn(counters).await;
            self.isolate_in_window(ticket).await
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(Stopped),
            turn = turn => Ok(turn),
        }
    }

    /// Waits in one window until nothing else runs in this process. If the window is too short,
    /// lets other work start for at least as long, and returns `None`.
    async fn isolate_in_window<'a>(&'a self, ticket: Ticket<'a>) -> Option<Turn<'a>> {
        let mut next = self.window.lock().await;
        let wanted = (*next).max(WINDOW_FIRST);
        let window = self.window_of(wanted);
        let began = Instant::now();
        let isolated = timeout(window.unwrap_or(WINDOW_FIRST), ticket.isolate());
        if let Ok(isolated) = isolated.await {
            // The next suspected event most likely needs a window of this length, too.
            *next = began.elapsed();
            return Some(Turn {
                _isolated: isolated,
                _window: next,
            });
        }
        match window {
            Some(_) => {
                sleep(wanted).await;
                *next = wanted.saturating_mul(2).min(WINDOW_MAX);
            }
            None => sleep(OVERDUE_BREAK).await,
        }
        None
    }

    /// Returns the length of a window that begins now and is to be as long as `wanted`. It need not
    /// be longer than the running attempts may take. Returns `None` if one of them has taken longer
    /// than it may: see [`OVERDUE_BREAK`].
    fn window_of(&self, wanted: Duration) -> Option<Duration> {
        let (now, ends) = (Instant::now(), self.ends());
        if ends.first().is_some_and(|(first, _)| *first < now) {
            return None;
        }
        let last = ends.last().map_or(now, |(last, _)| *last);
        Some(wanted.min(last.duration_since(now)).max(WINDOW_FIRST))
    }

    fn ends(&self) -> MutexGuard<'_, BTreeSet<(Instant, u64)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.isolation.ends().remove(&self.end);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut tickets = self.isolation.tickets();
        tickets.remove(&(self.deaths, self.number));
    }
}

#[cfg(test)]
mod tests;
