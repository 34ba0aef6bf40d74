//! Makes the target of external calls unreachable at random times, while faults strike. A call
//! during such an outage has no effect, and costs its event no attempt. When the phase of faults is
//! over, the target is reachable again.

use tokio::time::Instant;

use crate::chance::Chance;
use crate::engine::Fleet;
use crate::world::World;

/// The percentage of the runs with external calls in which the target has outages.
const RUNS_PERCENT: u64 = 50;

/// An outage begins or ends after a time between these two, in milliseconds. In the longest
/// outages, calls for two events meet enough faults for the breaker to open.
const CHANGES_AFTER_MS: (u64, u64) = (300, 9_000);

/// Begins and ends outages until the phase of faults is over.
pub(crate) async fn inflict(fleet: &Fleet) {
    // The outages have a separate generator of random numbers. So the rest of the run draws the
    // same numbers with and without outages.
    let chance = Chance::new(fleet.scenario.seed ^ 0x7a46_e75d);
    if fleet.scenario.calls.is_none() || !chance.percent(RUNS_PERCENT) {
        return;
    }
    let until = Instant::now() + fleet.scenario.safety;
    let mut is_away = false;
    while Instant::now() < until {
        let (low, high) = CHANGES_AFTER_MS;
        let next = Instant::now() + chance.millis(low, high);
        tokio::time::sleep_until(next.min(until)).await;
        is_away = !is_away && Instant::now() < until;
        set(&fleet.world, is_away);
    }
}

fn set(world: &World, is_away: bool) {
    let mut state = world.state();
    state.trace.note(if is_away {
        "the target is unreachable"
    } else {
        "the target is reachable again"
    });
    state.tables.calls.is_away = is_away;
}
