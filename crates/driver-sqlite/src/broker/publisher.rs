//! The publisher: one task that writes all waiting publishes in one transaction, so that concurrent
//! publishes share one sync of the disk. They are confirmed when the transaction has committed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Batch, Fault, FaultKind, PublishError, PublishErrorKind};
use tokio::sync::mpsc;

use crate::broker::job::Job;
use crate::broker::messages;
use crate::diagnose::{fault, is_full};
use crate::file::purpose::Purpose;
use crate::file::shared::Shared;
use crate::file::writer::Unit;
use crate::meta;

/// The largest number of publishes that share one commit. The limit keeps a commit within
/// milliseconds.
const ROUND_JOBS: usize = 64;

/// The number of bytes at which no further publish joins a commit. Only large batches reach it.
const ROUND_BYTES: usize = 4 << 20;

/// How often the publisher tries a small write after a failed publish or on a full disk, to find
/// out whether the file can be written again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Writes publishes until the driver closes. Then it writes those that still wait, and ends.
pub(crate) async fn run(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    loop {
        let first = tokio::select! {
            biased;
            () = shared.abandoned.cancelled() => return,
            job = jobs.recv() => match job {
                Some(job) => job,
                None => break,
            },
            () = shared.closing.cancelled(), if !jobs.is_closed() => {
                jobs.close();
                continue;
            }
            () = tokio::time::sleep(PROBE_EVERY) => {
                // Other programs may fill the disk or free space on it, so the free space is
                // checked even while nothing is published.
                if !shared.health.is_good() || shared.room.refusal().is_some() {
                    probe(&shared).await;
                }
                continue;
            }
        };
        tokio::select! {
            biased;
            () = shared.abandoned.cancelled() => return,
            () = round(&shared, first, &mut jobs) => {}
        }
    }
    let closed = "the SQLite file is closed".to_owned();
    shared.health.set(Some(closed));
}

async fn round(shared: &Shared, first: Job, jobs: &mut mpsc::Receiver<Job>) {
    // The write lock is awaited before the waiting publishes are collected, so that those that
    // arrive during the wait share the same commit.
    let unit = shared.writer.begin_to_accept().await;
    let mut waiting = vec![first];
    let mut bytes = waiting.iter().map(size).sum::<usize>();
    while waiting.len() < ROUND_JOBS && bytes < ROUND_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += size(&job);
        waiting.push(job);
    }
    // A publish whose caller has stopped waiting is left out, because the caller has already
    // reported a failure, so the provider will send the request again.
    waiting.retain(|job| !job.reply.is_closed());
    let written = match unit {
        Ok(mut unit) => {
            let rows: Vec<(&str, &Batch)> = waiting
                .iter()
                .flat_map(|job| job.queues.iter().map(|queue| (queue.as_str(), &job.batch)))
                .collect();
            let written = write(shared, &mut unit, &rows).await;
            crash_point!("sqlite.before_publish_commit");
            let ended = unit.end_with(written).await;
            ended.map_err(fault("publish messages"))
        }
        Err(fault) => Err(fault),
    };
    answer(shared, waiting, written);
}

/// Writes the publishes of one transaction, if the disk and the size limit have space for them.
async fn write(shared: &Shared, unit: &mut Unit, rows: &[(&str, &Batch)]) -> sqlx::Result<()> {
    let bytes: usize = rows.iter().map(|(_, batch)| batch.bytes.len()).sum();
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let room = &shared.room;
    if !room.fits(unit.connection(), Purpose::Accept, bytes).await {
        return Err(sqlx::Error::Io(room.no_room().into()));
    }
    messages::publish(unit.connection(), rows, crate::moment::now()).await?;
    has_room(shared, unit).await
}

fn size(job: &Job) -> usize {
    job.queues.len() * job.batch.bytes.len()
}

fn answer(shared: &Shared, waiting: Vec<Job>, written: Result<(), Fault>) {
    match written {
        Ok(()) => {
            crash_point!("sqlite.after_publish_commit");
            shared.health.set(None);
            for job in waiting {
                for queue in &job.queues {
                    shared.notifiers.notify(queue);
                }
                // Sending the result of a publish fails when its caller has stopped waiting.
                // Nothing is left to do then, because such a caller has returned an error that
                // leaves open whether the batch was stored.
                let _ = job.reply.send(Ok(()));
            }
        }
        Err(fault) => {
            let kind = kind_of(&fault);
            shared
                .health
                .set(Some(trouble_of(kind, &shared.options.path)));
            let fault = Arc::new(fault);
            for job in waiting {
                let error = PublishError::new(kind, Arc::clone(&fault));
                let _ = job.reply.send(Err(error));
            }
        }
    }
}

fn kind_of(fault: &Fault) -> PublishErrorKind {
    match fault.kind() {
        FaultKind::Contention => PublishErrorKind::TimedOut,
        FaultKind::Unavailable if is_full(fault) => PublishErrorKind::Blocked,
        FaultKind::Unavailable | FaultKind::MissingRight | FaultKind::Internal => {
            PublishErrorKind::Unavailable
        }
    }
}

fn trouble_of(kind: PublishErrorKind, path: &Path) -> String {
    let path = path.display();
    match kind {
        PublishErrorKind::TimedOut => format!("{path} is locked by another process"),
        PublishErrorKind::Blocked => {
            format!("{path} is full: its disk has no space, or it has reached its size limit")
        }
        PublishErrorKind::Rejected
        | PublishErrorKind::Unroutable
        | PublishErrorKind::Unavailable => format!("{path} cannot be written"),
    }
}

/// Returns an error when the file exceeds its size limit. Free pages of the file do not count.
async fn has_room(shared: &Shared, unit: &mut Unit) -> sqlx::Result<()> {
    let Some(most) = shared.options.bytes_max else {
        return Ok(());
    };
    let used: i64 = sqlx::query_scalar(
        "select (page_count - freelist_count) * page_size
         from pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    )
    .fetch_one(unit.connection())
    .await?;
    if u64::try_from(used).is_ok_and(|used| used <= most) {
        return Ok(());
    }
    Err(sqlx::Error::Io(io::ErrorKind::StorageFull.into()))
}

/// Writes a small value to find out whether the file can be written again. After a failed write an
/// ingest is not ready, gets no requests and therefore publishes nothing. Without this probe it
/// would never find out that it can be ready again.
async fn probe(shared: &Shared) {
    let Ok(mut unit) = shared.writer.begin_to_accept().await else {
        return;
    };
    let written = async {
        meta::probe(unit.connection(), crate::moment::now()).await?;
        has_room(shared, &mut unit).await
    };
    let written = written.await;
    if unit.end_with(written).await.is_ok() {
        shared.health.set(None);
    }
}
