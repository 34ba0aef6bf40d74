//! Why a SQL text cannot be used, and the place of the mistake in it.

use crate::place::Place;

/// The error for a SQL text that cannot be used, with the place of the mistake in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {mistake}")]
pub struct SqlError {
    /// Where the mistake is.
    pub place: Place,
    /// What is wrong.
    pub mistake: Mistake,
}

impl SqlError {
    pub(crate) fn at(text: &str, offset: usize, mistake: Mistake) -> Self {
        let place = Place::of(text, offset);
        Self { place, mistake }
    }
}

/// What is wrong in a SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Mistake {
    /// A string does not end.
    #[error("the string that begins here does not end")]
    EndlessString,
    /// A quoted name does not end.
    #[error("the quoted name that begins here does not end")]
    EndlessName,
    /// A comment does not end.
    #[error("the comment that begins here does not end")]
    EndlessComment,
    /// A dollar quote does not end.
    #[error("the dollar quote that begins here does not end")]
    EndlessDollarQuote,
    /// A parameter has another form than `:name`, for example `$1` or `?`.
    #[error("parameters are written by name, such as `:uid`")]
    ForeignParameter,
    /// The name after a colon is not the name of a parameter.
    #[error(
        "the name of a parameter consists of the letters a-z, digits and `_`, and begins with a \
         letter; in a slice of an array, write a space after the colon"
    )]
    ParameterName,
    /// The text has the character NUL, at which the database would stop reading.
    #[error("the text has the character NUL")]
    Nul,
    /// A statement begins with a word that is not allowed.
    #[error("a statement must begin with select, insert, update, delete, merge, with or values")]
    Begins,
    /// The text has no statement.
    #[error("the text has no statement")]
    NoStatement,
}
