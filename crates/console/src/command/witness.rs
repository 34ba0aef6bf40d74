//! Compares the store with the witnesses that its broker holds, for commands that publish none.

use std::time::Duration;

use hookbox_driver::{Broker, Fault, Ledger, Mismatch};
use tokio::time::sleep;

use crate::Source;

/// Between two readings of a broker that seems to hold too few witnesses. Another reader may hold
/// the missing ones for a few milliseconds.
const PAUSE: Duration = Duration::from_millis(150);

/// Readings until a broker counts as holding too few: two seconds altogether.
const READINGS: u32 = 12;

/// Readings until a broker counts as holding none, where none is expected.
const READINGS_OF_NONE: u32 = 3;

/// How the two contradict each other, if they do.
///
/// # Errors
/// When one of the two does not answer: which one, and why.
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
        // After the broker: whatever it held, the store has committed by then.
        let after = ledger.witness_position().await.map_err(of_store)?;
        match after.compare(before.confirmed, &found) {
            // A store that was restored to before its first witness expects none.
            None if found.is_empty() && readings < READINGS_OF_NONE => {}
            None => return Ok(None),
            Some(Mismatch::BrokerBehind(_)) if readings < READINGS => {}
            Some(mismatch) => return Ok(Some(mismatch)),
        }
        sleep(PAUSE).await;
    }
}
