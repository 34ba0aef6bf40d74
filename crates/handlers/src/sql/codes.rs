//! What follows from an error of a statement, by the code that the database gives it.
//!
//! This table applies only to errors that the database's driver does not recognise as a fault. A
//! fault of the database (an outage, a lock, a missing right) stays a fault, whatever this table
//! says.

use std::collections::BTreeMap;

use hookbox_sql::Dialect;

use super::invalid::InvalidSettings;
use super::settings::Classes;

/// What follows from an error of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The event is a dead letter at once.
    Permanent,
    /// The event is tried again, as often as the retry policy says.
    Transient,
    /// The statement does not fit the database: the event is deferred, and the route pauses.
    Pause,
}

/// The classes of codes. A code that is not listed has the class of its general code: the first two
/// characters of an SQLSTATE, or the primary result code of SQLite. If that is not listed either,
/// the error is transient.
#[derive(Debug)]
pub(super) struct Codes(BTreeMap<String, Class>);

/// PostgreSQL's codes that are not transient. A code of two characters stands for all SQLSTATEs
/// that begin with it. A longer code is an exception from the code that it begins with.
const POSTGRES: [(&str, Class); 7] = [
    // Data exceptions, such as a division by zero, or a text that is not a number.
    ("22", Class::Permanent),
    // Broken constraints. A foreign key is the exception: the row that it refers to may be written
    // later.
    ("23", Class::Permanent),
    ("23503", Class::Transient),
    // A function that the statement calls ends the transaction.
    ("2D000", Class::Permanent),
    // `raise exception` without a code.
    ("P0001", Class::Permanent),
    // Syntax errors and access rules: the statement does not fit the database any more.
    ("42", Class::Pause),
    // A prepared statement of this name exists already. The driver reports that as contention, so
    // it must not have the class of 42.
    ("42P05", Class::Transient),
];

/// SQLite's codes that are not transient. A longer code such as 787 is an exception from its
/// primary code.
const SQLITE: [(&str, Class); 5] = [
    // SQLITE_ERROR while a statement runs, such as malformed JSON or an overflow. If the statement
    // cannot be prepared any more, its class is `Pause` instead.
    ("1", Class::Permanent),
    // SQLITE_CONSTRAINT. A foreign key (787) is the exception: the row that it refers to may be
    // written later.
    ("19", Class::Permanent),
    ("787", Class::Transient),
    // SQLITE_MISMATCH: a value has the wrong type, for example a text for an integer primary key.
    ("20", Class::Permanent),
    // SQLITE_AUTH: the database forbids the statement.
    ("23", Class::Pause),
];

/// The beginnings of SQLSTATEs that the settings must not list, because PostgreSQL's driver or this
/// table decides about them.
const DECIDED_POSTGRES: [&str; 10] = ["08", "25", "26", "3F", "40", "42", "53", "57P", "58", "XX"];

/// The primary result codes that the settings must not list, because SQLite's driver decides about
/// them.
const DECIDED_SQLITE: [&str; 11] = ["3", "5", "6", "7", "8", "10", "11", "13", "14", "15", "26"];

/// The primary result codes of SQLite that an error can have. An SQLSTATE of PostgreSQL such as
/// 23505 is refused in the settings for SQLite, because its low byte is not in this range.
const PRIMARY_SQLITE: std::ops::RangeInclusive<u16> = 1..=28;

impl Codes {
    /// Returns the classes of a database's codes. The settings may add codes. For a code that is
    /// also in the table, the class in the settings applies.
    pub fn new(settings: &Classes, dialect: Dialect) -> Result<Self, InvalidSettings> {
        let known: &[(&str, Class)] = match dialect {
            Dialect::Postgres => &POSTGRES,
            Dialect::Sqlite => &SQLITE,
        };
        let mut own = BTreeMap::new();
        for (list, codes, class) in [
            ("permanent", &settings.permanent, Class::Permanent),
            ("transient", &settings.transient, Class::Transient),
            ("pause", &settings.pause, Class::Pause),
        ] {
            for code in codes {
                check(list, code, dialect)?;
                if own.insert(code.clone(), class).is_some() {
                    let code = code.clone();
                    return Err(InvalidSettings::TwiceCode { list, code });
                }
            }
        }
        let known = known
            .iter()
            .map(|(code, class)| ((*code).to_owned(), *class));
        let mut codes: BTreeMap<String, Class> = known.collect();
        codes.extend(own);
        Ok(Self(codes))
    }

    /// Returns the class of a code, whose general code is `general`.
    pub fn class(&self, code: &str, general: &str) -> Class {
        let listed = self.0.get(code).or_else(|| self.0.get(general));
        listed.copied().unwrap_or(Class::Transient)
    }
}

/// Checks an entry of a list in the settings.
fn check(list: &'static str, code: &str, dialect: Dialect) -> Result<(), InvalidSettings> {
    let (is_code, form, is_decided) = match dialect {
        Dialect::Postgres => (
            matches!(code.len(), 2 | 5)
                && code
                    .bytes()
                    .all(|it| it.is_ascii_digit() || it.is_ascii_uppercase()),
            "an SQLSTATE such as \"23505\", or a class of them such as \"23\"",
            // 53400 is about a limit for the statement, and not about a server without resources,
            // so the settings may list it.
            DECIDED_POSTGRES.iter().any(|it| code.starts_with(it)) && code != "53400"
                || code == "55P03",
        ),
        Dialect::Sqlite => (
            code.parse::<u16>().is_ok_and(|number| {
                number.to_string() == code && PRIMARY_SQLITE.contains(&(number & 0xff))
            }),
            "a result code of SQLite such as \"2067\", or a primary one such as \"19\"",
            DECIDED_SQLITE.contains(&primary(code).as_str()),
        ),
    };
    let owned = || code.to_owned();
    if !is_code {
        let code = owned();
        return Err(InvalidSettings::Code { list, code, form });
    }
    if is_decided {
        let code = owned();
        return Err(InvalidSettings::DecidedCode { list, code });
    }
    Ok(())
}

/// Returns the primary result code of a result code of SQLite: its low byte.
pub(super) fn primary(code: &str) -> String {
    let code: i32 = code.parse().unwrap_or_default();
    (code & 0xff).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Pause, Permanent, Transient};

    fn list(codes: &[&str]) -> Vec<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    #[test]
    fn the_table_of_postgres() {
        let codes =
            Codes::new(&Classes::default(), Dialect::Postgres).expect("the codes must be valid");
        for (code, class) in [
            ("22P02", Permanent),
            ("22012", Permanent),
            ("23505", Permanent),
            ("23502", Permanent),
            ("23514", Permanent),
            ("23P01", Permanent),
            ("23503", Transient),
            ("2D000", Permanent),
            ("P0001", Permanent),
            ("P0002", Transient),
            ("42P01", Pause),
            ("42804", Pause),
            ("42601", Pause),
            ("42P05", Transient),
            ("57014", Transient),
            ("53400", Transient),
            ("54001", Transient),
            ("0A000", Transient),
            ("MY001", Transient),
        ] {
            assert_eq!(codes.class(code, &code[..2]), class, "{code}");
        }
    }

    #[test]
    fn the_table_of_sqlite() {
        let codes =
            Codes::new(&Classes::default(), Dialect::Sqlite).expect("the codes must be valid");
        for (code, class) in [
            ("1", Permanent),
            ("275", Permanent),
            ("1299", Permanent),
            ("1555", Permanent),
            ("1811", Permanent),
            ("2067", Permanent),
            ("3091", Permanent),
            ("787", Transient),
            ("20", Permanent),
            ("23", Pause),
            ("18", Transient),
            ("9", Transient),
        ] {
            assert_eq!(codes.class(code, &primary(code)), class, "{code}");
        }
    }

    #[test]
    fn the_settings_outrank_the_table() {
        let settings = Classes {
            permanent: list(&["23503", "MY001", "53400"]),
            transient: list(&["23", "P0001"]),
            pause: list(&["P0"]),
        };
        let codes = Codes::new(&settings, Dialect::Postgres).expect("the codes must be valid");
        for (code, class) in [
            ("23503", Permanent),
            ("MY001", Permanent),
            ("53400", Permanent),
            ("23505", Transient),
            ("P0001", Transient),
            ("P0002", Pause),
            ("22012", Permanent),
        ] {
            assert_eq!(codes.class(code, &code[..2]), class, "{code}");
        }
    }

    #[test]
    fn a_code_that_hookbox_decides_about_is_refused() {
        let with = |code: &str, dialect| {
            let permanent = list(&[code]);
            let settings = Classes {
                permanent,
                ..Classes::default()
            };
            Codes::new(&settings, dialect).map(drop)
        };
        for code in [
            "08", "08006", "40001", "42P01", "53", "53100", "57P01", "55P03", "XX000",
        ] {
            let refused = with(code, Dialect::Postgres);
            let is_decided = matches!(refused, Err(InvalidSettings::DecidedCode { .. }));
            assert!(is_decided, "the settings must not list {code}: {refused:?}");
        }
        for code in ["", "2", "235", "2350x", "unique_violation"] {
            let refused = with(code, Dialect::Postgres);
            assert!(
                matches!(refused, Err(InvalidSettings::Code { .. })),
                "{code}"
            );
        }
        for code in ["5", "261", "13", "778"] {
            let refused = with(code, Dialect::Sqlite);
            let is_decided = matches!(refused, Err(InvalidSettings::DecidedCode { .. }));
            assert!(is_decided, "the settings must not list {code}: {refused:?}");
        }
        for code in [
            "",
            "-1",
            "0",
            "019",
            "23505",
            "23503",
            "22012",
            "40001",
            "23505x",
            "SQLITE_CONSTRAINT",
        ] {
            let refused = with(code, Dialect::Sqlite);
            assert!(
                matches!(refused, Err(InvalidSettings::Code { .. })),
                "{code}"
            );
        }
        let twice = Classes {
            permanent: list(&["22"]),
            transient: list(&["22"]),
            pause: Vec::new(),
        };
        let refused = Codes::new(&twice, Dialect::Postgres);
        assert!(matches!(refused, Err(InvalidSettings::TwiceCode { .. })));
    }
}
