//! The tables `accounts`, `accepted` and `open_receipts`: which sequence numbers and receipts each
//! ingest has reported as accepted, and which of these receipts have no outcome yet.

use std::time::Duration;

use hookbox_driver::{AccountGap, Accounts, Fault, OpenReceipt, PASSED_WITHIN, ReportedRange};
use hookbox_event::{Account, InstanceId, ReceiptId, RouteName};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, bigint, uuid};
use crate::tx::Tx;

/// See [`hookbox_driver::Store::account`].
pub(crate) async fn account(mut tx: Tx, account: &Account) -> Result<(), Fault> {
    let doing = "write an accept report";
    let is_new = tx
        .run(|c| extend(c, account))
        .await
        .map_err(|error| error.ours(doing))?;
    if !is_new {
        tx.rollback().await;
        return Ok(());
    }
    tx.run(|c| record(c, account))
        .await
        .map_err(|error| error.ours(doing))?;
    tx.commit_ours().await
}

/// Adds the sequence numbers that the accept report covers to those that its instance has reported
/// so far. Returns `false` when the report adds nothing to what the instance has reported before.
pub(crate) async fn extend(c: &mut PgConnection, account: &Account) -> Result<bool, Error> {
    let instance = uuid(account.instance.as_bytes());
    // An advisory lock makes concurrent calls run one after another, because two workers may write
    // two reports of one instance at the same time. Times are read and written as microseconds
    // since 1970, which is PostgreSQL's precision, so no time is rounded.
    let now: i64 = sqlx::query_scalar(
        "select (extract(epoch from now()) * 1000000)::bigint
         from (select pg_advisory_xact_lock(hashtextextended($1::text, 7))) as locked",
    )
    .bind(instance)
    .fetch_one(&mut *c)
    .await?;
    let reported = ReportedRange {
        first: account.first,
        last: account.last,
        closing: account.closing,
        reported_at: now,
    };
    let rows = sqlx::query(
        "select first, last, closing, (extract(epoch from told_at) * 1000000)::bigint as told_at
         from accounts where instance = $1 and last >= $2 - 1 and first <= $3 + 1",
    )
    .bind(instance)
    .bind(bigint(account.first))
    .bind(bigint(account.last))
    .fetch_all(&mut *c)
    .await?;
    let stored: Vec<_> = rows.iter().map(range).collect::<Result<_, _>>()?;
    let Some(merged) = reported.merged_with(&stored) else {
        return Ok(false);
    };
    // The new row may have the key of a deleted row. The insert reads `count(*)` of the deleted
    // rows, so PostgreSQL deletes them first.
    sqlx::query(
        "with deleted as (
             delete from accounts where instance = $1 and first >= $2 and last <= $3 returning first
         )
         insert into accounts (instance, first, last, closing, told_at)
         select $1, $2, $3, $4, timestamptz 'epoch' + $5 * interval '1 microsecond'
         from (select count(*) from deleted) as done",
    )
    .bind(instance)
    .bind(bigint(merged.first))
    .bind(bigint(merged.last))
    .bind(merged.closing)
    .bind(merged.reported_at)
    .execute(c)
    .await?;
    Ok(true)
}

fn range(row: &PgRow) -> Result<ReportedRange<i64>, Error> {
    Ok(ReportedRange {
        first: row.count("first")?,
        last: row.count("last")?,
        closing: row.try_get("closing")?,
        reported_at: row.try_get("told_at")?,
    })
}

async fn record(c: &mut PgConnection, account: &Account) -> Result<(), Error> {
    let (mut routes, mut receipts, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for run in &account.accepted {
        for route in &run.routes {
            for (number, receipt) in (run.first..).zip(&run.receipts) {
                routes.push(route.as_str());
                receipts.push(uuid(receipt.as_bytes()));
                numbers.push(bigint(number));
            }
        }
    }
    sqlx::query(
        "insert into accepted (route, receipts)
         select route, count(*) from unnest($1::text[]) as reported (route) group by route
         order by route
         on conflict (route) do update set receipts = accepted.receipts + excluded.receipts",
    )
    .bind(&routes)
    .execute(&mut *c)
    .await?;
    sqlx::query(
        "insert into open_receipts (route, receipt_id, instance, number)
         select reported.route, reported.receipt_id, $4, reported.number
         from unnest($1::text[], $2::uuid[], $3::bigint[]) as reported (route, receipt_id, number)
         where not exists (select from receipts r
                           where r.route = reported.route and r.receipt_id = reported.receipt_id)
         on conflict do nothing",
    )
    .bind(&routes)
    .bind(receipts)
    .bind(numbers)
    .bind(uuid(account.instance.as_bytes()))
    .execute(c)
    .await?;
    Ok(())
}

/// See [`hookbox_driver::Store::check_accounts`].
pub(crate) async fn check(mut tx: Tx) -> Result<(), Fault> {
    tx.run(async |c: &mut PgConnection| {
        sqlx::query(
            "delete from open_receipts where (route, receipt_id) in (
                 select o.route, o.receipt_id from open_receipts o
                 join receipts r using (route, receipt_id)
                 for update of o skip locked)",
        )
        .execute(c)
        .await
    })
    .await
    .map_err(|error| error.ours("check the accept reports"))?;
    tx.commit_ours().await
}

/// See [`hookbox_driver::Ledger::accounts`].
pub(crate) async fn read(
    c: &mut PgConnection,
    limit: u32,
    overdue: Duration,
) -> Result<Accounts, Error> {
    let reported = sqlx::query("select route, receipts from accepted order by route")
        .fetch_all(&mut *c)
        .await?;
    let by_route = sqlx::query(
        "select route, count(*) as receipts from open_receipts o
         where not exists (select from receipts r
                           where r.route = o.route and r.receipt_id = o.receipt_id)
         group by route order by route",
    )
    .fetch_all(&mut *c)
    .await?;
    let written_off = sqlx::query(
        "select route, count(*) as receipts from written_off group by route order by route",
    )
    .fetch_all(&mut *c)
    .await?;
    let open = sqlx::query(
        "select o.*, greatest(extract(epoch from now() - told_at), 0)::bigint as seconds,
                o.told_at < now() - make_interval(secs => $2)
                and exists (select from receipts r
                            where r.instance = o.instance and r.route = o.route
                              and r.number between o.number + 1 and o.number + $3
                              and r.settled_at < now() - make_interval(secs => $2))
                and not exists (select from route_controls c
                                where c.route in (o.route, '*')
                                  and (c.paused_at is not null
                                       or c.resumed_at >= now() - make_interval(secs => $2)))
                    as passed
         from accepted a cross join lateral (
             select route, receipt_id, instance, number, told_at
             from open_receipts o
             where o.route = a.route
               and not exists (select from receipts r
                               where r.route = o.route and r.receipt_id = o.receipt_id)
             order by told_at, instance, number limit $1
         ) o
         order by told_at, instance, number",
    )
    .bind(i64::from(limit))
    .bind(overdue.as_secs_f64())
    .bind(PASSED_WITHIN)
    .fetch_all(&mut *c)
    .await?;
    let gaps = sqlx::query(
        "select instance, before + 1 as first, first - 1 as last,
                greatest(extract(epoch from now() - told_at), 0)::bigint as seconds
         from (select instance, first, told_at,
                      coalesce(lag(last) over (partition by instance order by first), 0) as before
               from accounts) as ranges
         where first > before + 1 order by instance, first limit $1",
    )
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    Ok(Accounts {
        reported: reported.iter().map(of_route).collect::<Result<_, _>>()?,
        open_by_route: by_route.iter().map(of_route).collect::<Result<_, _>>()?,
        written_off: written_off.iter().map(of_route).collect::<Result<_, _>>()?,
        open: open.iter().map(open_receipt).collect::<Result<_, _>>()?,
        gaps: gaps.iter().map(gap).collect::<Result<_, _>>()?,
    })
}

fn of_route(row: &PgRow) -> Result<(RouteName, u64), Error> {
    Ok((row.word("route", str::parse)?, row.count("receipts")?))
}

fn open_receipt(row: &PgRow) -> Result<OpenReceipt, Error> {
    Ok(OpenReceipt {
        receipt: row.id16("receipt_id", ReceiptId::from_bytes)?,
        route: row.word("route", str::parse)?,
        instance: row.id16("instance", InstanceId::from_bytes)?,
        number: row.count("number")?,
        seconds: row.count("seconds")?,
        passed: row.try_get("passed")?,
    })
}

fn gap(row: &PgRow) -> Result<AccountGap, Error> {
    Ok(AccountGap {
        instance: row.id16("instance", InstanceId::from_bytes)?,
        first: row.count("first")?,
        last: row.count("last")?,
        seconds: row.count("seconds")?,
    })
}
