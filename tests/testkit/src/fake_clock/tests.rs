//! Tests of the clock on a paused runtime.

use std::panic::catch_unwind;
use std::time::Duration;

use tokio::time::sleep;

use super::*;

const SHOWN: Timestamp = Timestamp::from_unix_micros(1_764_000_000_000_000);

#[tokio::test(start_paused = true)]
async fn a_clock_stands_still_or_runs_with_the_runtime() {
    let since = Instant::now();
    let (still, running) = (FakeClock::still(SHOWN), FakeClock::running(SHOWN, since));
    assert_eq!((still.now(), running.now()), (SHOWN, SHOWN));
    let hour = Duration::from_secs(3600);
    sleep(hour).await;
    assert_eq!(still.now(), SHOWN);
    assert_eq!(running.now(), SHOWN.saturating_add(hour));
}

#[test]
fn a_clock_panics_once_at_the_given_read() {
    let clock = FakeClock::still(SHOWN);
    assert_eq!(clock.now(), SHOWN);
    clock.panic_at(2);
    assert_eq!((clock.now(), clock.until_panic()), (SHOWN, 1));
    assert!(catch_unwind(|| clock.now()).is_err());
    assert_eq!((clock.until_panic(), clock.now()), (0, SHOWN));
}
