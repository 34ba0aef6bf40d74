//! Tests into which pieces the text of each dialect is split.

use super::*;
use Dialect::{Postgres, Sqlite};

/// Splits a text, and returns all pieces that are not white space.
fn split(text: &str, dialect: Dialect) -> Result<Vec<(Kind, &str)>, SqlError> {
    let pieces = pieces(text, dialect)?;
    let joined: String = pieces.iter().map(|piece| piece.text).collect();
    assert_eq!(joined, text, "the joined pieces must be the whole text");
    let shown = pieces.iter().filter(|piece| piece.kind != Kind::Space);
    Ok(shown.map(|piece| (piece.kind, piece.text)).collect())
}

/// Checks that the text is one piece of this kind.
#[track_caller]
fn one(text: &str, dialect: Dialect, kind: Kind) {
    assert_eq!(split(text, dialect), Ok(vec![(kind, text)]), "{dialect:?}");
}

#[track_caller]
fn wrong(text: &str, dialect: Dialect, column: usize, mistake: Mistake) {
    let error = split(text, dialect).expect_err(text);
    assert_eq!(error.mistake, mistake, "{dialect:?}: {text}");
    assert_eq!(error.place.column, column, "{dialect:?}: {text}");
}

#[test]
fn both_databases_split_these_texts_alike() {
    for dialect in [Postgres, Sqlite] {
        for text in ["'a;b'", "''", "':x'", "'it''s'", "'\\'", "'--'", "'é'"] {
            one(text, dialect, Kind::Text);
        }
        for text in ["\"a;b\"", "\":x\"", "\"a\"\"b\""] {
            one(text, dialect, Kind::QuotedName);
        }
        for text in ["-- a;b :x 'c", "/* ; :x ' */", "/**/", "/*/ */"] {
            one(text, dialect, Kind::Comment);
        }
        for text in [":uid", ":a_1", ":_", ":UID"] {
            one(text, dialect, Kind::Parameter);
        }
        for text in ["select", "a$1", "größe", "_", "12", "1e5"] {
            one(text, dialect, Kind::Word);
        }
        one(";", dialect, Kind::Semicolon);
        one("::", dialect, Kind::Other);
        one(":=", dialect, Kind::Other);
    }
}

#[test]
fn a_cast_is_no_parameter() {
    let found = split("a::text :b::c :::d", Postgres).expect("the text must be split");
    let parameters = found.iter().filter(|(kind, _)| *kind == Kind::Parameter);
    let names: Vec<&str> = parameters.map(|(_, text)| *text).collect();
    assert_eq!(names, [":b", ":d"]);
}

#[test]
fn postgres_has_quotes_and_comments_of_its_own() {
    for text in [
        "$$a;b'$$",
        "$a$ $$ ; :x $b$ $a$",
        "$é$;$é$",
        "E'a\\'b;'",
        "e'\\\\'",
        "e'a''b'",
        "E'a' -- c\n 'b\\';'",
        "E'a'\n'b\\';'\r\n'c\\';'",
    ] {
        one(text, Postgres, Kind::Text);
    }
    one("/* a /* b */ ; */", Postgres, Kind::Comment);
    // On PostgreSQL, none of these characters alone begins a quoted name or a parameter.
    for text in ["?", "@", "#", "`", "[", "]", "$", ":"] {
        one(text, Postgres, Kind::Other);
    }
    let slice = split("a[1:2]", Postgres).expect("the text must be split");
    assert!(slice.iter().all(|(kind, _)| *kind != Kind::Parameter));
    // Without a new line between them, the second string does not continue the first one, so it has
    // no escapes.
    let two = split("E'a' 'b\\' ;", Postgres).expect("the text must be split");
    let kinds: Vec<Kind> = two.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Text, Kind::Text, Kind::Semicolon]);
    // The letter E is the end of a longer word here, so the backslash is an ordinary character.
    let word = split("type'\\';", Postgres).expect("the text must be split");
    assert_eq!(word.len(), 3);
}

#[test]
fn sqlite_has_quotes_of_its_own_and_no_nested_comments() {
    for text in ["`a;b`", "`a``b`", "[a;b]", "[:x]"] {
        one(text, Sqlite, Kind::QuotedName);
    }
    // On SQLite, comments are not nested, and backslashes and dollar signs have no special meaning.
    let kinds = |text| -> Vec<Kind> {
        let found = split(text, Sqlite).expect(text);
        found.iter().map(|(kind, _)| *kind).collect()
    };
    assert_eq!(
        kinds("/* /* */ ;"),
        [Kind::Comment, Kind::Semicolon],
        "a comment must end at the first `*/`"
    );
    assert_eq!(kinds("E'\\';"), [Kind::Word, Kind::Text, Kind::Semicolon]);
    assert_eq!(kinds("-- a\r; b"), [Kind::Comment]);
}

#[test]
fn a_carriage_return_ends_a_comment_on_postgres() {
    let found = split("-- a\r;", Postgres).expect("the text must be split");
    assert_eq!(
        found,
        [(Kind::Comment, "-- a"), (Kind::Semicolon, ";")],
        "on PostgreSQL, a carriage return must end a comment"
    );
}

#[test]
fn a_byte_order_mark_at_the_beginning_of_a_file_is_space() {
    for dialect in [Postgres, Sqlite] {
        let found = split("\u{feff}select", dialect).expect("the text must be split");
        assert_eq!(found, [(Kind::Word, "select")]);
    }
}

#[test]
fn a_string_or_comment_without_an_end_is_reported_where_it_begins() {
    for dialect in [Postgres, Sqlite] {
        wrong("a 'b", dialect, 3, Mistake::EndlessString);
        wrong("a 'b''", dialect, 3, Mistake::EndlessString);
        wrong("a \"b", dialect, 3, Mistake::EndlessName);
        wrong("a /* b", dialect, 3, Mistake::EndlessComment);
        wrong("é\0", dialect, 2, Mistake::Nul);
    }
    wrong("a E'b\\'", Postgres, 4, Mistake::EndlessString);
    wrong("E'b'\n'c\\'", Postgres, 2, Mistake::EndlessString);
    wrong("/* /* */", Postgres, 1, Mistake::EndlessComment);
    wrong("a $x$ $y$", Postgres, 3, Mistake::EndlessDollarQuote);
    wrong("[a", Sqlite, 1, Mistake::EndlessName);
    wrong("`a", Sqlite, 1, Mistake::EndlessName);
}

#[test]
fn only_named_parameters_are_allowed() {
    for text in ["a = $1", "a = $1;"] {
        wrong(text, Postgres, 5, Mistake::ForeignParameter);
    }
    for text in ["a = ?", "a = ?1", "a = $a", "a = $1", "a = @a", "a = #a"] {
        wrong(text, Sqlite, 5, Mistake::ForeignParameter);
    }
    for dialect in [Postgres, Sqlite] {
        wrong("a :é", dialect, 3, Mistake::ParameterName);
        wrong("a :b$", dialect, 3, Mistake::ParameterName);
        wrong("a :bé", dialect, 3, Mistake::ParameterName);
    }
    wrong("a :1", Sqlite, 3, Mistake::ParameterName);
}
