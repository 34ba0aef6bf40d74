//! What a driver provides so that the conformance cases can test it: a new world for each case,
//! and ways to cause faults. A world is one broker or one store with its data.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{Broker, ExpectedIdentity, Ledger, OpenError, PublishErrorKind, Store};
use hookbox_event::RouteName;

/// The type of any error that a harness returns.
pub type Failed = Box<dyn Error + Send + Sync>;

/// A broker with its queues, for one case.
#[async_trait]
pub trait BrokerHarness: Send + Sync + Sized {
    type Broker: Broker;

    /// The kind of error that a publish returns when the queue rejects the message.
    const REFUSED: PublishErrorKind;

    /// Whether the broker still accepts publishes to other queues while one queue rejects messages.
    const REFUSES_ALONE: bool;

    /// Creates a new world: a broker with the queues of the routes `one` and `two`.
    async fn new() -> Self;

    /// Connects to the broker. Each call stands for another process that uses the same broker.
    async fn open(&self) -> Arc<Self::Broker>;

    /// Connects to the broker as `open` does, as a process that expects this identity key.
    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Self::Broker>, OpenError>;

    /// Prepares the broker as `hookbox migrate` does, and stamps it with this identity key.
    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError>;

    /// Cuts the connections between driver and broker. No byte passes, and neither side is
    /// notified.
    async fn sever(&self);

    /// Drops everything that the broker sends to the driver. The broker still receives everything
    /// that the driver sends. If a connection cannot be cut in one direction only, this does the
    /// same as `sever`.
    async fn lose_answers(&self);

    /// Makes the queue of route `two` refuse every message until `restore` is called.
    async fn refuse_two(&self);

    /// Ends every fault that this harness has caused.
    async fn restore(&self);

    /// Deletes the world, which is the broker with its queues, and checks that nothing is left of
    /// it.
    async fn finish(self);
}

/// A store with its data, for one case.
#[async_trait]
pub trait StoreHarness: Send + Sync + Sized {
    type Store: Store + Ledger;

    /// Creates a new world: an empty store.
    async fn new() -> Self;

    /// Connects to the store. Each call stands for another process that uses the same store.
    async fn open(&self) -> Arc<Self::Store>;

    /// Connects to the store as `open` does, with at most two connections for transactions, and
    /// with a short wait for one of them.
    async fn open_small(&self) -> Arc<Self::Store>;

    /// Connects to the store as `open` does, as a process that expects this identity key.
    async fn open_as(&self, identity: ExpectedIdentity) -> Result<Arc<Self::Store>, OpenError>;

    /// Prepares the store as `hookbox migrate` does, and stamps it with this identity key.
    async fn stamp(&self, identity: ExpectedIdentity) -> Result<(), OpenError>;

    /// Does what a handler does: inserts a row. The table has no unique constraint, so a handler
    /// that runs twice leaves two rows.
    async fn effect(connection: &mut <Self::Store as Store>::Connection, key: &str);

    /// Returns the number of committed rows that `effect` has written with this key.
    async fn effects(&self, key: &str) -> u64;

    /// Does what a careless handler does: breaks the transaction with a failing statement, and
    /// continues.
    async fn spoil(connection: &mut <Self::Store as Store>::Connection);

    /// Violates a deferred constraint. The database checks it only at the commit, so no statement
    /// before the commit fails.
    async fn break_at_commit(connection: &mut <Self::Store as Store>::Connection);

    /// Commits the transaction that hookbox has opened for the handler, as a faulty handler may do.
    async fn commit_raw(connection: &mut <Self::Store as Store>::Connection);

    /// Rolls back the transaction that hookbox has opened for the handler, as a faulty handler may
    /// do.
    async fn roll_back_raw(connection: &mut <Self::Store as Store>::Connection);

    /// Does what a careful handler does: writes an effect after a savepoint, and rolls back to the
    /// savepoint.
    async fn undo_to_savepoint(connection: &mut <Self::Store as Store>::Connection, key: &str);

    /// Changes a setting of the session, as a faulty handler may. If hookbox did not check the
    /// session, its own statements would then have no effect, or a wrong one.
    async fn change_session(connection: &mut <Self::Store as Store>::Connection);

    /// Leaves an object in the session that a commit does not remove, for example a temporary
    /// table.
    async fn leave_behind(connection: &mut <Self::Store as Store>::Connection);

    /// Returns whether the session still has the object that `leave_behind` left.
    async fn finds_left_behind(connection: &mut <Self::Store as Store>::Connection) -> bool;

    /// Makes the store unavailable while a statement of a handler runs, and returns the error of
    /// that statement. The store stays unavailable until `restore` is called.
    async fn lose(&self, connection: &mut <Self::Store as Store>::Connection) -> Failed;

    /// Runs a handler's statement that breaks a constraint, and returns its error.
    async fn violate(connection: &mut <Self::Store as Store>::Connection) -> Failed;

    /// Makes the store unavailable until `restore` is called.
    async fn sever(&self);

    /// Ends every fault that this harness has caused.
    async fn restore(&self);

    /// Removes the world, which is the store with its data, and checks that nothing is left of it.
    async fn finish(self);
}

/// Returns the name of the first of the two routes that the cases use.
pub(crate) fn one() -> RouteName {
    "one".parse().expect("a valid name")
}

pub(crate) fn two() -> RouteName {
    "two".parse().expect("a valid name")
}
