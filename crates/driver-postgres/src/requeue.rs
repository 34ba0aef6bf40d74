//! Puts due retries back into their queues. It publishes each retry first, and marks the row as
//! queued once the broker has confirmed the publish.

use hookbox_driver::{DueRetry, Fault, Republish, Requeued};
use hookbox_event::{EventNumber, RouteName};

use crate::retries;
use crate::tx::Tx;

/// How many bytes of event bodies one call may hold in memory, unless a single body has more.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Republishes due retries; see [`hookbox_driver::Store::requeue_due`]. The rows of the retries
/// stay locked until all are published and marked as queued, so no other scheduler takes them. If
/// the process crashes before that, the retries stay due.
pub(crate) async fn requeue_due(
    mut tx: Tx,
    limit: u32,
    republish: &dyn Republish,
) -> Result<Requeued, Fault> {
    let mut due = tx
        .run(|c| retries::lock_due(c, limit, republish.routes()))
        .await
        .map_err(|error| error.ours("find due retries"))?;
    if due.is_empty() {
        tx.rollback().await;
        return Ok(Requeued::default());
    }
    let mut bytes = 0_u64;
    let fits = due.iter().take_while(|due| {
        bytes = bytes.saturating_add(due.body_bytes);
        bytes <= BODY_BYTES_MAX
    });
    // A retry whose body alone exceeds the limit must be published, too, so at least one is taken.
    let fits = fits.count().max(1);
    due.truncate(fits);
    let envelopes = tx
        .run(|c| retries::envelopes(c, &due))
        .await
        .map_err(|error| error.ours("read due retries"))?;
    let retries: Vec<&DueRetry> = envelopes.iter().map(|(_, due)| due).collect();
    let is_confirmed = republish.republish(&retries).await;
    let confirmed: Vec<(RouteName, EventNumber)> = envelopes
        .into_iter()
        .zip(is_confirmed)
        .filter_map(|((event, due), is_confirmed)| is_confirmed.then_some((due.route, event)))
        .collect();
    let requeued = Requeued {
        due: count(due.len()),
        confirmed: count(confirmed.len()),
    };
    if confirmed.is_empty() {
        tx.rollback().await;
        return Ok(requeued);
    }
    tx.run(|c| retries::mark_queued(c, &confirmed))
        .await
        .map_err(|error| error.ours("mark retries as queued"))?;
    tx.commit_ours().await?;
    Ok(requeued)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
