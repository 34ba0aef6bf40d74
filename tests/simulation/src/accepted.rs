//! What a sender knows of a webhook that was accepted.

use bytes::Bytes;
use hookbox_event::ReceiptId;
use tokio_util::sync::CancellationToken;

/// One webhook that was answered 200.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub receipt: ReceiptId,
    pub body: Bytes,
    /// Cancelled when the ingest that answered the request with 200 has died.
    pub died: CancellationToken,
}
