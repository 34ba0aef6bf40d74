//! Reads the SQL text that a user wrote for the handler `sql`: splits it into statements, and finds
//! the named parameters (`:uid`) in it.
//!
//! The text is not parsed as SQL, because only the database can do that. It is only split into
//! pieces: strings, quoted names, comments, words and the rest. The rules are those of the database
//! that will run the statements. So a `;` or a `:name` inside a string, a comment or a dollar quote
//! is left alone.
//!
//! Architecture invariant: no IO, no database, no panic on any text.

mod dialect;
mod lexer;
mod mistake;
mod place;
mod positional;
mod script;

pub use dialect::Dialect;
pub use lexer::{Kind, Piece, pieces};
pub use mistake::{Mistake, SqlError};
pub use place::Place;
pub use positional::Positional;
pub use script::{Script, Statement, is_parameter_name};
