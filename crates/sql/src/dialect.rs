//! The databases whose dialect of SQL can be read.

/// The database whose rules say where a string, a comment or a quoted name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL, which has `E'…'` strings, dollar quotes and nested comments. In a string without
    /// the letter E, a backslash is an ordinary character, as with the default setting
    /// `standard_conforming_strings = on`.
    Postgres,
    /// SQLite, which also has names in brackets and in backticks.
    Sqlite,
}
