//! Settles the receipts of a transaction.

use hookbox_driver::{ClaimState, CommitError, Fault, FaultKind, Outcome, ReceiptOutcome};
use hookbox_event::RouteName;

use super::savepoint::check;
use crate::settled_receipt::SettledReceipt;
use crate::tx::SimTx;

pub(super) async fn settle(
    tx: &mut SimTx,
    route: &RouteName,
    settled: &[ReceiptOutcome<'_>],
) -> Result<(), CommitError> {
    check(tx, "settle").await?;
    for one in settled {
        let (envelope, outcome) = (one.envelope, &one.outcome);
        let end = |attempt: u32| match outcome {
            Outcome::Done { attempt } => (ClaimState::Done, *attempt),
            Outcome::Stale => (ClaimState::Stale, attempt.saturating_sub(1)),
            Outcome::Duplicate | Outcome::Conflict { .. } | Outcome::Dead { .. } => {
                (ClaimState::Dead, attempt.saturating_sub(1))
            }
        };
        if *outcome != Outcome::Duplicate {
            let Some(owned) = tx.owned.get_mut(&(route.clone(), envelope.event)) else {
                let doing = "settle an event: the transaction has not claimed the event";
                return Err(Fault::plain(FaultKind::Internal, doing).into());
            };
            owned.end = Some(end(owned.attempt));
        }
        tx.settled.push(SettledReceipt {
            route: route.clone(),
            envelope: envelope.clone(),
            outcome: outcome.clone(),
            other_digest: one.other_digest,
        });
    }
    Ok(())
}
