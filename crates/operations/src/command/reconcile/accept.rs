//! `reconcile --accept-restore`: an operator accepts a known contradiction of store and broker,
//! after what was lost was dealt with. Store and broker then get a new common starting point, from
//! which they are compared.

use hookbox_driver::{Broker, Fault, FaultKind, Ledger, Mismatch};
use serde::Serialize;

use crate::command::witness;
use crate::operator::confirmed;
use crate::{CommandError, Operator, Source};

/// What the operator requests with `reconcile --accept-restore`.
#[derive(Debug, Clone)]
pub struct AcceptRestore {
    /// The reason that the operator gives, for the audit.
    pub why: String,
    /// The name of the operator, for the audit.
    pub by: String,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
}

/// The result of `reconcile --accept-restore`.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreAccepted {
    /// Where the acceptance was recorded (broker or store): always the store.
    pub source: Source,
    /// The contradiction of store and broker that the operator has accepted; null if there was
    /// none.
    pub accepted: Option<Mismatch>,
}

/// Accepts that the witness messages of store and broker contradict each other at present, as after
/// a restore that was intended. First shows the contradiction and asks for confirmation. The store
/// then starts a new incarnation, and the broker gets the first witness message of that
/// incarnation. What was lost stays recorded in the audit.
pub async fn accept_restore(
    broker: &dyn Broker,
    ledger: &dyn Ledger,
    request: &AcceptRestore,
    operator: &mut dyn Operator,
) -> Result<RestoreAccepted, CommandError> {
    let doing = "compare the store with the witness messages of its broker";
    let found = witness::compare(broker, ledger).await;
    let accepted = found.map_err(|(source_of_truth, source)| CommandError::Failed {
        source_of_truth,
        doing: doing.to_owned(),
        source,
    })?;
    if let Some(mismatch) = &accepted {
        if !request.yes {
            let what = mismatch.describe();
            let sentence =
                format!("accept that {what}: this contradiction will not be reported again.");
            confirmed(operator, sentence)?;
        }
        let doing = "accept a restored store";
        let fresh = ledger
            .accept_restore(mismatch, &request.by, &request.why)
            .await
            .map_err(CommandError::store(doing))?;
        let published = broker.publish_witness(&fresh).await;
        published.map_err(|error| CommandError::Failed {
            source_of_truth: Source::Broker,
            doing: "publish the first witness message after a restore".to_owned(),
            source: Fault::new(FaultKind::Unavailable, "publish a witness message", error),
        })?;
    }
    Ok(RestoreAccepted {
        source: Source::Store,
        accepted,
    })
}
