//! The floors, with which figures of hookbox are compared: what a server or SQLite alone does, on
//! the same machine in the same run.

use std::collections::BTreeMap;

use crate::percentile::median;

/// A kind of operation that is measured without hookbox. Its rate is a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    /// Confirmed publishes of messages of 600 bytes to a quorum queue on one channel. At most 64 of
    /// them wait for their confirm at a time.
    Publishes,
    /// Jobs of a table in PostgreSQL: take one, insert two rows in a transaction, delete it.
    JobTable,
    /// The same jobs, run by graphile-worker. It is measured only if it can be installed.
    GraphileWorker,
    /// Commits of one row of 600 bytes into a SQLite file with `synchronous=FULL`.
    SqliteCommits,
}

impl Floor {
    pub fn name(self) -> &'static str {
        match self {
            Floor::Publishes => "confirmed publishes",
            Floor::JobTable => "job table",
            Floor::GraphileWorker => "graphile-worker",
            Floor::SqliteCommits => "SQLite commits",
        }
    }
}

/// The measured rate of each floor in each run, in operations a second.
#[derive(Default)]
pub(crate) struct Floors(pub BTreeMap<Floor, Vec<f64>>);

impl Floors {
    /// Returns the median of the rates of a floor; `None` if the floor was not measured.
    pub fn median(&self, floor: Floor) -> Option<f64> {
        self.0.get(&floor).map(|rates| median(rates))
    }
}
