//! Which floors there are, and what was measured of them.

use std::collections::BTreeMap;

use crate::percentile::median;

/// A floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    /// Confirmed publishes of one message of 600 bytes to a quorum queue, 64 outstanding, on one
    /// channel.
    Publishes,
    /// Jobs of a table in PostgreSQL: take one, insert two rows in a transaction, delete it.
    JobTable,
    /// Commits of one row of 600 bytes into a SQLite file with `synchronous=FULL`.
    SqliteCommits,
}

impl Floor {
    pub fn name(self) -> &'static str {
        match self {
            Floor::Publishes => "confirmed publishes",
            Floor::JobTable => "job table",
            Floor::SqliteCommits => "SQLite commits",
        }
    }
}

/// The measured floors.
#[derive(Default)]
pub(crate) struct Floors(pub BTreeMap<Floor, Vec<f64>>);

impl Floors {
    /// Returns the median of a floor; `None` if it was not measured.
    pub fn median(&self, floor: Floor) -> Option<f64> {
        self.0.get(&floor).map(|rates| median(rates))
    }
}
