//! The pause before a message that the broker did not take is tried again. The pause doubles with
//! each failed try.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);

/// The longest pause, and so the longest time until a broker that is available again is noticed.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between the tries of one message.
#[derive(Default)]
pub(super) struct Pause {
    tries: u32,
}

impl Pause {
    /// Returns whether no try has failed yet.
    pub fn is_first(&self) -> bool {
        self.tries == 0
    }

    /// Counts a failed try, and returns the pause before the next one.
    pub fn next(&mut self) -> Duration {
        let pause = FIRST * 2_u32.pow(self.tries.min(10));
        self.tries = self.tries.saturating_add(1);
        pause.min(LONGEST)
    }
}
