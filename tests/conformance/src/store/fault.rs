//! The promises of a store for errors. Each error is either a fault of a dependency or a failure of
//! the handler.

use std::time::Duration;

use hookbox_driver::{Claimed, FaultKind, Store};
use hookbox_testkit::eventually::eventually_is;
use tokio::time::timeout;

use super::{claim, done, probe};
use crate::harness::StoreHarness;
use crate::{envelope, of_number};

/// Checks that an unavailable store is a fault, reported within the driver's own deadlines, and
/// that the store works again when it is reachable.
pub async fn a_lost_connection_is_unavailable<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    done(&*store, &of_number(1)).await;
    world.sever().await;
    let tried = timeout(Duration::from_secs(60), async {
        let mut tx = store.begin().await?;
        let claimed = store
            .claim(&mut tx, &crate::harness::one(), &[&of_number(2)])
            .await;
        store.rollback(tx).await;
        claimed
    });
    let fault = tried
        .await
        .expect("the driver must return within its own deadline")
        .expect_err("the operation must fail while the store is unavailable");
    let ours = matches!(fault.kind(), FaultKind::Unavailable | FaultKind::Contention);
    assert!(ours, "{fault:?}");
    world.restore().await;
    let ping = async || store.ping().await.is_ok();
    eventually_is("the store must be reachable again", ping, |back| *back).await;
    done(&*store, &of_number(3)).await;
    assert_eq!(probe(&*store, &of_number(1)).await, Claimed::Redelivered);
    Store::close(&*store).await;
}

/// Checks that a process which uses all of its connections itself does not take the store for
/// unavailable. If it did, handlers that exceed their time limit meanwhile would lose no attempt.
pub async fn connections_in_use_are_no_outage<H: StoreHarness>(world: &H) {
    let store = world.open_small().await;
    let mut held = Vec::new();
    let fault = loop {
        assert!(held.len() <= 2, "the number of connections must be limited");
        match store.begin().await {
            Ok(tx) => held.push(tx),
            Err(fault) => break fault,
        }
    };
    let is_outage = match fault.kind() {
        FaultKind::Contention => false,
        FaultKind::Unavailable => !fault.may_be_local(),
        FaultKind::MissingRight | FaultKind::Internal => true,
    };
    assert!(!is_outage, "{fault:?}");
    let pinged = store.ping().await;
    pinged.expect("the store must answer although all connections are in use");
    for tx in held {
        store.rollback(tx).await;
    }
    done(&*store, &of_number(1)).await;
    Store::close(&*store).await;
}

pub async fn a_constraint_violation_is_not_ours<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    let mut tx = store.begin().await.expect("begun");
    assert_eq!(
        claim(&*store, &mut tx, &envelope("a")).await,
        Claimed::Fresh
    );
    let error = H::violate(store.connection(&mut tx)).await;
    assert_eq!(store.diagnose(&*error), None, "{error:?}");
    store.rollback(tx).await;
    Store::close(&*store).await;
}

/// H8: a unit of work is one transaction with all its statements. Checks that a unit of work whose
/// future is dropped at any point does not affect the next one.
pub async fn a_cancelled_unit_of_work_affects_no_other<H: StoreHarness>(world: &H) {
    let store = world.open().await;
    for micros in [0, 1, 10, 50, 100, 200, 400, 800, 1_600, 3_200] {
        let unit = async {
            let mut tx = store.begin().await.expect("begun");
            claim(&*store, &mut tx, &envelope("cut")).await;
            H::effect(store.connection(&mut tx), "cut").await;
            std::future::pending::<()>().await;
        };
        let cut = timeout(Duration::from_micros(micros), unit).await;
        assert!(cut.is_err());
        let key = format!("after-{micros}");
        done(&*store, &envelope(&key)).await;
        let elsewhere = world.open().await;
        assert_eq!(
            probe(&*elsewhere, &envelope(&key)).await,
            Claimed::Redelivered,
            "the unit of work after the cancelled one must have been committed"
        );
        Store::close(&*elsewhere).await;
    }
    assert_eq!(world.effects("cut").await, 0);
    assert_eq!(probe(&*store, &envelope("cut")).await, Claimed::Fresh);
    Store::close(&*store).await;
}
