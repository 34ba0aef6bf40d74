//! Every fault case by number and name, in the order of the chain: from ingest to the broker, the
//! cluster, from the broker to the worker, to PostgreSQL, one file, HTTP; and the canaries.

mod broker;
mod canaries;
mod cluster;
mod embedded;
mod http;
mod store;
mod worker;

use crate::case::Case;

/// All cases, and after them the canaries.
pub fn all() -> impl Iterator<Item = &'static Case> {
    faults().chain(canaries())
}

/// The canaries.
pub fn canaries() -> impl Iterator<Item = &'static Case> {
    canaries::CASES.iter()
}

/// The cases.
pub fn faults() -> impl Iterator<Item = &'static Case> {
    [
        broker::CASES,
        cluster::CASES,
        worker::CASES,
        store::CASES,
        embedded::CASES,
        http::CASES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;

/// Every line of every test that a case may name.
#[cfg(test)]
pub(crate) use tests::sources;
