//! What a driver provides to be tested: a fresh world, and ways of breaking it.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{Broker, Ledger, PublishErrorKind, Store};
use hookbox_event::RouteName;

/// Any error of a harness.
pub type Failed = Box<dyn Error + Send + Sync>;

/// A broker's world.
#[async_trait]
pub trait BrokerHarness: Send + Sync + Sized {
    type Broker: Broker;

    /// The error of a publish to a queue that rejects it.
    const REFUSED: PublishErrorKind;

    /// Whether publishes to other queues at the same moment are accepted.
    const REFUSES_ALONE: bool;

    /// A fresh world, with the routes `one` and `two`.
    async fn new() -> Self;

    /// Opens the broker; each call is another process's view of the same world.
    async fn open(&self) -> Arc<Self::Broker>;

    /// Nothing passes any more, in either direction, and neither side is notified.
    async fn sever(&self);

    /// Requests arrive, responses do not, where a driver's connection can be cut one way; else as
    /// `sever`.
    async fn lose_answers(&self);

    /// The queue of route `two` refuses every message, until `restore`.
    async fn refuse_two(&self);

    /// Reverts all that was broken.
    async fn restore(&self);

    /// Ends the world, and proves that nothing is left of it.
    async fn finish(self);
}

/// A store's world.
#[async_trait]
pub trait StoreHarness: Send + Sync + Sized {
    type Store: Store + Ledger;

    /// A fresh world.
    async fn new() -> Self;

    /// Opens the store; each call is another process's view of the same world.
    async fn open(&self) -> Arc<Self::Store>;

    /// What a handler does: a row in a table without a unique constraint, so that a double effect
    /// shows.
    async fn effect(connection: &mut <Self::Store as Store>::Connection, key: &str);

    /// How many such rows are committed.
    async fn effects(&self, key: &str) -> u64;

    /// What a careless handler does: breaks its transaction with a failing statement, and
    /// continues.
    async fn spoil(connection: &mut <Self::Store as Store>::Connection);

    /// What a handler does that leaves its mistake to the commit: breaks a deferred constraint.
    async fn break_at_commit(connection: &mut <Self::Store as Store>::Connection);

    /// What a faulty handler does: commits by itself.
    async fn commit_raw(connection: &mut <Self::Store as Store>::Connection);

    /// What another faulty handler does: rolls back by itself.
    async fn roll_back_raw(connection: &mut <Self::Store as Store>::Connection);

    /// What a careful handler does: writes an effect after a savepoint, and rolls back to it.
    async fn undo_to_savepoint(connection: &mut <Self::Store as Store>::Connection, key: &str);

    /// Changes the session so that hookbox's own statements would not do what they must.
    async fn change_session(connection: &mut <Self::Store as Store>::Connection);

    /// Leaves something in the session that a commit does not remove.
    async fn leave_behind(connection: &mut <Self::Store as Store>::Connection);

    /// Whether that is there.
    async fn finds_left_behind(connection: &mut <Self::Store as Store>::Connection) -> bool;

    /// The error of a handler's statement in whose middle the store is lost, until `restore`.
    async fn lose(&self, connection: &mut <Self::Store as Store>::Connection) -> Failed;

    /// The error of a handler's statement that breaks a constraint.
    async fn violate(connection: &mut <Self::Store as Store>::Connection) -> Failed;

    /// The store cannot be worked with until `restore`.
    async fn sever(&self);

    /// Reverts all that was broken.
    async fn restore(&self);

    /// Ends the world, and proves that nothing is left of it.
    async fn finish(self);
}

/// The routes of every world.
pub(crate) fn one() -> RouteName {
    "one".parse().expect("a valid name")
}

pub(crate) fn two() -> RouteName {
    "two".parse().expect("a valid name")
}

/// Longest wait for a condition. Only a failing test takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until the value is as wanted, within a bound, and fails with the last value otherwise.
/// It waits on a state, not on a change of it.
pub async fn eventually<T: Debug>(
    what: &str,
    mut poll: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        let answer = poll().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: still {answer:?}");
    }
}
