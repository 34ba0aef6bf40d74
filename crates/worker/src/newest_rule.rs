//! The rule by which a route applies only the newest event of each key, as one attempt needs it.

use hookbox_event::{Digester, Newest, Timestamp};

/// The rule by which a route applies only the newest event of each key, with what an attempt needs
/// to apply it.
#[derive(Clone, Copy)]
pub(crate) struct NewestRule<'a> {
    pub newest: &'a Newest,
    pub digester: &'a Digester,
    /// The present time. It serves to find versions that are far in the future.
    pub now: Timestamp,
}
