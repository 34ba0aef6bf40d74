//! The databases whose SQL text can be read.

/// A database, whose rules say where a string, a comment or a name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL: `E'…'` strings, dollar quotes, nested comments. Strings without the letter E are
    /// read as with `standard_conforming_strings = on`, the default.
    Postgres,
    /// SQLite: names in brackets and backticks as well.
    Sqlite,
}
