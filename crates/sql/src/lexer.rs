//! Splits SQL text into pieces. Joined in their order, the pieces are the whole text.

mod quoted;

use crate::dialect::Dialect;
use crate::mistake::{Mistake, SqlError};

/// A part of a SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'t> {
    /// What the part is.
    pub kind: Kind,
    /// The part itself.
    pub text: &'t str,
    /// The offset in bytes at which the part begins in the whole text.
    pub start: usize,
}

/// What a part of a SQL text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// White space.
    Space,
    /// A comment.
    Comment,
    /// A key word, a name without quotes, or a number.
    Word,
    /// A name in quotes.
    QuotedName,
    /// A string in apostrophes or dollar quotes. The letter E before a string, which changes how
    /// its backslashes are read, is part of it.
    Text,
    /// A named parameter, with its colon.
    Parameter,
    /// The character `;`, which ends a statement.
    Semicolon,
    /// Anything else: one character, or the operator `::` or `:=`.
    Other,
}

/// Splits a SQL text into pieces.
///
/// # Errors
/// When a string, a quoted name or a comment does not end, when the text has the character NUL, or
/// when a parameter has another form than `:name`.
pub fn pieces(text: &str, dialect: Dialect) -> Result<Vec<Piece<'_>>, SqlError> {
    if let Some(at) = text.find('\0') {
        return Err(SqlError::at(text, at, Mistake::Nul));
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let (kind, bytes) = next(rest, start == 0, dialect)
            .map_err(|(within, mistake)| SqlError::at(text, start + within, mistake))?;
        let Some(piece) = rest.get(..bytes) else {
            break;
        };
        pieces.push(Piece {
            kind,
            text: piece,
            start,
        });
        start += bytes;
    }
    Ok(pieces)
}

/// A mistake, and its offset in bytes from the beginning of the piece.
type Wrong = (usize, Mistake);

/// Returns the kind and the length in bytes of the first piece of `rest`, which is the text that is
/// not split yet. `is_first` says whether nothing of the text is split yet.
fn next(rest: &str, is_first: bool, dialect: Dialect) -> Result<(Kind, usize), Wrong> {
    let Some(first) = rest.chars().next() else {
        return Ok((Kind::Other, 0));
    };
    let is_postgres = dialect == Dialect::Postgres;
    match first {
        // Some editors begin a file with a byte order mark. It counts as white space, because it
        // does not belong to the first statement.
        '\u{feff}' if is_first => Ok((Kind::Space, first.len_utf8())),
        _ if is_space(first, dialect) => Ok((
            Kind::Space,
            length_while(rest, |one| is_space(one, dialect)),
        )),
        '-' if rest.starts_with("--") => Ok((Kind::Comment, line_comment(rest, dialect))),
        '/' if rest.starts_with("/*") => {
            let end = block_comment(rest, is_postgres).ok_or((0, Mistake::EndlessComment))?;
            Ok((Kind::Comment, end))
        }
        ';' => Ok((Kind::Semicolon, 1)),
        'e' | 'E' if is_postgres && rest.as_bytes().get(1) == Some(&b'\'') => {
            let end = quoted::escape_string(rest).ok_or((1, Mistake::EndlessString))?;
            Ok((Kind::Text, end))
        }
        '\'' => {
            let end = quoted::doubled(rest, '\'').ok_or((0, Mistake::EndlessString))?;
            Ok((Kind::Text, end))
        }
        '"' => quoted_name(quoted::doubled(rest, '"')),
        '`' if !is_postgres => quoted_name(quoted::doubled(rest, '`')),
        '[' if !is_postgres => quoted_name(rest.find(']').map(|end| end + 1)),
        ':' => colon(rest, is_postgres),
        '$' if is_postgres => dollar(rest),
        '?' | '$' if !is_postgres => Err((0, Mistake::ForeignParameter)),
        // On SQLite, `@` or `#` before a name also begins a parameter.
        '@' | '#' if !is_postgres && has_name_after(rest) => Err((0, Mistake::ForeignParameter)),
        _ if is_word(first) => Ok((Kind::Word, length_while(rest, is_word_further))),
        _ => Ok((Kind::Other, first.len_utf8())),
    }
}

fn quoted_name(end: Option<usize>) -> Result<(Kind, usize), Wrong> {
    let end = end.ok_or((0, Mistake::EndlessName))?;
    Ok((Kind::QuotedName, end))
}

/// Reads what begins with a colon: a parameter, a cast (`::`), `:=` or a colon alone.
fn colon(rest: &str, is_postgres: bool) -> Result<(Kind, usize), Wrong> {
    let after = rest.get(1..).unwrap_or_default();
    match after.chars().next() {
        Some(':' | '=') => Ok((Kind::Other, 2)),
        Some(first) if first.is_ascii_alphabetic() || first == '_' => {
            let name = length_while(after, |one| one.is_ascii_alphanumeric() || one == '_');
            match after.get(name..).and_then(|rest| rest.chars().next()) {
                Some(further) if is_word_further(further) => Err((0, Mistake::ParameterName)),
                Some(_) | None => Ok((Kind::Parameter, 1 + name)),
            }
        }
        // On PostgreSQL, a digit may follow the colon in a slice such as `[1:2]`. SQLite has no
        // slices, and reads a colon before a digit as a parameter.
        Some(first) if is_word(first) && !(is_postgres && first.is_ascii_digit()) => {
            Err((0, Mistake::ParameterName))
        }
        Some(_) | None => Ok((Kind::Other, 1)),
    }
}

/// Reads what begins with `$` on PostgreSQL: a dollar quote, or the character alone.
fn dollar(rest: &str) -> Result<(Kind, usize), Wrong> {
    let after = rest.get(1..).unwrap_or_default();
    if after.starts_with(|one: char| one.is_ascii_digit()) {
        return Err((0, Mistake::ForeignParameter));
    }
    // A dollar quote begins with `$`, a tag and `$`. The tag is a name without `$`, or empty.
    let tag = length_while(after, is_word);
    if after.as_bytes().get(tag) != Some(&b'$') {
        return Ok((Kind::Other, 1));
    }
    let quote = rest.get(..tag + 2).unwrap_or_default();
    let within = rest.get(tag + 2..).unwrap_or_default();
    let end = within.find(quote).ok_or((0, Mistake::EndlessDollarQuote))?;
    Ok((Kind::Text, quote.len() + end + quote.len()))
}

/// Returns the length in bytes of a comment that begins with `--`, without the line break.
fn line_comment(rest: &str, dialect: Dialect) -> usize {
    let is_end = |one: char| one == '\n' || (one == '\r' && dialect == Dialect::Postgres);
    rest.find(is_end).unwrap_or(rest.len())
}

/// Returns the length in bytes of a comment that begins with `/*`; `None` if it does not end.
fn block_comment(rest: &str, is_nested: bool) -> Option<usize> {
    if !is_nested {
        return rest.get(2..)?.find("*/").map(|end| end + 4);
    }
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = rest.as_bytes();
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return Some(at);
                }
            }
            Some(_) | None => at += 1,
        }
    }
    None
}

fn has_name_after(rest: &str) -> bool {
    rest.chars().nth(1).is_some_and(is_word_further)
}

fn is_space(one: char, dialect: Dialect) -> bool {
    matches!(one, ' ' | '\t' | '\n' | '\r' | '\u{c}')
        || (one == '\u{b}' && dialect == Dialect::Postgres)
}

/// Returns whether a word may begin with this character. Both databases treat every character
/// beyond ASCII as a letter.
fn is_word(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_' || !one.is_ascii()
}

/// Returns whether a word may contain this character after its beginning.
fn is_word_further(one: char) -> bool {
    is_word(one) || one == '$'
}

/// Returns the length in bytes of the part of a text before the first character that `is_such` does
/// not accept.
fn length_while(text: &str, is_such: impl Fn(char) -> bool) -> usize {
    text.find(|one| !is_such(one)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;
