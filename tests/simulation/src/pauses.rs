//! An operator who pauses and resumes routes and sets their limits at random, while faults strike.
//! When the phase of faults is over, all routes run again without limits.

use std::num::NonZeroU32;

use hookbox_driver::{EventRate, LimitChange, RouteChange, RouteControls, RouteScope};
use hookbox_event::Timestamp;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::engine::Fleet;
use crate::scenario::{ROUTES, route};
use crate::world::World;

/// The percentage of runs in which an operator pauses routes.
const RUNS_PERCENT: u64 = 30;

/// Pauses, resumes and limits routes until the phase of faults is over.
pub(crate) async fn operate(fleet: &Fleet) {
    // The operator has a separate generator of random numbers. So the rest of the run draws the
    // same numbers with and without an operator.
    let chance = Chance::new(fleet.scenario.seed ^ 0x9a05_e5ed);
    if !chance.percent(RUNS_PERCENT) {
        return;
    }
    let until = Instant::now() + fleet.scenario.safety;
    loop {
        let next = Instant::now() + chance.millis(200, 3_000);
        tokio::time::sleep_until(next.min(until)).await;
        if Instant::now() >= until {
            break;
        }
        change(&fleet.world, &scope(&chance), &drawn(&chance));
    }
    let mut state = fleet.world.state();
    state.trace.note("the operator resumes all routes");
    state.tables.controls = RouteControls::default();
}

fn scope(chance: &Chance) -> RouteScope {
    match chance.pick(ROUTES) {
        Some((name, _)) if chance.percent(80) => RouteScope::One(route(name)),
        Some(_) | None => RouteScope::All,
    }
}

fn drawn(chance: &Chance) -> RouteChange {
    match chance.below(100) {
        0..40 => RouteChange::Pause {
            why: "drawn".into(),
        },
        40..80 => RouteChange::Resume { why: None },
        _ => RouteChange::Limit {
            why: None,
            rate: EventRate::from_per_1000_s(chance.between(1_000, 20_000))
                .map_or(LimitChange::Clear, LimitChange::Set),
            concurrency: NonZeroU32::new(1).map_or(LimitChange::Keep, LimitChange::Set),
        },
    }
}

/// Applies a change as a store does. A store that is unavailable changes nothing.
fn change(world: &World, scope: &RouteScope, change: &RouteChange) {
    let mut state = world.state();
    if state.tables.away {
        return;
    }
    let now = Timestamp::from_unix_micros(0).saturating_add(world.elapsed());
    if let Some(changed) = state.tables.controls.with(scope, change, "operator", now) {
        state
            .trace
            .note(&format!("the operator changes {scope}: {change:?}"));
        state.tables.controls = changed;
    }
}
