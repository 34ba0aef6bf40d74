//! Opens the transactions of the simulated store.

use hookbox_driver::Fault as OurFault;

use super::SimStore;
use crate::fault::Fault;
use crate::tx::SimTx;
use crate::unavailable::unavailable;

impl SimStore {
    pub(super) async fn open(&self, doing: &'static str) -> Result<SimTx, OurFault> {
        let process = &self.process;
        process.step(doing).await;
        let world = &process.world;
        let lost = world.strikes(Fault::StatementLost, &process.name);
        if lost || world.state().tables.away {
            let wait = world.chance.millis(0, 1_000);
            tokio::time::sleep(wait).await;
            return Err(unavailable(doing));
        }
        let id = world.state().tables.begin(process.number);
        Ok(SimTx::new(process, id, doing))
    }
}
