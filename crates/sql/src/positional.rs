//! A statement in the form that its database accepts: with numbers in place of the names of its
//! parameters.

use std::sync::Arc;

use crate::place::Place;
use crate::script::{Statement, parameter};

/// A statement with numbers in place of the names of its parameters.
#[derive(Debug, Clone)]
pub struct Positional {
    /// The statement for the database.
    pub sql: Arc<str>,
    /// The names of the statement's parameters; the first one has the number 1. Each name occurs
    /// once, however often the statement uses it.
    pub parameters: Vec<String>,
    /// The place of the statement's first word in the user's text.
    pub place: Place,
    /// For each piece of the statement: the character of `sql` at which it begins, its place in the
    /// user's text, and whether it was copied from there unchanged.
    pieces: Vec<(usize, Place, bool)>,
}

impl Statement<'_> {
    /// Replaces each named parameter by the text that `write` returns for its number and its name:
    /// `($1)`, or the same with a cast. The parentheses separate it from the words around it.
    pub fn positional(&self, write: impl Fn(usize, &str) -> String) -> Positional {
        let mut sql = String::new();
        let mut parameters: Vec<String> = Vec::new();
        let mut pieces = Vec::with_capacity(self.pieces.len());
        let mut characters = 0;
        for piece in &self.pieces {
            let name = parameter(piece);
            let place = Place::of(self.whole, piece.start);
            pieces.push((characters, place, name.is_none()));
            let before = sql.len();
            match name {
                None => sql.push_str(piece.text),
                Some(name) => {
                    let at = match parameters.iter().position(|known| known == name) {
                        Some(at) => at,
                        None => {
                            parameters.push(name.to_owned());
                            parameters.len() - 1
                        }
                    };
                    sql.push_str(&write(at + 1, name));
                }
            }
            characters += sql.get(before..).unwrap_or_default().chars().count();
        }
        Positional {
            sql: sql.into(),
            parameters,
            place: self.place(),
            pieces,
        }
    }
}

impl Positional {
    /// Returns the place in the user's text that a character of `sql` comes from. Characters are
    /// counted from 1, as PostgreSQL counts them in the position of an error.
    pub fn place_of(&self, character: usize) -> Place {
        let at = character.saturating_sub(1);
        let piece = self.pieces.iter().rev().find(|(begin, ..)| *begin <= at);
        let Some((begin, place, is_verbatim)) = piece.copied() else {
            return self.place;
        };
        if !is_verbatim {
            return place;
        }
        let within = self.sql.chars().skip(begin).take(at - begin);
        within.fold(place, |place, one| match one {
            '\n' => Place {
                line: place.line + 1,
                column: 1,
            },
            _ => Place {
                column: place.column + 1,
                ..place
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, Script};

    fn positional(text: &str) -> Positional {
        let script =
            Script::read(text, Dialect::Postgres).expect("the text must consist of statements");
        let statement = script
            .statements
            .first()
            .expect("the script must have a statement");
        statement.positional(|number, name| match name {
            "score" => format!("(${number}::numeric)"),
            _ => format!("(${number})"),
        })
    }

    #[test]
    fn a_name_has_one_number_however_often_it_occurs() {
        let statement = positional("select :uid, :score, ':uid' -- :uid\n, :uid;");
        assert_eq!(
            &*statement.sql,
            "select ($1), ($2::numeric), ':uid' -- :uid\n, ($1)"
        );
        assert_eq!(statement.parameters, ["uid", "score"]);
    }

    #[test]
    fn a_position_of_the_database_is_a_place_in_the_users_text() {
        let text = "\n-- é\n select :score, 'é',\n  nothing from :uid";
        let statement = positional(text);
        for (part, line, column) in [
            ("select", 3, 2),
            ("($1", 3, 9),
            ("numeric", 3, 9),
            ("'é'", 3, 17),
            ("nothing", 4, 3),
            ("($2)", 4, 16),
        ] {
            let at = statement.sql.find(part).expect(part);
            let character = statement.sql[..at].chars().count() + 1;
            let place = Place { line, column };
            assert_eq!(statement.place_of(character), place, "{part}");
        }
        let end = Place {
            line: 4,
            column: 16,
        };
        assert_eq!(statement.place_of(9_999), end);
        assert_eq!(statement.place_of(0), Place { line: 2, column: 1 });
    }
}
