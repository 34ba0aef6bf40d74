//! Generates signed traffic as a provider sends it: realistic Begini events, of which some are sent
//! twice, altered, malformed, conflicting or late, and a tally of the expected outcomes.
//!
//! The requests depend only on the seed, so a run can be repeated byte for byte. The latency and
//! the order of the responses vary.

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
pub use run::{Traffic, generate};
pub use sender::Signer;
pub use target::Target;
pub use terms::Terms;

/// Returns the body of a generated event of this type, for the command `send`.
pub fn one_event(kind: &str, seed: u64) -> Option<Vec<u8>> {
    let kind = events::Kind::parse(kind)?;
    Some(events::Event::new(seed, 0, Some(kind)).body(events::Version::First))
}

/// Returns the names of the event types that can be generated.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    events::Kind::ALL.into_iter().map(events::Kind::as_str)
}
