//! The broker over RabbitMQ (3.10 to 4.x) with publisher confirms, on lapin.
//!
//! The obvious code on lapin loses events. `docs/HAZARDS.md` lists the known ways, and comments
//! here name them by number (H1 and on) where they are avoided. In short: one task owns a
//! publishing channel, a round of publishes is settled as a whole before the next starts,
//! everything has a deadline, a connection with any error is discarded, and lapin's own recovery is
//! never used.

mod anchor;
#[cfg(test)]
mod canaries;
mod connection;
mod consumer;
mod declare;
mod delivery;
mod diagnose;
mod establish;
mod examine;
mod fallback_runtime;
mod jitter;
mod management;
mod nodes;
mod options;
mod overlay;
mod policy;
mod probe;
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
mod witnesses;

pub use declare::{Declaration, declare, missing};
pub use options::Options;
pub use rabbit::Rabbit;
pub use topology::{Argument, QueueDeclaration, Topology, topology};

#[cfg(feature = "testing")]
pub use testing::delete_topology;

/// The broker's name in errors.
const WHAT: &str = "the broker";
