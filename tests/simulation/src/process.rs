//! One simulated process of hookbox, which acts on the broker and the store until it dies.
//!
//! A process that dies is cut off rather than stopped. Each of its calls to the broker or the store
//! waits for ever, its connections are lost, and its transactions end. So it has no further effect.
//! Its tasks end with the run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{Id, try_id};
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::handler_run::HandlerRun;
use crate::isolation::IsolationCheck;
use crate::world::World;

pub(crate) struct Process {
    pub name: String,
    pub number: u64,
    pub died: CancellationToken,
    pub world: Arc<World>,
    pub isolation: IsolationCheck,
    /// The handler runs that ended their own transaction, each with the task to which the store has
    /// reported this. The other tasks of the process do not know of it.
    ended: Mutex<Vec<(Option<Id>, HandlerRun)>>,
}

impl Process {
    pub fn new(world: &Arc<World>, role: &str, number: u64) -> Arc<Self> {
        let name = format!("{role}-{number}");
        world.note(&format!("{name} starts"));
        Arc::new(Self {
            name,
            number,
            died: CancellationToken::new(),
            world: Arc::clone(world),
            isolation: IsolationCheck::default(),
            ended: Mutex::default(),
        })
    }

    /// Records that a handler ended its own transaction, which the store has reported to the
    /// current task. From then on the claim of the event is not locked. Another task may run
    /// another copy of the event until the failure is recorded. The current task must not run the
    /// event again.
    pub fn note_end(&self, run: HandlerRun) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push((try_id(), run));
    }

    /// Returns whether the store has reported to this task that the handler run ended its
    /// transaction.
    pub fn has_ended(&self, run: &HandlerRun, id_decides: bool) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let task = try_id();
        ended
            .iter()
            .any(|(of, ended)| *of == task && ended.is_repeated_by(run, id_decides))
    }

    pub fn is_dead(&self) -> bool {
        self.died.is_cancelled()
    }

    /// Marks a step of a call to the broker or the store: some virtual time passes, and the
    /// process may be killed. Never returns once the process is dead.
    pub async fn step(&self, what: &str) {
        self.unless_dead().await;
        let world = &self.world;
        let slow = world.strikes(Fault::Slow, &format!("{} {what}", self.name));
        let wait = if slow {
            world.chance.millis(500, 1_500)
        } else {
            world.chance.millis(0, 4)
        };
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
        self.unless_dead().await;
        if world.strikes(Fault::KilledAtStep, &format!("{} {what}", self.name)) {
            self.be_killed();
        }
        self.unless_dead().await;
    }

    /// Returns at once while the process is alive. Never returns once the process is dead.
    pub async fn unless_dead(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Kills the process: ends it at once, and counts this as a process death.
    pub fn be_killed(&self) {
        self.count_as_death();
        self.die();
    }

    /// Counts the end of this process as a process death. This applies to a killed process. It also
    /// applies to a drained process that could not clear its start markers, because other processes
    /// cannot distinguish these from the markers of a killed process.
    pub fn count_as_death(&self) {
        let name = self.name.clone();
        self.world.state().tables.deaths.insert(name);
    }

    /// Ends the process at once: its connections are lost, and its transactions end. Only
    /// [`Self::be_killed`] counts this as a process death.
    pub fn die(&self) {
        let world = &self.world;
        self.died.cancel();
        world.note(&format!("{} is dead", self.name));
        world.state().queues.lose_connections(self.number);
        world.state().tables.calls.end_all_of(self.number);
        let open = world.state().tables.open_by(self.number);
        for tx in open {
            world.leave(tx, &self.name);
        }
    }
}
