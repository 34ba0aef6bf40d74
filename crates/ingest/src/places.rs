//! Places for connections: a limit for all, a limit for each address, and a few for health checks
//! besides.
//!
//! Connections are not authenticated, but only a sender with a key gets a request verified. So
//! where every place is taken, a connection without a verified request is closed, the oldest first:
//! replacing all others takes an attacker as long as it takes to connect so often.

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

/// Which part of the places may be closing besides those that are taken, and at least how many.
/// Accepting waits beyond that, so a small number would make a burst wait for the scheduler.
const CLOSING_PART: usize = 32;
const CLOSING_MIN: usize = 8;

/// Descriptors that are freed for everything else where the operating system allows no more
/// connections, besides those of closing connections: the broker and the store need some.
const SPARE_DESCRIPTORS: usize = 16;

/// For how long the number of places is then limited to the connections that were left.
const FEWER_PLACES_FOR: Duration = Duration::from_secs(60);

/// For how long a connection must have been idle to be closed before an older busy one. A sender
/// that has just connected has not sent its first byte either.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// In [`ConnectionState::idle_since`]: a request is under way.
const BUSY: u64 = u64::MAX;

/// All places of one ingest.
pub(crate) struct Places {
    max: usize,
    per_address_max: usize,
    taken: Mutex<PlaceTable>,
    /// A connection has ended.
    freed: Notify,
    /// Every place is taken by connections with verified requests, and another one is needed.
    is_full: AtomicBool,
    /// The operating system allows no more connections, for example for lack of descriptors.
    is_refused: AtomicBool,
    began: Instant,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct PlaceTable {
    next: u64,
    ordinary: usize,
    /// How many places there are, and until when, where the operating system allows no more.
    fewer: Option<(usize, Instant)>,
    /// Connections that have sent no verified request yet, the oldest first.
    unverified: BTreeMap<u64, Arc<ConnectionState>>,
    /// Connections that were accepted for a health check only, the oldest first.
    reserve: BTreeMap<u64, Arc<ConnectionState>>,
    /// How many of each address: only for addresses that have one.
    by_address: HashMap<AddressBlock, usize>,
    /// Closed to make room, and not yet ended.
    closing: usize,
}

/// The state of a connection that others read.
struct ConnectionState {
    /// `None` for a proxy, which connects for many clients.
    address: Option<AddressBlock>,
    /// Milliseconds since the start of the ingest, or [`BUSY`].
    idle_since: AtomicU64,
    close: CancellationToken,
}

/// One connection's place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    standing: Arc<ConnectionState>,
    is_reserve: bool,
    is_verified: AtomicBool,
}

/// The result for a new connection.
pub(crate) enum Entry {
    /// It has a place.
    Taken(Arc<Place>),
    /// It has the place of another one, which is being closed.
    MadeRoom(Arc<Place>),
    /// Its address has too many.
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

    /// Waits until few connections are closing, so that descriptors are limited, too.
    pub async fn settled(&self) {
        let closing_max = self.closing_max(&mut self.lock());
        self.closing_at_most(closing_max - 1).await;
    }

    /// A connection was accepted: the operating system has room.
    pub fn accepted(&self) {
        self.is_refused.store(false, Ordering::Relaxed);
    }

    /// A connection could not be accepted, for example for lack of descriptors. Closes some that
    /// have no verified request, and waits until they have ended.
    pub async fn not_accepted(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
        {
            let mut taken = self.lock();
            // A part of the connections that exist, not of those that the config allows.
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

    /// Gives a new connection a place, another one's where all are taken.
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

    /// The connection to close for another one: the oldest that has been idle for a while, else the
    /// oldest. For one address only an idle one: its own newer connections are no better.
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

    /// Closes a connection; its place is free at once.
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

    /// How many connections may be closing beside those that have a place.
    fn closing_max(&self, taken: &mut PlaceTable) -> usize {
        (self.max_now(taken) / CLOSING_PART).max(CLOSING_MIN)
    }

    /// How many places there are now.
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
        // Nothing panics while it holds the lock.
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
    /// Whether it has been idle for long enough to be closed first.
    fn is_idle(&self, now: u64) -> bool {
        let since = self.idle_since.load(Ordering::Relaxed);
        since != BUSY && now.saturating_sub(since) >= IDLE_MIN.as_millis() as u64
    }
}

impl Place {
    /// Whether it was let in for a health check only.
    pub fn is_reserve(&self) -> bool {
        self.is_reserve
    }

    /// A request of it was verified: it is not closed to make room.
    pub fn verified(&self) {
        if self.is_verified.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut taken = self.places.lock();
        if taken.unverified.remove(&self.number).is_some() {
            self.places.show(&taken);
        }
    }

    /// Whether a request of it is under way, its head included.
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

    /// Waits until it is closed to make room.
    pub async fn closed(&self) {
        self.standing.close.cancelled().await;
    }

    /// Whether the next connection, or the next one of this address, would find no place.
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
