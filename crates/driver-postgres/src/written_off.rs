//! The table `written_off`: receipts that an operator has declared lost.

use hookbox_driver::{AccountGap, OpenReceipt};
use sqlx::{Error, PgConnection};

use crate::column::{bigint, text, uuid};
use crate::{accounts, audit};

/// The name of this action in the audit.
const ACTION: &str = "reconcile.write_off";

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
            let subject = format!("receipt {} of route {}: {why}", open.receipt, open.route);
            audit::insert(c, by, ACTION, &subject).await?;
            count += 1;
        }
    }
    for gap in gaps {
        if accounts::extend(c, &gap.void()).await? {
            let (first, last) = (bigint(gap.first), bigint(gap.last));
            let subject = format!(
                "numbers {first} to {last} of ingest {}: {why}",
                gap.instance
            );
            audit::insert(c, by, ACTION, &subject).await?;
            count += 1;
        }
    }
    Ok(count)
}
