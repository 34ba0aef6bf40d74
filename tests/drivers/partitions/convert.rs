//! Turns the large tables of a store into partitioned tables. hookbox does not do this; it is what
//! a migration could do.

use hookbox_event::ReceiptId;
use hookbox_tests::postgres::PostgresWorld;
use sqlx::{Connection, PgConnection};

/// The column by which a table is partitioned. Each unique constraint of the table includes this
/// column, and the values of the column rise with time.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// The number of the event.
    Event,
    /// The id of the receipt, which is a UUIDv7.
    Receipt,
}

/// The tables whose old rows could be dropped one day, each with the column by which it is
/// partitioned. `events` and `claims` stay, because they show which events are duplicates.
pub const LARGE: [(&str, Key); 7] = [
    ("bodies", Key::Event),
    ("attempts", Key::Event),
    ("ends", Key::Event),
    ("begini_scores", Key::Event),
    ("begini_score_traits", Key::Event),
    ("begini_applications", Key::Event),
    ("receipts", Key::Receipt),
];

/// Where the second partition of each table begins.
#[derive(Debug, Clone, Copy)]
pub struct Boundary {
    pub event: u64,
    pub receipt: ReceiptId,
}

impl Boundary {
    fn of(&self, key: Key) -> String {
        match key {
            Key::Event => self.event.to_string(),
            Key::Receipt => format!("'{}'", self.receipt),
        }
    }
}

/// A query that returns the indexes of a table, each with the statement that creates it.
const INDEXES: &str = "
    select c.relname::text,
           case when k.oid is null then pg_get_indexdef(i.indexrelid)
                else format('alter table %I add constraint %I %s', $1::text, k.conname,
                            pg_get_constraintdef(k.oid)) end
    from pg_index i
    join pg_class c on c.oid = i.indexrelid
    left join pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u')
    where i.indrelid = $1::text::regclass
    order by 1";

/// A query that returns the views that read a table, each with the query of the view.
const VIEWS: &str = "
    select view_name::text, pg_get_viewdef(view_name::text::regclass::oid)
    from information_schema.view_table_usage
    where table_name = $1
    order by 1";

/// Converts all large tables in one transaction. The stored rows of a table `t` become the
/// partition `t_first`, which ends at the boundary. New rows go to the partition `t_second`. The
/// boundary must be above everything that is stored.
pub async fn partition(world: &PostgresWorld, boundary: &Boundary) {
    let mut connection = world.connect().await;
    let mut statements = vec!["begin".to_owned()];
    for (table, key) in LARGE {
        let from = boundary.of(key);
        statements.extend(conversion(&mut connection, table, key, &from).await);
    }
    statements.push("commit".to_owned());
    connection.close().await.unwrap();
    world.execute_any(&statements.join(";\n")).await;
}

/// Returns the statements that convert one table.
async fn conversion(c: &mut PgConnection, table: &str, key: Key, from: &str) -> Vec<String> {
    let indexes = definitions(c, INDEXES, table).await;
    let views = definitions(c, VIEWS, table).await;
    let column = match key {
        Key::Event => "event",
        Key::Receipt => "receipt_id",
    };
    let mut statements = vec![format!("alter table {table} rename to {table}_first")];
    for (index, _) in &indexes {
        // This renames the constraint of a primary key, too.
        statements.push(format!("alter index {index} rename to {index}_first"));
    }
    statements.push(format!(
        "create table {table} (like {table}_first including all excluding indexes)
         partition by range ({column})"
    ));
    statements.extend(indexes.into_iter().map(|(_, definition)| definition));
    // The indexes of the attached table become parts of the new table's indexes, because they have
    // the same definitions. The check constraints of both tables have the same names already.
    statements.push(format!(
        "alter table {table} attach partition {table}_first
         for values from (minvalue) to ({from})"
    ));
    statements.push(format!(
        "create table {table}_second partition of {table}
         for values from ({from}) to (maxvalue)"
    ));
    for (view, query) in views {
        // The view still reads the renamed table, so it is replaced.
        let query = query.trim_end_matches(';');
        statements.push(format!("create or replace view {view} as {query}"));
    }
    statements
}

async fn definitions(
    c: &mut PgConnection,
    query: &'static str,
    table: &str,
) -> Vec<(String, String)> {
    let rows = sqlx::query_as(query).bind(table).fetch_all(c).await;
    rows.unwrap()
}

/// Drops the first partition of each table, and puts an empty partition in its place, because an
/// old receipt may still be delivered. Also records in `meta` the first event whose receipts are
/// kept. Every program that drops receipts must do that.
pub async fn drop_first(world: &PostgresWorld, boundary: &Boundary) {
    let mut statements = vec!["begin".to_owned()];
    for (table, key) in LARGE {
        let to = boundary.of(key);
        statements.push(format!("drop table {table}_first"));
        statements.push(format!(
            "create table {table}_rest partition of {table}
             for values from (minvalue) to ({to})"
        ));
    }
    statements.push(format!(
        "update meta set value = '{}' where key = 'receipts_kept_from'",
        boundary.event
    ));
    statements.push("commit".to_owned());
    world.execute_any(&statements.join(";\n")).await;
}
