//! How the time of a drain is shared out among its parts.

use std::time::Duration;

use hookbox_ingest::Leaving;

use crate::config::Config;

/// The share of a drain, after its lead, in which what runs may come to its end by itself: every
/// request has its answer or runs into a deadline of its own (the longest is for a body, 10 s),
/// every transaction commits. What still runs then is cut, and puts back what it holds.
const GRACE: f64 = 0.6;

/// The share after the grace in which a worker takes back what would count as a death of its
/// process. One round trip, where the store answers, and most often there is nothing to take back.
const FAREWELL: f64 = 0.1;

/// The share by which every role has ended: the lanes of ingest wait for confirms (2.5 s) after
/// the grace. The rest is for closing connections.
const ROLES: f64 = 0.85;

/// A drain, as the config has it.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    lead: Duration,
    /// What comes after the lead.
    rest: Duration,
}

impl Drain {
    /// The config's. The lead is a part of it: whoever waits for the process knows one number.
    pub fn of(config: &Config) -> Self {
        Self::new(config.drain, config.drain_lead)
    }

    /// One that takes this long in all.
    pub fn new(all: Duration, lead: Duration) -> Self {
        Self {
            lead: lead.min(all),
            rest: all.saturating_sub(lead),
        }
    }

    /// For ingest.
    pub fn leaving(&self) -> Leaving {
        Leaving {
            lead: self.lead,
            grace: self.rest.mul_f64(GRACE),
        }
    }

    /// For what a worker runs. Nobody sends to it, so it begins at once and lets go when ingest
    /// does.
    pub fn grace(&self) -> Duration {
        self.lead + self.rest.mul_f64(GRACE)
    }

    /// For the last words of a worker to its store, so long after the signal: its share, or most
    /// of what is left until every role must have ended.
    pub fn farewell_after(&self, since: Duration) -> Duration {
        let left = self.roles().saturating_sub(since);
        self.rest.mul_f64(FAREWELL).min(left.mul_f64(0.8))
    }

    /// From the signal until every role has ended.
    pub fn roles(&self) -> Duration {
        self.lead + self.rest.mul_f64(ROLES)
    }

    /// For closing connections, after that.
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
        assert_eq!(without.leaving().lead, Duration::ZERO);
        assert_eq!(without.grace(), 12 * second);
        let at_the_grace = without.farewell_after(without.grace());
        assert_eq!(at_the_grace, 2 * second);
        assert!(without.grace() + at_the_grace < without.roles());
        let late = Duration::from_millis(16_500);
        assert!(late + without.farewell_after(late) < without.roles());
        assert_eq!(without.farewell_after(18 * second), Duration::ZERO);
        assert_eq!(without.roles() + without.closing(), 20 * second);
        let with = Drain::new(30 * second, 10 * second);
        assert_eq!(with.leaving().lead, 10 * second);
        assert_eq!(with.leaving().grace, 12 * second);
        assert_eq!(with.grace(), 22 * second);
        assert_eq!(with.roles() + with.closing(), 30 * second);
    }
}
