//! Puts due retries back into their queues. It publishes each retry first, and marks the row as
//! queued once the broker has confirmed the publish.

use std::time::Duration;

use hookbox_driver::{DueRetry, Fault, Republish, Requeued};

use crate::diagnose::fault;
use crate::file::shared::Shared;
use crate::moment;
use crate::retries::{self, Due};

/// How long a queued retry may stay unprocessed. Then it is queued again, because the broker may
/// have lost its message. Messages should never wait this long in a queue. If one does, the retry
/// has two messages, and the store grants the attempt to only one of them.
pub(crate) const HEARD_WITHIN: Duration = Duration::from_secs(3_600);

/// How many bytes of event bodies one call may hold in memory, unless a single body has more.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Republishes due retries; see [`hookbox_driver::Store::requeue_due`]. The writing connection is
/// not held meanwhile, because the publisher needs it.
pub(crate) async fn requeue_due(
    shared: &Shared,
    limit: u32,
    republish: &dyn Republish,
) -> Result<Requeued, Fault> {
    let _alone = shared.requeueing.lock().await;
    let due = {
        let mut reader = shared.readers.take().await?;
        let heard_since = moment::ago(HEARD_WITHIN);
        let limits = (limit, BODY_BYTES_MAX);
        retries::due(&mut reader, heard_since, limits, republish.routes())
            .await
            .map_err(fault("find due retries"))?
    };
    if due.is_empty() {
        return Ok(Requeued::default());
    }
    let taken = due.len();
    let retries: Vec<&DueRetry> = due.iter().map(|due| &due.retry).collect();
    let is_confirmed = republish.republish(&retries).await;
    let confirmed: Vec<Due> = due
        .into_iter()
        .zip(is_confirmed)
        .filter_map(|(due, is_confirmed)| is_confirmed.then_some(due))
        .collect();
    if !confirmed.is_empty() {
        let doing = "mark retries as queued";
        let mut unit = shared.writer.begin_to_operate().await?;
        retries::mark_queued(unit.connection(), &confirmed, moment::now())
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
    }
    let count = |some: usize| u32::try_from(some).unwrap_or(u32::MAX);
    Ok(Requeued {
        due: count(taken),
        confirmed: count(confirmed.len()),
    })
}
