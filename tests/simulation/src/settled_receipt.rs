//! The outcome of a receipt in an open transaction.

use hookbox_driver::Outcome;
use hookbox_event::{ContentDigest, Envelope, RouteName};

/// The outcome of one receipt. The commit of the open transaction will store it.
pub(crate) struct SettledReceipt {
    pub route: RouteName,
    pub envelope: Envelope,
    pub outcome: Outcome,
    pub other_digest: Option<ContentDigest>,
}
