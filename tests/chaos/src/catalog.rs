//! Every fault case by number and name, in the order in which an event passes through ingest,
//! broker, worker and store. Then follow the fault cases of the handlers that a user configures,
//! and the canaries, which test that known hazards of libraries and servers still exist.

mod broker;
mod canaries;
mod cluster;
mod embedded;
mod http;
mod spool;
mod store;
mod user_routes;
mod worker;

use crate::case::Case;

/// Returns all fault cases, and after them the canaries.
pub fn all() -> impl Iterator<Item = &'static Case> {
    faults().chain(canaries())
}

/// Returns the canaries: tests that a hazard of a library or a server still exists.
pub fn canaries() -> impl Iterator<Item = &'static Case> {
    canaries::CASES.iter()
}

/// Returns the fault cases in order of their numbers.
pub fn faults() -> impl Iterator<Item = &'static Case> {
    [
        broker::CASES,
        spool::CASES,
        cluster::CASES,
        worker::CASES,
        store::CASES,
        embedded::CASES,
        http::CASES,
        user_routes::CASES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;

/// Returns the text of all Rust files of the repository. A test searches it for each test that a
/// case names.
#[cfg(test)]
pub(crate) use tests::sources;
