//! One cell of the crash-point matrix.

use hookbox_crash::{POINTS, Point};

use crate::pair::Pair;
use hookbox_testkit::chance::Chance;

/// One cell of the matrix: a crash point, whether the process crashes at its first or second
/// passing, and a pair of broker and store.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub point: &'static Point,
    /// 1 to crash at the first passing of the point, 2 to crash at the second.
    pub time: u8,
    pub pair: Pair,
}

/// The process that passes the crash point, and what makes it do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// An ingest under load.
    Ingest,
    /// A worker under load.
    Worker,
    /// The named service, when it gets SIGTERM under load.
    Draining(&'static str),
    /// The command `hookbox migrate`.
    Migrator,
    /// The command `hookbox dead replay`.
    Operator,
    /// An ingest under load while the broker is unavailable, and after it has recovered.
    Spool,
}

impl Cell {
    /// Returns every cell of the crash-point matrix.
    pub fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for pair in Pair::ALL {
            for point in POINTS.iter().filter(|point| is_on(point, pair)) {
                cells.extend([1, 2].map(|time| Cell { point, time, pair }));
            }
        }
        cells
    }

    /// Returns the name that `--case` accepts.
    pub fn name(&self) -> String {
        format!("crash/{}:{}", self.point.name, self.time)
    }

    /// Returns whether the process crashes while it makes an external call. Such a cell needs a
    /// route with external calls. It takes half a minute, because a lease must end before the call
    /// is repeated.
    pub fn is_external(&self) -> bool {
        self.point.name.starts_with("effect.")
    }

    /// Returns whether `--ci` runs this cell with this seed. A run with `--ci` has no time for all
    /// cells, so the seed selects one cell of each crash point. Another seed may select the cell
    /// for another pair of broker and store, or the cell in which the process ends when it reaches
    /// the crash point for the second time instead of the first.
    pub fn is_in_turn(&self, seed: u64) -> bool {
        let by_pair = match self.pair {
            Pair::RabbitmqPostgres => 0,
            Pair::Sqlite => 1,
        };
        let first = Cell { time: 1, ..*self };
        let is_second = first.mixed(seed ^ by_pair).is_multiple_of(2);
        let is_on_both = Pair::ALL.iter().all(|pair| is_on(self.point, *pair));
        let is_of_pair = (first.mixed(seed) >> 1) % 2 == by_pair || !is_on_both;
        is_of_pair && is_second == (self.time == 2)
    }

    /// Returns a different seed for each cell, so that no two cells that share a `World` send the
    /// same events.
    pub fn mixed(&self, seed: u64) -> u64 {
        let mut mix = seed ^ u64::from(self.time);
        for byte in self.point.name.bytes() {
            mix = Chance::new(mix ^ u64::from(byte)).any();
        }
        mix >> 8
    }

    pub fn actor(&self) -> Actor {
        let name = self.point.name;
        match name.split_once('.').unwrap_or((name, "")) {
            ("ingest", "draining") => Actor::Draining("ingest 1"),
            ("worker", "draining") => Actor::Draining("worker 1"),
            ("ingest" | "rabbitmq", _) => Actor::Ingest,
            ("sqlite", point) if point.contains("publish") => Actor::Ingest,
            // Only PostgreSQL has a crash point between two migrations, because on SQLite all of
            // them are one transaction.
            ("migrate", _) | ("postgres", "between_migrations") => Actor::Migrator,
            ("ledger", _) => Actor::Operator,
            ("spool", _) => Actor::Spool,
            (_, _) => Actor::Worker,
        }
    }

    /// Returns whether the process crashes after it stored an event and before its response.
    pub fn is_after_storing(&self) -> bool {
        let points = [
            "rabbitmq.after_confirm",
            "sqlite.after_publish_commit",
            "ingest.after_publish",
            "ingest.before_response",
        ];
        points.contains(&self.point.name)
    }

    /// Returns the value of the environment variable that makes a process end itself at the crash
    /// point. A process drains, or runs a command, only once, so it passes the crash point only
    /// once. Then the value has no number of the passing; the second passing is that of a second
    /// process.
    pub fn crash(&self) -> String {
        match self.actor() {
            Actor::Draining(_) | Actor::Migrator | Actor::Operator => self.point.name.to_owned(),
            Actor::Ingest | Actor::Worker | Actor::Spool => {
                format!("{}:{}", self.point.name, self.time)
            }
        }
    }
}

fn is_on(point: &Point, pair: Pair) -> bool {
    match point.name.split_once('.').map_or("", |it| it.0) {
        "rabbitmq" | "postgres" | "spool" => pair == Pair::RabbitmqPostgres,
        "sqlite" => pair == Pair::Sqlite,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_selects_one_of_the_cells_of_a_crash_point() {
        let mut selected = BTreeSet::new();
        for point in POINTS {
            for seed in 0..60 {
                let mut cells = Cell::all();
                cells.retain(|cell| cell.point == point && cell.is_in_turn(seed));
                assert_eq!(
                    cells.len(),
                    1,
                    "the seed {seed} must select one cell of the crash point {}",
                    point.name
                );
                selected.insert((point.name, cells[0].time, cells[0].pair));
            }
        }
        assert_eq!(
            selected.len(),
            Cell::all().len(),
            "60 seeds must select every cell, but select only {selected:?}"
        );
    }
}
