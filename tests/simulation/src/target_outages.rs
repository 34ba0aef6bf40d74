//! Outages of the target of external calls at random, while faults strike. Calls that meet one have
//! no effect, and cost their events no attempt. When the phase of faults is over, the target is
//! back.

use tokio::time::Instant;

use crate::chance::Chance;
use crate::engine::Fleet;
use crate::world::World;

/// How many of a hundred runs with external calls have such outages.
const RUNS_PERCENT: u64 = 50;

/// The shortest and the longest time between two changes, in milliseconds. In the longest outages
/// the calls for two events meet enough faults for the breaker to open.
const CHANGES_AFTER_MS: (u64, u64) = (300, 9_000);

/// Begins and ends outages until the phase of faults is over.
pub(crate) async fn inflict(fleet: &Fleet) {
    // The outages have a separate generator of random numbers, so that a run without them draws the
    // same numbers as before.
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
