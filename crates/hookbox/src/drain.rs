//! Divides the time of a drain (an orderly shutdown) among its parts. The first part is the lead
//! (`drain_lead` in the config, 0 by default): readiness reports 503, and requests are still
//! accepted. The second part is the grace, in which running work may end. The last part is for
//! cancelled work, start markers and closing connections.

use std::time::Duration;

use hookbox_config::Config;
use hookbox_ingest::DrainTimes;

/// The share of the drain in which running work may end normally, as a fraction of the time after
/// the lead. With the default drain of 20 s, this is 12 s: longer than the longest deadline of a
/// request (10 s, for a body), so every request is answered or reaches its deadline. Work that
/// still runs after this time is cancelled, and its messages are released.
const GRACE: f64 = 0.6;

/// The share of the drain in which a worker clears its start markers (the rows that count handler
/// starts), as a fraction of the time after the lead. If the markers stayed, a later worker would
/// conclude that this process had crashed in the handler. Clearing takes one round trip to a store
/// that answers, and most often there is nothing to clear.
const CLEAR_MARKERS: f64 = 0.1;

/// The share of the drain within which every role must end, as a fraction of the time after the
/// lead. It is larger than [`GRACE`], because after running work was cancelled, ingest waits up to
/// 2.5 s for the broker to confirm publishes. The remaining share is for closing connections.
const ROLES: f64 = 0.85;

/// The times of the parts of a drain.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    lead: Duration,
    /// The time of the drain after its lead. In this time, requests are no longer accepted.
    rest: Duration,
}

impl Drain {
    /// Returns the times of the drain that the config sets. The drain's total time includes the
    /// lead, so that a service manager needs to know only one number.
    pub fn of(config: &Config) -> Self {
        Self::new(config.drain, config.drain_lead)
    }

    /// Returns the times of a drain that takes `all` in total, with a lead of `lead`.
    pub fn new(all: Duration, lead: Duration) -> Self {
        Self {
            lead: lead.min(all),
            rest: all.saturating_sub(lead),
        }
    }

    /// Returns the times for ingest: how long it still accepts requests after the signal, and how
    /// long it answers open requests after that.
    pub fn times(&self) -> DrainTimes {
        DrainTimes {
            lead: self.lead,
            grace: self.rest.mul_f64(GRACE),
        }
    }

    /// Returns how long after the signal a worker's running transactions are cancelled. A worker
    /// receives no requests, so it starts to drain at the signal, and not after the lead. Its work
    /// is cancelled at the same time as that of ingest.
    pub fn grace(&self) -> Duration {
        self.lead + self.rest.mul_f64(GRACE)
    }

    /// Returns how long a worker may take to clear its start markers (the rows that count handler
    /// starts). `since` is the time that has passed after the signal. Usually the result is the
    /// planned share of the drain. If roles must end soon, it is at most 80 % of the time until
    /// then.
    pub fn clear_markers_after(&self, since: Duration) -> Duration {
        let left = self.roles().saturating_sub(since);
        self.rest.mul_f64(CLEAR_MARKERS).min(left.mul_f64(0.8))
    }

    /// Returns the time from the signal until every role must have ended.
    pub fn roles(&self) -> Duration {
        self.lead + self.rest.mul_f64(ROLES)
    }

    /// Returns the time for closing connections, after every role has ended.
    pub fn closing(&self) -> Duration {
        self.rest.mul_f64(1.0 - ROLES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_is_a_part_of_the_whole() {
        let second = Duration::from_secs(1);
        let without = Drain::new(20 * second, Duration::ZERO);
        assert_eq!(without.times().lead, Duration::ZERO);
        assert_eq!(without.grace(), 12 * second);
        let at_the_grace = without.clear_markers_after(without.grace());
        assert_eq!(at_the_grace, 2 * second);
        assert!(without.grace() + at_the_grace < without.roles());
        let late = Duration::from_millis(16_500);
        assert!(late + without.clear_markers_after(late) < without.roles());
        assert_eq!(without.clear_markers_after(18 * second), Duration::ZERO);
        assert_eq!(without.roles() + without.closing(), 20 * second);
        let with = Drain::new(30 * second, 10 * second);
        assert_eq!(with.times().lead, 10 * second);
        assert_eq!(with.times().grace, 12 * second);
        assert_eq!(with.grace(), 22 * second);
        assert_eq!(with.roles() + with.closing(), 30 * second);
    }
}
