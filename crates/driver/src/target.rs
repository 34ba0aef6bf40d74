//! The targets of external calls: how many calls all workers together may make to one, and the
//! circuit breaker that stops calls to a target which is down.
//!
//! A store keeps one row for each target. The rules are pure functions of that row, so that every
//! store decides alike. A store changes the row under a lock, in the transaction that grants leases
//! or records outcomes.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hookbox_event::{EventNumber, Timestamp};
use serde::{Serialize, Serializer};

/// How many calls in a row must meet a fault of the target before the breaker opens. Each must be
/// for another event than the call before, because a single event may cause the faults itself: when
/// its request crashes the service, the service's proxy answers 502.
pub const FAULTS_TO_OPEN: u32 = 5;

/// How long the breaker stays open at first. This is long enough for a service to restart.
const OPEN_FIRST: Duration = Duration::from_secs(5);

/// The longest time that the breaker stays open, before a random share of up to 20 % is added or
/// subtracted. So after at most 72 seconds, the next call probes the target.
const OPEN_MAX: Duration = Duration::from_secs(60);

/// The longest name of a target, in bytes: longer than every host name (253, RFC 1035) with its
/// scheme and port.
const NAME_MAX: usize = 300;

/// The name of a target. All routes whose calls go to the same target share its limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(Arc<str>);

/// Why a text is not the name of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a target has 1 to {NAME_MAX} visible ASCII characters")]
pub struct InvalidTargetName;

/// How many calls all workers together may make to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetLimits {
    /// The most calls at once.
    pub concurrency: NonZeroU32,
    /// The most calls in a period; `None` for no limit.
    pub rate: Option<Rate>,
}

/// A number of calls in a period. After a period without calls, all of them may begin at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of calls.
    pub calls: NonZeroU32,
    /// The length of the period.
    pub per: Duration,
}

/// Why a call may not be made to a target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPermit {
    /// The allowed number of calls is in flight. It is not known when one of them will end.
    Busy,
    /// The rate permits no further call for this time.
    Rate(Duration),
    /// The target asked to wait (`Retry-After`) for this time.
    Wait(Duration),
    /// The breaker is open for this time.
    Open(Duration),
}

/// What the end of a call shows about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAnswer {
    /// The target's service answered, with any status that is not one of the following cases.
    Answered,
    /// The target was not reached, or its proxy reported that the service was not reached.
    Fault,
    /// The target asked for a pause of this length (429, or 503 with `Retry-After`).
    Wait(Duration),
    /// The call shows nothing about the target: it took too long, or was not made.
    Nothing,
}

/// What is stored of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetState {
    /// The number of calls in a row that met a fault, each for another event than the one before.
    pub faults: u32,
    /// The event of the last call that met a fault.
    pub last_fault: Option<EventNumber>,
    /// How often the breaker was opened since it was last closed.
    pub openings: u32,
    /// The end of the time for which the breaker is open; `None` while it is closed. Afterwards one
    /// call at a time probes the target.
    pub open_until: Option<Timestamp>,
    /// The end of the pause that the target asked for; `None` if it never asked for one.
    pub wait_until: Option<Timestamp>,
    /// The moment up to which earlier calls have used the rate; see `permit_at`.
    pub rate_until: Option<Timestamp>,
}

/// Whether calls are made to a target, in the form that operators see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls are made as far as the limits of the target allow.
    Closed,
    /// No calls are made.
    Open,
    /// One call at a time probes the target.
    HalfOpen,
}

/// A target in the form that operators see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetRow {
    /// The name of the target.
    pub target: TargetName,
    /// Whether calls are made to the target.
    pub breaker: BreakerState,
    /// The moment until which no calls are made, because the breaker is open or the target asked
    /// for a pause; `None` when calls may be made now.
    pub blocked_until: Option<Timestamp>,
    /// The number of leases of the target that have not ended, each for one call.
    pub in_flight: u64,
    /// The number of calls in a row that met a fault of the target, each for another event than the
    /// one before.
    pub faults: u32,
    /// The last error of a call that did not reach the target, or with which the target asked for a
    /// pause; `None` when there was none. It is kept when the target answers again.
    pub last_error: Option<TargetError>,
}

/// Why a target was not reached, or how it asked for a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetError {
    /// The text of the error, without what the target itself wrote.
    pub error: String,
    /// When the store recorded the error.
    pub at: Timestamp,
}

impl TargetName {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = InvalidTargetName;

    fn from_str(text: &str) -> Result<Self, InvalidTargetName> {
        let is_valid = (1..=NAME_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| Self(text.into())).ok_or(InvalidTargetName)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TargetName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl TargetRow {
    /// Returns whether the target has a problem: it gets no calls or only probes now, or its last
    /// call met a fault. If so, its last error says why.
    pub fn is_in_trouble(&self) -> bool {
        self.breaker != BreakerState::Closed || self.blocked_until.is_some() || self.faults > 0
    }
}

impl TargetState {
    /// Returns the state of the breaker.
    pub fn breaker(&self, now: Timestamp) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Returns for how long no call may be made to the target, whatever its limits are; `None` if
    /// calls may be made.
    pub fn blocked(&self, now: Timestamp) -> Option<NoPermit> {
        let left = |until: Option<Timestamp>| {
            let until = until.filter(|until| now < *until)?;
            Some(until.since(now))
        };
        let open = left(self.open_until).map(NoPermit::Open);
        open.or_else(|| left(self.wait_until).map(NoPermit::Wait))
    }

    /// Returns the target in the form that operators see.
    pub fn row(
        &self,
        target: TargetName,
        now: Timestamp,
        in_flight: u64,
        last_error: Option<TargetError>,
    ) -> TargetRow {
        let blocked = self.blocked(now).and_then(|why| match why {
            NoPermit::Open(left) | NoPermit::Wait(left) => Some(now.saturating_add(left)),
            NoPermit::Busy | NoPermit::Rate(_) => None,
        });
        TargetRow {
            target,
            breaker: self.breaker(now),
            blocked_until: blocked,
            in_flight,
            faults: self.faults,
            last_error,
        }
    }

    /// Takes permits for up to `wanted` calls. `in_flight` is the number of leases of the target
    /// that have not ended. Returns the number of permits, and why there are no more.
    pub fn permit(
        &mut self,
        now: Timestamp,
        limits: TargetLimits,
        in_flight: u32,
        wanted: u32,
    ) -> (u32, NoPermit) {
        if let Some(blocked) = self.blocked(now) {
            return (0, blocked);
        }
        let at_once = match self.open_until {
            Some(_) => 1,
            None => limits.concurrency.get(),
        };
        let free = at_once.saturating_sub(in_flight);
        let Some(rate) = limits.rate else {
            return (free.min(wanted), NoPermit::Busy);
        };
        let (permitted, wait) = self.permit_at(now, rate, free.min(wanted));
        let why = if free <= permitted {
            NoPermit::Busy
        } else {
            NoPermit::Rate(wait)
        };
        (permitted, why)
    }

    /// Takes permits from the rate alone. Returns their number, and after what time the rate
    /// permits one more call.
    ///
    /// This is the generic cell rate algorithm: each call moves `rate_until` forward by `per`
    /// divided by `calls`, and `rate_until` may be ahead of `now` by at most `per`. If it is
    /// further ahead, calls under another rate have set it, or the store's clock was set back. Then
    /// one call is permitted, and the others follow at this rate. So a higher rate takes effect at
    /// once.
    fn permit_at(&mut self, now: Timestamp, rate: Rate, wanted: u32) -> (u32, Duration) {
        let interval = rate.per / rate.calls.get();
        let furthest = now.saturating_add(rate.per);
        let mut until = match self.rate_until {
            None => now,
            Some(until) if until <= furthest => until.max(now),
            Some(_) => now.saturating_add(rate.per.saturating_sub(interval)),
        };
        let mut permitted = 0;
        while permitted < wanted && until.saturating_add(interval).since(now) <= rate.per {
            until = until.saturating_add(interval);
            permitted += 1;
        }
        self.rate_until = Some(until);
        let ahead = until.saturating_add(interval).since(now);
        (permitted, ahead.saturating_sub(rate.per))
    }

    /// Updates the state after calls have ended, in the order in which they ended. `chance` is a
    /// random number from 0 to 1. It varies how long the breaker stays open, so that several
    /// targets of one service are not probed at the same moment.
    pub fn note(&mut self, now: Timestamp, ends: &[(EventNumber, TargetAnswer)], chance: f64) {
        for (event, answer) in ends {
            match answer {
                TargetAnswer::Answered => self.close(),
                TargetAnswer::Fault => self.note_fault(now, *event, chance),
                TargetAnswer::Wait(wait) => {
                    self.close();
                    let until = now.saturating_add(*wait);
                    self.wait_until = self.wait_until.max(Some(until));
                }
                TargetAnswer::Nothing => {}
            }
        }
    }

    fn close(&mut self) {
        self.faults = 0;
        self.last_fault = None;
        self.openings = 0;
        self.open_until = None;
    }

    fn note_fault(&mut self, now: Timestamp, event: EventNumber, chance: f64) {
        if self.last_fault != Some(event) {
            self.faults = self.faults.saturating_add(1);
        }
        self.last_fault = Some(event);
        match self.breaker(now) {
            // The call began before the breaker opened, so it shows nothing new.
            BreakerState::Open => {}
            BreakerState::Closed if self.faults < FAULTS_TO_OPEN => {}
            BreakerState::Closed | BreakerState::HalfOpen => {
                let doubled = OPEN_FIRST.saturating_mul(1 << self.openings.min(10));
                let open = doubled
                    .min(OPEN_MAX)
                    .mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0));
                self.openings = self.openings.saturating_add(1);
                self.open_until = Some(now.saturating_add(open));
            }
        }
    }
}

#[cfg(test)]
mod tests;
