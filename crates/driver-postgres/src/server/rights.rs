//! The rights on tables that a worker's own statements need, and a check which of them are missing.

use std::collections::BTreeMap;

use sqlx::{Error, PgConnection, Row};

/// The rights that settling events needs, by table.
const SETTLING: [(&str, &[&str]); 9] = [
    ("events", &["SELECT", "INSERT"]),
    ("bodies", &["SELECT", "INSERT"]),
    ("claims", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("receipts", &["SELECT", "INSERT", "UPDATE"]),
    ("attempts", &["SELECT", "INSERT"]),
    ("retries", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("dead_letters", &["SELECT", "INSERT", "UPDATE"]),
    ("ends", &["SELECT", "INSERT"]),
    ("newest", &["SELECT", "INSERT", "UPDATE"]),
];

/// The rights that a worker needs for everything other than settling, by table. Commands of
/// operators (replays, write-offs) need more.
const WORKING: [(&str, &[&str]); 10] = [
    ("_sqlx_migrations", &["SELECT"]),
    ("meta", &["SELECT"]),
    ("route_controls", &["SELECT"]),
    ("starts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("targets", &["SELECT", "INSERT", "UPDATE"]),
    ("accounts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("accepted", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("open_receipts", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("incarnations", &["SELECT"]),
    ("witness", &["SELECT", "UPDATE"]),
];

/// Returns the tables on which the session's role lacks rights that a worker needs, each with these
/// rights in the form that `GRANT` takes: `SELECT, INSERT`. A table that the role cannot see counts
/// as one on which it lacks every right.
pub(crate) async fn missing(c: &mut PgConnection) -> Result<Vec<(String, String)>, Error> {
    let mut missing = missing_of(c, &WORKING).await?;
    missing.extend(missing_of(c, &SETTLING).await?);
    Ok(missing)
}

/// Returns whether the session's role can settle events.
pub(crate) async fn can_settle(c: &mut PgConnection) -> Result<bool, Error> {
    missing_of(c, &SETTLING)
        .await
        .map(|missing| missing.is_empty())
}

async fn missing_of(
    c: &mut PgConnection,
    needed: &[(&str, &[&str])],
) -> Result<Vec<(String, String)>, Error> {
    let pairs = || {
        let all = needed.iter();
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
    let missing = missing.into_iter();
    Ok(missing
        .map(|(table, rights)| (table, rights.join(", ")))
        .collect())
}
