//! Signed traffic as a provider sends it: realistic Begini events, some of them twice, altered,
//! malformed, in conflict or late, and a tally of the expected outcomes.
//!
//! What is sent depends on the seed alone, so a run can be repeated to the byte. The speed of the
//! answers and their order do not.

mod chance;
mod events;
mod expect;
mod journal;
mod link;
mod plan;
mod run;
mod sender;
mod tally;
mod target;
mod terms;

pub use journal::Journal;
pub use link::{HttpResponse, Link};
pub use plan::Shares;
pub use run::{Simulation, simulate};
pub use sender::Signer;
pub use target::Target;
pub use terms::Terms;

/// One event of a provider, for `send`: the body of a generated event of this type.
pub fn one_event(kind: &str, seed: u64) -> Option<Vec<u8>> {
    let kind = events::Kind::parse(kind)?;
    Some(events::Event::new(seed, 0, Some(kind)).body(events::Version::First))
}

/// The names of the event types that can be generated.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    events::Kind::ALL.into_iter().map(events::Kind::as_str)
}
