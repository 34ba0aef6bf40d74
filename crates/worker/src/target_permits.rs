//! The permits for calls, which the routes of this worker that call one target share.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use hookbox_driver::{TargetLimits, TargetName};
use tokio::sync::Semaphore;

/// For each target, a permit for each of the calls that all workers together may make to it at
/// once. The store limits the calls of all workers; these permits spare wishes that it would
/// refuse. They are given in the order in which routes request them. If each route had permits of
/// its own, a route with many events would take each free place at the target at once, and another
/// route would hardly ever get one.
///
/// Routes that name different limits for one target share no permits.
#[derive(Default)]
pub(crate) struct TargetPermits(Mutex<HashMap<(TargetName, NonZeroU32), Arc<Semaphore>>>);

impl TargetPermits {
    /// Returns the permits of the routes that call this target with these limits.
    pub fn of(&self, target: &TargetName, limits: TargetLimits) -> Arc<Semaphore> {
        let most = limits.concurrency;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = all.entry((target.clone(), most)).or_insert_with(|| {
            let permits = (most.get() as usize).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(permits))
        });
        Arc::clone(permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_the_same_target_and_limits_share_permits() {
        let all = TargetPermits::default();
        let of = |target: &str, most: u32| {
            let limits = TargetLimits {
                concurrency: NonZeroU32::new(most).expect("not zero"),
                rate: None,
            };
            all.of(&target.parse().expect("a name"), limits)
        };
        let permits = of("https://one.example", 3);
        assert_eq!(permits.available_permits(), 3);
        assert!(Arc::ptr_eq(&permits, &of("https://one.example", 3)));
        assert!(!Arc::ptr_eq(&permits, &of("https://one.example", 4)));
        assert!(!Arc::ptr_eq(&permits, &of("https://two.example", 3)));
    }
}
