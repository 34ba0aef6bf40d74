//! What `reconcile` cannot know. The report lists it, so that the verdict does not say more than is
//! known.

use hookbox_driver::{AccountGap, SilentIngest, Unvouched};
use serde::Serialize;

/// Something that `reconcile` does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Unknown {
    /// Whether a sequence gap will still be filled. The gap is so young that its accept report may
    /// still arrive.
    YoungGap(AccountGap),
    /// What became of the last sequence numbers of an ingest that ended without reporting them.
    Unreported(Unvouched),
    /// Whether a silent ingest has accepted anything since its last accept report. An ingest is
    /// silent if it has reported nothing for a long time, not even its end.
    SilentIngest(SilentIngest),
    /// Whether a store and broker that are one file were restored to an older state: there is no
    /// second place with which to compare the file.
    RestoredFile,
}
