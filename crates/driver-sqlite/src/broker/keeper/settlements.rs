//! The settlements that a consumer has sent to the keeper and that are not written yet.

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::delivery::Settlement;

/// The message ids of settlements that wait to be written, by kind, and the callers that wait for a
/// flush.
#[derive(Default)]
pub(super) struct Settlements {
    pub(super) acks: Vec<i64>,
    pub(super) releases: Vec<i64>,
    pub(super) drops: Vec<i64>,
    pub(super) put_backs: Vec<i64>,
    flushes: Vec<oneshot::Sender<()>>,
    since: Option<Instant>,
}

impl Settlements {
    /// Adds the settlement of a message. The settlement has no effect if `still_held` returns
    /// `false` for the message, because the subscription then no longer holds it.
    pub(super) fn note(&mut self, settle: Settlement, still_held: impl FnOnce(i64) -> bool) {
        let (id, list) = match settle {
            Settlement::Ack(id) => (id, &mut self.acks),
            Settlement::Release(id) => (id, &mut self.releases),
            Settlement::Dropped(id) => (id, &mut self.drops),
            Settlement::PutBack(id) => (id, &mut self.put_backs),
            Settlement::Flush(reply) => {
                self.flushes.push(reply);
                return;
            }
        };
        if still_held(id) {
            list.push(id);
            self.since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn release_all(&mut self, ids: impl IntoIterator<Item = i64>) {
        self.releases.extend(ids);
    }

    pub(super) fn count(&self) -> usize {
        self.acks.len() + self.returned()
    }

    /// Returns how many messages will return to the queue when the settlements are written.
    pub(super) fn returned(&self) -> usize {
        self.releases.len() + self.drops.len() + self.put_backs.len()
    }

    /// Returns when the oldest of the settlements was received; `None` when there are none.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Returns whether a caller waits for a flush of the settlements.
    pub(super) fn is_urgent(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Removes all settlements, because they are written now, and notifies the callers that wait
    /// for a flush.
    pub(super) fn written(&mut self) {
        for flush in std::mem::take(self).flushes {
            // Notifying a caller that its flush is done fails when the caller has stopped waiting.
            // Then it needs no notification.
            let _ = flush.send(());
        }
    }
}
