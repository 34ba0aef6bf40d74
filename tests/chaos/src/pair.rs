//! The pairs of a broker and a store on which cases run.

use std::fmt;

/// A broker together with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pair {
    /// RabbitMQ as broker and PostgreSQL as store.
    RabbitmqPostgres,
    /// One SQLite file as both broker and store.
    Sqlite,
}

/// RabbitMQ with PostgreSQL only, for a case that needs servers.
pub const SERVERS: &[Pair] = &[Pair::RabbitmqPostgres];

/// SQLite only, for a case that needs one file as broker and store.
pub const FILE: &[Pair] = &[Pair::Sqlite];

/// Both pairs: RabbitMQ with PostgreSQL, and one SQLite file. For a case that runs on each of them.
pub const BOTH: &[Pair] = &Pair::ALL;

impl Pair {
    /// Both pairs.
    pub const ALL: [Pair; 2] = [Pair::RabbitmqPostgres, Pair::Sqlite];

    /// Returns the name of the pair in arguments and documents.
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
