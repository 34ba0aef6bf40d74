//! The permits for external calls. Routes of this worker that call the same target share them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use hookbox_driver::{TargetLimits, TargetName};
use tokio::sync::Semaphore;

/// The permits for calls to each target. Their number is the number of calls to the target that all
/// workers together may have in flight. The store enforces this limit for all workers; the permits
/// only save requests that the store would refuse. Routes get permits in the order in which they
/// request them. If each route had its own permits, a route with many events would make almost
/// every call that becomes possible, and other routes would hardly make any.
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
                concurrency: NonZeroU32::new(most).expect("the number must not be zero"),
                rate: None,
            };
            all.of(&target.parse().expect("the name must be valid"), limits)
        };
        let permits = of("https://one.example", 3);
        assert_eq!(permits.available_permits(), 3);
        assert!(Arc::ptr_eq(&permits, &of("https://one.example", 3)));
        assert!(!Arc::ptr_eq(&permits, &of("https://one.example", 4)));
        assert!(!Arc::ptr_eq(&permits, &of("https://two.example", 3)));
    }
}
