//! The parameters that a statement may use: where their values come from, and of which type they
//! are.

use hookbox_sql::Dialect;
use serde::Deserialize;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number of 64 bits, however it is written: `712`, `712.0` and `7.12e2` are the same.
    Bigint,
    /// A number, which keeps every digit: `numeric` on PostgreSQL, and text on SQLite.
    Decimal,
    /// `true` or `false`; 1 or 0 on SQLite.
    Boolean,
    /// A string with a time in the format of RFC 3339: `timestamptz` on PostgreSQL; on SQLite text
    /// in UTC with six digits after the second, so that texts sort as times do.
    Timestamp,
    /// Any value, as it stands in the body: `json` on PostgreSQL, and text on SQLite.
    Json,
}

/// Where the value of a parameter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    EventId,
    EventNumber,
    ReceiptId,
    Topic,
    ReceivedAt,
    Attempt,
    Round,
    Body,
    /// A value of the body. The parameter with this index in the settings says which one.
    Own(usize),
}

/// The parameters that every statement may use.
pub(super) const OF_EVENT: [(&str, Source, Kind); 8] = [
    ("event_id", Source::EventId, Kind::Text),
    ("event_number", Source::EventNumber, Kind::Bigint),
    ("receipt_id", Source::ReceiptId, Kind::Text),
    ("topic", Source::Topic, Kind::Text),
    ("received_at", Source::ReceivedAt, Kind::Timestamp),
    ("attempt", Source::Attempt, Kind::Bigint),
    ("round", Source::Round, Kind::Bigint),
    ("body", Source::Body, Kind::Json),
];

/// How the values of a type are passed to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    Text,
    Whole,
    Boolean,
}

impl Kind {
    pub(super) fn passed(self) -> Passed {
        match self {
            Kind::Text | Kind::Decimal | Kind::Timestamp | Kind::Json => Passed::Text,
            Kind::Bigint => Passed::Whole,
            Kind::Boolean => Passed::Boolean,
        }
    }

    /// Returns the text that stands for the parameter with this number in a statement. On
    /// PostgreSQL, a value that is passed as text is cast to its type. Otherwise the server would
    /// guess the type from the place of the parameter.
    pub(super) fn written(self, number: usize, is_array: bool, dialect: Dialect) -> String {
        let cast = match (dialect, self) {
            (Dialect::Sqlite, _) => return format!("(?{number})"),
            (Dialect::Postgres, Kind::Text | Kind::Bigint | Kind::Boolean) => {
                return format!("(${number})");
            }
            (Dialect::Postgres, Kind::Decimal) => "numeric",
            (Dialect::Postgres, Kind::Timestamp) => "timestamptz",
            (Dialect::Postgres, Kind::Json) => "json",
        };
        let array = if is_array { "[]" } else { "" };
        format!("(${number}::pg_catalog.{cast}{array})")
    }
}
