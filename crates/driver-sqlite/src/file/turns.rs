//! Decides which transaction of this process uses the writing connection next.
//!
//! Callers that wait for the connection are in one queue for each [`Purpose`]. Within a queue, the
//! order is that of their requests. Between the queues:
//!
//! - Every second turn belongs to publishes, if one waits. A provider waits for the result of a
//!   publish, and the transaction of publishes is short, because its size is limited. All other
//!   transactions can wait, and that of a handler may be long. So a publish waits for at most one
//!   transaction, whatever else waits.
//! - The other turns rotate among the other purposes. So workers that always want the connection
//!   delay the settlement of messages or an operator's command by a few turns at most.
//!
//! So no purpose can starve another. A caller that stops waiting leaves its queue. If it has been
//! given the turn in the same moment, the turn passes to the next caller at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::file::purpose::Purpose;

/// Gives one caller at a time the right to use the writing connection.
pub(crate) struct Turns(Arc<Mutex<State>>);

/// The right to use the writing connection. Dropping it passes the right on to the next caller.
pub(crate) struct Turn(Arc<Mutex<State>>);

struct State {
    /// Whether a caller has the turn, or is about to receive it.
    is_taken: bool,
    /// Whether the last turn was for publishes.
    was_publish: bool,
    /// The purpose of the last turn that was not for publishes.
    last_other: Purpose,
    publishes: Queue,
    drains: Queue,
    processes: Queue,
    operations: Queue,
}

/// The callers of one purpose that wait, in the order of their requests.
#[derive(Default)]
struct Queue(VecDeque<oneshot::Sender<Turn>>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            is_taken: false,
            was_publish: false,
            last_other: Purpose::Operate,
            publishes: Queue::default(),
            drains: Queue::default(),
            processes: Queue::default(),
            operations: Queue::default(),
        })))
    }

    /// Requests a turn, and returns the receiver that gets it. The moment of this call decides the
    /// caller's place in the queue. Dropping the receiver gives up the place, or the turn.
    pub(crate) fn request(&self, purpose: Purpose) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.0);
        state.queue(purpose).push(sender);
        let next = if state.is_taken {
            None
        } else {
            state.advance()
        };
        drop(state);
        give(&self.0, next);
        receiver
    }

    /// Returns how many callers wait for a turn of this purpose.
    #[cfg(test)]
    pub(crate) fn waiting(&self, purpose: Purpose) -> usize {
        let mut state = lock(&self.0);
        let queue = state.queue(purpose);
        queue.0.iter().filter(|one| !one.is_closed()).count()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = lock(&self.0).advance();
        give(&self.0, next);
    }
}

/// Sends the turn to the caller that is next. The state must not be locked: sending fails when the
/// caller has stopped waiting in this moment, and then the turn is dropped here, which passes it
/// on.
fn give(state: &Arc<Mutex<State>>, next: Option<oneshot::Sender<Turn>>) {
    if let Some(next) = next {
        drop(next.send(Turn(Arc::clone(state))));
    }
}

// No code panics while it holds this lock, so the lock is never poisoned.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Removes the caller that is next from its queue, and records that it has the turn. Returns
    /// `None` when no caller waits; then the connection is free.
    fn advance(&mut self) -> Option<oneshot::Sender<Turn>> {
        let order = order(self.was_publish, self.last_other);
        let mut order = order.into_iter();
        let next = order.find_map(|purpose| Some((purpose, self.queue(purpose).pop()?)));
        self.is_taken = next.is_some();
        let (purpose, caller) = next?;
        self.was_publish = purpose == Purpose::Accept;
        if !self.was_publish {
            self.last_other = purpose;
        }
        Some(caller)
    }

    fn queue(&mut self, purpose: Purpose) -> &mut Queue {
        match purpose {
            Purpose::Accept => &mut self.publishes,
            Purpose::Drain => &mut self.drains,
            Purpose::Process => &mut self.processes,
            Purpose::Operate => &mut self.operations,
        }
    }
}

/// Returns the purposes in the order in which they may have the next turn. The first one for which
/// a caller waits gets it.
fn order(was_publish: bool, last_other: Purpose) -> [Purpose; 4] {
    use Purpose::{Accept, Drain, Operate, Process};
    let [first, second, third] = match last_other {
        Drain => [Process, Operate, Drain],
        Process => [Operate, Drain, Process],
        // `last_other` is never `Accept`. The match needs an arm for it, so it shares that of
        // `Operate`.
        Operate | Accept => [Drain, Process, Operate],
    };
    if was_publish {
        [first, second, third, Accept]
    } else {
        [Accept, first, second, third]
    }
}

impl Queue {
    /// Adds a caller. Callers that have stopped waiting are removed here, so that the queue is
    /// never longer than the number of callers that do wait, even while one transaction takes long.
    fn push(&mut self, caller: oneshot::Sender<Turn>) {
        self.0.retain(|one| !one.is_closed());
        self.0.push_back(caller);
    }

    /// Removes the first caller that still waits.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(caller) = self.0.pop_front() {
            if !caller.is_closed() {
                return Some(caller);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Purpose::{Accept, Drain, Operate, Process};
    use super::*;

    /// A caller that waits for its turn. The number identifies the caller in a test.
    struct Caller {
        purpose: Purpose,
        number: usize,
        turn: oneshot::Receiver<Turn>,
    }

    /// Returns the caller that has got the turn, and the turn. Exactly one caller must have it.
    fn next(waiting: &mut Vec<Caller>) -> (Caller, Turn) {
        let mut have = waiting.iter_mut().enumerate();
        let (at, turn) = have
            .find_map(|(at, caller)| Some((at, caller.turn.try_recv().ok()?)))
            .unwrap();
        assert!(have.all(|(_, caller)| caller.turn.try_recv().is_err()));
        (waiting.remove(at), turn)
    }

    /// Lets callers with these purposes wait while a worker has the turn. Then returns the order in
    /// which they get their turns: for each, its purpose and its place in `purposes`.
    fn served(purposes: &[Purpose]) -> Vec<(Purpose, usize)> {
        let turns = Turns::new();
        let worker = turns.request(Process).try_recv().unwrap();
        let callers = purposes.iter().enumerate().map(|(number, purpose)| Caller {
            purpose: *purpose,
            number,
            turn: turns.request(*purpose),
        });
        let mut waiting: Vec<Caller> = callers.collect();
        drop(worker);
        let mut served = Vec::new();
        while !waiting.is_empty() {
            let (caller, turn) = next(&mut waiting);
            served.push((caller.purpose, caller.number));
            drop(turn);
        }
        served
    }

    #[test]
    fn a_publish_waits_for_one_transaction_whatever_else_waits() {
        assert_eq!(
            served(&[Process, Process, Drain, Operate, Accept]),
            [
                (Accept, 4),
                (Operate, 3),
                (Drain, 2),
                (Process, 0),
                (Process, 1)
            ]
        );
    }

    #[test]
    fn a_worker_waits_for_one_publish_however_many_wait() {
        assert_eq!(
            served(&[Accept, Accept, Accept, Process, Process]),
            [
                (Accept, 0),
                (Process, 3),
                (Accept, 1),
                (Process, 4),
                (Accept, 2)
            ]
        );
    }

    #[test]
    fn callers_of_one_purpose_are_served_in_the_order_of_their_requests() {
        let numbers = |purpose| {
            let served = served(&[purpose; 5]);
            served.into_iter().map(|(_, number)| number)
        };
        for purpose in [Accept, Drain, Process, Operate] {
            assert!(numbers(purpose).eq(0..5), "{purpose:?}");
        }
    }

    #[test]
    fn no_purpose_starves_another_when_all_always_wait() {
        let turns = Turns::new();
        let mut turn = turns.request(Process).try_recv().unwrap();
        let caller = |purpose| Caller {
            purpose,
            number: 0,
            turn: turns.request(purpose),
        };
        // There are three workers, and one caller of each other purpose. Each of them requests its
        // next turn before it gives back the turn that it has.
        let purposes = [Process, Process, Process, Accept, Drain, Operate];
        let mut waiting: Vec<Caller> = purposes.map(caller).into();
        let mut served = Vec::new();
        for _ in 0..24 {
            drop(turn);
            let (served_caller, its_turn) = next(&mut waiting);
            served.push(served_caller.purpose);
            waiting.push(caller(served_caller.purpose));
            turn = its_turn;
        }
        let round = [Accept, Operate, Accept, Drain, Accept, Process];
        assert_eq!(served, round.repeat(4));
    }

    #[test]
    fn a_caller_that_stops_waiting_delays_no_other() {
        let turns = Turns::new();
        let turn = turns.request(Process).try_recv().unwrap();
        let gone = [Accept, Operate, Drain, Process].map(|purpose| turns.request(purpose));
        let mut stays = turns.request(Process);
        drop(gone);
        assert_eq!(turns.waiting(Accept), 0);
        assert_eq!(turns.waiting(Process), 1);
        drop(turn);
        let turn = stays.try_recv().unwrap();
        // This caller stops waiting after the turn was given to it and before it has received the
        // turn.
        let unreceived = turns.request(Accept);
        let mut last = turns.request(Process);
        drop(turn);
        assert!(last.try_recv().is_err());
        drop(unreceived);
        drop(last.try_recv().unwrap());
        // The connection is free, so a new caller gets it at once.
        drop(turns.request(Operate).try_recv().unwrap());
    }

    #[test]
    fn callers_that_have_stopped_waiting_take_no_memory() {
        let turns = Turns::new();
        let turn = turns.request(Process).try_recv().unwrap();
        for _ in 0..1_000 {
            drop(turns.request(Operate));
        }
        let waits = turns.request(Operate);
        assert_eq!(lock(&turns.0).queue(Operate).0.len(), 1);
        drop((turn, waits));
    }
}
