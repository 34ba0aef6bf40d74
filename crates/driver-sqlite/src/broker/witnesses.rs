//! The table `broker_witnesses`: the witness messages that the SQLite broker keeps for the store.
//! They show later whether the store or the broker was restored from a backup.

use hookbox_driver::WITNESSES_KEPT;
use hookbox_event::Witness;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// See [`hookbox_driver::Broker::publish_witness`].
pub(crate) async fn publish(c: &mut SqliteConnection, witness: &Witness) -> sqlx::Result<()> {
    sqlx::query("insert into broker_witnesses (bytes) values (?1)")
        .bind(&witness.encode()[..])
        .execute(&mut *c)
        .await?;
    sqlx::query(
        "delete from broker_witnesses
         where id not in (select id from broker_witnesses order by id desc limit ?1)",
    )
    .bind(WITNESSES_KEPT)
    .execute(c)
    .await?;
    Ok(())
}

/// See [`hookbox_driver::Broker::witnesses`].
pub(crate) async fn all(c: &mut SqliteConnection) -> sqlx::Result<Vec<Witness>> {
    let rows = sqlx::query("select bytes from broker_witnesses order by id")
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            let bytes: Vec<u8> = row.try_get("bytes")?;
            Witness::decode(&bytes).map_err(|error| sqlx::Error::Decode(error.into()))
        })
        .collect()
}
