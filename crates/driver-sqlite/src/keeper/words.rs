//! What consumers said about their messages and is not written yet.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Settle;

/// Words that wait to be written.
#[derive(Default)]
pub(super) struct Words {
    pub(super) acks: Vec<i64>,
    pub(super) releases: Vec<i64>,
    pub(super) drops: Vec<i64>,
    pub(super) put_backs: Vec<i64>,
    flushes: Vec<oneshot::Sender<()>>,
    since: Option<Instant>,
}

impl Words {
    /// Notes a word about a message, if the message is `still_held`.
    pub(super) fn note(&mut self, settle: Settle, still_held: impl FnOnce(i64) -> bool) {
        let (id, list) = match settle {
            Settle::Ack(id) => (id, &mut self.acks),
            Settle::Release(id) => (id, &mut self.releases),
            Settle::Dropped(id) => (id, &mut self.drops),
            Settle::PutBack(id) => (id, &mut self.put_backs),
            Settle::Flush(reply) => {
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

    /// How many go back to the queue.
    pub(super) fn returned(&self) -> usize {
        self.releases.len() + self.drops.len() + self.put_backs.len()
    }

    /// When the first of them was said.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Somebody waits until they are written.
    pub(super) fn is_urgent(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// They are written: tells those who wait.
    pub(super) fn written(&mut self) {
        for flush in std::mem::take(self).flushes {
            // Whoever stopped waiting does not need to know.
            let _ = flush.send(());
        }
    }
}
