//! The pauses and limits of routes that an operator has set, as a process reads them.

use hookbox_driver::{Fault, RouteControls};

use crate::process::Process;
use crate::unavailable::unavailable;

/// Reads the pauses and limits of the routes for a process.
pub(crate) async fn read(process: &Process) -> Result<RouteControls, Fault> {
    process.unless_dead().await;
    let state = process.world.state();
    if state.tables.away {
        return Err(unavailable("read the pauses and limits of the routes"));
    }
    Ok(state.tables.controls.clone())
}
