//! Compares the store with the witness messages that its broker holds. They show whether the store
//! or the broker was restored from a backup. This comparison is for commands, which read the
//! witness messages and publish none.

use std::time::Duration;

use hookbox_driver::{Broker, Fault, Ledger, Mismatch};
use tokio::time::sleep;

use crate::Source;

/// The pause between two readings, if the broker seems to hold too few witness messages. Another
/// reader may hold the missing ones for a few milliseconds.
const PAUSE: Duration = Duration::from_millis(150);

/// How many readings in a row must find too few witness messages before the broker counts as
/// restored or emptied. With the pauses between them, the readings take two seconds.
const READINGS: u32 = 12;

/// If the store expects no witness message: how many readings in a row must find none before store
/// and broker count as agreeing.
const READINGS_OF_NONE: u32 = 3;

/// Returns how store and broker contradict each other; `None` when they agree.
///
/// # Errors
/// When the store or the broker does not answer. The error says which of them, and why.
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
        // The store is read again after the broker. Each witness message is committed in the store
        // before it is published, so this second reading knows all witness messages that were
        // found.
        let after = ledger.witness_position().await.map_err(of_store)?;
        match after.compare(before.confirmed, &found) {
            // A store that was restored to a state before its first witness message expects no
            // witness message. So it would seem to agree with a broker whose witness messages
            // another reader holds for a moment. To find these messages, an empty reading is
            // repeated.
            None if found.is_empty() && readings < READINGS_OF_NONE => {}
            None => return Ok(None),
            Some(Mismatch::BrokerBehind(_)) if readings < READINGS => {}
            Some(mismatch) => return Ok(Some(mismatch)),
        }
        sleep(PAUSE).await;
    }
}
