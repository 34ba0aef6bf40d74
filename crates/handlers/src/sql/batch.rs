//! Finds statements that were written for one event, although they would run once for a whole
//! batch, with an array for each parameter.
//!
//! The databases accept some of them: SQLite stores the text of the array in a column of text, and
//! PostgreSQL converts an array for such a column, too. So one row would be written for all events.

use hookbox_sql::{Dialect, Kind, Piece, Statement};

/// The functions of SQLite that read JSON. A statement with one of them can read the array of a
/// batch.
const SQLITE_READERS: [&str; 7] = [
    "json_each",
    "json_tree",
    "json_extract",
    "json_array_length",
    "jsonb_each",
    "jsonb_tree",
    "jsonb_extract",
];

/// The words with which PostgreSQL takes an array apart. A statement with one of them can read the
/// array of a batch.
const POSTGRES_READERS: [&str; 6] = ["unnest", "any", "some", "all", "cardinality", "array"];

/// Returns whether a statement that uses a parameter treats it as a single value.
pub(super) fn is_for_one_event(statement: &Statement<'_>, dialect: Dialect) -> bool {
    if statement.parameters().next().is_none() {
        return false;
    }
    let pieces: Vec<&Piece<'_>> = statement.pieces().collect();
    let has_word = |words: &[&str]| pieces.iter().any(|piece| is_one_of(piece, words));
    match dialect {
        Dialect::Sqlite => {
            let has_arrow = pieces
                .windows(2)
                .any(|two| matches!(two, [dash, than] if dash.text == "-" && than.text == ">"));
            !has_arrow && !has_word(&SQLITE_READERS)
        }
        // Only `insert … values` is checked. In other statements, a function may take the array, or
        // PostgreSQL refuses the array because of its type.
        Dialect::Postgres => {
            let has_index = pieces.iter().any(|piece| piece.text == "[");
            let calls = pieces.iter().any(|piece| {
                piece.kind == Kind::Word && piece.text.to_ascii_lowercase().starts_with("array_")
            });
            let is_insert = has_word(&["insert"]) && has_word(&["values"]);
            is_insert && !has_index && !calls && !has_word(&POSTGRES_READERS)
        }
    }
}

/// Returns whether a piece is one of these words or names, with or without quotes.
fn is_one_of(piece: &Piece<'_>, words: &[&str]) -> bool {
    let name = match piece.kind {
        Kind::Word => piece.text,
        Kind::QuotedName => piece.text.trim_matches(['"', '`', '[', ']']),
        Kind::Space
        | Kind::Comment
        | Kind::Text
        | Kind::Parameter
        | Kind::Semicolon
        | Kind::Other => return false,
    };
    words.iter().any(|word| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use hookbox_sql::Script;

    use super::*;
    use Dialect::{Postgres, Sqlite};

    fn is_for_one(text: &str, dialect: Dialect) -> bool {
        let script = Script::read(text, dialect).expect("the script must be valid");
        is_for_one_event(&script.statements[0], dialect)
    }

    #[test]
    fn a_batch_on_sqlite_reads_json() {
        for text in [
            "insert into t values (:a)",
            "insert into t values (:a, 'json_each', \"->\") -- json_each(:a)",
            "insert into t select :a - 1 where :b > 2",
            "update t set json_each_of = :a",
        ] {
            assert!(is_for_one(text, Sqlite), "{text}");
        }
        for text in [
            "insert into t select value from json_each(:a)",
            "insert into t select value from JSON_EACH (:a)",
            "insert into t select value from \"json_tree\"(:a)",
            "insert into t values (:a->0)",
            "insert into t values (:a ->> 0)",
            "insert into t values (json_extract(:a, '$[0]'))",
            "insert into t values (1)",
        ] {
            assert!(!is_for_one(text, Sqlite), "{text}");
        }
    }

    #[test]
    fn a_batch_on_postgres_does_not_insert_an_array_as_one_value() {
        for text in [
            "insert into t values (:a)",
            "INSERT INTO t (a) VALUES (:a, 'unnest', $$any$$) /* unnest */",
            "with w as (select 1) insert into t values (:a::text)",
        ] {
            assert!(is_for_one(text, Postgres), "{text}");
        }
        for text in [
            "insert into t select * from unnest(:a, :b)",
            "insert into t select f(:a)",
            "insert into t values ((:a)[1])",
            "insert into t values (array_to_string(:a, ','))",
            "with v (a) as (values (1)) insert into t select a from v where a = any (:a)",
            "delete from t where a = any (:a)",
            "insert into t values (1)",
        ] {
            assert!(!is_for_one(text, Postgres), "{text}");
        }
    }
}
