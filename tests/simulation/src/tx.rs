//! One transaction of the in-memory store: its locks, its changes, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{
    ClaimState, Fault as OurFault, FaultKind, TargetName, TargetState, VersionedEvent,
};
use hookbox_event::Envelope;
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;
use crate::handler_run::{Effect, HandlerRun};
use crate::leases::NewLease;
use crate::on_route::OnRoute;
use crate::process::Process;
use crate::settled_receipt::SettledReceipt;
use crate::tables::{Key, Tables};
use crate::world::World;

/// How long a transaction waits for a lock before the store ends it.
const LOCK_DEADLINE: Duration = Duration::from_secs(3);

/// An open transaction. Dropping it rolls it back.
pub(crate) struct SimTx {
    pub process: Arc<Process>,
    pub id: u64,
    /// The purpose of the transaction, which the trace shows.
    pub doing: &'static str,
    pub owned: BTreeMap<OnRoute, OwnedClaim>,
    pub settled: Vec<SettledReceipt>,
    /// The leases that the commit will store.
    pub leases: Vec<NewLease>,
    /// The target of the leases, and its state. The commit will store this state.
    pub target: Option<(TargetName, TargetState)>,
    /// The events whose versions were compared.
    pub versions: Vec<VersionedEvent>,
    /// How many effects were written before the savepoint.
    pub savepoint: usize,
    pub connection: SimConnection,
    pub ended: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedClaim {
    pub attempt: u32,
    pub granted: bool,
    pub end: Option<(ClaimState, u32)>,
}

/// The connection that a handler borrows.
pub(crate) struct SimConnection {
    pub process: Arc<Process>,
    pub tx: u64,
    pub effects: Vec<Effect>,
    /// Whether a statement of the handler failed, so that the transaction cannot be committed.
    pub aborted: bool,
    /// Whether the handler itself has committed or rolled back the transaction.
    pub ended: bool,
    /// The run of the handler, if that handler has rolled back the transaction.
    pub rolled_back: Option<HandlerRun>,
    /// The events whose bodies the commit stores. The claims that the commit stores are in
    /// `claimed`.
    pub events: Vec<Envelope>,
    pub claimed: Vec<OnRoute>,
}

/// An error that the store returns to a handler.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimError {
    #[error("the connection to the store is gone")]
    Gone,
    #[error("the store ended the transaction to resolve a deadlock")]
    Deadlock,
    #[error("another session holds the lock that the statement waited for")]
    Locked,
    #[error("the statement needs a permission that the role does not have")]
    Denied,
    #[error("the statement breaks a constraint of a table of the handler")]
    Refused,
}

impl SimTx {
    pub fn new(process: &Arc<Process>, id: u64, doing: &'static str) -> Self {
        Self {
            process: Arc::clone(process),
            id,
            doing,
            owned: BTreeMap::new(),
            settled: Vec::new(),
            leases: Vec::new(),
            target: None,
            versions: Vec::new(),
            savepoint: 0,
            connection: SimConnection {
                process: Arc::clone(process),
                tx: id,
                effects: Vec::new(),
                aborted: false,
                ended: false,
                rolled_back: None,
                events: Vec::new(),
                claimed: Vec::new(),
            },
            ended: false,
        }
    }

    /// Runs a statement of hookbox. It fails when the transaction has ended.
    pub async fn statement(&self, doing: &'static str) -> Result<(), OurFault> {
        statement(&self.process, self.id, doing)
            .await
            .map_err(|error| {
                let kind = match error {
                    SimError::Gone | SimError::Refused | SimError::Denied => FaultKind::Unavailable,
                    SimError::Deadlock | SimError::Locked => FaultKind::Contention,
                };
                OurFault::new(kind, doing, error)
            })
    }

    /// Waits until no other transaction holds this key. Then it takes the lock if `take` returns
    /// true. Returns whether it took the lock.
    pub async fn lock(&self, key: Key, take: impl Fn(&Tables) -> bool) -> Result<bool, OurFault> {
        let keys = [key];
        wait_for(&self.process.world, self.id, &keys, |tables| {
            let take = take(tables);
            if take {
                let [key] = keys.clone();
                tables.lock(key, self.id);
            }
            take
        })
        .await
    }

    /// Ends the transaction without a commit. If the fault `Zombie` strikes, its locks stay for a
    /// while.
    pub fn give_up(&mut self) {
        if !self.ended {
            self.ended = true;
            self.process.world.leave(self.id, &self.process.name);
        }
    }
}

impl Drop for SimTx {
    fn drop(&mut self) {
        if !self.process.is_dead() {
            self.give_up();
        }
    }
}

impl SimConnection {
    /// Runs the one regular statement of the handler. It writes an effect, which must happen
    /// exactly once for each event.
    pub async fn write(&mut self, effect: Effect) -> Result<(), SimError> {
        statement(&self.process, self.tx, "write an effect").await?;
        let world = &self.process.world;
        if world.strikes(Fault::ForeignLock, &self.process.name) {
            tokio::time::sleep(world.chance.millis(10, 3_000)).await;
            self.aborted = true;
            return Err(SimError::Locked);
        }
        if world.strikes(Fault::MissingRight, &self.process.name) {
            self.aborted = true;
            return Err(SimError::Denied);
        }
        self.effects.push(effect);
        Ok(())
    }

    /// Commits the transaction from within a handler. Only hookbox may do that.
    pub async fn commit(&mut self) -> Result<(), SimError> {
        statement(&self.process, self.tx, "commit from within a handler").await?;
        self.ended = true;
        let world = &self.process.world;
        let mut state = world.state();
        for envelope in std::mem::take(&mut self.events) {
            state.tables.keep_event(&envelope);
        }
        let claimed = std::mem::take(&mut self.claimed);
        let effects = std::mem::take(&mut self.effects);
        state.tables.commit_early(self.tx, claimed, effects);
        state
            .trace
            .note("a handler has committed its own transaction");
        drop(state);
        world.unlocked.notify_waiters();
        Ok(())
    }

    /// Rolls back the transaction from within a handler. Only hookbox may do that. Each later write
    /// of the handler is then committed by itself.
    pub async fn roll_back(&mut self, run: &HandlerRun) -> Result<(), SimError> {
        statement(&self.process, self.tx, "roll back from within a handler").await?;
        self.ended = true;
        self.rolled_back = Some(run.clone());
        let of = run.clone();
        self.process.world.state().tables.rolled_back.push(of);
        self.events.clear();
        self.claimed.clear();
        self.effects.clear();
        let world = &self.process.world;
        world.abort(self.tx);
        world.note("a handler has rolled back its own transaction; its later writes are committed");
        Ok(())
    }

    /// Runs a statement that violates a constraint, as a faulty handler might.
    pub async fn refused(&mut self) -> Result<(), SimError> {
        statement(
            &self.process,
            self.tx,
            "run a statement that breaks a constraint",
        )
        .await?;
        self.aborted = true;
        Err(SimError::Refused)
    }
}

async fn statement(process: &Arc<Process>, tx: u64, doing: &str) -> Result<(), SimError> {
    process.step(doing).await;
    let world = &process.world;
    let fault = world.one_of(&[Fault::StatementLost, Fault::Deadlock], &process.name);
    let mut state = world.state();
    if state.tables.away || !state.tables.is_open(tx) {
        return Err(SimError::Gone);
    }
    match fault {
        None => Ok(()),
        Some(fault) => {
            state.tables.close(tx);
            drop(state);
            world.unlocked.notify_waiters();
            Err(if fault == Fault::Deadlock {
                SimError::Deadlock
            } else {
                SimError::Gone
            })
        }
    }
}

/// Waits until no other transaction holds any of these keys. Then it runs `then` before another
/// transaction can take one of the keys.
pub(crate) async fn wait_for<T>(
    world: &World,
    tx: u64,
    keys: &[Key],
    then: impl FnOnce(&mut Tables) -> T,
) -> Result<T, OurFault> {
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        let unlocked = world.unlocked.notified();
        {
            let mut state = world.state();
            let tables = &mut state.tables;
            if tables.away || !tables.is_open(tx) {
                let doing = "wait for a lock: the connection is gone";
                return Err(OurFault::plain(FaultKind::Unavailable, doing));
            }
            if !keys.iter().any(|key| tables.is_locked_by_another(key, tx)) {
                return Ok(then(tables));
            }
        }
        if timeout_at(deadline, unlocked).await.is_err() {
            let mut state = world.state();
            state.tables.close(tx);
            drop(state);
            world.unlocked.notify_waiters();
            let doing = "wait for a lock";
            return Err(OurFault::plain(FaultKind::Contention, doing));
        }
    }
}

impl World {
    /// Rolls back a transaction that nothing uses any more. This happens at once. If the fault
    /// `Zombie` strikes, it happens later, as if the store had noticed late that the transaction
    /// was left.
    pub fn leave(self: &Arc<Self>, tx: u64, whom: &str) {
        if !self.state().tables.is_open(tx) {
            return;
        }
        if self.strikes(Fault::Zombie, whom) {
            let wait = self.chance.millis(100, 4_000);
            self.after(wait, move |world| world.abort(tx));
        } else {
            self.abort(tx);
        }
    }

    pub fn abort(&self, tx: u64) {
        self.state().tables.close(tx);
        self.unlocked.notify_waiters();
    }
}
