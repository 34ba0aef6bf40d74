//! The tables `incarnations` and `witness`: the restores of the store that operators have accepted,
//! and the witness messages that the store has published to the broker. A comparison with the
//! messages at the broker shows whether the store was restored from a backup.

use hookbox_driver::{
    AcceptedRestore, Mismatch, NextWitness, WITNESS_INGESTS_MAX, WitnessPosition, storable,
};
use hookbox_event::{Incarnation, ReportedUpTo, RouteName, Timestamp, Witness};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::{audit, moment};

/// The name under which the audit log records that an operator has accepted a restored backup.
const ACTION: &str = "reconcile.accept_restore";

/// See [`hookbox_driver::Store::take_witness`].
pub(crate) async fn take(
    c: &mut SqliteConnection,
    found: &[Witness],
    routes: &[RouteName],
) -> sqlx::Result<NextWitness> {
    let position = position(c).await?;
    let next = position.take(found, now(), routes);
    if let NextWitness::Publish(witness) = &next
        && witness.sequence > position.sequence()
    {
        keep(c, witness).await?;
    }
    Ok(next)
}

fn now() -> Timestamp {
    Timestamp::from_unix_micros(moment::now())
}

async fn keep(c: &mut SqliteConnection, witness: &Witness) -> sqlx::Result<()> {
    sqlx::query("update witness set newest = ?1 where id = 1")
        .bind(&witness.encode()[..])
        .execute(c)
        .await?;
    Ok(())
}

/// See [`hookbox_driver::Store::witness_confirmed`].
pub(crate) async fn confirmed(c: &mut SqliteConnection, sequence: u64) -> sqlx::Result<()> {
    sqlx::query("update witness set confirmed = max(confirmed, ?1) where id = 1")
        .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
        .execute(c)
        .await?;
    Ok(())
}

/// Reads which witness is the newest, and which one the broker has confirmed last; see
/// [`hookbox_driver::Ledger::witness_position`]. The caller must have opened a transaction, so that
/// both queries see the same snapshot.
pub(crate) async fn position(c: &mut SqliteConnection) -> sqlx::Result<WitnessPosition> {
    let row = sqlx::query(
        "select i.incarnation, i.began_at, w.newest, w.confirmed,
                (select coalesce(sum(receipts), 0) from accepted) as receipts
         from witness w cross join (
             select incarnation, began_at from incarnations order by id desc limit 1) i",
    )
    .fetch_one(&mut *c)
    .await?;
    let ingests = sqlx::query(
        "select instance, max(last) as last from accounts
         group by instance order by instance desc limit ?1",
    )
    .bind(WITNESS_INGESTS_MAX)
    .fetch_all(c)
    .await?;
    Ok(WitnessPosition {
        incarnation: Incarnation::from_bytes(row.id16("incarnation")?),
        since: row.moment("began_at")?,
        newest: newest(&row)?,
        confirmed: row.count("confirmed")?,
        receipts: row.count("receipts")?,
        ingests: ingests.iter().map(reported).collect::<sqlx::Result<_>>()?,
    })
}

fn newest(row: &SqliteRow) -> sqlx::Result<Option<Witness>> {
    let bytes: Option<Vec<u8>> = row.try_get("newest")?;
    let decoded = bytes.map(|bytes| Witness::decode(&bytes)).transpose();
    decoded.map_err(|error| sqlx::Error::Decode(error.into()))
}

fn reported(row: &SqliteRow) -> sqlx::Result<ReportedUpTo> {
    Ok(ReportedUpTo {
        instance: row.instance("instance")?,
        number: row.count("last")?,
    })
}

/// See [`hookbox_driver::Ledger::accept_restore`].
pub(crate) async fn accept(
    c: &mut SqliteConnection,
    mismatch: &Mismatch,
    by: &str,
    why: &str,
) -> sqlx::Result<Witness> {
    let before = position(c).await?;
    let what = mismatch.describe();
    sqlx::query(
        "insert into incarnations (began_at, accepted_by, why, what) values (?1, ?2, ?3, ?4)",
    )
    .bind(moment::now())
    .bind(storable(by))
    .bind(storable(why))
    .bind(&what)
    .execute(&mut *c)
    .await?;
    let after = position(c).await?;
    let witness = after.first_after(before, mismatch, now());
    keep(c, &witness).await?;
    // The number of the last confirmed witness is set back to 0, because the broker has confirmed
    // no witness of the new incarnation yet.
    sqlx::query("update witness set confirmed = 0 where id = 1")
        .execute(&mut *c)
        .await?;
    audit::insert(c, by, ACTION, &format!("{why}: {what}")).await?;
    Ok(witness)
}

/// See [`hookbox_driver::Ledger::accepted_restores`].
pub(crate) async fn accepted(
    c: &mut SqliteConnection,
    limit: u32,
) -> sqlx::Result<Vec<AcceptedRestore>> {
    let rows = sqlx::query(
        "select began_at, accepted_by, why, what from incarnations
         where accepted_by is not null order by id desc limit ?1",
    )
    .bind(limit)
    .fetch_all(c)
    .await?;
    let one = |row: &SqliteRow| {
        Ok(AcceptedRestore {
            at: row.moment("began_at")?,
            by: row.text("accepted_by")?,
            why: row.text("why")?,
            what: row.text("what")?,
        })
    };
    rows.iter().map(one).collect()
}
