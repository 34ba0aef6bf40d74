//! Tests of lost connections, of answers that are lost after the server has executed the statement,
//! and of a network that drops all traffic.

use std::time::{Duration, Instant};

use hookbox_driver::{Claimed, CommitError, Fault, FaultKind, Outcome, ReceiptOutcome, Store};
use hookbox_driver_postgres::{Options, Postgres};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy, Snap};

use crate::world::{ROUTE, World, add_effect, envelope, environment, route};

const DONE: Outcome = Outcome::Done { attempt: 1 };

/// Returns a test database whose store connects through a proxy. What the test itself reads does
/// not pass the proxy.
async fn behind_a_proxy(change: impl FnOnce(&mut Options)) -> (World, Proxy) {
    let mut world = World::new().await;
    let proxy = Proxy::before(world.database.url()).unwrap();
    let mut options = Options::new(proxy.url(world.database.url()), environment());
    change(&mut options);
    world.store = Postgres::open(options).await.unwrap();
    (world, proxy)
}

#[track_caller]
fn assert_unavailable(result: Result<(), CommitError>) {
    match result {
        Err(CommitError::Fault(fault)) => assert_eq!(fault.kind(), FaultKind::Unavailable),
        other => panic!("{other:?}"),
    }
}

async fn kill_backends(world: &World) {
    world
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name = 'hookbox'",
        )
        .await;
}

#[tokio::test]
async fn a_lost_connection_is_unavailable_and_the_next_begin_works() {
    let world = World::new().await;
    let envelope = envelope(1, 1, "{}");
    for statement in ["claim", "handle", "settle", "commit"] {
        let mut tx = world.store.begin().await.unwrap();
        if statement == "claim" {
            kill_backends(&world).await;
            let fault = world.claim(&mut tx, &[&envelope]).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Unavailable);
            continue;
        }
        world.claim(&mut tx, &[&envelope]).await.unwrap();
        if statement == "handle" {
            kill_backends(&world).await;
            let error = sqlx::query("select 1")
                .execute(world.store.connection(&mut tx))
                .await
                .unwrap_err();
            assert_eq!(
                world.store.diagnose(&error),
                Some(FaultKind::Unavailable),
                "{error}"
            );
            continue;
        }
        add_effect(world.store.connection(&mut tx), "e").await;
        if statement == "settle" {
            kill_backends(&world).await;
            assert_unavailable(world.settle(&mut tx, &envelope, DONE).await);
            continue;
        }
        world.settle(&mut tx, &envelope, DONE).await.unwrap();
        kill_backends(&world).await;
        assert_unavailable(world.store.commit(tx).await);
    }
    assert_eq!(world.effects("e").await, 0);
    assert_eq!(world.process(&envelope, "e").await, Claimed::Fresh);
    assert_eq!(world.effects("e").await, 1);
}

#[tokio::test]
async fn idle_connections_that_died_are_not_noticed_by_the_next_caller() {
    let world = World::new().await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(world.store.begin().await.unwrap());
    }
    for tx in open {
        world.store.rollback(tx).await;
    }
    kill_backends(&world).await;
    world.store.ping().await.unwrap();
    let tx = world.store.begin().await.unwrap();
    world.store.rollback(tx).await;
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_a_fault_and_redelivery_decides() {
    let (world, proxy) = behind_a_proxy(|_| ()).await;
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&envelope]).await.unwrap();
    add_effect(world.store.connection(&mut tx), "e").await;
    world.settle(&mut tx, &envelope, DONE).await.unwrap();
    proxy.arm(b"COMMIT", Snap::After, 1);
    assert_unavailable(world.store.commit(tx).await);
    assert_eq!(proxy.snapped(), 1);
    assert_eq!(world.process(&envelope, "e").await, Claimed::Redelivered);
    assert_eq!(world.effects("e").await, 1);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_commit_that_is_lost_is_a_fault_and_the_event_runs_again() {
    let (world, proxy) = behind_a_proxy(|_| ()).await;
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&envelope]).await.unwrap();
    add_effect(world.store.connection(&mut tx), "e").await;
    world.settle(&mut tx, &envelope, DONE).await.unwrap();
    proxy.arm(b"COMMIT", Snap::Before, 1);
    assert_unavailable(world.store.commit(tx).await);
    assert_eq!(proxy.snapped(), 1);
    assert_eq!(world.process(&envelope, "e").await, Claimed::Fresh);
    assert_eq!(world.effects("e").await, 1);
}

#[tokio::test]
async fn an_unresponsive_network_is_detected_and_every_slot_recovers() {
    let (world, proxy) = behind_a_proxy(|options| {
        options.connections_max = 2;
        options.connect_deadline = Duration::from_secs(2);
        options.answer_deadline = Duration::from_secs(2);
    })
    .await;
    let envelope = envelope(1, 1, "{}");
    let mut caught = world.store.begin().await.unwrap();
    let idle = world.store.begin().await.unwrap();
    world.store.rollback(idle).await;

    proxy.set(Mode::Hole);
    let started = Instant::now();
    let faults: [Fault; 3] = [
        world.claim(&mut caught, &[&envelope]).await.unwrap_err(),
        world.store.ping().await.unwrap_err(),
        world
            .store
            .begin()
            .await
            .err()
            .expect("begin must fail, because the server does not answer"),
    ];
    for fault in faults {
        assert_eq!(fault.kind(), FaultKind::Unavailable);
    }
    world.store.rollback(caught).await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );

    proxy.set(Mode::Pass);
    let both = (
        world.store.begin().await.unwrap(),
        world.store.begin().await.unwrap(),
    );
    world.store.rollback(both.0).await;
    world.store.rollback(both.1).await;
    assert_eq!(world.process(&envelope, "e").await, Claimed::Fresh);
    assert_eq!(world.effects("e").await, 1);
}

#[tokio::test]
async fn a_rollback_that_gets_no_answer_ends() {
    let (world, proxy) = behind_a_proxy(|_| ()).await;
    let envelope = envelope(1, 1, "{}");
    let mut tx = world.store.begin().await.unwrap();
    world.claim(&mut tx, &[&envelope]).await.unwrap();
    proxy.set(Mode::Hole);
    let started = Instant::now();
    world.store.rollback(tx).await;
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    proxy.set(Mode::Pass);
    assert_eq!(world.process(&envelope, "e").await, Claimed::Fresh);
}

/// A worker that is cut off from the server holds its claims until the server ends its transaction.
/// A second worker that gets the event meanwhile must wait until that transaction has ended, and
/// must then claim the event. The commit of the first worker comes too late and must fail.
#[tokio::test]
async fn a_worker_that_is_cut_off_makes_another_wait_and_loses_its_claim() {
    let (world, proxy) = behind_a_proxy(|options| {
        options.idle_in_transaction = Duration::from_secs(5);
    })
    .await;
    let elsewhere = Postgres::open(world.database.options(&environment()));
    let elsewhere = elsewhere.await.unwrap();
    let envelope = envelope(1, 1, "{}");
    let mut zombie = world.store.begin().await.unwrap();
    let claimed = world.claim(&mut zombie, &[&envelope]).await.unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(world.store.connection(&mut zombie))
        .await
        .unwrap();
    add_effect(world.store.connection(&mut zombie), "e").await;
    world.settle(&mut zombie, &envelope, DONE).await.unwrap();
    proxy.set(Mode::Hole);

    let mut tx = elsewhere.begin().await.unwrap();
    let (route, batch) = (route(ROUTE), [&envelope]);
    let claiming = elsewhere.claim(&mut tx, &route, &batch);
    let blocked =
        format!("select count(*) from pg_stat_activity where {pid} = any (pg_blocking_pids(pid))");
    let waits = eventually(
        "the second worker must wait for the transaction of the first one",
        async || match world.number(&blocked).await {
            0 => Err("no session waits for the first worker's transaction yet".to_owned()),
            waiting => Ok(waiting),
        },
    );
    let (claimed, waiting) = tokio::join!(claiming, waits);
    assert_eq!((claimed.unwrap(), waiting), (vec![Claimed::Fresh], 1));
    let left = format!("select count(*) from pg_stat_activity where pid = {pid}");
    // The server releases the locks of the session before the session disappears from the list.
    eventually(
        "the server must end the session of the first worker",
        async || match world.number(&left).await {
            0 => Ok(()),
            left => Err(format!("the first worker still has {left} session")),
        },
    )
    .await;
    add_effect(elsewhere.connection(&mut tx), "e").await;
    let done = [ReceiptOutcome {
        envelope: &envelope,
        outcome: DONE,
        other_digest: None,
    }];
    elsewhere.settle(&mut tx, &route, &done).await.unwrap();
    elsewhere.commit(tx).await.unwrap();

    proxy.set(Mode::Pass);
    assert_unavailable(world.store.commit(zombie).await);
    assert_eq!(world.effects("e").await, 1);
    assert_eq!(world.process(&envelope, "e").await, Claimed::Redelivered);
    world.assert_balanced().await;
    elsewhere.close().await;
}
