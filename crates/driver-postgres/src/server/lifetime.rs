//! Limits the lifetime of connections, so that a connection pooler can be stopped.
//!
//! When an operator stops or pauses a connection pooler such as PgBouncer, the pooler waits until
//! its clients have closed their connections. The pooler cannot ask its clients to close them, and
//! a client does not notice that the pooler waits. So hookbox keeps no connection for long, not
//! even an idle one.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns how long one connection may live: a random time between three quarters of `longest` and
/// `longest`, so that connections that were opened together are not replaced together.
pub(crate) fn of_one(longest: Duration) -> Duration {
    // The keys of a `RandomState` are random, which is enough to spread the lifetimes.
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    spread(longest, share)
}

fn spread(longest: Duration, share: f64) -> Duration {
    longest.mul_f64(0.75 + 0.25 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_longer_than_the_longest_and_not_always_the_same() {
        let longest = Duration::from_secs(60);
        assert_eq!(spread(longest, 0.0), Duration::from_secs(45));
        assert_eq!(spread(longest, 1.0), longest);
        let some: std::collections::BTreeSet<_> = (0..100).map(|_| of_one(longest)).collect();
        assert!(some.len() > 1);
        assert!(some.iter().all(|one| *one <= longest));
    }
}
