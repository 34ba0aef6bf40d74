//! The defaults for the settings of a worker and its routes. The config has the same defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How many attempts an event has in one round.
pub const ATTEMPTS: u32 = 12;

/// The delay between the first failed attempt and the second attempt.
pub const FIRST_DELAY: Duration = Duration::from_secs(5);

/// The factor by which each further delay is longer than the one before.
pub const DELAY_FACTOR: f64 = 3.0;

/// The longest delay between two attempts.
pub const LONGEST_DELAY: Duration = Duration::from_secs(6 * 3600);

/// The share of a delay by which the delay is varied at random, up or down.
pub const JITTER: f64 = 0.2;

/// How long one run of a handler may take.
pub const HANDLER_TIME_LIMIT: Duration = Duration::from_secs(30);

/// How many transactions of a route may run at once.
pub const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// How many messages of a route may be in flight. At a low load a message holds few events. With
/// 16, a transaction then finds too few waiting events, so that there are more transactions and
/// each event waits longer. With more than 64 the latency does not fall any further. More messages
/// also need more memory, and RabbitMQ redelivers those that are not settled within 30 minutes.
pub const PREFETCH: u16 = 64;

/// How often a worker checks for due retries.
pub const SCHEDULE_INTERVAL: Duration = Duration::from_millis(500);
