//! The broker over RabbitMQ (3.10 to 4.x) with publisher confirms, on lapin.
//!
//! Straightforward code on lapin loses events. `docs/HAZARDS.md` lists the known ways in which this
//! happens. Where the code avoids such a hazard, a comment names its number (H1 and on). In short:
//! one task owns a publishing channel, it waits for the confirms of all its publishes before it
//! publishes more, everything has a deadline, a connection with any error is discarded, and lapin's
//! own recovery is never used.

mod anchor;
mod background;
#[cfg(test)]
mod canaries;
mod connection;
mod consumer;
mod declare;
mod delivery;
mod depth;
mod diagnose;
mod establish;
mod examine;
mod exchange;
mod fallback_runtime;
mod identity;
mod jitter;
mod late_queues;
mod management;
mod nodes;
mod options;
mod overlay;
mod policy;
mod probe;
mod prober;
mod protection;
mod publisher;
mod rabbit;
mod refusal;
mod rejections;
mod supervisor;
#[cfg(feature = "testing")]
mod testing;
mod topology;
mod troubles;
mod watch;
mod witness_lock;
mod witnesses;

pub use declare::{Declaration, declare, missing};
pub use exchange::{ExchangeError, ExchangeMessage, ExchangePublisher, HeaderValue};
pub use options::{Options, Stamping};
pub use rabbit::Rabbit;
pub use topology::{Argument, QueueDeclaration, Topology, topology};

#[cfg(feature = "testing")]
pub use testing::delete_topology;

/// How error texts name the broker.
const WHAT: &str = "the broker";
