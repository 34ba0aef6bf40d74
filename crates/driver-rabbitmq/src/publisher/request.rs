//! What a publisher gets to publish, and how it answers.

use std::sync::Arc;

use hookbox_driver::{Batch, PublishError};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};

/// A batch, the queues to publish it to, and where the caller waits for the result.
pub(crate) struct Request {
    pub queues: Vec<String>,
    pub batch: Batch,
    pub reply: Reply,
}

/// Where the caller of a publish waits for the result.
pub(crate) struct Reply {
    pub answer: oneshot::Sender<Answer>,
    /// The permits of the two limits on unconfirmed messages: the first is for the number of the
    /// request's messages, and the second for their bytes. They are held until the result of the
    /// request is known.
    pub room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// What a publisher answers to a request.
pub(crate) enum Answer {
    Published(Result<(), PublishError>),
    /// Nothing was published, because one of the queues is held back. The caller gets the queues
    /// and the batch back.
    HeldBack(Vec<String>, Batch),
}

/// The queue of batches that no publisher has taken yet. All publishers take from this queue.
pub(crate) type Requests = Arc<Mutex<mpsc::Receiver<Request>>>;

impl Request {
    /// Answers that nothing was published, because one of the queues is held back.
    pub fn give_back(self) {
        self.reply.send(Answer::HeldBack(self.queues, self.batch));
    }
}

impl Reply {
    /// Returns whether the caller no longer waits.
    pub fn is_closed(&self) -> bool {
        self.answer.is_closed()
    }

    pub fn send(self, answer: Answer) {
        drop(self.room);
        // Sending the answer fails when the caller no longer waits for it. Such a caller has
        // already reported a failure, so the answer is not needed.
        let _ = self.answer.send(answer);
    }
}
