//! Puts due retries back into their queues. A retry is published first, and marked as queued when
//! the broker has confirmed it.

use std::time::Duration;

use hookbox_driver::{Fault, Republish, Requeued};

use crate::diagnose::fault;
use crate::file::shared::Shared;
use crate::{moment, retries};

/// A retry that was queued and is not processed within this time is queued again, because the
/// broker may have lost its message. Messages should never wait this long in a queue. If they do,
/// there are two messages for one retry, and the store grants the attempt to one of them only.
pub(crate) const HEARD_WITHIN: Duration = Duration::from_secs(3_600);

/// Publishes due retries again. The writing connection is not held meanwhile, because the publisher
/// needs it.
pub(crate) async fn requeue_due(
    shared: &Shared,
    limit: u32,
    republish: &dyn Republish,
) -> Result<Requeued, Fault> {
    let _alone = shared.requeueing.lock().await;
    let due = {
        let mut reader = shared.readers.take().await?;
        let heard_since = moment::ago(HEARD_WITHIN);
        retries::due(&mut reader, heard_since, limit, republish.routes())
            .await
            .map_err(fault("find due retries"))?
    };
    let mut confirmed = Vec::with_capacity(due.len());
    for due in &due {
        if republish.republish(&due.retry).await {
            confirmed.push(due);
        }
    }
    if !confirmed.is_empty() {
        let doing = "mark retries as queued";
        let mut unit = shared.writer.begin_to_operate().await?;
        let now = moment::now();
        for due in &confirmed {
            retries::mark_queued(unit.connection(), due, now)
                .await
                .map_err(fault(doing))?;
        }
        unit.commit().await.map_err(fault(doing))?;
    }
    let count = |some: usize| u32::try_from(some).unwrap_or(u32::MAX);
    Ok(Requeued {
        due: count(due.len()),
        confirmed: count(confirmed.len()),
    })
}
