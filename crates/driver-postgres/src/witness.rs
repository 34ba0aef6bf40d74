//! The tables `incarnations` and `witness`: the restores of the store that operators have accepted,
//! and the witness messages that the store has published to the broker. A comparison with the
//! messages at the broker shows whether the store was restored from a backup.

use hookbox_driver::{
    AcceptedRestore, Fault, Mismatch, NextWitness, WITNESS_INGESTS_MAX, WitnessPosition,
};
use hookbox_event::{
    Incarnation, InstanceId, ReportedUpTo, RouteName, Timestamp, WireError, Witness,
};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, bigint, text};
use crate::tx::Tx;
use crate::{Postgres, audit};

/// The name under which the audit log records that an operator has accepted a restored backup.
const ACTION: &str = "reconcile.accept_restore";

impl Postgres {
    /// See [`hookbox_driver::Store::take_witness`].
    pub(crate) async fn next_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, Fault> {
        let mut tx = self.write().await?;
        let next = tx
            .run(|c| take(c, found, routes))
            .await
            .map_err(|error| error.ours("write the next witness"))?;
        match &next {
            NextWitness::Publish(_) => tx.commit_ours().await?,
            NextWitness::Unchanged | NextWitness::Mismatch(_) => tx.rollback().await,
        }
        Ok(next)
    }
}

async fn take(
    c: &mut PgConnection,
    found: &[Witness],
    routes: &[RouteName],
) -> Result<NextWitness, Error> {
    lock(c).await?;
    let position = position(c).await?;
    let next = position.take(found, now(c).await?, routes);
    if let NextWitness::Publish(witness) = &next
        && witness.sequence > position.sequence()
    {
        keep(c, witness).await?;
    }
    Ok(next)
}

/// Locks the row of the table, so that two workers cannot take the same witness at the same time.
async fn lock(c: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select from witness where id = 1 for update")
        .execute(c)
        .await?;
    Ok(())
}

async fn now(c: &mut PgConnection) -> Result<Timestamp, Error> {
    let row = sqlx::query("select now() as at").fetch_one(c).await?;
    row.moment("at")
}

async fn keep(c: &mut PgConnection, witness: &Witness) -> Result<(), Error> {
    sqlx::query("update witness set newest = $1 where id = 1")
        .bind(&witness.encode()[..])
        .execute(c)
        .await?;
    Ok(())
}

/// See [`hookbox_driver::Store::witness_confirmed`].
pub(crate) async fn confirmed(mut tx: Tx, sequence: u64) -> Result<(), Fault> {
    tx.run(async |c: &mut PgConnection| {
        sqlx::query("update witness set confirmed = greatest(confirmed, $1) where id = 1")
            .bind(bigint(sequence))
            .execute(c)
            .await
    })
    .await
    .map_err(|error| error.ours("record a confirmed witness"))?;
    tx.commit_ours().await
}

/// Reads which witness is the newest, and which one the broker has confirmed last; see
/// [`hookbox_driver::Ledger::witness_position`].
pub(crate) async fn position(c: &mut PgConnection) -> Result<WitnessPosition, Error> {
    let row = sqlx::query(
        "select i.incarnation, i.began_at, w.newest, w.confirmed,
                (select coalesce(sum(receipts), 0)::bigint from accepted) as receipts
         from witness w cross join (
             select incarnation, began_at from incarnations order by id desc limit 1) i",
    )
    .fetch_one(&mut *c)
    .await?;
    let ingests = sqlx::query(
        "select instance, max(last) as last from accounts
         group by instance order by instance desc limit $1",
    )
    .bind(i64::from(WITNESS_INGESTS_MAX))
    .fetch_all(c)
    .await?;
    Ok(WitnessPosition {
        incarnation: row.id16("incarnation", Incarnation::from_bytes)?,
        since: row.moment("began_at")?,
        newest: newest(&row)?,
        confirmed: row.count("confirmed")?,
        receipts: row.count("receipts")?,
        ingests: ingests.iter().map(reported).collect::<Result<_, _>>()?,
    })
}

fn newest(row: &PgRow) -> Result<Option<Witness>, Error> {
    let bytes: Option<Vec<u8>> = row.try_get("newest")?;
    let decoded = bytes.map(|bytes| Witness::decode(&bytes)).transpose();
    decoded.map_err(|error: WireError| Error::Decode(error.into()))
}

fn reported(row: &PgRow) -> Result<ReportedUpTo, Error> {
    Ok(ReportedUpTo {
        instance: row.id16("instance", InstanceId::from_bytes)?,
        number: row.count("last")?,
    })
}

/// See [`hookbox_driver::Ledger::accept_restore`].
pub(crate) async fn accept(
    c: &mut PgConnection,
    mismatch: &Mismatch,
    by: &str,
    why: &str,
) -> Result<Witness, Error> {
    lock(c).await?;
    let before = position(c).await?;
    let what = mismatch.describe();
    sqlx::query("insert into incarnations (accepted_by, why, what) values ($1, $2, $3)")
        .bind(text(by))
        .bind(text(why))
        .bind(&what)
        .execute(&mut *c)
        .await?;
    let after = position(c).await?;
    let witness = after.first_after(before, mismatch, now(c).await?);
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
    c: &mut PgConnection,
    limit: u32,
) -> Result<Vec<AcceptedRestore>, Error> {
    let rows = sqlx::query(
        "select began_at, accepted_by, why, what from incarnations
         where accepted_by is not null order by id desc limit $1",
    )
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    let one = |row: &PgRow| {
        Ok(AcceptedRestore {
            at: row.moment("began_at")?,
            by: row.try_get("accepted_by")?,
            why: row.try_get("why")?,
            what: row.try_get("what")?,
        })
    };
    rows.iter().map(one).collect()
}
