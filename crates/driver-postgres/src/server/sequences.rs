//! The sequences that number the rows of tables. A sequence is not part of its table: when a
//! database is moved to another server by logical replication, PostgreSQL replicates the rows, and
//! the sequences start at 1. New rows would then get numbers that stored rows have.

use sqlx::{Error, PgConnection};

use crate::server::refusal::Refusal;

/// A table whose rows get their numbers from a sequence.
struct NumberedTable {
    name: &'static str,
    sequence: &'static str,
    primary_key: &'static str,
    /// Returns whether the sequence would give a number that is not above those of all rows.
    is_behind: &'static str,
    /// Raises the sequence to the highest number of a row, if it is behind. Returns a row if so.
    raise: &'static str,
}

/// Builds the value for a table and the column that the sequence numbers.
macro_rules! numbered {
    ($table:literal, $column:literal) => {
        NumberedTable {
            name: $table,
            sequence: concat!($table, "_", $column, "_seq"),
            primary_key: concat!($table, "_pkey"),
            is_behind: concat!(
                "select coalesce((select max(",
                $column,
                ") from ",
                $table,
                ") >= last_value + is_called::integer, false) from ",
                $table,
                "_",
                $column,
                "_seq",
            ),
            raise: concat!(
                "select setval('",
                $table,
                "_",
                $column,
                "_seq', stored.newest) from (select max(",
                $column,
                ") as newest from ",
                $table,
                ") as stored, ",
                $table,
                "_",
                $column,
                "_seq as numbers
                 where stored.newest >= numbers.last_value + numbers.is_called::integer",
            ),
        }
    };
}

/// All tables of hookbox with an identity column.
static NUMBERED: [NumberedTable; 4] = [
    numbered!("events", "number"),
    numbered!("dead_letters", "id"),
    numbered!("audit", "id"),
    numbered!("incarnations", "id"),
];

/// Returns the names of the tables whose sequences are behind. A table is left out if the role may
/// not read it or its sequence. Writing rows needs no right on the sequence, so a role of the
/// services' own often has none.
pub(crate) async fn behind(c: &mut PgConnection) -> Result<Vec<&'static str>, Error> {
    let mut behind = Vec::new();
    for table in readable(c).await? {
        let is_behind: bool = sqlx::query_scalar(table.is_behind)
            .fetch_one(&mut *c)
            .await?;
        if is_behind {
            behind.push(table.name);
        }
    }
    Ok(behind)
}

/// Raises the sequences that are behind. If a process writes rows meanwhile, it may get a number
/// that is taken once more, which is an error and changes nothing.
pub(crate) async fn raise(c: &mut PgConnection) -> Result<(), Error> {
    for table in readable(c).await? {
        let raised = sqlx::query(table.raise).fetch_optional(&mut *c).await?;
        if raised.is_some() {
            tracing::info!(
                table = table.name,
                "the database was moved from another server: the sequence of table {} was behind, \
                 and new rows get numbers above those of all stored rows now",
                table.name
            );
        }
    }
    Ok(())
}

/// Returns the tables that the role may read together with their sequences.
async fn readable(c: &mut PgConnection) -> Result<Vec<&'static NumberedTable>, Error> {
    let tables: Vec<&str> = NUMBERED.iter().map(|table| table.name).collect();
    let sequences: Vec<&str> = NUMBERED.iter().map(|table| table.sequence).collect();
    let readable: Vec<bool> = sqlx::query_scalar(
        "select coalesce(has_table_privilege(to_regclass(wanted.table_name), 'SELECT')
                         and has_sequence_privilege(to_regclass(wanted.sequence_name), 'SELECT'),
                         false)
         from unnest($1::text[], $2::text[])
             with ordinality as wanted (table_name, sequence_name, position)
         order by wanted.position",
    )
    .bind(tables)
    .bind(sequences)
    .fetch_all(c)
    .await?;
    let tables = NUMBERED.iter().zip(readable);
    Ok(tables
        .filter_map(|(table, is_readable)| is_readable.then_some(table))
        .collect())
}

/// Returns the refusal for a database in which the sequences of these tables are behind.
pub(crate) fn refusal(tables: &[&str]) -> Refusal {
    Refusal {
        why: format!(
            "the sequence that numbers new rows is behind the stored rows of: {}. The database was \
             moved from another server, probably by logical replication, which leaves the \
             sequences out",
            tables.join(", ")
        ),
        remedy: "end the replication, and run `hookbox migrate` as the owner of the tables, which \
                 raises the sequences"
            .to_owned(),
    }
}

/// Returns the refusal for a new row whose number a stored row has; `None` when the constraint is
/// not the primary key of a table with a sequence.
pub(crate) fn refusal_of(constraint: &str) -> Option<Refusal> {
    let table = NUMBERED
        .iter()
        .find(|table| table.primary_key == constraint)?;
    Some(refusal(&[table.name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_number_is_refused_with_the_table_and_the_remedy() {
        for (constraint, table) in [
            ("events_pkey", Some("rows of: events.")),
            ("incarnations_pkey", Some("rows of: incarnations.")),
            ("events_event_id_key", None),
            ("bodies_pkey", None),
        ] {
            let refusal = refusal_of(constraint).map(|refusal| refusal.to_string());
            let is_named = |text: &str| {
                table.is_some_and(|table| text.contains(table)) && text.contains("hookbox migrate")
            };
            match &refusal {
                Some(text) => assert!(is_named(text), "{constraint}: {text}"),
                None => assert_eq!(table, None, "{constraint}"),
            }
        }
    }
}
