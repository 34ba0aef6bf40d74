//! External effects: the path of an event of a route that makes a call for it.
//!
//! A call must not run inside a transaction of the database, and its end cannot be committed
//! together with its effect. So the path has two transactions with the call between them:
//!
//! 1. `consumer` takes messages while calls may be made: while this worker has a permit for another
//!    call, and `gate` knows of no reason why the target must not be called.
//! 2. `process` brings the events of messages to a lease or an outcome, and acknowledges the
//!    messages. `transaction` is one transaction: claim → check → lease → settle → commit.
//! 3. `flight` makes one call, in a task of its own and without a connection of the database.
//!    `settle_call` is the table of what follows from its end.
//! 4. `end_writer` records how calls ended, many at a time.
//!
//! A process that dies leaves leases, which end by themselves: then the store's retry is due, and
//! the call is made again under the next lease, which has a higher epoch. So an effect takes no
//! part in isolation, quarantine and start markers.

use std::time::Duration;

pub(crate) mod consumer;
mod end_writer;
mod flight;
mod gate;
mod process;
pub(crate) mod registered;
mod route;
mod settle_call;
mod transaction;

/// How much later than its transaction a call may begin. A commit takes milliseconds, so a call
/// that is later than this has waited for a store that was unavailable, or its process was stopped.
/// It is not made, because it could still run when its lease has ended.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// How much longer than the time limit of its call a lease is: until the call begins
/// ([`BEGINS_WITHIN`]), for recording its end while the store answers slowly, and for what the
/// clock of the store is adjusted meanwhile. A longer time makes the next call after a death of a
/// process later; a shorter one makes it likelier that a call is repeated although it has ended.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// How many leases of one attempt may end without an outcome. One is that of a process that was
/// killed, a second one may be that of its successor. An event whose call kills each process that
/// makes it ends after this many deaths, as a dead letter that an operator can replay.
const LOST_MAX: u32 = 4;
