//! Places for connections: a limit for all connections, a limit for each address, and a few extra
//! places for health checks.
//!
//! Connections are not authenticated, but only a sender with a key gets a request verified. So when
//! every place is taken, a connection without a verified request is closed, the oldest first. An
//! attacker can displace the connections of others only as fast as it can open connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::address_block::AddressBlock;
use crate::counters::add;
use crate::{Counters, Limits};

/// For each 32 places, one connection may be closing. A closing connection has lost its place, and
/// keeps its file descriptor until its task has ended. While more connections are closing, no new
/// one is let in. With a lower limit, a burst of new connections would wait for the scheduler to
/// run the tasks of the closing ones.
const CLOSING_PART: usize = 32;
/// At least this many connections may be closing at once, even if there are few places.
const CLOSING_MIN: usize = 8;

/// How many file descriptors are freed for the connections to the broker and the store when the
/// operating system allows no further connection. In that case ingest closes as many connections as
/// may be closing at once (see [`CLOSING_PART`]), and this many more.
const SPARE_DESCRIPTORS: usize = 16;

/// How long the number of places stays reduced after the operating system allowed no further
/// connection. The reduced number is the number of connections that ingest then left open.
const FEWER_PLACES_FOR: Duration = Duration::from_secs(60);

/// How long a connection must have been idle to be closed before an older busy connection. The time
/// is not zero, because a sender that has just connected is idle too until its first byte arrives.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// The value of [`ConnectionState::idle_since`] while a request is under way.
const BUSY: u64 = u64::MAX;

/// All places for the connections of one ingest.
pub(crate) struct Places {
    max: usize,
    per_address_max: usize,
    taken: Mutex<PlaceTable>,
    /// Notified whenever a connection has ended.
    freed: Notify,
    /// Whether the last new connection found all places taken by connections with verified
    /// requests.
    is_full: AtomicBool,
    /// Whether the operating system refused the most recent connection, for example for lack of
    /// file descriptors.
    is_refused: AtomicBool,
    began: Instant,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct PlaceTable {
    next: u64,
    ordinary: usize,
    /// A temporary limit on the number of places, with the time at which it ends. It is set when
    /// the operating system allows no more connections.
    fewer: Option<(usize, Instant)>,
    /// Connections that have sent no verified request yet, the oldest first.
    unverified: BTreeMap<u64, Arc<ConnectionState>>,
    /// Connections that were accepted for a health check only, the oldest first.
    reserve: BTreeMap<u64, Arc<ConnectionState>>,
    /// The number of connections of each address; it has entries only for addresses with a
    /// connection.
    by_address: HashMap<AddressBlock, usize>,
    /// The number of connections that were closed to make room and have not ended yet.
    closing: usize,
}

/// The part of a connection's state that other tasks read.
struct ConnectionState {
    /// The address that the connection counts against. `None` for a proxy, which connects for many
    /// clients.
    address: Option<AddressBlock>,
    /// When the connection became idle, in milliseconds since the start of the ingest, or [`BUSY`].
    idle_since: AtomicU64,
    close: CancellationToken,
}

/// The place of one connection. Dropping this value frees the place.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    standing: Arc<ConnectionState>,
    is_reserve: bool,
    is_verified: AtomicBool,
}

/// What was decided about a new connection.
pub(crate) enum Entry {
    /// The connection was given a free place.
    Taken(Arc<Place>),
    /// The connection was given the place of another one, which is being closed.
    MadeRoom(Arc<Place>),
    /// The connection is refused, because its address has too many connections.
    AddressFull,
}

impl Places {
    pub fn new(limits: &Limits, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            taken: Mutex::default(),
            freed: Notify::new(),
            is_full: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            began: Instant::now(),
            counters,
        })
    }

    /// Waits until fewer connections are closing than `closing_max` allows, so that the file
    /// descriptors of closing connections are limited too.
    pub async fn settled(&self) {
        let closing_max = self.closing_max(&mut self.lock());
        self.closing_at_most(closing_max - 1).await;
    }

    /// Records that a connection was accepted, so the operating system has descriptors left.
    pub fn accepted(&self) {
        self.is_refused.store(false, Ordering::Relaxed);
    }

    /// Closes some unverified connections, and waits until they have ended. Called when the
    /// operating system cannot accept a connection, for example for lack of file descriptors.
    pub async fn not_accepted(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
        {
            let mut taken = self.lock();
            // `closing_max` depends on the number of places, so that number is first limited to the
            // number of existing connections: the configured maximum may be far larger.
            taken.fewer = Some((taken.ordinary.max(1), Instant::now() + FEWER_PLACES_FOR));
            for _ in 0..self.closing_max(&mut taken) + SPARE_DESCRIPTORS {
                let Some(number) = self.victim(&taken, None) else {
                    break;
                };
                self.close(&mut taken, number);
            }
            let until = Instant::now() + FEWER_PLACES_FOR;
            taken.fewer = Some((taken.ordinary.max(1), until));
            self.show(&taken);
        }
        self.closing_at_most(0).await;
    }

    async fn closing_at_most(&self, count: usize) {
        while self.lock().closing > count {
            self.freed.notified().await;
        }
    }

    /// Gives a new connection a place. If all places are taken, it gets the place of a connection
    /// without a verified request, which is closed. If there is none, the new connection is
    /// admitted for a health check only.
    pub fn enter(self: &Arc<Self>, peer: IpAddr, is_proxy: bool) -> Entry {
        let address = (!is_proxy).then(|| AddressBlock::from(peer));
        let mut taken = self.lock();
        let taken = &mut *taken;
        let mut made_room = false;
        if let Some(address) = address
            && taken.count(address) >= self.per_address_max
        {
            let Some(number) = self.victim(taken, Some(address)) else {
                add(&self.counters.connections_refused, 1);
                return Entry::AddressFull;
            };
            self.close(taken, number);
            made_room = true;
        }
        let mut is_reserve = false;
        if taken.ordinary < self.max_now(taken) {
            self.is_full.store(false, Ordering::Relaxed);
        } else if let Some(number) = self.victim(taken, None) {
            self.close(taken, number);
            made_room = true;
        } else {
            self.is_full.store(true, Ordering::Relaxed);
            is_reserve = true;
            if taken.reserve.len() >= Limits::HEALTH_CONNECTIONS
                && let Some(number) = taken.reserve.keys().next().copied()
            {
                self.close(taken, number);
                made_room = true;
            }
        }
        let place = self.place(taken, address, is_reserve);
        if made_room {
            Entry::MadeRoom(place)
        } else {
            Entry::Taken(place)
        }
    }

    fn place(
        self: &Arc<Self>,
        taken: &mut PlaceTable,
        address: Option<AddressBlock>,
        is_reserve: bool,
    ) -> Arc<Place> {
        let number = taken.next;
        taken.next += 1;
        let standing = Arc::new(ConnectionState {
            address,
            idle_since: AtomicU64::new(BUSY),
            close: CancellationToken::new(),
        });
        if let Some(address) = address {
            *taken.by_address.entry(address).or_default() += 1;
        }
        if is_reserve {
            taken.reserve.insert(number, Arc::clone(&standing));
        } else {
            taken.ordinary += 1;
            taken.unverified.insert(number, Arc::clone(&standing));
        }
        self.show(taken);
        Arc::new(Place {
            places: Arc::clone(self),
            number,
            standing,
            is_reserve,
            is_verified: AtomicBool::new(false),
        })
    }

    /// Chooses the connection to close for a new one: the oldest that has been idle for
    /// [`IDLE_MIN`], or else the oldest of all. If `of` is an address that has reached its limit,
    /// only an idle connection of that address is chosen, or `None` if there is none: a busy
    /// connection is not closed for a new connection of the same address.
    fn victim(&self, taken: &PlaceTable, of: Option<AddressBlock>) -> Option<u64> {
        let now = self.now();
        let mut idle = taken.unverified.iter().filter(|(_, standing)| {
            (of.is_none() || standing.address == of) && standing.is_idle(now)
        });
        let oldest = || taken.unverified.keys().next();
        let number = idle.next().map(|(number, _)| number);
        number
            .or_else(|| of.is_none().then(oldest).flatten())
            .copied()
    }

    /// Closes a connection, and frees its place at once.
    fn close(&self, taken: &mut PlaceTable, number: u64) {
        let reserved = taken.reserve.remove(&number);
        taken.ordinary -= usize::from(reserved.is_none());
        let Some(standing) = reserved.or_else(|| taken.unverified.remove(&number)) else {
            return;
        };
        taken.leave(standing.address);
        taken.closing += 1;
        standing.close.cancel();
        add(&self.counters.connections_closed, 1);
    }

    /// Returns how many closing connections may exist in addition to the connections with a place.
    fn closing_max(&self, taken: &mut PlaceTable) -> usize {
        (self.max_now(taken) / CLOSING_PART).max(CLOSING_MIN)
    }

    /// Returns how many places there are now: the configured number, or fewer for some time after
    /// the operating system has allowed no further connection.
    fn max_now(&self, taken: &mut PlaceTable) -> usize {
        if taken
            .fewer
            .is_some_and(|(_, until)| Instant::now() >= until)
        {
            taken.fewer = None;
        }
        taken.fewer.map_or(self.max, |(max, _)| max.min(self.max))
    }

    fn show(&self, taken: &PlaceTable) {
        let count = |counter: &AtomicU64, count: usize| {
            counter.store(count as u64, Ordering::Relaxed);
        };
        let counters = &self.counters;
        count(&counters.connections, taken.ordinary + taken.reserve.len());
        count(&counters.connections_unverified, taken.unverified.len());
        count(&counters.connections_reserve, taken.reserve.len());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(BUSY - 1)
    }

    fn lock(&self) -> MutexGuard<'_, PlaceTable> {
        // No code panics while it holds the lock, so the lock is never poisoned.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaceTable {
    fn count(&self, address: AddressBlock) -> usize {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    fn leave(&mut self, address: Option<AddressBlock>) {
        let Some(address) = address else {
            return;
        };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl ConnectionState {
    /// Returns whether the connection has been idle long enough to be closed before older busy
    /// ones.
    fn is_idle(&self, now: u64) -> bool {
        let since = self.idle_since.load(Ordering::Relaxed);
        since != BUSY && now.saturating_sub(since) >= IDLE_MIN.as_millis() as u64
    }
}

impl Place {
    /// Returns whether the connection was admitted for a health check only.
    pub fn is_reserve(&self) -> bool {
        self.is_reserve
    }

    /// Records that a request was verified, so that this connection is not closed to make room.
    pub fn verified(&self) {
        if self.is_verified.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut taken = self.places.lock();
        if taken.unverified.remove(&self.number).is_some() {
            self.places.show(&taken);
        }
    }

    /// Sets whether a request is under way on this connection. A request is under way from the
    /// first byte of its head.
    pub fn set_busy(&self, is_busy: bool) {
        let since = if is_busy { BUSY } else { self.places.now() };
        let before = self.standing.idle_since.swap(since, Ordering::Relaxed);
        let idle = &self.places.counters.connections_idle;
        match (before == BUSY, is_busy) {
            (true, false) => add(idle, 1),
            (false, true) => {
                idle.fetch_sub(1, Ordering::Relaxed);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Waits until this connection is to be closed to make room.
    pub async fn closed(&self) {
        self.standing.close.cancelled().await;
    }

    /// Returns whether a new connection needs the place of this one: all places are taken, or the
    /// address of this connection has reached its limit. Then this connection is closed as soon as
    /// it has been idle for a short time.
    pub fn is_wanted(&self) -> bool {
        let places = &self.places;
        let is_over = |address| places.lock().count(address) >= places.per_address_max;
        places.is_full.load(Ordering::Relaxed)
            || places.is_refused.load(Ordering::Relaxed)
            || self.standing.address.is_some_and(is_over)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_busy(true);
        let mut taken = self.places.lock();
        if self.standing.close.is_cancelled() {
            taken.closing -= 1;
        } else {
            taken.unverified.remove(&self.number);
            if taken.reserve.remove(&self.number).is_none() {
                taken.ordinary -= 1;
                self.places.is_full.store(false, Ordering::Relaxed);
            }
            taken.leave(self.standing.address);
        }
        self.places.show(&taken);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
