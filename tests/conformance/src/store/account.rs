//! The promises of a store for accept reports, in which ingests report what they accepted.

use std::time::Duration;

use hookbox_driver::{Accounts, AuditFilter, Ledger, Store, Unvouched};
use hookbox_event::{Accepted, Account, Envelope, InstanceId, ReceiptId, RouteName};

use crate::harness::{StoreHarness, one, two};
use crate::store::done;
use crate::{envelope, of_number, with_receipt};

const INSTANCE: InstanceId = InstanceId::from_bytes([5; 16]);

fn account(first: u64, last: u64, closing: bool, accepted: Vec<Accepted>) -> Account {
    Account {
        instance: INSTANCE,
        first,
        last,
        closing,
        accepted,
    }
}

fn receipts(first: u64, routes: &[RouteName], receipts: &[ReceiptId]) -> Accepted {
    Accepted {
        routes: routes.to_vec(),
        first,
        receipts: receipts.to_vec(),
    }
}

/// A time longer than any test. It is used as the time after which a receipt is overdue, so no
/// receipt becomes overdue.
const LONG: Duration = Duration::from_secs(3_600);

async fn read(store: &impl Ledger) -> Accounts {
    store.accounts(10, LONG).await.expect("read")
}

/// Checks that an accept report counts once, however often it is delivered and however many workers
/// record it at the same time.
pub async fn an_account_counts_once<H: StoreHarness>(world: &H) {
    let (store, other) = (world.open().await, world.open().await);
    let of = |byte| ReceiptId::from_bytes([byte; 16]);
    let first = account(
        1,
        3,
        false,
        vec![receipts(2, &[one(), two()], &[of(1), of(2)])],
    );
    store.account(&first).await.expect("written");
    store
        .account(&first)
        .await
        .expect("writing the same report again must succeed");
    let second = account(4, 4, false, vec![receipts(4, &[one()], &[of(3)])]);
    let (a, b) = tokio::join!(store.account(&second), other.account(&second));
    a.or(b)
        .expect("one of two concurrent writes of the same report must succeed");
    store
        .account(&second)
        .await
        .expect("writing the same report again must succeed");
    store
        .account(&account(5, 4, true, vec![]))
        .await
        .expect("closed");
    let found = read(&*store).await;
    assert_eq!(found.reported, [(one(), 3), (two(), 2)]);
    assert_eq!((found.open_count(), found.open.len()), (5, 5));
    assert_eq!(found.open_by_route, [(one(), 3), (two(), 2)]);
    assert_eq!(found.gaps, []);
    Store::close(&*store).await;
    Store::close(&*other).await;
}

/// Checks that a receipt in an accept report is listed as open while it has no outcome, and is no
/// longer listed as soon as it has one. The outcome may be written before the report or after it.
pub async fn reported_receipts_without_an_outcome_are_listed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (before, after, lost) = (
        envelope("before"),
        of_number(7),
        ReceiptId::from_bytes([9; 16]),
    );
    done(&*store, &before).await;
    let reported = [before.receipt, after.receipt, lost];
    let account = account(1, 3, true, vec![receipts(1, &[one()], &reported)]);
    store.account(&account).await.expect("written");
    let found = read(&*store).await;
    let open: Vec<ReceiptId> = found.open.iter().map(|it| it.receipt).collect();
    assert_eq!(open, [after.receipt, lost]);
    done(&*store, &after).await;
    for _ in 0..2 {
        let found = read(&*store).await;
        let [open] = &found.open[..] else {
            panic!("expected exactly one open receipt: {found:?}")
        };
        assert_eq!(
            (open.receipt, open.number, open.instance),
            (lost, 3, INSTANCE)
        );
        assert_eq!((&open.route, found.open_count()), (&one(), 1));
        store.check_accounts().await.expect("checked");
    }
    assert_eq!(store.accounts(0, LONG).await.expect("read").open, []);
    Store::close(&*store).await;
}

/// Checks that accept reports may arrive in any order, and that sequence numbers which no report
/// covers are listed as a gap.
pub async fn a_sequence_gap_is_listed_until_it_is_filled<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let gaps = async || -> Vec<(u64, u64)> {
        let gaps = read(&*store).await.gaps;
        assert!(gaps.iter().all(|it| it.instance == INSTANCE), "{gaps:?}");
        gaps.iter().map(|it| (it.first, it.last)).collect()
    };
    let gap = |first, last| (first, last);
    store
        .account(&account(8, 9, true, vec![]))
        .await
        .expect("written");
    assert_eq!(gaps().await, [gap(1, 7)]);
    store
        .account(&account(1, 3, false, vec![]))
        .await
        .expect("written");
    assert_eq!(gaps().await, [gap(4, 7)]);
    store
        .account(&account(4, 7, false, vec![]))
        .await
        .expect("written");
    assert_eq!(gaps().await, []);
    store
        .account(&account(4, 7, false, vec![]))
        .await
        .expect("writing the same report again must succeed");
    assert_eq!(gaps().await, []);
    Store::close(&*store).await;
}

/// Checks that the list shows, for each route, the oldest receipt without an outcome, however many
/// receipts wait on other routes.
pub async fn what_waits_on_one_route_hides_nothing_of_another<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let of = |number| with_receipt("one", number).receipt;
    let report = account(
        1,
        3,
        false,
        vec![
            receipts(1, &[one()], &[of(1), of(2)]),
            receipts(3, &[two()], &[of(3)]),
        ],
    );
    store.account(&report).await.expect("written");
    let found = store.accounts(1, Duration::ZERO).await.expect("read");
    let open: Vec<_> = found.open.iter().map(|it| it.receipt).collect();
    assert_eq!(
        open,
        [of(1), of(3)],
        "with a limit of one, the list must have the oldest receipt without an outcome of each \
         route"
    );
    Store::close(&*store).await;
}

/// Checks when a receipt without an outcome counts as passed by a later receipt, and so is probably
/// lost. The later receipt must have had its outcome for longer than the time after which a receipt
/// is overdue. Before that, the receipt without an outcome may only be waiting in a long queue. The
/// later receipt must come from the same ingest process and have a higher sequence number, whatever
/// the order of their ids: the time in an id is that at which the request began.
pub async fn a_receipt_is_passed_by_later_ones<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let numbered = |name, receipt, instance, number| Envelope {
        instance,
        number,
        ..with_receipt(name, receipt)
    };
    let other = InstanceId::from_bytes([6; 16]);
    let (first, second) = (
        numbered("first", 1, INSTANCE, 2),
        numbered("second", 2, INSTANCE, 3),
    );
    let report = account(2, 2, false, vec![receipts(2, &[one()], &[first.receipt])]);
    store.account(&report).await.expect("written");
    let passed = async |overdue| -> Vec<bool> {
        let found = store.accounts(10, overdue).await.expect("read");
        found.open.iter().map(|it| it.passed).collect()
    };
    assert_eq!(
        passed(Duration::ZERO).await,
        [false],
        "a receipt must not count as passed (probably lost) while no later receipt has an outcome"
    );
    let earlier = numbered("earlier", 9, INSTANCE, 1);
    let elsewhere = numbered("elsewhere", 9, other, 3);
    for no_later_one in [earlier, elsewhere] {
        assert!(no_later_one.receipt > first.receipt);
        done(&*store, &no_later_one).await;
        assert_eq!(
            passed(Duration::ZERO).await,
            [false],
            "a receipt that was not published later by the same process must not count"
        );
    }
    done(&*store, &second).await;
    assert_eq!(passed(Duration::ZERO).await, [true]);
    assert_eq!(
        passed(LONG).await,
        [false],
        "a receipt must not count as passed (probably lost) before a later receipt has had its \
         outcome for longer than `overdue`"
    );
    done(&*store, &first).await;
    assert_eq!(passed(Duration::ZERO).await, [false; 0]);
    Store::close(&*store).await;
}

/// Checks that an ingest is listed when the store has receipts of it that no accept report of the
/// ingest covers. The list also says how many sequence numbers are missing in the store below the
/// highest one that it has. An ingest that reported all its numbers, or that closed, is not listed.
pub async fn an_ingest_with_unreported_receipts_is_listed<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let event = |number: u8| {
        let mut event = with_receipt(&format!("number-{number}"), number);
        event.number = number.into();
        event
    };
    let instance = event(1).instance;
    let silent = async || store.unvouched(10, Duration::ZERO).await.expect("read");
    for number in [1, 2, 5] {
        done(&*store, &event(number)).await;
    }
    let named = |reported, absent| Unvouched {
        instance,
        reported,
        seen: 5,
        absent,
    };
    assert_eq!(silent().await, [named(0, 2)]);
    assert_eq!(
        store.unvouched(10, LONG).await.expect("read"),
        [],
        "an ingest that was seen recently must not be listed"
    );
    let mut report = account(1, 2, false, vec![]);
    report.instance = instance;
    store.account(&report).await.expect("written");
    assert_eq!(silent().await, [named(2, 2)]);
    (report.first, report.last) = (3, 5);
    store.account(&report).await.expect("written");
    assert_eq!(silent().await, []);
    Store::close(&*store).await;
}

/// Checks that an operator can write a receipt off, which declares it lost. It is then no longer
/// listed as missing, is counted once as written off, and leaves one audit row. If the receipt gets
/// its outcome before that, the write-off does not change it. Sequence numbers that are written off
/// count as reported.
pub async fn what_is_lost_is_written_off_once<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (late, lost) = (of_number(1), ReceiptId::from_bytes([9; 16]));
    let runs = vec![receipts(4, &[one()], &[late.receipt, lost])];
    store
        .account(&account(4, 5, false, runs))
        .await
        .expect("written");
    let found = read(&*store).await;
    assert_eq!((found.open.len(), found.gaps.len()), (2, 1));
    done(&*store, &late).await;
    let write = async || {
        let written = store.write_off(&found.open, &found.gaps, "ann", "the disk burned");
        written.await.expect("the write-off must succeed")
    };
    assert_eq!(
        write().await,
        2,
        "expected two write-offs: one receipt and one range of sequence numbers"
    );
    assert_eq!(
        write().await,
        0,
        "a second write-off of the same receipts and numbers must change nothing"
    );
    let after = read(&*store).await;
    assert_eq!((after.open_count(), after.gaps.len()), (0, 0));
    assert_eq!(after.written_off, [(one(), 1)]);
    let audits = store
        .audits(&AuditFilter::default(), None, 10)
        .await
        .expect("audited");
    let subjects: Vec<&str> = audits.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(audits.len(), 2, "{subjects:?}");
    assert!(
        audits
            .iter()
            .all(|it| it.actor == "ann" && it.action == "reconcile.write_off")
    );
    let lost = format!("receipt {lost} of route {}: the disk burned", one());
    assert!(subjects.contains(&lost.as_str()), "{subjects:?}");
    assert!(
        subjects
            .iter()
            .any(|it| it.starts_with("numbers 1 to 3 of ingest"))
    );
    Store::close(&*store).await;
}
