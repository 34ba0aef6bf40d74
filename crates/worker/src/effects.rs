//! External effects: the path of an event on a route that makes an external call for it.
//!
//! A call must not run inside a transaction of the database, and its end cannot be committed
//! together with its effect. So the path has two transactions with the call between them:
//!
//! 1. `consumer` takes messages while calls may be made: while this worker has a permit for another
//!    call, and `gate` knows of no reason why the target must not be called.
//! 2. `process` brings the events of messages to a lease or an outcome, and acknowledges the
//!    messages. `transaction` is one transaction: claim → check → lease → settle → commit.
//! 3. `flight` makes one call, in a task of its own and without a connection of the database.
//!    `settle_call` decides what follows from the end of the call.
//! 4. `end_writer` records how calls ended, many at a time.
//!
//! When a process dies, its leases end by themselves. Then the retries that the store has for their
//! events are due, and the calls are made again under new leases, which have higher epochs. So
//! effects need no isolation, no quarantine and no start markers.

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

/// A call may begin at most this long after its lease was requested from the store. To give a lease
/// and to commit it takes milliseconds, so a call that would begin later has waited for an
/// unavailable store, or its process was suspended. Such a call is not made, because it could still
/// run when its lease has ended. The time before the request does not count: on SQLite, a
/// transaction may wait many seconds for those of other routes before it begins.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// How much longer a lease is than the time limit of its call. This covers the time until the call
/// begins ([`BEGINS_WITHIN`]), the time to record its end in a slow store, and adjustments of the
/// store's clock. With a longer margin, calls are repeated later after the death of a process. With
/// a shorter one, it is more likely that a call is repeated although it has ended.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// How many leases of one attempt may end without a recorded outcome. A process that is killed by
/// chance leaves one such lease, and the next process perhaps a second. But an event whose call
/// kills every process that makes it would leave one for each process. After this many leases, the
/// event becomes a dead letter (`lost`), which an operator can replay.
const LOST_MAX: u32 = 4;
