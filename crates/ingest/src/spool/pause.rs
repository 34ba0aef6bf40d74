//! How long to wait after the broker did not take something: twice as long each time.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);

/// A broker that is back is noticed within this.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one thing that is tried again.
#[derive(Default)]
pub(super) struct Pause {
    tries: u32,
}

impl Pause {
    /// Whether nothing has failed yet.
    pub fn is_first(&self) -> bool {
        self.tries == 0
    }

    /// Another try has failed.
    pub fn next(&mut self) -> Duration {
        let pause = FIRST * 2_u32.pow(self.tries.min(10));
        self.tries = self.tries.saturating_add(1);
        pause.min(LONGEST)
    }
}
