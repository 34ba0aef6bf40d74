//! Witness messages, which show whether a store or broker was restored.

use hookbox_driver::{Fault as OurFault, NextWitness};
use hookbox_event::{RouteName, Witness};

use crate::leases::clock;
use crate::process::Process;
use crate::tables::Tables;
use crate::unavailable::unavailable;

pub(super) async fn take(
    process: &Process,
    found: &[Witness],
    routes: &[RouteName],
) -> Result<NextWitness, OurFault> {
    process.unless_dead().await;
    let now = clock(process.world.elapsed());
    let mut state = process.world.state();
    if state.tables.away {
        return Err(unavailable("commit a witness message"));
    }
    let Tables {
        witnesses,
        accounts,
        ..
    } = &mut state.tables;
    let taken = witnesses.take(found, routes, now, accounts);
    taken.map_err(|what| {
        state.violate("I2", &what);
        unavailable("commit a witness message")
    })
}

pub(super) async fn confirmed(process: &Process, sequence: u64) -> Result<(), OurFault> {
    process.unless_dead().await;
    let mut state = process.world.state();
    if state.tables.away {
        return Err(unavailable("record the confirm of a witness message"));
    }
    state.tables.witnesses.confirm(sequence);
    Ok(())
}
