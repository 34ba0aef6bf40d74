//! Accounts: what ingests say they have answered.

use hookbox_driver::{AccountGap, Ledger, Store};
use hookbox_event::{Accepted, Account, InstanceId, ReceiptId, RouteName};

use crate::harness::{StoreHarness, one, two};
use crate::store::done;
use crate::{envelope, of_number};

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

/// However often it comes, and from however many workers at once.
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
    store.account(&first).await.expect("again");
    let second = account(4, 4, false, vec![receipts(4, &[one()], &[of(3)])]);
    let (a, b) = tokio::join!(store.account(&second), other.account(&second));
    a.or(b).expect("one of them is written");
    store.account(&second).await.expect("again");
    store
        .account(&account(5, 4, true, vec![]))
        .await
        .expect("closed");
    let found = store.accounts(10).await.expect("read");
    assert_eq!(found.told, [(one(), 3), (two(), 2)]);
    assert_eq!((found.open_count, found.open.len()), (5, 5));
    assert_eq!(found.gaps, []);
    Store::close(&*store).await;
    Store::close(&*other).await;
}

/// A receipt that was told of has an outcome, before or after, or is named.
pub async fn what_was_told_and_is_nowhere_is_named<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let (before, after, lost) = (
        envelope("before"),
        of_number(7),
        ReceiptId::from_bytes([9; 16]),
    );
    done(&*store, &before).await;
    let told = [before.receipt, after.receipt, lost];
    let account = account(1, 3, true, vec![receipts(1, &[one()], &told)]);
    store.account(&account).await.expect("written");
    let found = store.accounts(10).await.expect("read");
    let open: Vec<ReceiptId> = found.open.iter().map(|it| it.receipt).collect();
    assert_eq!(open, [after.receipt, lost]);
    done(&*store, &after).await;
    for _ in 0..2 {
        let found = store.accounts(10).await.expect("read");
        let [open] = &found.open[..] else {
            panic!("one: {found:?}")
        };
        assert_eq!(
            (open.receipt, open.number, open.instance),
            (lost, 3, INSTANCE)
        );
        assert_eq!((&open.route, found.open_count), (&one(), 1));
        store.check_accounts().await.expect("checked");
    }
    assert_eq!(store.accounts(0).await.expect("read").open, []);
    Store::close(&*store).await;
}

/// Accounts may come in any order; what stays untold is told.
pub async fn a_gap_in_the_accounts_is_told_until_it_is_filled<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let gaps = async || store.accounts(10).await.expect("read").gaps;
    let gap = |first, last| AccountGap {
        instance: INSTANCE,
        first,
        last,
    };
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
        .expect("again");
    assert_eq!(gaps().await, []);
    Store::close(&*store).await;
}
