//! The attempt for which an event waits.

/// The next attempt on an event that waits for a retry or a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingAttempt {
    /// The number that this attempt will have.
    pub attempt: u32,
    /// The number of attempts made before the last replay of the event, or 0. The retry policy
    /// counts only the attempts after those.
    pub attempts_before: u32,
    /// Whether the event is deferred to a later time and has not been put back into the queue. If
    /// true, a message of the event that is still in the queue was published before the deferral,
    /// and must not start the handler.
    pub is_put_off: bool,
}
