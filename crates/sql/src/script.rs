//! The statements of a SQL text.

use crate::dialect::Dialect;
use crate::lexer::{Kind, Piece, pieces};
use crate::mistake::{Mistake, SqlError};
use crate::place::Place;

/// The words with which a statement may begin. A statement that defines, grants or sets something,
/// or that ends the transaction, begins with another word, so it is refused.
const FIRST_WORDS: [&str; 7] = [
    "select", "insert", "update", "delete", "merge", "with", "values",
];

/// A SQL text, split into its statements.
#[derive(Debug)]
pub struct Script<'t> {
    /// The statements, at least one, in the order of the text.
    pub statements: Vec<Statement<'t>>,
}

/// One statement of a SQL text.
#[derive(Debug)]
pub struct Statement<'t> {
    /// The whole text that contains the statement.
    pub(crate) whole: &'t str,
    /// The pieces of the statement, without white space around it and without its semicolon.
    pub(crate) pieces: Vec<Piece<'t>>,
    /// The offset in bytes at which the first word of the statement begins in the whole text.
    first_word: usize,
}

impl<'t> Script<'t> {
    /// Splits a text into its statements.
    ///
    /// # Errors
    /// When the text has no statement, a statement begins with a word that is not allowed, or the
    /// text cannot be split; see [`pieces`].
    pub fn read(text: &'t str, dialect: Dialect) -> Result<Self, SqlError> {
        let pieces = pieces(text, dialect)?;
        let mut statements = Vec::new();
        for part in pieces.split(|piece| piece.kind == Kind::Semicolon) {
            statements.extend(Statement::read(text, part)?);
        }
        if statements.is_empty() {
            return Err(SqlError::at(text, text.len(), Mistake::NoStatement));
        }
        Ok(Self { statements })
    }
}

impl<'t> Statement<'t> {
    /// Reads the pieces between two semicolons as a statement; `None` if they are only white space
    /// and comments.
    fn read(whole: &'t str, pieces: &[Piece<'t>]) -> Result<Option<Self>, SqlError> {
        let is_blank = |piece: &&Piece<'_>| matches!(piece.kind, Kind::Space | Kind::Comment);
        let Some(first) = pieces.iter().find(|piece| !is_blank(piece)) else {
            return Ok(None);
        };
        let is_allowed = first.kind == Kind::Word
            && FIRST_WORDS
                .iter()
                .any(|word| first.text.eq_ignore_ascii_case(word));
        if !is_allowed {
            return Err(SqlError::at(whole, first.start, Mistake::Begins));
        }
        let is_space = |piece: &Piece<'_>| piece.kind == Kind::Space;
        let begin = pieces.iter().position(|it| !is_space(it)).unwrap_or(0);
        let end = pieces.iter().rposition(|it| !is_space(it)).unwrap_or(0);
        let pieces = pieces.get(begin..=end).unwrap_or_default().to_vec();
        Ok(Some(Self {
            whole,
            pieces,
            first_word: first.start,
        }))
    }

    /// Returns the place of the statement's first word.
    pub fn place(&self) -> Place {
        Place::of(self.whole, self.first_word)
    }

    /// Returns the pieces of the statement.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece<'t>> {
        self.pieces.iter()
    }

    /// Returns the parameters of the statement, each as often as it occurs: its name without the
    /// colon, and its place.
    pub fn parameters(&self) -> impl Iterator<Item = (&'t str, Place)> {
        let whole = self.whole;
        self.pieces.iter().filter_map(move |piece| {
            let name = parameter(piece)?;
            Some((name, Place::of(whole, piece.start)))
        })
    }
}

/// Returns the name of a parameter without the colon; `None` if the piece is not a parameter.
pub(crate) fn parameter<'t>(piece: &Piece<'t>) -> Option<&'t str> {
    match piece.kind {
        Kind::Parameter => piece.text.strip_prefix(':'),
        Kind::Space
        | Kind::Comment
        | Kind::Word
        | Kind::QuotedName
        | Kind::Text
        | Kind::Semicolon
        | Kind::Other => None,
    }
}

/// Returns whether a text can be the name of a parameter: ASCII letters, digits and `_`. The first
/// character must not be a digit.
pub fn is_parameter_name(text: &str) -> bool {
    let is_further = |one: char| one.is_ascii_alphanumeric() || one == '_';
    text.chars().all(is_further) && text.starts_with(|one: char| !one.is_ascii_digit())
}

#[cfg(test)]
mod tests;
