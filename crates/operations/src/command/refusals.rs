//! `refusals list` and `refusals groups`: requests that were not accepted.

use hookbox_driver::{Ledger, Refusal, RefusalCursor, RefusalFilter, RefusalGroup};
use serde::Serialize;

use super::page;
use crate::{CommandError, Source};

/// Refusals, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalsReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// The refusals of this page.
    pub refusals: Vec<RefusalLine>,
    /// The cursor of the next page, which is the value of `--after`; null on the last page.
    pub next: Option<String>,
}

/// What is kept of one refused request.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalLine {
    /// The request id that the answer gave to the sender.
    pub request: String,
    /// When the request was refused.
    pub at: String,
    /// The source to which the request was sent.
    pub source: String,
    /// The name of the reason why the request was refused.
    pub reason: String,
    /// The address of the sender.
    pub peer: String,
    /// The length in bytes of that part of the body that was read.
    pub body_bytes: u64,
    /// The SHA-256 digest of the body in hex, if a body was read.
    pub body_digest: Option<String>,
}

/// Refusals by source and reason, the largest group first.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalGroupsReport {
    /// Where the groups come from (broker or store): always the store.
    pub source: Source,
    /// The groups.
    pub groups: Vec<RefusalGroupLine>,
}

/// Refusals of one source for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalGroupLine {
    /// How many refusals the group has.
    pub count: u64,
    /// The source to which the requests were sent.
    pub source: String,
    /// The name of the reason why the request was refused.
    pub reason: String,
    /// The number of different addresses from which the refused requests came.
    pub peers: u64,
    /// When the first request of the group was refused.
    pub first_at: String,
    /// When the last request of the group was refused.
    pub last_at: String,
}

/// Lists the refusals that come after the cursor `after`, newest first.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &RefusalFilter,
    after: Option<&RefusalCursor>,
    limit: u32,
) -> Result<RefusalsReport, CommandError> {
    let mut rows = ledger
        .refusals(filter, after, page::wanted(limit))
        .await
        .map_err(CommandError::store("list the refusals"))?;
    let next = page::cut(&mut rows, limit).map(|last| RefusalCursor {
        at: last.at,
        request: last.request,
    });
    let line = |refusal: &Refusal| RefusalLine {
        request: refusal.request.to_string(),
        at: refusal.at.to_string(),
        source: refusal.source.clone(),
        reason: refusal.reason.clone(),
        peer: refusal.peer.clone(),
        body_bytes: refusal.body_bytes,
        body_digest: refusal.body_digest.clone(),
    };
    Ok(RefusalsReport {
        source: Source::Store,
        refusals: rows.iter().map(line).collect(),
        next: next.map(|next| next.to_string()),
    })
}

/// Groups refusals by source and reason.
pub async fn groups(
    ledger: &dyn Ledger,
    filter: &RefusalFilter,
) -> Result<RefusalGroupsReport, CommandError> {
    let groups = ledger
        .refusal_groups(filter)
        .await
        .map_err(CommandError::store("group the refusals"))?;
    let line = |group: &RefusalGroup| RefusalGroupLine {
        count: group.count,
        source: group.source.clone(),
        reason: group.reason.clone(),
        peers: group.peers,
        first_at: group.first_at.to_string(),
        last_at: group.last_at.to_string(),
    };
    Ok(RefusalGroupsReport {
        source: Source::Store,
        groups: groups.iter().map(line).collect(),
    })
}
