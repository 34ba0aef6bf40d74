//! Compares the store with the witness messages that its broker holds, which show whether one of
//! the two was restored. This is for commands that publish no witness.

use std::time::Duration;

use hookbox_driver::{Broker, Fault, Ledger, Mismatch};
use tokio::time::sleep;

use crate::Source;

/// The pause between two readings of a broker that seems to hold too few witnesses. Another reader
/// may hold the missing ones for a few milliseconds.
const PAUSE: Duration = Duration::from_millis(150);

/// How many readings must agree until a broker counts as holding too few witnesses: two seconds
/// altogether.
const READINGS: u32 = 12;

/// How many readings must agree until a broker counts as holding no witness, if none is expected.
const READINGS_OF_NONE: u32 = 3;

/// Returns how store and broker contradict each other, if they do.
///
/// # Errors
/// When the store or the broker does not answer: which of them, and why.
pub async fn compare(
    broker: &dyn Broker,
    ledger: &dyn Ledger,
) -> Result<Option<Mismatch>, (Source, Fault)> {
    let of_store = |fault| (Source::Store, fault);
    let mut readings = 0;
    loop {
        readings += 1;
        let before = ledger.witness_position().await.map_err(of_store)?;
        let found = broker.witnesses().await;
        let found = found.map_err(|fault| (Source::Broker, fault))?;
        // The store is read again after the broker, because by then it has committed whatever the
        // broker held.
        let after = ledger.witness_position().await.map_err(of_store)?;
        match after.compare(before.confirmed, &found) {
            // A store that was restored to a state before its first witness expects no witness.
            None if found.is_empty() && readings < READINGS_OF_NONE => {}
            None => return Ok(None),
            Some(Mismatch::BrokerBehind(_)) if readings < READINGS => {}
            Some(mismatch) => return Ok(Some(mismatch)),
        }
        sleep(PAUSE).await;
    }
}
