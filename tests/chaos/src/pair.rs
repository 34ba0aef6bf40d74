//! Which drivers.

use std::fmt;

/// A broker and a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pair {
    /// RabbitMQ and PostgreSQL.
    RabbitmqPostgres,
    /// One SQLite file.
    Sqlite,
}

/// The servers alone.
pub const SERVERS: &[Pair] = &[Pair::RabbitmqPostgres];

/// The file alone.
pub const FILE: &[Pair] = &[Pair::Sqlite];

/// Either of them.
pub const BOTH: &[Pair] = &Pair::ALL;

impl Pair {
    /// Both.
    pub const ALL: [Pair; 2] = [Pair::RabbitmqPostgres, Pair::Sqlite];

    /// As arguments and documents name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Pair::RabbitmqPostgres => "rabbitmq",
            Pair::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
