//! Inflicts the faults that strike at random times: outages, broken connections, process deaths,
//! drains, replays, and undecodable bytes in a queue. The other faults are not inflicted here: each
//! of them strikes at a certain call, for example of the broker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::Queue;
use tokio::time::Instant;

use crate::engine::{Fleet, Running};
use crate::fault::Fault;
use crate::scenario::{ROUTES, route};
use crate::world::World;

const BLOWS: &[Fault] = &[
    Fault::BrokerAway,
    Fault::StoreAway,
    Fault::ConnectionLost,
    Fault::KilledAnytime,
    Fault::Drained,
    Fault::Garbage,
    Fault::Replayed,
];

/// Inflicts faults until the phase of faults is over, and then ends all faults.
pub(crate) async fn rage(fleet: &Arc<Fleet>) {
    let world = &fleet.world;
    let until = Instant::now() + fleet.scenario.safety;
    let mine: Vec<Fault> = {
        let state = world.state();
        let has = |it: &&Fault| state.faults.has(**it);
        BLOWS.iter().filter(has).copied().collect()
    };
    loop {
        let next = Instant::now() + world.chance.millis(100, 2_500);
        tokio::time::sleep_until(next.min(until)).await;
        if Instant::now() >= until {
            break;
        }
        if let Some(fault) = world.chance.pick(&mine) {
            strike(fleet, *fault);
        }
    }
    // The second phase of the run begins here. All outages have ended, and from now on no fault
    // strikes.
    let mut state = world.state();
    state.trace.note("calm");
    state.faults.calm = true;
    state.queues.away = false;
    state.tables.away = false;
}

fn strike(fleet: &Fleet, fault: Fault) {
    let world = &fleet.world;
    let running = fleet.running();
    let one = world.chance.pick(&running);
    match (fault, one) {
        (Fault::BrokerAway, _) => {
            let mut state = world.state();
            state.struck(fault, "");
            state.queues.away = true;
            state.queues.lose_everything();
            drop(state);
            back(world, |world| world.state().queues.away = false);
        }
        (Fault::StoreAway, _) => {
            let restarts = world.chance.percent(50);
            let mut state = world.state();
            state.struck(fault, if restarts { "and restarts" } else { "" });
            state.tables.away = true;
            if restarts {
                state.tables.close_all();
            }
            drop(state);
            world.unlocked.notify_waiters();
            back(world, |world| world.state().tables.away = false);
        }
        (Fault::ConnectionLost, Some(Running { process, .. })) => {
            let mut state = world.state();
            state.struck(fault, &process.name);
            state.queues.lose_connections(process.number);
        }
        (Fault::KilledAnytime, Some(Running { process, .. })) => {
            world.state().struck(fault, &process.name);
            process.be_killed();
        }
        (Fault::Drained, Some(running)) => {
            world.state().struck(fault, &running.process.name);
            running.stop.cancel();
        }
        (Fault::Garbage, _) => {
            let name = world.chance.pick(ROUTES).map_or("unrouted", |it| it.0);
            let bytes = Bytes::from(format!("rubbish {}", world.chance.next()));
            let mut state = world.state();
            state.struck(fault, name);
            let queue = Queue::Route(route(name));
            state.queues.put(&queue, bytes.clone(), None);
            state.queues.garbage.push((route(name), bytes));
        }
        (Fault::Replayed, _) => {
            let dead = world.state().tables.replayable();
            if let Some(on) = world.chance.pick(&dead) {
                let mut state = world.state();
                state.struck(fault, &format!("{on:?}"));
                let now = world.elapsed();
                state.tables.replay(on, now);
            }
        }
        _ => {}
    }
}

/// Ends an outage after a random time. The outage has begun already, and `end` reverts it.
fn back(world: &Arc<World>, end: impl FnOnce(&World) + Send + 'static) {
    let wait: Duration = world.chance.millis(100, 6_000);
    world.after(wait, move |world| {
        world.note("an outage ends");
        end(world);
    });
}
