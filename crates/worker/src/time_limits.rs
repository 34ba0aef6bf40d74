//! How long the handler may run on the events of one transaction, and how long messages may be in
//! flight.

use std::time::Duration;

use crate::intake::SHARED_MAX;

/// The longest time limit of one run on several events, equal to the longest that the config allows
/// for one event. It is limited because a batch that fails runs several times, and RabbitMQ
/// redelivers a message that is not settled within 30 minutes.
pub(crate) const BATCH_TIME_LIMIT_MAX: Duration = Duration::from_secs(180);

/// The greatest age at which a transaction continues with other events after the handler has failed
/// in it. An older transaction is rolled back. Otherwise it could hold its locks for as long again,
/// and on SQLite no other transaction could write in that time. The server also limits the length
/// of a transaction. After this time, that limit allows one more run of each event, but not many
/// runs.
pub(crate) const CONTINUES_UNTIL: Duration = Duration::from_secs(5);

/// The greatest age of a transaction at which another run of the handler starts in it. An event
/// whose run would start later leaves the transaction, and runs in a transaction of its own.
/// Without this limit, 64 slow events could keep a transaction open for more than 30 minutes.
/// RabbitMQ redelivers their message after that time, so nothing would ever be committed.
pub(crate) const STARTS_UNTIL: Duration = BATCH_TIME_LIMIT_MAX;

/// How long the events of a message may wait in memory until each of them is leased for its
/// external call. Then the message is released, and the events that are not leased are processed
/// when it is redelivered. RabbitMQ redelivers a message that is not settled within 30 minutes.
/// This limit is a fraction of that, because waiting messages also use up the prefetch, so that
/// other messages are not delivered.
pub(crate) const WAITS_FOR_LEASES: Duration = Duration::from_secs(5 * 60);

/// The longest time limit of one external call. When a process dies, about this time may pass until
/// its calls are made again.
pub(crate) const CALL_TIME_LIMIT_MAX: Duration = Duration::from_secs(600);

/// How long a message may be in flight on a route with external calls before an event of it gets an
/// outcome that others can see. The message is taken when a call ends that uses the last permit.
/// Then its events wait for their leases.
pub const EFFECT_IN_FLIGHT_MAX: Duration = CALL_TIME_LIMIT_MAX.saturating_add(WAITS_FOR_LEASES);

/// Returns how long a message may be in flight on a route with a handler before an event of it gets
/// an outcome that others can see: as long as the handler may run on a full batch before the
/// transaction is committed. A batch that fails as a whole runs again and may take longer.
pub fn handler_in_flight_max(time_limit: Duration) -> Duration {
    limit_of_each(time_limit, SHARED_MAX)
}

/// Returns the time limit for all calls of a handler together, if it is called for one event after
/// another. The last call starts at the age [`STARTS_UNTIL`] of the transaction at the latest.
pub(crate) fn limit_of_each(time_limit: Duration, events: usize) -> Duration {
    let limit = time_limit.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
    limit.min(STARTS_UNTIL.saturating_add(time_limit))
}

/// Returns the time limit of a run on several events at once: that of one event times the number of
/// events, and at most [`BATCH_TIME_LIMIT_MAX`].
pub(crate) fn limit_of_all(time_limit: Duration, events: usize) -> Duration {
    limit_of_each(time_limit, events).min(BATCH_TIME_LIMIT_MAX.max(time_limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_flight_for_as_long_as_its_batch_may_run() {
        for (limit, longest) in [(1, 64), (2, 128), (3, 183), (30, 210), (180, 360)] {
            let limit = Duration::from_secs(limit);
            let longest = Duration::from_secs(longest);
            assert_eq!(handler_in_flight_max(limit), longest, "{limit:?}");
        }
    }

    /// A program of its own may give no limit, as the longest duration.
    #[test]
    fn limits_of_several_events_never_overflow() {
        let second = Duration::from_secs(1);
        for (limit, events, of_each, of_all) in [
            (second, 3, 3 * second, 3 * second),
            (10 * second, 64, 190 * second, 180 * second),
            (200 * second, 2, 380 * second, 200 * second),
            (Duration::MAX, 2, Duration::MAX, Duration::MAX),
        ] {
            assert_eq!(limit_of_each(limit, events), of_each, "{limit:?}");
            assert_eq!(limit_of_all(limit, events), of_all, "{limit:?}");
        }
    }
}
