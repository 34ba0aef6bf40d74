//! The rights that a worker's own statements need, and which of them a session does not have.

use std::collections::BTreeMap;

use sqlx::{Error, PgConnection, Row};

/// By table. What operators do (replays, write-offs) needs more on some of them.
const NEEDED: [(&str, &[&str]); 11] = [
    ("meta", &["SELECT"]),
    ("events", &["SELECT", "INSERT"]),
    ("claims", &["SELECT", "INSERT", "UPDATE"]),
    ("receipts", &["SELECT", "INSERT", "UPDATE"]),
    ("attempts", &["SELECT", "INSERT"]),
    ("retries", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("dead_letters", &["SELECT", "INSERT", "UPDATE"]),
    ("starts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("accounts", &["SELECT", "INSERT", "UPDATE"]),
    ("accepted", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("open_receipts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];

/// Tables and the rights on them that the session's role lacks, or that are not there for it.
pub(crate) async fn missing(c: &mut PgConnection) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let pairs = || {
        let all = NEEDED.iter();
        all.flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)))
    };
    let tables: Vec<&str> = pairs().map(|(table, _)| table).collect();
    let rights: Vec<&str> = pairs().map(|(_, right)| right).collect();
    let rows = sqlx::query(
        "select needed.name, needed.privilege
         from unnest($1::text[], $2::text[]) with ordinality as needed (name, privilege, position)
         where not coalesce(has_table_privilege(to_regclass(needed.name), needed.privilege), false)
         order by needed.position",
    )
    .bind(tables)
    .bind(rights)
    .fetch_all(c)
    .await?;
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let privileges = missing.entry(row.try_get(0)?).or_default();
        privileges.push(row.try_get(1)?);
    }
    Ok(missing)
}
