//! Tests how a SQL text is split into statements, and which statements are refused.

use super::*;
use Dialect::{Postgres, Sqlite};

/// Returns the statements of a text.
fn read(text: &str, dialect: Dialect) -> Result<Vec<String>, SqlError> {
    let script = Script::read(text, dialect)?;
    let statements = script.statements.iter();
    Ok(statements
        .map(|statement| statement.pieces.iter().map(|piece| piece.text).collect())
        .collect())
}

#[test]
fn a_semicolon_ends_a_statement_only_outside_of_quotes_and_comments() {
    for dialect in [Postgres, Sqlite] {
        let text = " ;; select ';' /* ; */ ; -- ;\nInsert into \"a;b\" values (1) ;\n-- end\n";
        assert_eq!(
            read(text, dialect).as_deref(),
            Ok(&[
                "select ';' /* ; */".to_owned(),
                "-- ;\nInsert into \"a;b\" values (1)".to_owned()
            ][..]),
            "{dialect:?}"
        );
    }
    let text = "select $a$;$a$; select $$;$$, E'\\';'";
    assert_eq!(read(text, Postgres).map(|found| found.len()), Ok(2));
}

#[test]
fn a_statement_begins_with_one_of_seven_words() {
    for text in [
        "select 1",
        "INSERT into t values (1)",
        "update t set a = 1",
        "Delete from t",
        "merge into t using s on true when matched then do nothing",
        "with s as (select 1) select * from s",
        "values (1)",
        "/* why */ -- this\n select 1",
    ] {
        assert!(read(text, Postgres).is_ok(), "{text}");
    }
    for (text, line, column) in [
        ("commit", 1, 1),
        ("select 1; rollback", 1, 11),
        ("select 1;\n /* x */ create table t (a text)", 2, 10),
        ("drop table t", 1, 1),
        ("set role app", 1, 1),
        ("call p()", 1, 1),
        ("do 'begin commit; end'", 1, 1),
        ("begin; select 1; end", 1, 1),
        ("selects 1", 1, 1),
        ("\"select\" 1", 1, 1),
        ("(select 1)", 1, 1),
        ("pragma foreign_keys = off", 1, 1),
        ("attach 'x' as y", 1, 1),
        ("explain select 1", 1, 1),
    ] {
        for dialect in [Postgres, Sqlite] {
            let error = read(text, dialect).expect_err(text);
            let place = Place { line, column };
            assert_eq!(error.mistake, Mistake::Begins, "{text}");
            assert_eq!(error.place, place, "{text}");
        }
    }
}

#[test]
fn a_text_without_a_statement_is_refused() {
    for text in ["", " \n", ";", "-- nothing\n;/* here */"] {
        let error = read(text, Sqlite).expect_err(text);
        assert_eq!(error.mistake, Mistake::NoStatement, "{text:?}");
    }
}

#[test]
fn parameters_have_their_places() {
    let script = Script::read("select 1;\nselect :a, ':b',\n  :c::text, :a", Postgres);
    let script = script.expect("the text must consist of statements");
    let found: Vec<_> = script.statements[1].parameters().collect();
    let at = |line, column| Place { line, column };
    assert_eq!(found, [("a", at(2, 8)), ("c", at(3, 3)), ("a", at(3, 13))]);
    assert_eq!(script.statements[1].place(), at(2, 1));
}

#[test]
fn the_text_of_an_error_shows_the_place() {
    let error =
        Script::read("select 1;\n  commit", Postgres).expect_err("the statement must be refused");
    assert_eq!(
        error.to_string(),
        "line 2, column 3: a statement must begin with select, insert, update, delete, merge, \
         with or values"
    );
}

#[test]
fn names_of_parameters() {
    for name in ["uid", "a_1", "_", "UID"] {
        assert!(is_parameter_name(name), "{name}");
    }
    for name in ["", "1a", "a-b", "é", "a b", ":a"] {
        assert!(!is_parameter_name(name), "{name}");
    }
}
