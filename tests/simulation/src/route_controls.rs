//! What the operator has set for routes, as a process reads it.

use hookbox_driver::{Fault, RouteControls};

use crate::process::Process;
use crate::unavailable::unavailable;

/// Reads what the operator has set, for a process.
pub(crate) async fn read(process: &Process) -> Result<RouteControls, Fault> {
    process.unless_dead().await;
    let state = process.world.state();
    if state.tables.away {
        return Err(unavailable("read the controls of routes"));
    }
    Ok(state.tables.controls.clone())
}
