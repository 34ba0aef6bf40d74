//! The table `written_off`: receipts that an operator has declared lost.

use hookbox_driver::{AccountGap, OpenReceipt, WRITE_OFF_ACTION};
use sqlx::{Error, PgConnection};

use crate::column::{text, uuid};
use crate::{accounts, audit};

/// See [`hookbox_driver::Ledger::write_off`].
pub(crate) async fn write_off(
    c: &mut PgConnection,
    receipts: &[OpenReceipt],
    gaps: &[AccountGap],
    by: &str,
    why: &str,
) -> Result<u64, Error> {
    let mut count = 0;
    for open in receipts {
        let written = sqlx::query(
            "with gone as (
                 delete from open_receipts o
                 where o.route = $1 and o.receipt_id = $2
                   and not exists (select from receipts r
                                   where r.route = o.route and r.receipt_id = o.receipt_id)
                 returning route, receipt_id, instance, number
             )
             insert into written_off (route, receipt_id, instance, number, why, written_off_by)
             select route, receipt_id, instance, number, $3, $4 from gone
             on conflict do nothing",
        )
        .bind(open.route.as_str())
        .bind(uuid(open.receipt.as_bytes()))
        .bind(text(why))
        .bind(text(by))
        .execute(&mut *c)
        .await?;
        if written.rows_affected() == 1 {
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
