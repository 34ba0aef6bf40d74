//! The table `written_off`: receipts that an operator has declared lost.

use hookbox_driver::{AccountGap, OpenReceipt, WRITE_OFF_ACTION, storable};
use sqlx::sqlite::SqliteConnection;

use crate::{accounts, audit, moment};

/// See [`hookbox_driver::Ledger::write_off`].
pub(crate) async fn write_off(
    c: &mut SqliteConnection,
    receipts: &[OpenReceipt],
    gaps: &[AccountGap],
    by: &str,
    why: &str,
) -> sqlx::Result<u64> {
    let mut count = 0;
    for open in receipts {
        let written = sqlx::query(
            "insert into written_off
                 (receipt_id, route, instance, number, why, written_off_by, written_off_at)
             select receipt_id, route, instance, number, ?3, ?4, ?5 from open_receipts o
             where receipt_id = ?1 and route = ?2
               and not exists (select 1 from receipts r
                               where r.receipt_id = o.receipt_id and r.route = o.route)
             on conflict do nothing",
        )
        .bind(&open.receipt.as_bytes()[..])
        .bind(open.route.as_str())
        .bind(storable(why))
        .bind(storable(by))
        .bind(moment::now())
        .execute(&mut *c)
        .await?;
        if written.rows_affected() == 1 {
            sqlx::query("delete from open_receipts where receipt_id = ?1 and route = ?2")
                .bind(&open.receipt.as_bytes()[..])
                .bind(open.route.as_str())
                .execute(&mut *c)
                .await?;
            let subject = open.write_off_subject(why);
            audit::insert(c, by, WRITE_OFF_ACTION, &subject).await?;
            count += 1;
        }
    }
    for gap in gaps {
        if accounts::extend(c, &gap.void()).await? {
            let subject = gap.write_off_subject(why);
            audit::insert(c, by, WRITE_OFF_ACTION, &subject).await?;
            count += 1;
        }
    }
    Ok(count)
}
