//! The leases of external calls in the tables of the simulated store.

use std::time::Duration;

use hookbox_driver::{ClaimState, DeferReason, Leases, TargetName, WaitingAttempt};
use hookbox_event::{ContentDigest, Envelope, KeyDigest, Timestamp};

use crate::on_route::OnRoute;
use crate::retry_leases::RetryLeases;
use crate::tables::{Claim, Retry, StoredOutcome, Tables};

/// A lease that a transaction stores when it commits.
pub(crate) struct NewLease {
    pub on: OnRoute,
    pub envelope: Envelope,
    pub other_digest: Option<ContentDigest>,
    pub attempt: u32,
    pub before: u32,
    pub leases: Leases,
    pub target: TargetName,
    /// The key of the event, if its version was compared.
    pub key: Option<KeyDigest>,
    /// When the lease ends, as the time since the beginning of the run.
    pub not_before: Duration,
}

/// Returns what the store's clock shows at this time since the beginning of the run.
pub(crate) fn clock(now: Duration) -> Timestamp {
    Timestamp::from_unix_micros(0).saturating_add(now)
}

impl Retry {
    /// Returns whether the event has a lease that has not ended. Until the lease ends, nothing but
    /// the end of its call may be recorded for the event.
    pub fn is_leased(&self, now: Duration) -> bool {
        self.leases.target.is_some() && self.not_before > now
    }
}

impl Tables {
    /// Returns how many leases of a target have not ended.
    pub fn in_flight(&self, target: &TargetName, now: Duration) -> u32 {
        let is_leased = |retry: &&Retry| {
            let is_it = retry.leases.target.as_ref() == Some(target);
            is_it && retry.not_before > now
        };
        let leased = self.retries.values().filter(is_leased);
        u32::try_from(leased.count()).unwrap_or(u32::MAX)
    }

    /// Returns the attempt for which an event waits, and the leases of the event.
    pub fn waiting(&self, on: &OnRoute, now: Duration) -> (Option<WaitingAttempt>, Leases) {
        let retry = self.retries.get(on);
        let waiting = retry.map(|retry| WaitingAttempt {
            attempt: retry.attempt,
            attempts_before: retry.before,
            is_put_off: retry.is_put_off(now),
        });
        let leases = Leases {
            epoch: self.epochs.get(on).copied().unwrap_or(0),
            without_outcome: retry.map_or(0, |retry| retry.leases.without_outcome),
            last_done: self.last_done.get(on).copied().unwrap_or(0),
        };
        (waiting, leases)
    }

    /// Stores a lease, and makes its event wait until the lease ends.
    pub fn give(&mut self, lease: &NewLease) {
        let NewLease {
            on,
            envelope,
            attempt,
            leases,
            ..
        } = lease;
        let claim = Claim {
            state: ClaimState::Retrying,
            attempts: attempt.saturating_sub(1),
        };
        if let Some(key) = lease.key {
            self.newest.call(on, key, lease.not_before);
        }
        self.claims.insert(on.clone(), claim);
        self.epochs.insert(on.clone(), leases.epoch);
        self.put_receipt(&on.0, envelope, StoredOutcome::Retrying, lease.other_digest);
        let same = self.retries.get(on).filter(|it| it.attempt == *attempt);
        let deferred = same.and_then(|retry| retry.deferred);
        let retry = Retry {
            attempt: *attempt,
            before: lease.before,
            not_before: lease.not_before,
            queued_at: None,
            deferred: Some(deferred.unwrap_or(DeferReason::Leased)),
            leases: RetryLeases {
                target: Some(lease.target.clone()),
                without_outcome: leases.without_outcome,
            },
        };
        self.retries.insert(on.clone(), retry);
    }
}
