//! The tables `accounts`, `accepted` and `open_receipts`: which sequence numbers and receipts each
//! ingest has reported as accepted, and which of these receipts have no outcome yet.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{AccountGap, Accounts, OpenReceipt, PASSED_WITHIN, ReportedRange};
use hookbox_event::{Account, RouteName};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::column::Columns;
use crate::moment;

/// See [`hookbox_driver::Store::account`].
pub(crate) async fn account(c: &mut SqliteConnection, account: &Account) -> sqlx::Result<()> {
    if extend(c, account).await? {
        count(c, account).await?;
        open(c, account).await?;
    }
    Ok(())
}

/// Adds the sequence numbers that the accept report covers to those that its instance has reported
/// so far. Returns `false` when the report adds nothing to what the instance has reported before.
pub(crate) async fn extend(c: &mut SqliteConnection, account: &Account) -> sqlx::Result<bool> {
    let instance = &account.instance.as_bytes()[..];
    let reported = ReportedRange {
        first: account.first,
        last: account.last,
        closing: account.closing,
        reported_at: moment::now(),
    };
    let rows = sqlx::query(
        "select first, last, closing, told_at from accounts
         where instance = ?1 and last >= ?2 - 1 and first <= ?3 + 1",
    )
    .bind(instance)
    .bind(number(account.first))
    .bind(number(account.last))
    .fetch_all(&mut *c)
    .await?;
    let stored: Vec<_> = rows.iter().map(range).collect::<sqlx::Result<_>>()?;
    let Some(merged) = reported.merged_with(&stored) else {
        return Ok(false);
    };
    sqlx::query("delete from accounts where instance = ?1 and first >= ?2 and last <= ?3")
        .bind(instance)
        .bind(number(merged.first))
        .bind(number(merged.last))
        .execute(&mut *c)
        .await?;
    sqlx::query(
        "insert into accounts (instance, first, last, closing, told_at, heard_at)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(instance)
    .bind(number(merged.first))
    .bind(number(merged.last))
    .bind(merged.closing)
    .bind(merged.reported_at)
    .bind(reported.reported_at)
    .execute(c)
    .await?;
    Ok(true)
}

fn range(row: &SqliteRow) -> sqlx::Result<ReportedRange<i64>> {
    Ok(ReportedRange {
        first: row.count("first")?,
        last: row.count("last")?,
        closing: row.try_get("closing")?,
        reported_at: row.try_get("told_at")?,
    })
}

async fn count(c: &mut SqliteConnection, account: &Account) -> sqlx::Result<()> {
    let mut reported: BTreeMap<&RouteName, i64> = BTreeMap::new();
    for run in &account.accepted {
        for route in &run.routes {
            *reported.entry(route).or_default() += number(run.receipts.len() as u64);
        }
    }
    for (route, receipts) in reported {
        sqlx::query(
            "insert into accepted (route, receipts) values (?1, ?2)
             on conflict (route) do update set receipts = receipts + excluded.receipts",
        )
        .bind(route.as_str())
        .bind(receipts)
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

async fn open(c: &mut SqliteConnection, account: &Account) -> sqlx::Result<()> {
    let now = moment::now();
    for run in &account.accepted {
        for route in &run.routes {
            let numbered: Vec<_> = (run.first..).zip(&run.receipts).collect();
            for chunk in numbered.chunks(crate::ROWS_MAX) {
                let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
                    "insert into open_receipts (receipt_id, number, route, instance, told_at)
                     select reported.column1, reported.column2, ",
                );
                insert
                    .push_bind(route.as_str())
                    .push(", ")
                    .push_bind(&account.instance.as_bytes()[..])
                    .push(", ")
                    .push_bind(now)
                    .push(" from (");
                insert.push_values(chunk, |mut row, (number_of, receipt)| {
                    row.push_bind(&receipt.as_bytes()[..])
                        .push_bind(number(*number_of));
                });
                insert
                    .push(
                        ") as reported where not exists (select 1 from receipts r
                         where r.receipt_id = reported.column1 and r.route = ",
                    )
                    .push_bind(route.as_str())
                    .push(") on conflict do nothing");
                insert.build().execute(&mut *c).await?;
            }
        }
    }
    Ok(())
}

/// Returns whether any row of `open_receipts` can be deleted, because its receipt has an outcome by
/// now.
pub(crate) async fn is_to_check(c: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select 1 from open_receipts o
                        join receipts r using (receipt_id, route))",
    )
    .fetch_one(c)
    .await
}

/// See [`hookbox_driver::Store::check_accounts`].
pub(crate) async fn check(c: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(
        "delete from open_receipts where (receipt_id, route) in (
             select o.receipt_id, o.route from open_receipts o
             join receipts r using (receipt_id, route))",
    )
    .execute(c)
    .await?;
    Ok(())
}

/// See [`hookbox_driver::Ledger::accounts`].
pub(crate) async fn read(
    c: &mut SqliteConnection,
    limit: u32,
    overdue: Duration,
) -> sqlx::Result<Accounts> {
    let reported = sqlx::query("select route, receipts from accepted order by route")
        .fetch_all(&mut *c)
        .await?;
    let by_route = sqlx::query(
        "select route, count(*) as receipts from open_receipts o
         where not exists (select 1 from receipts r
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
        "select o.*, max(?2 - told_at, 0) / 1000000 as seconds,
                (o.told_at < ?2 - ?3
                 and exists (select 1 from receipts r
                             where r.instance = o.instance and r.route = o.route
                               and r.number between o.number + 1 and o.number + ?4
                               and r.settled_at < ?2 - ?3)
                 and not exists (select 1 from route_controls c
                                 where c.route in (o.route, '*')
                                   and (c.paused_at is not null
                                        or c.resumed_at >= ?2 - ?3))) as passed
         from (select route, receipt_id, instance, number, told_at,
                      row_number() over (partition by route
                                         order by told_at, instance, number) as place
               from open_receipts o
               where not exists (select 1 from receipts r
                                 where r.route = o.route and r.receipt_id = o.receipt_id)) o
         where place <= ?1
         order by told_at, instance, number",
    )
    .bind(limit)
    .bind(moment::now())
    .bind(i64::try_from(overdue.as_micros()).unwrap_or(i64::MAX / 2))
    .bind(PASSED_WITHIN)
    .fetch_all(&mut *c)
    .await?;
    let gaps = sqlx::query(
        "select instance, before + 1 as first, first - 1 as last,
                max(?2 - told_at, 0) / 1000000 as seconds
         from (select instance, first, told_at,
                      coalesce(lag(last) over (partition by instance order by first), 0) as before
               from accounts)
         where first > before + 1 order by instance, first limit ?1",
    )
    .bind(limit)
    .bind(moment::now())
    .fetch_all(c)
    .await?;
    Ok(Accounts {
        reported: reported.iter().map(of_route).collect::<sqlx::Result<_>>()?,
        open_by_route: by_route.iter().map(of_route).collect::<sqlx::Result<_>>()?,
        written_off: written_off
            .iter()
            .map(of_route)
            .collect::<sqlx::Result<_>>()?,
        open: open.iter().map(open_receipt).collect::<sqlx::Result<_>>()?,
        gaps: gaps.iter().map(gap).collect::<sqlx::Result<_>>()?,
    })
}

fn of_route(row: &SqliteRow) -> sqlx::Result<(RouteName, u64)> {
    Ok((row.parsed("route")?, row.count("receipts")?))
}

fn open_receipt(row: &SqliteRow) -> sqlx::Result<OpenReceipt> {
    Ok(OpenReceipt {
        receipt: row.receipt("receipt_id")?,
        route: row.parsed("route")?,
        instance: row.instance("instance")?,
        number: row.count("number")?,
        seconds: row.count("seconds")?,
        passed: row.try_get("passed")?,
    })
}

fn gap(row: &SqliteRow) -> sqlx::Result<AccountGap> {
    Ok(AccountGap {
        instance: row.instance("instance")?,
        first: row.count("first")?,
        last: row.count("last")?,
        seconds: row.count("seconds")?,
    })
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
